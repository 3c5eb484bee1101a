#!/usr/bin/env python3
"""What we write is read by genuine Litestream.

The npm package litestream-vfs-linux-amd64 is Litestream's official SQLite extension. With hydration on it runs the
same compaction and decoding as `litestream restore`, from a NATS object store, and leaves a database file. So each
case here makes a database in several steps, encodes the steps with our program, publishes the files with an
independent NATS client (nats-py), lets Litestream hydrate, and compares byte by byte.

Exit status: 0 all equal, 1 a difference, 77 skipped because a package or a program is missing.
"""
import argparse
import asyncio
import fcntl
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
PACKAGE = "litestream-vfs-linux-amd64@0.5.17"
CLIENT = "nats-py==2.16.0"
# Errors of the oracle's transport, not of what it read: its NATS client gives each object five seconds, and cancels
# reads of objects that are not read fast enough ("fetch page index: read ltx page index: context canceled"). On a
# busy machine that befell 59 of 161 hydrations, seven in a row; only more attempts help. A file that Litestream
# refuses is refused with another error, at once.
TRANSPORT_ERRORS = ("context canceled", "timeout", "deadline exceeded")
PAGE_SIZES = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)


def skip(reason):
    print(f"SKIPPED: {reason}")
    sys.exit(SKIPPED)


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, **options).stdout


def install(cache):
    """Puts extension and client into the cache; returns the paths of the extension and of the client's modules."""
    for program in ("sqlite3", "nats-server", "npm"):
        if shutil.which(program) is None and not (program == "nats-server" and os.path.exists("/usr/sbin/nats-server")):
            skip(f"{program} is not installed")
    cache.mkdir(parents=True, exist_ok=True)
    extension = cache / "node_modules" / PACKAGE.split("@")[0] / "litestream-vfs.so"
    modules = cache / "python"
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if not extension.exists():
                run("npm", "install", "--prefix", cache, "--no-save", "--no-audit", "--no-fund", "--silent", PACKAGE,
                    timeout=120)
            if not (modules / "nats").exists():
                run(sys.executable, "-m", "venv", cache / "venv", timeout=120)
                run(cache / "venv" / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--target",
                    modules, CLIENT, timeout=120)
        except (subprocess.SubprocessError, OSError) as error:
            detail = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
            skip(f"cannot install {PACKAGE} and {CLIENT}: {detail[-1] if detail else error}")
    if not extension.exists():
        skip(f"{PACKAGE} holds no {extension.name}")
    return extension, modules


