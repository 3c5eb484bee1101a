"""Scenario 1: genuine Litestream 0.5.17 and this program on the same buckets.

What we publish (snapshot, deltas and compactions, in both page encodings) is restored by `litestream restore` byte for
byte, at the end and at earlier TXIDs. Then `litestream replicate` takes over our bucket, and we restore what it wrote,
its tiny chunks and its objects without our headers; then we take over again, and Litestream restores that. The same
again with a bucket that Litestream began.

Skipped (77) when the program `litestream` is not there; scripts/optional-partners installs it.
"""
import contextlib
import json
import os
import pathlib
import random
import socket
import sqlite3
import subprocess
import sys
import time

from cluster import NatsServers, PROGRAM, Process, litecluster, scratch, wait_until

PARTNERS = pathlib.Path(os.environ.get("LITECLUSTER_PARTNERS") or "build/partners")
LITESTREAM = PARTNERS / "python" / "bin" / "litestream"
VERSION = "0.5.17"
SKIPPED = 77


def skip(reason):
    print(f"SKIPPED: {reason}")
    sys.exit(SKIPPED)


def create_bucket(url, bucket):
    """Litestream does not create buckets; the settings are those of the Go client."""
    host, port = url.removeprefix("nats://").split(":")
    body = json.dumps({"name": f"OBJ_{bucket}", "subjects": [f"$O.{bucket}.C.>", f"$O.{bucket}.M.>"], "discard": "new",
                       "allow_rollup_hdrs": True, "allow_direct": True, "storage": "file", "num_replicas": 1}).encode()
    with socket.create_connection((host, int(port)), 5) as client:
        client.settimeout(10)
        client.sendall(b'CONNECT {"verbose":false}\r\nSUB answer 1\r\n'
                       + f"PUB $JS.API.STREAM.CREATE.OBJ_{bucket} answer {len(body)}\r\n".encode() + body + b"\r\n")
        answer = b""
        while b"MSG answer" not in answer or not answer.rstrip().endswith(b"}"):
            piece = client.recv(65536)
            assert piece, "the server closed the connection"
            answer += piece
        assert b'"error"' not in answer, answer


