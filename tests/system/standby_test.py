#!/usr/bin/env python3
"""A live read replica under everything at once: an application that writes at full speed (growth, VACUUM, schema
changes) over `litecluster replicate`, six readers in other processes (C API, the sqlite3 shell, Python) that check
an invariant in each read transaction, and `litecluster follow` killed with -9 again and again at random points.

Promised and checked:
  * no reader ever sees a torn state, or one older than it saw before;
  * the follower's position is never lost: it starts again at what the replica holds, and never before what it said;
  * nothing is fetched twice: the first object after a restart is the next one, and nobody is ever seeded again;
  * whenever it was looked at, the replica's pages were those that `litecluster restore` makes of the log.

LITECLUSTER_STANDBY_KILLS=200 is the full size (default 9 kills, divided among three page sizes).
"""
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import cluster

VISITOR = cluster.BUILD / "tests/integration/db/replica_visitor"
KILLS = int(os.environ.get("LITECLUSTER_STANDBY_KILLS", "9"))
SEED = int(os.environ.get("LITECLUSTER_STANDBY_SEED", "1"))
# Points of an apply; only builds with fault points know them, the others just run on to a kill by time.
POINTS = ["replica.record.slot", "replica.record.written", "replica.wal.header", "replica.wal.restarted",
          "replica.wal.frames", "replica.wal.index", "replica.wal.publish_half", "replica.wal.published",
          "replica.checkpointed"]
INVARIANT = ("SELECT (SELECT coalesce(sum(balance), 0) FROM accounts) || ' ' || ((SELECT rows FROM state) = "
             "(SELECT count(*) FROM payload)) || ' ' || ((SELECT bytes FROM state) = "
             "(SELECT coalesce(sum(length(body)), 0) FROM payload)) || ' ' || (SELECT counter FROM state)")
PYTHON_READER = """
import os, sqlite3, sys
path, stop, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
last = reads = 0
connection = None
while not os.path.exists(stop):
    if connection is None:
        connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    row = connection.execute(sys.argv[4]).fetchone()[0].split()
    if row[:3] != ["0", "1", "1"] or int(row[3]) < last:
        sys.exit(f"saw {row} after {last}")
    last, reads = int(row[3]), reads + 1
    if reads % 40 == seed:
        verdict = connection.execute("PRAGMA quick_check").fetchone()[0]
        if verdict != "ok":
            sys.exit("quick_check: " + verdict)
    if reads % 25 == seed:
        connection.close()
        connection = None
print(reads)
"""


class Writer(threading.Thread):
    """The application, at full speed but for the disk: it lets the log keep up to within a bound."""

    def __init__(self, path, page_size, seed):
        super().__init__(daemon=True)
        self.path, self.random = path, random.Random(seed)
        self.stopping, self.written, self.failure = threading.Event(), 0, None
        with sqlite3.connect(path, isolation_level=None) as connection:
            connection.executescript(
                f"PRAGMA page_size={page_size}; PRAGMA journal_mode=WAL; BEGIN;"
                "CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);"
                "CREATE TABLE payload(id INTEGER PRIMARY KEY, body BLOB NOT NULL);"
                "CREATE TABLE state(counter INTEGER, rows INTEGER, bytes INTEGER);"
                "INSERT INTO state VALUES (1, 0, 0);"
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)"
                " INSERT INTO accounts SELECT i, 0 FROM n; COMMIT")
        connection.close()

    def statements(self):
        kind, pick = self.random.randrange(100), self.random.randrange
        if kind < 7:
            table = f"extra{pick(5)}"
            return (f"DROP TABLE IF EXISTS {table}; CREATE TABLE {table}(a, b);"
                    f"CREATE INDEX {table}_index ON {table}(a); INSERT INTO {table} SELECT id, balance FROM accounts;")
        if kind < 13:
            return f"DELETE FROM payload WHERE id % 3 = {pick(3)};"
        if kind < 45:
            return f"INSERT INTO payload(body) VALUES (randomblob({pick(20000) + 1}));"
        amount = pick(1000)
        return (f"UPDATE accounts SET balance = balance - {amount} WHERE id = {pick(200) + 1};"
                f"UPDATE accounts SET balance = balance + {amount} WHERE id = {pick(200) + 1};")

    def run(self):
        try:
            connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            connection.execute("PRAGMA synchronous=OFF")
            while not self.stopping.is_set():
                if self.random.randrange(60) == 0:
                    connection.execute("VACUUM")
                connection.executescript(
                    "BEGIN IMMEDIATE;" + self.statements() +
                    "UPDATE state SET counter = counter + 1, rows = (SELECT count(*) FROM payload),"
                    " bytes = (SELECT coalesce(sum(length(body)), 0) FROM payload); COMMIT")
                self.written += 1
            connection.close()
        except Exception as error:  # pylint: disable=broad-except
            self.failure = error