class Server:
    """A private nats-server with JetStream on loopback."""

    def __init__(self, directory):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        program = shutil.which("nats-server") or "/usr/sbin/nats-server"
        self.process = subprocess.Popen(
            [program, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(directory)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError("nats-server does not answer")
                time.sleep(0.02)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Hydration:
    """A sqlite3 shell with Litestream's extension, which hydrates one replica to a file."""

    def __init__(self, extension, url, case, directory):
        self.target = directory / f"{case}-hydrated.db"
        self.log = directory / f"{case}-vfs.log"
        for stale in (self.target, self.log):
            stale.unlink(missing_ok=True)
        environment = dict(os.environ, LITESTREAM_REPLICA_URL=url, LITESTREAM_HYDRATION_ENABLED="true", LITESTREAM_HYDRATION_PATH=str(self.target),
                           LITESTREAM_LOG_FILE=str(self.log), LITESTREAM_LOG_LEVEL="DEBUG")
        self.shell = subprocess.Popen(["sqlite3"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL, env=environment, cwd=directory)
        self.shell.stdin.write(f".load {extension} sqlite3_litestreamvfs_init\n"
                               ".open file:any.db?vfs=litestream\n"
                               "SELECT count(*) FROM sqlite_schema;\n".encode())
        self.shell.stdin.flush()

    def wait(self, seconds):
        """None when the whole database is there, else what went wrong."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
            for line in lines:
                if "hydration failed" in line or "level=ERROR" in line:
                    return line
                if "hydration complete" in line:
                    return None
            time.sleep(0.05)
        return "timeout: hydration does not finish"

    def stop(self):
        self.shell.kill()
        self.shell.wait()
        self.shell.stdin.close()


class Lab:
    def __init__(self, arguments, directory, extension, port, client):
        self.arguments, self.directory, self.extension, self.port = arguments, directory, extension, port
        self.client = client
        self.failures = 0
        self.repeated = 0

    async def publish(self, bucket, objects):
        import nats.js.api as api
        store = await self.client.jetstream().create_object_store(bucket)
        for name, path in objects:
            await store.put(name, path.read_bytes(), meta=api.ObjectMeta(
                name=name, headers={"Litestream-Timestamp": ["2026-01-02T03:04:05Z"]}))

    def url(self, bucket):
        return f"nats://127.0.0.1:{self.port}/{bucket}"

    async def hydrate(self, case, url, seconds=60):
        """The hydrated file and None, or what Litestream said against it."""
        patience = time.monotonic() + seconds
        while True:
            hydration = Hydration(self.extension, url, case, self.directory)
            try:
                problem = await asyncio.to_thread(hydration.wait, seconds)
            finally:
                hydration.stop()
            transport = problem is not None and any(error in problem for error in TRANSPORT_ERRORS)
            if not transport or time.monotonic() > patience:
                return hydration.target, problem
            self.repeated += 1
            print(f"again   {case:22} {problem}", flush=True)

    async def compare(self, case, url, expected, started):
        target, problem = await self.hydrate(case, url)
        if problem is None and subprocess.run(["cmp", str(target), str(expected)]).returncode != 0:
            problem = f"the restored database differs from the original ({target.stat().st_size} bytes)"
        self.report(case, problem, started)
        target.unlink(missing_ok=True)

    def report(self, case, problem, started):
        self.failures += problem is not None
        print(f"{'FAILED' if problem else 'ok':7} {case:22} {time.monotonic() - started:5.1f} s  {problem or ''}",
              flush=True)

    def encode(self, database, encoding):
        path = database.with_suffix(f".{encoding}.1.ltx")
        run(self.arguments.program, "ltx", "encode", database, "-o", path, "--encoding", encoding)
        return path

    def difference(self, before, after, txid, encoding):
        path = after.with_suffix(f".{encoding}.{txid}.ltx")
        run(self.arguments.diff, before, after, format(txid, "x"), encoding, path)
        return path

    def compact(self, files, encoding, name):
        path = self.directory / name
        run(self.arguments.program, "ltx", "compact", *files, "-o", path, "--encoding", encoding)
        return path


def key(level, first, last):
    return f"ltx/{level}/{first:016x}-{last:016x}.ltx"


def make_states(directory, page_size):
    """A database after each of six steps: tables, one of them empty; growth; changes; VACUUM; growth again."""
    steps = (
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); CREATE TABLE empty(x UNIQUE); CREATE INDEX i ON t(a);",
        f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n<400) "
        f"INSERT INTO t SELECT n, 'name '||n, randomblob(n*{page_size // 512}/8 + 50) FROM c;",
        "UPDATE t SET a = 'changed' WHERE id % 7 = 0;",
        "DELETE FROM t WHERE id > 60; VACUUM;",
        "DROP INDEX i; VACUUM;",
        f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n<300) "
        f"INSERT INTO t(a, b) SELECT n, zeroblob({page_size} * 2) FROM c; CREATE TABLE last(x);",
    )
    working = directory / f"source-{page_size}.db"
    run("sqlite3", working, f"PRAGMA page_size={page_size}; PRAGMA journal_mode=WAL; VACUUM;")
    states = []
    for number, sql in enumerate(steps, 1):
        run("sqlite3", working, sql + " PRAGMA wal_checkpoint(TRUNCATE);")
        state = directory / f"state-{page_size}-{number}.db"
        shutil.copyfile(working, state)
        states.append(state)
    return states


async def page_size_case(lab, page_size):
    """L0 files one by one in one encoding, and a snapshot with a level-1 file and an L0 in the other."""
    states = await asyncio.to_thread(make_states, lab.directory, page_size)
    for encoding, other in (("block", "frame"), ("frame", "block")):
        started = time.monotonic()
        files = [lab.encode(states[0], encoding)]
        files += [lab.difference(states[i - 1], states[i], i + 1, encoding) for i in range(1, len(states))]
        objects = [(key(0, i, i), file) for i, file in enumerate(files, 1)]
        if encoding == "frame":  # what compaction makes of it
            snapshot = lab.compact(files[:3], other, f"snapshot-{page_size}.ltx")
            level_1 = lab.compact(files[3:5], other, f"level1-{page_size}.ltx")
            objects = [(key(9, 1, 3), snapshot), (key(1, 4, 5), level_1), (key(0, 6, 6), files[5])]
        bucket = f"{encoding}-{page_size}"
        await lab.publish(bucket, objects)
        await lab.compare(bucket, lab.url(bucket), states[-1], started)


async def large_case(lab):
    """Beyond 1 GiB with pages of 4 KiB: the lock page lies within. Mostly zeros, so that it is quick.

    From files instead of NATS: Litestream gives an object in NATS five seconds to be restored, whatever its size.
    """
    started = time.monotonic()
    small, large = lab.directory / "small.db", lab.directory / "large.db"
    run("sqlite3", small, "PRAGMA page_size=4096; CREATE TABLE t(id INTEGER PRIMARY KEY, b); INSERT INTO t VALUES (0, 'x');")
    shutil.copyfile(small, large)
    await asyncio.to_thread(
        run, "sqlite3", large, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
        "INSERT INTO t VALUES (1, zeroblob(540000000)), (2, zeroblob(534000000)), (3, 'behind the lock page');")
    replica = lab.directory / "replica"
    (replica / "ltx" / "0").mkdir(parents=True)
    lab.encode(small, "block").rename(replica / key(0, 1, 1))
    grown = await asyncio.to_thread(lab.difference, small, large, 2, "block")
    grown.rename(replica / key(0, 2, 2))
    if large.stat().st_size <= 262145 * 4096:
        raise RuntimeError("the large database does not reach the lock page")
    await lab.compare("beyond-1-GiB", f"file://{replica}", large, started)


async def rejected_case(lab):
    """The oracle does look: it refuses a file with a wrong checksum, for the reason known."""
    started = time.monotonic()
    await lab.publish("bad-checksum", [(key(0, 1, 1), lab.arguments.samples / "lab-rejected-bad_crc.ltx")])
    _, problem = await lab.hydrate("bad-checksum", lab.url("bad-checksum"), 20)
    seen = problem is not None and "checksum mismatch" in problem
    lab.report("bad-checksum", None if seen else f"accepted, or refused for another reason: {problem}", started)


async def check(lab):
    if lab.arguments.cases == "large":
        await large_case(lab)
        return
    slots = asyncio.Semaphore(2)

    async def limited(case):
        async with slots:
            await case

    await asyncio.gather(*(limited(page_size_case(lab, size)) for size in PAGE_SIZES), limited(rejected_case(lab)))


async def main(arguments):
    extension, modules = install(arguments.cache)
    sys.path.insert(0, str(modules))
    import nats
    with tempfile.TemporaryDirectory(prefix="litecluster-oracle-") as name:
        directory = pathlib.Path(name)
        server = Server(directory / "nats")
        try:
            client = await nats.connect(f"nats://127.0.0.1:{server.port}")
            lab = Lab(arguments, directory, extension, server.port, client)
            await check(lab)
            await client.close()
        finally:
            server.stop()
    print(f"{lab.failures} failed; {lab.repeated} times again after an error of Litestream's transport")
    return 1 if lab.failures else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("program", "diff", "samples", "cache"):
        parser.add_argument(f"--{option}", type=lambda text: pathlib.Path(text).resolve(), required=True)
    parser.add_argument("--cases", choices=("sizes", "large"), required=True)
    sys.exit(asyncio.run(main(parser.parse_args())))