class Database:
    """The application: one connection, random transactions, growth and VACUUM."""

    def __init__(self, path, page_size, seed):
        self.path, self.random = path, random.Random(seed)
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=20)
        for pragma in (f"page_size = {page_size}", "auto_vacuum = INCREMENTAL", "journal_mode = WAL"):
            self.connection.execute(f"PRAGMA {pragma}")
        self.connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, x BLOB)")

    def work(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            choice = self.random.random()
            if choice < 0.6:
                rows = [(self.random.randbytes(self.random.randint(1, 3000)),) for _ in range(self.random.randint(1, 8))]
                self.connection.execute("BEGIN IMMEDIATE")
                self.connection.executemany("INSERT INTO t(x) VALUES(?)", rows)
                self.connection.execute("COMMIT")
            elif choice < 0.8:
                self.connection.execute("UPDATE t SET x = zeroblob(500) WHERE id % 13 = ?", (self.random.randint(0, 12),))
            elif choice < 0.97:
                self.connection.execute("DELETE FROM t WHERE id % 7 = ?", (self.random.randint(0, 6),))
            else:
                self.connection.execute("VACUUM")
            time.sleep(0.01)

    def content(self):
        """The bytes of the database file, with the WAL copied back into it. Nobody else may be attached."""
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return self.path.read_bytes()


class World:
    def __init__(self, directory, nats, bucket):
        self.directory, self.nats, self.bucket, self.count = directory, nats, bucket, 0

    def ours(self, database, *arguments):
        return Process("replicate", [PROGRAM, "replicate", database, "--nats", self.nats.url, "--bucket", self.bucket,
                                     "--log-format", "json", *arguments], self.directory / "replicate.log").start()

    def theirs(self, database):
        configuration = self.directory / "litestream.yml"
        configuration.write_text(json.dumps({
            "levels": [{"interval": "1s"}, {"interval": "3s"}], "snapshot": {"interval": "4s", "retention": "1h"},
            "dbs": [{"path": str(database), "monitor-interval": "100ms",
                     "replica": {"type": "nats", "url": f"{self.nats.url}/{self.bucket}", "sync-interval": "200ms"}}]}))
        return Process("litestream", [LITESTREAM, "replicate", "-config", configuration],
                       self.directory / "litestream.log").start()

    def plan(self, *target):
        return json.loads(litecluster("restore", "--dry-run", "--json", "--nats", self.nats.url, "--bucket", self.bucket,
                                      *target).stdout)

    def end(self):
        return int(self.plan()["txid"], 16)

    def objects(self):
        return json.loads(litecluster("ltx", "list", "--json", "--nats", self.nats.url, "--bucket", self.bucket).stdout)

    def levels(self):
        return {entry["level"] for entry in self.objects()}

    def restore(self, program, *target):
        self.count += 1
        output = self.directory / f"restored-{self.count}.db"
        if program == "ours":
            litecluster("restore", "--nats", self.nats.url, "--bucket", self.bucket, "-o", output, *target)
        else:
            done = subprocess.run([LITESTREAM, "restore", "-o", output, "-integrity-check", "quick", *target,
                                   f"{self.nats.url}/{self.bucket}"], capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, f"litestream restore {target}: {done.stdout}{done.stderr}"
        content = output.read_bytes()
        output.unlink()
        return content

    def expect_both_restore(self, content, what):
        for program in ("ours", "theirs"):
            assert self.restore(program) == content, f"{what}: restored by {program} it is another database"
        print(f"{what}: both restore {len(content)} bytes at TXID {self.end():x}", flush=True)

    def expect_both_agree_on_the_past(self, samples):
        """At TXIDs that both can restore: the ends of some objects."""
        ends = sorted({entry["max_txid"] for entry in self.objects()})
        for txid in random.Random(1).sample(ends, min(samples, len(ends))):
            ours = self.restore("ours", "--txid", txid)
            theirs = self.restore("theirs", "-txid", txid)
            assert ours == theirs, f"at TXID {txid} the restored databases differ"
        print(f"both agree on {min(samples, len(ends))} earlier TXIDs of {len(ends)}", flush=True)


def stop(process):
    status = process.stop()
    assert status == 0, f"{process.name}: exit {status}, see {process.log}"


def publish_ours(world, database, seconds, *arguments):
    process = world.ours(database.path, *arguments)
    database.work(seconds)
    litecluster("snapshot", "create", "--nats", world.nats.url, "--bucket", world.bucket)
    database.work(1)
    stop(process)
    return database.content()


def publish_theirs(world, database, seconds):
    before = world.end() if world.objects() else 0
    process = world.theirs(database.path)
    wait_until(lambda: world.objects() and world.end() > before, 30, "Litestream writes")
    database.work(seconds)
    stop(process)
    return database.content()


def our_bucket(directory, nats, encoding, page_size):
    world = World(directory, nats, f"ours-{encoding}")
    database = Database(directory / f"{encoding}.db", page_size, page_size)
    ours = ("--sqlite-page-encoding", encoding, "--sqlite-compaction-levels", "1=1s,2=3s")
    content = publish_ours(world, database, 5, *ours)
    assert world.levels() >= {0, 1, 2, 9}, world.levels()
    world.expect_both_restore(content, f"our bucket, {encoding}")
    world.expect_both_agree_on_the_past(6)
    content = publish_theirs(world, database, 5)
    world.expect_both_restore(content, "taken over by Litestream")
    content = publish_ours(world, database, 3, *ours)
    world.expect_both_restore(content, "taken over by us")
    database.connection.close()


def their_bucket(directory, nats):
    create_bucket(nats.url, "theirs")
    world = World(directory, nats, "theirs")
    database = Database(directory / "theirs.db", 4096, 7)
    content = publish_theirs(world, database, 6)
    assert world.levels() >= {0, 1, 9}, world.levels()
    world.expect_both_restore(content, "Litestream's bucket")
    world.expect_both_agree_on_the_past(6)
    content = publish_ours(world, database, 3, "--sqlite-compaction-levels", "1=1s,2=3s")
    world.expect_both_restore(content, "taken over by us")
    world.expect_both_agree_on_the_past(4)
    database.connection.close()


def main():
    if not LITESTREAM.exists():
        skip(f"{LITESTREAM} is not there; scripts/optional-partners installs it")
    version = subprocess.run([LITESTREAM, "version"], capture_output=True, text=True).stdout.strip()
    if VERSION not in version:
        skip(f"litestream is {version}, the promise is about {VERSION}")
    with scratch() as directory, contextlib.ExitStack() as cleanup:
        nats = NatsServers(directory).start()
        cleanup.callback(nats.stop)
        our_bucket(directory, nats, "block", 4096)
        our_bucket(directory, nats, "frame", 1024)
        their_bucket(directory, nats)


if __name__ == "__main__":
    main()
