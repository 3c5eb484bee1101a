"""`litecluster replicate` on its bad days, as a real process: Scenario 4 (kill -9 at each step on the way into the log),
NATS away with commits spooled and a kill -9 in between, the database deleted and replaced, a second publisher.

Whatever happens: no TXID is missing or doubled, no half object is visible, and the log leads to the database.
"""
import contextlib
import datetime
import json
import os
import pty
import sqlite3
import subprocess
import sys
import time

from cluster import NatsServers, PROGRAM, Process, litecluster, scratch, wait_until

# Where the process is killed, and the how manieth time that it comes there.
KILLS = ["object.chunk_sent=kill@4", "object.metadata_sent=kill@3", "object.chunks_stored=kill@1", "capture.gathered=kill@3",
         "capture.recorded=kill@4", "capture.acknowledged=kill@3", "checkpoint.second_pin=kill", "checkpoint.moved_pin=kill",
         "checkpoint.copied=kill", "capture.rotate_journal=kill", "capture.rotate_base=kill", "capture.compared=kill"]


class Database:
    def __init__(self, path):
        self.path, self.serial = path, 0
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=20)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = OFF")
        self.connection.execute("PRAGMA wal_autocheckpoint = 0")
        self.connection.execute("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, x BLOB)")

    def write(self, count=1, size=2000):
        for _ in range(count):
            self.serial += 1
            self.connection.execute("INSERT INTO t(x) VALUES(?)", (os.urandom(size),))
            if self.serial % 10 == 0:
                self.connection.execute("DELETE FROM t WHERE id % 17 = ?", (self.serial // 10 % 17,))

    def rows(self):
        return self.connection.execute("SELECT id, x FROM t ORDER BY id").fetchall()


class World:
    processes = []  # of all worlds: they are ended when a test fails as well

    def __init__(self, directory, nats, bucket):
        self.directory, self.nats, self.bucket = directory, nats, bucket
        self.log = directory / f"{bucket}.log"

    def replicate(self, database, *arguments, fault=""):
        process = Process("replicate", [PROGRAM, "replicate", database.path, "--nats", self.nats.url, "--bucket", self.bucket,
                                        "--log-format", "json", "--sqlite-checkpoint-pages", "100", *arguments], self.log,
                          {"LITECLUSTER_FAULT": fault}).start()
        self.processes.append(process)
        return process

    @classmethod
    def end_processes(cls):
        for process in cls.processes:
            if process.running():
                process.kill()

    def cli(self, *arguments, **options):
        return litecluster(*arguments, "--nats", self.nats.url, "--bucket", self.bucket, **options)

    def objects(self, level=0):
        return json.loads(self.cli("ltx", "list", "--json", "--level", level).stdout)

    def end(self):
        done = self.cli("restore", "--dry-run", "--json", check=False)
        return int(json.loads(done.stdout)["txid"], 16) if done.returncode == 0 else 0

    def restored_rows(self, *target):
        output = self.directory / f"{self.bucket}-restored.db"
        self.cli("restore", "--force", "--integrity-check", "full", "-o", output, *target)
        with contextlib.closing(sqlite3.connect(output)) as connection:
            rows = connection.execute("SELECT id, x FROM t ORDER BY id").fetchall()
        for suffix in ("", "-wal", "-shm"):
            output.with_name(output.name + suffix).unlink(missing_ok=True)
        return rows

    def expect_replicated(self, database, what):
        wanted = database.rows()
        wait_until(lambda: self.end() and self.restored_rows() == wanted, 60, f"{what}: the log leads to the database")

    def messages(self):
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def said(self, text):
        return any(text in json.dumps(message) for message in self.messages())


def killed_at_each_step(directory, nats):
    world = World(directory, nats, "killed")
    database = Database(directory / "killed.db")
    killed = 0
    for fault in KILLS:
        process = world.replicate(database, fault=fault)
        end = time.monotonic() + 6
        while process.running() and time.monotonic() < end:
            # Some commits make objects of several chunks.
            database.write(3, size=400_000 if fault.startswith("object.chunk") else 3000)
            time.sleep(0.005)
        if process.running():
            process.kill()
        else:
            assert process.child.returncode == -9, f"{fault}: exit {process.child.returncode}, see {world.log}"
            killed += 1
        database.write(3)
    print(f"died at {killed} of {len(KILLS)} places", flush=True)
    assert killed >= 8
    process = world.replicate(database)
    world.expect_replicated(database, "after all kills")
    assert process.stop() == 0
    world.expect_replicated(database, "at the end")
    raw = world.objects()
    txids = [int(entry["min_txid"], 16) for entry in raw]
    assert txids == list(range(txids[0], txids[0] + len(txids))), f"a gap or a double: {txids}"
    assert not any(entry["stale"] for entry in raw)
    world.cli("ltx", "verify")
    for entry in raw[:: max(1, len(raw) // 5)]:
        world.restored_rows("--txid", entry["max_txid"])
    print(f"{len(raw)} raw objects, none missing, none double, all whole", flush=True)


def nats_away(directory):
    """Commits are spooled, so that the WAL can be checkpointed; the process is killed, and NATS stays away for longer."""
    nats = NatsServers(directory / "away-nats").start()
    try:
        world = World(directory, nats, "away")
        database = Database(directory / "away.db")
        process = world.replicate(database)
        database.write(10)
        world.expect_replicated(database, "before")
        before = world.end()
        nats.servers[0].kill()
        wal = database.path.with_name(database.path.name + "-wal")
        largest, spool = 0, database.path.parent / f".{database.path.name}-litecluster" / "spool"
        written, give_up = 0, time.monotonic() + 60
        # However slow the machine is: without checkpoints the WAL holds all that is written, for ever. Who writes
        # faster than commits can be captured finds no moment for one, so it goes on slowly.
        while written < 80 * 20 * 30_000 or (largest >= written / 2 and time.monotonic() < give_up):
            time.sleep(0.01 if written < 80 * 20 * 30_000 else 0.2)
            database.write(20, size=30_000)
            written += 20 * 30_000
            largest = max(largest, wal.stat().st_size)
        assert largest < written / 2, f"the WAL grew to {largest} of {written} bytes: it was not checkpointed"
        wait_until(lambda: spool.exists() and any(spool.iterdir()), 30, "captures are spooled to disk")
        wait_until(lambda: world.said("has a problem"), 30, "the problem is told")
        process.kill()
        database.write(50, size=3000)
        process = world.replicate(database)
        database.write(50, size=3000)
        wait_until(lambda: world.said("waiting for NATS"), 30, "it waits for NATS")
        nats.servers[0].start()
        world.expect_replicated(database, "after NATS came back")
        assert world.end() > before
        txids = [int(entry["min_txid"], 16) for entry in world.objects()]
        assert txids == list(range(txids[0], txids[0] + len(txids))), txids
        # And once more without a kill: what was spooled goes out in order.
        before = world.end()
        nats.servers[0].kill()
        for _ in range(80):
            database.write(20, size=30_000)
            time.sleep(0.01)
        nats.servers[0].start()
        world.expect_replicated(database, "after the second outage")
        assert world.end() > before + 3, "what was captured apart arrives apart"
        assert process.stop() == 0
        print(f"WAL at most {largest} bytes while {written} were written and NATS was away", flush=True)
    finally:
        nats.stop()


def database_comes_and_goes(directory, nats):
    world = World(directory, nats, "gone")
    database = Database(directory / "gone.db")
    process = world.replicate(database)
    database.write(20)
    world.expect_replicated(database, "before")
    database.connection.close()
    for suffix in ("", "-wal", "-shm"):
        database.path.with_name(database.path.name + suffix).unlink(missing_ok=True)
    wait_until(lambda: world.said("deleted or renamed"), 30, "the reason is told")
    wait_until(lambda: world.said("has a problem"), 30, "it is told that it lasts")
    assert process.running()
    database = Database(database.path)
    database.write(5)
    world.expect_replicated(database, "the database that came instead")
    assert process.stop() == 0


def second_publisher(directory, nats):
    world = World(directory, nats, "two")
    first, second = Database(directory / "first.db"), Database(directory / "second.db")
    one = world.replicate(first)
    first.write(5)
    world.expect_replicated(first, "the first publisher")
    two = world.replicate(second, "--node", "usurper", "--take-over")
    wait_until(lambda: not one.running(), 30, "the first is told and ends, although it is idle")
    assert one.child.returncode == 3, one.child.returncode
    assert "usurper" in world.log.read_text()
    second.write(5)
    world.expect_replicated(second, "the second publisher")
    assert two.stop() == 0


def run_on_terminal(*command):
    """Output of a command that believes to write to a terminal, and its exit status."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(str(command[0]), [str(part) for part in command])
    output = b""
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 65536):
            output += piece
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return output.decode(errors="replace"), os.waitstatus_to_exitcode(status)


def command_line(directory, nats):
    """restore, snapshot and ltx with the flags that people use, right and wrong."""
    world = World(directory, nats, "flags")
    database = Database(directory / "flags.db")
    process = world.replicate(database)
    database.write(20)
    world.expect_replicated(database, "before")
    then, rows_then = world.end(), database.rows()
    time.sleep(0.05)
    moment = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    time.sleep(0.05)
    database.write(20, size=50_000)
    world.expect_replicated(database, "after")
    assert process.stop() == 0

    assert world.restored_rows("--txid", f"{then:x}") == rows_then
    assert world.restored_rows("--at", moment) == rows_then
    output = directory / "out.db"
    report = json.loads(world.cli("restore", "-o", output, "--json", "--integrity-check", "quick").stdout)
    assert report["output"] == str(output) and int(report["txid"], 16) == world.end(), report
    refused = world.cli("restore", "-o", output, check=False)
    assert refused.returncode == 3 and "already" in refused.stderr, refused
    world.cli("restore", "-o", output, "--force")
    plan = json.loads(world.cli("restore", "--dry-run", "--json", "--txid", f"{then:x}").stdout)
    assert int(plan["txid"], 16) == then and plan["objects"], plan
    for wrong, status in ((("--txid", "xyz"), 2), (("--at", "yesterday"), 2), (("--txid", "ffffff"), 3),
                          (("--at", "2001-01-01T00:00:00Z"), 3), (("--integrity-check", "some"), 2)):
        done = world.cli("restore", "-o", directory / "never.db", *wrong, check=False)
        assert done.returncode == status and done.stderr, f"{wrong}: {done.returncode} {done.stderr}"
    missing = litecluster("restore", "-o", directory / "never.db", "--nats", nats.url, "--bucket", "no-such", check=False)
    assert missing.returncode == 3, missing
    assert not (directory / "never.db").exists()
    text, status = run_on_terminal(PROGRAM, "restore", "-o", directory / "bar.db", "--nats", nats.url, "--bucket", "flags")
    assert status == 0 and "100.0 %" in text, text

    small = directory / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", small], capture_output=True).returncode == 0:
        try:
            done = world.cli("restore", "-o", small / "out.db", check=False)
            assert done.returncode == 1 and "space" in done.stderr.lower(), done
            assert not list(small.iterdir()), "a full disk keeps nothing of a restore that failed"
        finally:
            subprocess.run(["umount", small], check=True)

    world.cli("snapshot", "create")
    process = world.replicate(database)
    database.write(5)
    world.expect_replicated(database, "again")
    assert process.stop() == 0
    world.cli("snapshot", "create")
    first, second = [json.loads(line)["id"] for line in world.cli("snapshot", "list", "--json").stdout.splitlines()]
    world.cli("snapshot", "restore", first, "-o", directory / "snapshot.db")
    assert world.cli("snapshot", "remove", second, check=False).returncode == 1, "the newest stays"
    world.cli("snapshot", "remove", first)
    assert len(world.objects(9)) == 1

    raw = world.objects()
    assert "ltx/0/" in world.cli("ltx", "list").stdout
    dumped = json.loads(world.cli("ltx", "dump", "--json", "--pages", raw[-1]["max_txid"]).stdout)
    assert dumped["min_txid"] == raw[-1]["min_txid"] and dumped["pages"], dumped
    verified = json.loads(world.cli("ltx", "verify", "--json").stdout)
    # A compaction may have come meanwhile.
    assert len(verified) >= len(raw) + 1 and all(entry["ok"] for entry in verified)
    world.cli("ltx", "apply", *[entry["name"] for entry in raw], directory / "applied.db")
    world.cli("restore", "-o", output, "--force")
    assert (directory / "applied.db").read_bytes() == output.read_bytes()
    assert world.cli("ltx", "dump", "ffffff", check=False).returncode == 3
    assert litecluster("ltx", "verify", check=False).returncode == 2
    print("restore, snapshot and ltx do what their flags say", flush=True)


def main():
    with scratch() as directory, contextlib.ExitStack() as cleanup:
        nats = NatsServers(directory).start()
        cleanup.callback(nats.stop)
        cleanup.callback(World.end_processes)
        wanted = sys.argv[1:]
        for test in (killed_at_each_step, database_comes_and_goes, second_publisher, command_line):
            if not wanted or test.__name__ in wanted:
                test(directory, nats)
        if not wanted or "nats_away" in wanted:
            nats_away(directory)


if __name__ == "__main__":
    main()