class ShellReader(threading.Thread):
    """One run of the sqlite3 shell after the other: each opens the replica, and may be the last to close it."""

    def __init__(self, path, stop):
        super().__init__(daemon=True)
        self.path, self.stop_file, self.reads, self.failure = path, stop, 0, None

    def run(self):
        last = 0
        while not self.stop_file.exists():
            done = subprocess.run(["sqlite3", "-batch", "-cmd", ".timeout 30000", str(self.path), INVARIANT],
                                  capture_output=True, text=True, timeout=120, check=False)
            row = done.stdout.split()
            if done.returncode != 0 or row[:3] != ["0", "1", "1"] or int(row[3]) < last:
                self.failure = f"shell: {done.stdout!r} {done.stderr!r} after {last}"
                return
            last, self.reads = int(row[3]), self.reads + 1


class Follower:
    """`litecluster follow`, and what its log says about each of its lives."""

    def __init__(self, directory, url, cluster_name, replica):
        self.command = [cluster.PROGRAM, "follow", replica, "--cluster", cluster_name, "--node", "standby", "--nats",
                        url, "--log-level", "debug", "--log-format", "json"]
        self.directory, self.lives, self.process = directory, 0, None

    def start(self, fault=None):
        self.lives += 1
        self.log = self.directory / f"follow-{self.lives}.log"
        self.process = cluster.Process("follow", self.command, self.log,
                                       {"LITECLUSTER_FAULT": fault} if fault else None).start()

    def events(self):
        events = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                pass  # torn by the kill
        return events


def recorded_position(replica):
    """The position file, read by the letter of src/db/replica_record.hpp: (base, next or None) as TXIDs."""
    content = pathlib.Path(str(replica) + "-position").read_bytes()
    best = (0, None)
    for offset in (0, 4096):
        slot = content[offset:offset + 512]
        if len(slot) == 512 and slot[:8] == bytes.fromhex("6c637265706c0001"):
            sequence = int.from_bytes(slot[8:16], "big")
            flags = int.from_bytes(slot[48:52], "big")
            base, following = int.from_bytes(slot[52:60], "big"), int.from_bytes(slot[96:104], "big")
            if sequence > best[0]:
                best = (sequence, (base, following if flags & 1 else None))
    return best[1]


def counter_of(path):
    connection = sqlite3.connect(path, timeout=30)
    value = connection.execute("SELECT counter FROM state").fetchone()[0]
    connection.close()
    return value


def pages_of(path):
    """A digest of all pages in one read transaction, as SQLite sees them."""
    connection = sqlite3.connect(path, timeout=30)
    digest = hashlib.sha256(connection.serialize()).hexdigest()
    connection.close()
    return digest


def check_life(follower, before):
    """What the log of one life says: where it began, and what it fetched."""
    fetched, began = [], None
    for event in follower.events():
        if event["event"] == "following":
            began = int(event["txid"], 16)
        elif event["event"] == "object fetched":
            fetched.append(event["object"])
        assert event["event"] not in ("seeding the replica", "replica quarantined", "replica seeded"), event
    if began is None:
        return 0
    assert began in before, f"began at {began}, the position file says {before}"
    expected = began + 1
    for name in fetched:
        low, high = (int(part, 16) for part in re.fullmatch(r"ltx/\d/(\w+)-(\w+)\.ltx", name).groups())
        assert low <= expected <= high, f"fetched {name} instead of TXID {expected:x}"
        expected = high + 1
    return len(fetched)


