"""Clients and readers that remember everything they saw, and a checker that judges the whole history.

What is promised, and checked here:
  * an acknowledged write is either in the final history, once and under the number that was acknowledged, or it was
    never replicated and lies in a directory of diverged commits of the node that acknowledged it;
  * what was acknowledged before another write was sent comes before it in the history (so no two terms acknowledge
    at the same time, and none serves on after another began);
  * what was lost was acknowledged around an unplanned fault, and never in a planned hand-over;
  * what was once seen on a standby is never lost, and what one session there sees never goes back;
  * what a leader served when it was read is in the final history, or diverged on that very node;
  * replicas, and what is restored from the log, equal the leader's database.
"""
import bisect
import contextlib
import http.client
import os
import random
import sqlite3
import threading
import time

from cluster import litecluster, wait_until

# A leader that is stopped as a whole can answer, after it goes on and before its guard has killed the backend, what
# it had been sent (docs/reliability.md).
AFTER_PAUSE_SECONDS = 1.0
# How long a commit may take into the log on a busy machine: what was acknowledged so long before a fault can be lost.
SHIPPING_SECONDS = 1.0
LONG_TEXTS = 150
# How long NATS may have taken no commits before a node loses its term to that.
STALL_SECONDS = 10.0


class Client(threading.Thread):
    """Writes numbered texts to whoever serves and sometimes reads back; remembers every answer. The first texts are long
    enough to make a database of some hundred pages."""

    def __init__(self, number, nodes, pause=0.01, connect_timeout=0.3, answer_timeout=1.0):
        super().__init__(daemon=True)
        self.number, self.nodes, self.pause = number, list(nodes), pause
        self.connect_timeout, self.answer_timeout = connect_timeout, answer_timeout
        self.acknowledged = []  # (text, id, sent, answered, node)
        self.reads = []  # (id, text or None, sent, answered, node)
        self.unknown = set()  # texts that may or may not have been committed
        self.stopping = threading.Event()

    def run(self):
        target, connection, sequence = self.number % len(self.nodes), None, 0
        while not self.stopping.is_set():
            node, text, written = self.nodes[target], f"c{self.number}-{sequence}", False
            if sequence < LONG_TEXTS:
                text += "." * 1500
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(node.address, node.port, timeout=self.connect_timeout)
                    connection.connect()
                    connection.sock.settimeout(self.answer_timeout)
                written = True
                self._write(connection, node.name, text)
                sequence += 1
                if sequence % 5 == 0:
                    self._read(connection, node.name)
                self.stopping.wait(self.pause)
            except (OSError, http.client.HTTPException):
                if written:
                    self.unknown.add(text)
                    sequence += 1
                if connection is not None:
                    connection.close()
                connection, target = None, (target + 1) % len(self.nodes)
                self.stopping.wait(0.002)

    def _write(self, connection, node, text):
        sent = time.monotonic()
        connection.request("POST", "/entries", body=text)
        response = connection.getresponse()
        body = response.read()
        if response.status == 201:
            self.acknowledged.append((text, int(body), sent, time.monotonic(), node))
        else:
            self.unknown.add(text)

    def _read(self, connection, node):
        if not self.acknowledged:
            return
        number = random.choice(self.acknowledged[-50:])[1]
        sent = time.monotonic()
        connection.request("GET", f"/entries/{number}")
        response = connection.getresponse()
        body = response.read()
        if response.status in (200, 404):
            text = body.decode() if response.status == 200 else None
            self.reads.append((number, text, sent, time.monotonic(), node))


