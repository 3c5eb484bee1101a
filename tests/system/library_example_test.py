"""The example that uses the library alone: two processes of it, one leader.

Promised: numbers that were printed as sold are never sold twice and never missing, over a planned hand-over and over a
kill -9; the node that leads says so in the key-value bucket; the other one follows.
"""
import contextlib
import sqlite3

from cluster import BUILD, NatsServers, Process, litecluster, scratch, wait_until

EXAMPLE = BUILD / "litecluster-example-library"


def lines(office, word):
    return [line[len(word) + 1:] for line in office.log.read_text().splitlines() if line.startswith(word + " ")]


def sold(office):
    return [int(number) for number in lines(office, "sold")]


def passive(office):
    return "passive" in office.log.read_text().splitlines()


def tickets_in(path):
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {row[0] for row in connection.execute("SELECT number FROM ticket")}


def main():
    with scratch() as directory:
        nats = NatsServers(directory).start()
        offices = {}
        try:
            for name in ("a", "b"):
                (directory / name).mkdir()
                offices[name] = Process(name, [EXAMPLE, "tickets", name, nats.url, directory / name / "app.db"],
                                        directory / name / "log").start()
            first = wait_until(lambda: next((o for o in offices.values() if sold(o)), None), 30, "a ticket is sold")
            second = next(office for office in offices.values() if office is not first)
            wait_until(lambda: len(sold(first)) >= 20, 30, "twenty tickets")
            told = litecluster("kv", "get", "--cluster", "tickets", "--nats", nats.url, "office/open-at").stdout
            assert told == first.name, f"the bucket says that {told!r} sells"

            assert first.stop() == 0, "SIGTERM ends it in order"
            assert passive(first), "on_passive was called"
            wait_until(lambda: len(sold(second)) >= 20, 30, "the other one goes on")
            assert sold(second)[0] == sold(first)[-1] + 1 or sold(second)[0] > sold(first)[-1]
            assert lines(second, "leader")[-1] == second.name
            assert set(sold(first)) <= tickets_in(directory / second.name / "app.db"), "a planned hand-over loses nothing"

            first.log.unlink()
            first.start()
            wait_until(lambda: (directory / first.name / "app.db-replica").exists(), 30, "the first one follows")
            before = sold(second)
            second.kill()
            wait_until(lambda: len(sold(first)) >= 20, 30, "the first one sells again")
            held = tickets_in(directory / first.name / "app.db")
            assert set(before) <= held, f"sold before the kill and missing: {sorted(set(before) - held)[:5]}"
            assert first.stop() == 0
            print(f"{len(held)} tickets, none twice, none missing")
        finally:
            for office in offices.values():
                office.kill()
            nats.stop()


if __name__ == "__main__":
    main()