def run(directory, servers, page_size, kills, rng):
    name = f"standby{page_size}"
    database, replica, stop = directory / "app.db", directory / "copy.db", directory / "stop"
    writer = Writer(database, page_size, rng.random())
    publisher = cluster.Process("replicate", [cluster.PROGRAM, "replicate", database, "--cluster", name, "--nats",
                                              servers.url, "--log-format", "json"], directory / "replicate.log").start()
    follower = Follower(directory, servers.url, name, replica)
    readers, shells = [], []
    fetched = compared = 0
    try:
        cluster.wait_until(lambda: "publishing" in (directory / "replicate.log").read_text(), 30, "the publisher")
        follower.start()
        cluster.wait_until(lambda: replica.exists() and replica.stat().st_size > 0, 60, "the first seed")
        for seed in (1, 2):
            readers.append(cluster.Process(f"reader{seed}", [VISITOR, "watch", replica, stop, seed],
                                           directory / f"reader{seed}.log").start())
        for seed in (3, 4):
            readers.append(cluster.Process(f"python{seed}", [sys.executable, "-c", PYTHON_READER, replica, stop, seed,
                                                             INVARIANT], directory / f"python{seed}.log").start())
        if shutil.which("sqlite3"):
            shells = [ShellReader(replica, stop) for _ in range(2)]
            for shell in shells:
                shell.start()
        writer.start()
        before = None
        for kill in range(kills):
            at_point = follower.lives > 1 and rng.random() < 0.6
            time.sleep(rng.uniform(0.02, 0.7) if not at_point else 0)
            if at_point:  # armed at its start: it kills itself there, or is killed when it does not come by
                deadline = time.monotonic() + rng.uniform(0.3, 1.5)
                while follower.process.running() and time.monotonic() < deadline:
                    time.sleep(0.005)
            follower.process.signal(signal.SIGKILL)
            follower.process.child.wait()
            if before is not None:
                fetched += check_life(follower, before)
            position = recorded_position(replica)
            assert position is not None, "the position is lost"
            before = {txid for txid in position if txid is not None}
            if kill % 10 == 4 or kill + 1 == kills:
                # Nobody follows: the pages have to be those of one of the two positions, made another way.
                seen = pages_of(replica)
                made = set()
                for txid in before:
                    restored = directory / f"restored-{txid}"
                    done = cluster.litecluster("restore", "--cluster", name, "--nats", servers.url, "--txid",
                                               f"{txid:016x}", "-o", restored, check=False)
                    if done.returncode == 0:
                        made.add(pages_of(restored))
                        for suffix in ("", "-wal", "-shm"):
                            pathlib.Path(str(restored) + suffix).unlink(missing_ok=True)
                if made:  # a compaction may have swallowed both
                    assert seen in made, f"the replica is not at any of {before}"
                    compared += 1
            fault = f"{rng.choice(POINTS)}=kill@{rng.randrange(1, 60)}" if rng.random() < 0.6 else None
            follower.start(fault)
            assert writer.failure is None, writer.failure
            for reader in readers:
                assert reader.running(), f"{reader.name}: {reader.log.read_text()[-2000:]}"
            for shell in shells:
                assert shell.failure is None, shell.failure
        follower.process.signal(signal.SIGKILL)
        follower.process.child.wait()
        fetched += check_life(follower, before)
        follower.start()
        writer.stopping.set()
        writer.join(60)
        assert writer.failure is None, writer.failure
        final = counter_of(database)
        cluster.wait_until(lambda: counter_of(replica) == final, 120, "the end of the log")
        stop.touch()
        reads = 0
        for reader in readers:
            assert reader.child.wait(60) == 0, f"{reader.name}: {reader.log.read_text()[-2000:]}"
            reads += int(reader.log.read_text().split()[-1])
        for shell in shells:
            shell.join(60)
            assert shell.failure is None, shell.failure
            reads += shell.reads
        assert follower.process.stop() == 0, "TERM ends it with success"
        assert publisher.stop() == 0
        assert pages_of(replica) == pages_of(database), "replica and primary differ"
        print(f"page size {page_size}: {kills} kills, {writer.written} transactions, {reads} reads, "
              f"{fetched} objects fetched, {compared} comparisons with a restore", flush=True)
    finally:
        stop.touch()
        writer.stopping.set()
        for process in [*readers, publisher]:
            process.kill()
        if follower.process is not None:
            follower.process.kill()


def main():
    rng = random.Random(SEED)
    with cluster.scratch() as directory:
        servers = cluster.NatsServers(directory).start()
        try:
            sizes = (4096, 512, 65536)
            for index, page_size in enumerate(sizes):
                kills = KILLS // len(sizes) + (1 if index < KILLS % len(sizes) else 0)
                place = directory / str(page_size)
                place.mkdir()
                run(place, servers, page_size, kills, rng)
        finally:
            servers.stop()


if __name__ == "__main__":
    main()
