"""A database of any size is published, snapshotted and restored within 100 MiB of resident memory, and what a
publisher or a follower needed for that is given back in quiet.

LITECLUSTER_MEMORY_MIB sets the size of the database (default 192); the promise is made for 2048.
"""
import contextlib
import json
import os
import pathlib
import sqlite3
import subprocess
import sys
import time

from cluster import NatsServers, PROGRAM, Process, litecluster, scratch, wait_until

MEBIBYTES = int(os.environ.get("LITECLUSTER_MEMORY_MIB", "192"))
LIMIT = 100
QUIET_LIMIT = 12


SANITIZED = "asan" in str(PROGRAM) or "tsan" in str(PROGRAM)


def memory(pid, field):
    """A field of the process's status in MiB: VmHWM is the most that was ever resident, RssAnon what it has of its own now."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no {field}")


def wait_until_given_back(pid, what):
    if not SANITIZED:
        wait_until(lambda: memory(pid, "RssAnon") < QUIET_LIMIT, 60, f"{what} gives its memory back")
    return memory(pid, "RssAnon")


def make_database(path):
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = OFF", "synchronous = OFF"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, x BLOB)")
    connection.execute("BEGIN")
    for _ in range(MEBIBYTES):
        connection.execute("INSERT INTO t(x) VALUES(?)", (os.urandom(1 << 20),))
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")
    return connection


def rows_of(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM t").fetchone()[0]


def run_measured(*command):
    """Exit status and VmHWM of a command that runs to its end."""
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, usage.ru_maxrss / 1024


def main():
    with scratch() as directory, contextlib.ExitStack() as cleanup:
        nats = NatsServers(directory).start()
        cleanup.callback(nats.stop)
        database = directory / "app.db"
        connection = make_database(database)
        cleanup.callback(connection.close)
        where = ("--nats", nats.url, "--bucket", "memory")
        process = Process("replicate", [PROGRAM, "replicate", database, *where, "--log-format", "json",
                                        "--sqlite-snapshot-interval", "2s"], directory / "log").start()
        cleanup.callback(process.kill)

        def objects():
            done = litecluster("ltx", "list", "--json", *where, check=False)
            return json.loads(done.stdout) if done.returncode == 0 else []

        begin = time.monotonic()
        wait_until(lambda: objects() or not process.running(), 600, "the first object")
        shipped = time.monotonic() - begin
        connection.execute("INSERT INTO t(x) VALUES('one more')")
        wait_until(lambda: any(entry["level"] == 9 for entry in objects()) or not process.running(), 600, "a snapshot")
        published = memory(process.pid, "VmHWM")
        copy = directory / "copy.db"
        follower = Process("follow", [PROGRAM, "follow", copy, *where, "--log-format", "json"], directory / "follow.log").start()
        cleanup.callback(follower.kill)
        wait_until(lambda: "replica seeded" in follower.log.read_text(), 600, "the copy")
        burst = 150
        for _ in range(burst):
            connection.execute("INSERT INTO t(x) VALUES(randomblob(400000))")
        added = MEBIBYTES + 1 + burst
        wait_until(lambda: rows_of(copy) == added, 60, "more in the copy")
        quiet = wait_until_given_back(process.pid, "replicate")
        followed = wait_until_given_back(follower.pid, "follow")
        print(f"in quiet {quiet:.1f} MiB of its own, a follower {followed:.1f} MiB", flush=True)
        assert follower.stop(60) == 0
        assert process.stop(60) == 0
        begin = time.monotonic()
        status, restored = run_measured(PROGRAM, "restore", *where, "-o", directory / "restored.db")
        assert status == 0
        taken = time.monotonic() - begin
        print(f"{MEBIBYTES} MiB: replicate {published:.0f} MiB resident at most (first object after {shipped:.1f} s), "
              f"restore {restored:.0f} MiB ({taken:.1f} s)", flush=True)
        assert rows_of(directory / "restored.db") == added
        if not SANITIZED:
            assert published < LIMIT and restored < LIMIT, f"more than {LIMIT} MiB"


if __name__ == "__main__":
    sys.exit(main())