class StandbyReader(threading.Thread):
    """Reads the replica of one node as any SQLite program would, in sessions of a second or so."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.node, self.stopping, self.violations = node, threading.Event(), []
        self.seen = {}  # id -> text, of what was certainly read from a replica
        self.reads = 0

    def run(self):
        while not self.stopping.is_set():
            with contextlib.suppress(sqlite3.Error, OSError):
                self._session()
            self.stopping.wait(0.05)

    def _session(self):
        path = self.node.replica
        file = os.stat(path).st_ino
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2)) as connection:
            before = (0, 0)
            end = time.monotonic() + random.uniform(0.3, 2)
            while time.monotonic() < end and not self.stopping.is_set():
                newest = connection.execute("SELECT id, text FROM entry ORDER BY id DESC LIMIT 20").fetchall()
                # Not each time: it reads the whole table, which grows.
                count = (connection.execute("SELECT count(*) FROM entry").fetchone()[0] if random.random() < 0.1
                         else before[1])
                self.reads += 1
                now = (newest[0][0] if newest else 0, count)
                if now[0] < before[0] or now[1] < before[1]:
                    self.violations.append(f"a session on {self.node.name} went back from {before} to {now}")
                before = now
                # The file is a primary once it is renamed; what it then shows need not be replicated.
                if os.stat(path).st_ino == file:
                    self.seen.update((number, bytes(text).decode()) for number, text in newest)
                self.stopping.wait(0.02)


def rows_of(database):
    """All rows of a database, read as any SQLite program would; the database must be whole."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",), f"{database} is damaged"
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'entry'").fetchone():
            return {}
        return {number: bytes(text).decode() for number, text in connection.execute("SELECT id, text FROM entry")}


def silence(clients, begin, end):
    """The longest time within [begin, end] in which no client got an answer to a write."""
    answers = sorted(entry[3] for client in clients for entry in list(client.acknowledged[-20000:])
                     if begin <= entry[3] <= end)
    edges = [begin, *answers, end]
    return max(after - before for before, after in zip(edges, edges[1:]))


def served_since(clients, moment):
    return any(client.acknowledged and client.acknowledged[-1][2] > moment for client in clients)


class LossWatch(threading.Thread):
    """Notes when a node says that it lost its term unasked: NATS was too slow to renew the lease, or to take commits, as
    it is for seconds when its servers elect, or a machine has more to do than it can. What had not been shipped then
    diverges as after any fault."""

    def __init__(self, nodes):
        super().__init__(daemon=True)
        self.logs, self.stopping = {node.log: 0 for node in nodes}, threading.Event()
        self.moments = []

    def run(self):
        while not self.stopping.wait(0.1):
            for log, offset in self.logs.items():
                with contextlib.suppress(OSError), open(log, "rb") as file:
                    file.seek(offset)
                    lines = file.read().splitlines(keepends=True)
                    whole = [line for line in lines if line.endswith(b"\n")]
                    self.logs[log] = offset + sum(map(len, whole))
                    self.moments += [time.monotonic() for line in whole
                                     if b'"term lost"' in line and b'"given back"' not in line]


