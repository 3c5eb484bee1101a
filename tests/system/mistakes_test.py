"""What people get wrong, as real processes: the wrong database, bucket or moment. Nothing is damaged, and they are told
what to do.
"""
import contextlib
import itertools
import json
import os
import shutil
import signal
import sqlite3
import sys
import time

from cluster import NatsServers, Node, PROGRAM, Process, litecluster, scratch, wait_until


def database(path, *statements):
    """Made as an application would; its connection, open."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    connection.execute("PRAGMA journal_mode = WAL")
    for statement in statements or ("CREATE TABLE IF NOT EXISTS t(x)", "INSERT INTO t VALUES(1), (2), (3)"):
        connection.execute(statement)
    return connection


class Replicate(Process):
    """`litecluster replicate`, until it is stopped."""
    number = itertools.count()

    def __init__(self, nats, path, bucket, *arguments):
        super().__init__("replicate", [PROGRAM, "replicate", path, "--nats", nats.url, "--bucket", bucket,
                                       "--log-format", "json", *arguments],
                         path.with_suffix(f".log{next(self.number)}"))
        self.start()

    def publishes(self):
        return '"event":"publishing"' in self.log.read_text()


def published(nats, path, bucket, *arguments):
    """Into the bucket, as far as there is anything, and no further."""
    process = Replicate(nats, path, bucket, *arguments)
    wait_until(process.publishes, 30, "it publishes")
    assert process.stop() == 0


def refused(status, *arguments, says):
    done = litecluster(*arguments, check=False)
    assert done.returncode == status, f"{arguments}: exit {done.returncode}, expected {status}\n{done.stderr}"
    for text in [says] if isinstance(says, str) else says:
        assert text in done.stderr, f"{arguments}: {done.stderr!r} does not say {text!r}"


def restore_over_a_database_in_use(directory, nats):
    path = directory / "used.db"
    connection = database(path)
    published(nats, path, "used")
    connection.execute("INSERT INTO t VALUES(4)")
    restore = ("restore", "--nats", nats.url, "--bucket", "used", "-o", path, "--force")
    copy = ("snapshot", "restore", "1", *restore[1:])
    litecluster("snapshot", "create", "--nats", nats.url, "--bucket", "used", "--directory", directory)
    name = json.loads(litecluster("ltx", "list", "--nats", nats.url, "--bucket", "used", "--json").stdout)[0]["name"]
    apply = ("ltx", "apply", "--nats", nats.url, "--bucket", "used", name, path)

    def expect_refusals(what):
        for command in (restore, copy, apply):
            refused(1, *command, says=["has it open", f"process {os.getpid()} ("])
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",), what

    expect_refusals("frames in the WAL")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert path.with_name("used.db-wal").stat().st_size == 0
    expect_refusals("an empty WAL, which nothing but locks tells from one that nobody uses")
    connection.execute("INSERT INTO t VALUES(5)")
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (5,)
    connection.close()
    process = Replicate(nats, path, "used")
    wait_until(process.publishes, 30, "it publishes")
    refused(1, *restore, says=[f"process {process.pid} (litecluster)", "stop every program"])
    assert process.stop() == 0

    # Other journal modes: in the middle of a transaction.
    plain = sqlite3.connect(directory / "plain.db", isolation_level=None)
    plain.executescript("CREATE TABLE t(x); INSERT INTO t VALUES(1); BEGIN; SELECT * FROM t")
    plain.execute("SELECT * FROM t").fetchall()
    refused(1, *restore[:-2], directory / "plain.db", "--force", says="has it open")
    plain.close()
    litecluster(*restore[:-2], directory / "plain.db", "--force")

    litecluster(*restore)
    with contextlib.closing(sqlite3.connect(path)) as restored:
        assert restored.execute("SELECT count(*) FROM t").fetchone() == (5,)
    print("a database in use is not replaced", flush=True)


def second_replicate(directory, nats):
    path = directory / "twice.db"
    connection = database(path)
    first = Replicate(nats, path, "twice")
    wait_until(first.publishes, 30, "it publishes")
    refused(3, "replicate", path, "--nats", nats.url, "--bucket", "twice", says=["twice.db", "stop it first"])
    assert first.running()
    connection.execute("INSERT INTO t VALUES(4)")
    assert first.stop() == 0
    published(nats, path, "twice")
    connection.close()
    print("a second publisher of one database ends at once", flush=True)


def a_database_of_another_journal_mode(directory, nats):
    path = directory / "delete.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t(x)")
    refused(1, "replicate", path, "--nats", nats.url, "--bucket", "delete", says=["'delete'", "--switch-to-wal"])
    process = Replicate(nats, path, "delete", "--switch-to-wal")
    wait_until(process.publishes, 30, "it publishes")
    assert process.stop() == 0


def rows(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM t ORDER BY rowid").fetchall()


def restored(directory, nats, bucket):
    path = directory / f"look-{next(Replicate.number)}.db"
    litecluster("restore", "--nats", nats.url, "--bucket", bucket, "-o", path)
    return path


def blobs(connection, count):
    connection.executemany("INSERT INTO t VALUES(?)", [(os.urandom(1500),) for _ in range(count)])


def the_bucket_of_another_database(directory, nats):
    """A log that is not ours is not written into; whoever goes on with a log, or comes back to it, is let in."""
    path = directory / "mine.db"
    connection = database(path, "CREATE TABLE t(x)")
    blobs(connection, 40)
    published(nats, path, "mine")

    # Another database, of the same schema, new or published elsewhere before.
    other = directory / "other.db"
    stranger = database(other, "CREATE TABLE t(x)")
    blobs(stranger, 60)
    wrong = ("replicate", other, "--nats", nats.url, "--bucket", "mine")
    for _ in range(2):
        refused(3, *wrong, says=["other.db", "bucket mine", "--take-over"])
    published(nats, other, "others")
    refused(3, *wrong, says="--take-over")
    published(nats, other, "others")
    assert rows(restored(directory, nats, "mine")) == rows(path), "the log is what it was"

    # The same database: again, after its state directory was lost, changed meanwhile or not.
    published(nats, path, "mine")
    for changed in (False, True):
        shutil.rmtree(directory / ".mine.db-litecluster")
        if changed:
            blobs(connection, 10)
        published(nats, path, "mine")
        assert rows(restored(directory, nats, "mine")) == rows(path)
    connection.close()

    # Another machine goes on with what it restored; the application was faster than we.
    for changed in (False, True):
        copy = restored(directory, nats, "mine")
        connection = database(copy, "SELECT 1")
        if changed:
            connection.execute("CREATE TABLE more(y)")
            blobs(connection, 15)
        connection.close()
        published(nats, copy, "mine")
        assert rows(restored(directory, nats, "mine")) == rows(copy)

    # And when it is meant.
    published(nats, other, "mine", "--take-over")
    published(nats, other, "mine")
    assert rows(restored(directory, nats, "mine")) == rows(other)
    stranger.close()
    print("the log of another database is left alone", flush=True)


def a_cluster_that_never_ran(nats):
    for command in ("status", "members", "stepdown", "sync"):
        refused(3, command, "--cluster", "nobody", "--nats", nats.url, says=["nobody", "no node of it has run"])
    refused(3, "restore", "--cluster", "nobody", "--nats", nats.url, "-o", "/nowhere", says="nothing was published")
    refused(2, "snyc", "--help", says="did you mean sync?")
    refused(2, "kv", "gte", "--help", says="did you mean get?")
    refused(2, "run", "--cluster", "c", "--node", "n", "--db", "/no/such/place/app.db", says="there is no such directory")


def a_bucket_that_is_gone(directory, nats):
    """A database that was published does not get a bucket anew by itself; the way on is told."""
    path = directory / "moved.db"
    database(path).close()
    published(nats, path, "moved")
    refused(3, "replicate", path, "--nats", nats.url, "--bucket", "mvoed", says=["mvoed", "does not exist", "restore its stream"])


def stopped_twice_at_once(directory, nats):
    """timeout(1) signals the process and then its group. That is one request: the leader hands over all the same."""
    node = Node(directory, nats.url, "n1", cluster="hasty", lease="2s").start()
    path = directory / "hasty.db"
    connection = database(path)
    process = Replicate(nats, path, "hasty")
    try:
        wait_until(node.is_active, 30, "it leads")
        litecluster("sync", "--cluster", "hasty", "--nats", nats.url)
        assert json.loads(litecluster("sync", "--socket", node.directory / "litecluster-n1.sock", "--json").stdout)["ok"]
        wait_until(process.publishes, 30, "it publishes")
        for child in (node.process, process):
            os.kill(child.pid, signal.SIGTERM)
            time.sleep(0.005)
            os.killpg(child.pid, signal.SIGTERM)
        assert process.child.wait(30) == 0
        assert node.process.child.wait(30) == 0
        assert "given back" in node.log.read_text()
        refused(3, "sync", "--cluster", "hasty", "--nats", nats.url, says="nobody leads")
    finally:
        node.process.kill()
        process.kill()
        connection.close()
    print("two signals at once are one request to stop", flush=True)


def main():
    with scratch() as directory, contextlib.ExitStack() as cleanup:
        nats = NatsServers(directory).start()
        cleanup.callback(nats.stop)
        wanted = sys.argv[1:]
        tests = {
            "restore_over_a_database_in_use": lambda: restore_over_a_database_in_use(directory, nats),
            "second_replicate": lambda: second_replicate(directory, nats),
            "the_bucket_of_another_database": lambda: the_bucket_of_another_database(directory, nats),
            "a_database_of_another_journal_mode": lambda: a_database_of_another_journal_mode(directory, nats),
            "a_cluster_that_never_ran": lambda: a_cluster_that_never_ran(nats),
            "a_bucket_that_is_gone": lambda: a_bucket_that_is_gone(directory, nats),
            "stopped_twice_at_once": lambda: stopped_twice_at_once(directory, nats),
        }
        for name, test in tests.items():
            if not wanted or name in wanted:
                test()


if __name__ == "__main__":
    main()
