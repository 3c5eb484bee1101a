#!/usr/bin/env python3
"""`litecluster follow` as an operator meets it: flags, messages, exit codes, signals, published positions, and a
start that has to wait."""
import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import time

import cluster


class Listener:
    """Just enough of a NATS client to hear a subject."""

    def __init__(self, port, subject):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.file = self.socket.makefile("rb")
        self.socket.sendall(b'CONNECT {"verbose":false,"headers":false}\r\nSUB ' + subject.encode() + b" 1\r\nPING\r\n")
        while self.file.readline() != b"PONG\r\n":
            pass

    def next(self, seconds=30):
        self.socket.settimeout(seconds)
        while True:
            line = self.file.readline()
            if line.startswith(b"PING"):
                self.socket.sendall(b"PONG\r\n")
            elif line.startswith(b"MSG"):
                parts = line.split()
                return parts[1].decode(), json.loads(self.file.read(int(parts[-1]) + 2))


def status_of(*arguments):
    return cluster.litecluster("follow", *arguments, check=False, timeout=60)


def expect_counter(path, expected):
    def same():
        try:
            connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
            value = connection.execute("SELECT counter FROM state").fetchone()[0]
            connection.close()
            return value == expected
        except sqlite3.Error:
            return False
    cluster.wait_until(same, 30, f"{path} at {expected}")


def main():
    with cluster.scratch() as directory:
        servers = cluster.NatsServers(directory).start()
        processes = []
        try:
            url, copy, database = servers.url, directory / "copy.db", directory / "app.db"
            # What can never work is refused at once, with a reason.
            for arguments, status, text in (
                    ((), 2, "database"), ((copy,), 2, "--cluster"), ((copy, "--bucket", "b", "--frob"), 2, "--frob"),
                    ((copy, "--cluster", "nowhere", "--nats", url), 3, "nowhere-wal"),
                    ((copy, "--bucket", "nowhere", "--nats", url), 3, "nowhere"),
                    ((copy, "--bucket", "b", "--nats", url, "--node", "a.b"), 2, "a.b"),
            ):
                done = status_of(*arguments)
                # A node name is looked at once the bucket is there.
                if "--node" in arguments:
                    assert done.returncode in (2, 3), done
                    continue
                assert done.returncode == status, (arguments, done)
                assert text in done.stderr, (arguments, done.stderr)

            connection = sqlite3.connect(database, isolation_level=None)
            connection.executescript("PRAGMA journal_mode=WAL; CREATE TABLE state(counter); INSERT INTO state VALUES (1)")
            processes.append(cluster.Process("replicate", [cluster.PROGRAM, "replicate", database, "--cluster", "app",
                                                           "--nats", url, "--log-format", "json"],
                                             directory / "replicate.log").start())
            cluster.wait_until(lambda: "publishing" in (directory / "replicate.log").read_text(), 30, "the publisher")
            # Nobody's database is replaced by a copy of another one.
            foreign = directory / "foreign.db"
            with contextlib.closing(sqlite3.connect(foreign)) as mine:
                mine.executescript("CREATE TABLE mine(a); INSERT INTO mine VALUES (7)")
            done = status_of(foreign, "--cluster", "app", "--nats", url)
            assert done.returncode == 3 and "not a copy" in done.stderr, done
            with contextlib.closing(sqlite3.connect(foreign)) as mine:
                assert mine.execute("SELECT a FROM mine").fetchone() == (7,)
            listener = Listener(servers.ports[0], "app.position.*")

            def follow(*arguments):
                process = cluster.Process("follow", [cluster.PROGRAM, "follow", *arguments, "--nats", url,
                                                     "--log-format", "json"], directory / "follow.log").start()
                processes.append(process)
                return process

            missing = status_of(directory / "none" / "copy.db", "--cluster", "app", "--nats", url)
            assert missing.returncode == 3 and "none" in missing.stderr, missing

            standby = follow(copy, "--cluster", "app", "--node", "n2")
            expect_counter(copy, 1)
            connection.execute("UPDATE state SET counter = 2")
            expect_counter(copy, 2)

            # Everybody may hear where it is.
            deadline, heard = time.monotonic() + 30, None
            while time.monotonic() < deadline:
                subject, heard = listener.next()
                assert subject == "app.position.n2" and heard["node"] == "n2", (subject, heard)
                if heard["lag_txids"] == 0 and heard["problem"] is None:
                    break
            assert heard["lag_txids"] == 0 and heard["lag_ms"] == 0 and int(heard["txid"], 16) > 0, heard
            assert len(heard["checksum"]) == 16 and heard["epoch"] >= 1, heard

            # One follower to a replica.
            second = status_of(copy, "--cluster", "app", "--nats", url)
            assert second.returncode != 0 and "another process follows into this replica" in second.stderr, second

            # TERM and INT end it with success, whatever it is at.
            def said(text, times):
                cluster.wait_until(lambda: (directory / "follow.log").read_text().count(text) >= times, 60, text)

            for lives, number in enumerate((signal.SIGTERM, signal.SIGINT), 1):
                said('"event":"following"', lives)
                standby.signal(number)
                assert standby.child.wait(30) == 0, number
                assert "stopped following" in (directory / "follow.log").read_text()
                standby = follow(copy, "--bucket", "app-wal", "--node", "n2")
            said('"event":"following"', 3)

            # Without NATS it stays and says that it does not know; then goes on.
            servers.servers[0].stop()
            # It may not have come as far as watching the log.
            cluster.wait_until(lambda: any(text in (directory / "follow.log").read_text() for text in
                                           ("nothing is heard from the server", "there is no connection to a server")),
                               60, "that the server is away")
            assert standby.running()
            standby.signal(signal.SIGTERM)
            assert standby.child.wait(30) == 0
            standby = follow(copy, "--cluster", "app", "--node", "n2")
            said("waiting for NATS", 1)
            standby.signal(signal.SIGTERM)
            assert standby.child.wait(30) == 0, "while it waits for NATS"
            standby = follow(copy, "--cluster", "app", "--node", "n2")
            servers.servers[0].start()
            connection.execute("UPDATE state SET counter = 3")
            expect_counter(copy, 3)

            # A read-only file system is waited out.
            standby.stop()
            place = directory / "mounted"
            place.mkdir()
            mounted = os.geteuid() == 0 and subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", place], check=False, capture_output=True).returncode == 0
            if mounted:
                try:
                    standby = follow(place / "copy.db", "--cluster", "app", "--node", "n2")
                    said("cannot open the replica", 1)
                    assert standby.running()
                    subprocess.run(["mount", "-o", "remount,rw", place], check=True)
                    expect_counter(place / "copy.db", 3)
                    assert standby.stop() == 0
                finally:
                    subprocess.run(["umount", "-l", place], check=False)
            else:
                print("the read-only file system was left out: mounting needs privileges")
            connection.close()
        finally:
            for process in processes:
                process.kill()
            servers.stop()


if __name__ == "__main__":
    main()