class Judgement:
    """The final states of all nodes, against what clients and readers saw."""

    def __init__(self, nodes, leader, clients, readers, faults, pauses=(), losses=()):
        """`faults`: (begin, end) of everything unplanned; `pauses`: (node name, moment) at which a node that had been
        stopped as a whole went on; `losses`: moments at which a node lost its term unasked."""
        self.clients, self.readers, self.pauses = clients, readers, list(pauses)
        self.unasked = [moment for moment in losses if not any(begin <= moment <= end for begin, end in faults)]
        self.faults = sorted([*faults, *((moment - STALL_SECONDS, moment) for moment in self.unasked)])
        self.final = rows_of(leader.database)
        # Only what differs: each of these is a whole database.
        self.aside = {node.name: [self._beside_final(path / node.database.name) for path in node.diverged()
                                  if (path / node.database.name).exists()] for node in nodes}
        self.acknowledged = [entry for client in clients for entry in client.acknowledged]
        self.violations = [line for reader in readers for line in reader.violations]
        self.lost, self.after_pause = [], 0
        self._sort_out_writes()
        self._check_order()
        self._check_lost()
        self._check_reads()
        self._check_replicated()

    def _beside_final(self, database):
        return {number: text for number, text in rows_of(database).items() if self.final.get(number) != text}

    def _say(self, text):
        if len(self.violations) < 50:
            self.violations.append(text)

    def _sort_out_writes(self):
        counts = {}
        for text in self.final.values():
            counts[text] = counts.get(text, 0) + 1
        for text, count in counts.items():
            if count > 1:
                self._say(f"{text} is there {count} times")
        known = {entry[0] for entry in self.acknowledged}.union(*(client.unknown for client in self.clients))
        for text in set(counts) - known:
            self._say(f"{text} was never asked for")
        self.kept = []
        for entry in self.acknowledged:
            text, number, _, _, node = entry
            if self.final.get(number) == text:
                self.kept.append(entry)
            elif any(rows.get(number) == text for rows in self.aside[node]):
                self.lost.append(entry)
            else:
                self._say(f"{text}, acknowledged by {node} as {number}, is nowhere")

    def _check_order(self):
        answered = sorted((entry[3], entry[1], entry[0]) for entry in self.kept)
        newest, times = [], []
        for moment, number, text in answered:
            times.append(moment)
            newest.append(max(newest[-1], (number, text)) if newest else (number, text))
        for text, number, sent, _, node in self.kept:
            index = bisect.bisect_left(times, sent) - 1
            if index >= 0 and newest[index][0] > number:
                self._say(f"{text} ({number} by {node}) was sent after {newest[index]} had been acknowledged")
        self.times, self.newest = times, newest

    def _check_lost(self):
        for text, number, sent, answered, node in self.lost:
            if not any(begin - SHIPPING_SECONDS <= answered <= end for begin, end in self.faults):
                next_fault = min((begin - answered for begin, _ in self.faults if begin > answered), default=None)
                self._say(f"{text} ({number} by {node}) was lost without a fault; the next came after {next_fault} s")
            # What others acknowledged, beyond this number, before this was even sent: two leaders.
            index = bisect.bisect_left(self.times, sent) - 1
            if index < 0 or self.newest[index][0] < number:
                continue
            if any(node == paused and 0 <= answered - moment <= AFTER_PAUSE_SECONDS for paused, moment in self.pauses):
                self.after_pause += 1
            else:
                self._say(f"{text} ({number} by {node}) was acknowledged by a leader of old, after {self.newest[index]}")

    def _check_reads(self):
        lost = {(entry[1], entry[4]) for entry in self.lost}
        numbers_lost = {entry[1] for entry in self.lost}
        for client in self.clients:
            for number, text, _, _, node in client.reads:
                if text is None:
                    if number not in numbers_lost:
                        self._say(f"{node} did not find {number}, which it or another had acknowledged")
                elif self.final.get(number) != text and (number, node) not in lost and not any(
                        rows.get(number) == text for rows in self.aside[node]):
                    self._say(f"{node} served {text} as {number}, which is nowhere")

    def _check_replicated(self):
        for reader in self.readers:
            for number, text in reader.seen.items():
                if self.final.get(number) != text:
                    self._say(f"{number} was {text} on the standby {reader.node.name} and is {self.final.get(number)}")


def start_watched(nodes, threads, clients, seconds=60):
    """Starts nodes, waits for their first leader, starts what writes and reads, waits for the first answer."""
    for node in nodes:
        node.start()
    settle(nodes, seconds)
    for thread in threads:
        thread.start()
    wait_until(lambda: served_since(clients, 0), 30, "the first answer")


def stop_watching(threads, asking):
    """Ends what writes and reads, and the commands that may still be waiting for an answer."""
    for thread in threads:
        thread.stopping.set()
    for child in asking:
        child.kill()
        child.wait()


def settle(nodes, seconds=60):
    """Waits until one node leads and all others follow; returns the leader."""
    wait_until(lambda: sorted((node.status() or {}).get("stage", "") for node in nodes)
               == sorted(["active"] + ["standby"] * (len(nodes) - 1)), seconds, "one leads and the others follow")
    return next(node for node in nodes if node.is_active())


def check_copies(nodes, leader, nats_url, directory, cluster="test"):
    """Replicas and a restore from the log equal the leader's database, which nobody writes to any more."""
    final = rows_of(leader.database)
    for node in nodes:
        if node is not leader:
            wait_until(lambda node=node: node.replica.exists() and rows_of(node.replica) == final, 60,
                       f"the replica of {node.name} is equal")
    restored = directory / "restored.db"
    litecluster("restore", "--cluster", cluster, "--nats", nats_url, "-o", restored)
    assert rows_of(restored) == final, "what is restored from the log is not what the leader has"
    restored.unlink()
    return len(final)
