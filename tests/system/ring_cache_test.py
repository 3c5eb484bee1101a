"""The example ring cache: three nodes and a client that reads and writes while nodes join, leave and crash.

Promised: every read returns the value of the last acknowledged write of its key, or that of a later one that was sent;
after each incident the partitions are owned again and requests are answered.
"""
import json
import random
import subprocess
import sys
import threading

from cluster import BUILD, NatsServers, Process, litecluster, scratch, wait_until

PROGRAM = BUILD / "litecluster-example-ring-cache"
HEARTBEAT = 300


class CacheClient(threading.Thread):
    """Drives one client process; checks each answer against what it wrote itself. Its keys are its own."""

    def __init__(self, number, url):
        super().__init__(daemon=True)
        self.random = random.Random(number)
        self.keys = [f"client-{number}-key-{key}" for key in range(20)]
        self.written = {}
        self.puts = self.gets = 0
        self.failure = None
        self.stopping = threading.Event()
        self.child = subprocess.Popen([PROGRAM, "client", "--nats", url], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True, bufsize=1)

    def ask(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()
        return self.child.stdout.readline().rstrip("\n")

    def run(self):
        try:
            while not self.stopping.is_set():
                key = self.random.choice(self.keys)
                if self.random.random() < 0.5:
                    value = f"value {self.puts}"
                    answer = self.ask(f"put {key} {value}")
                    assert answer == "ok", f"put {key}: {answer}"
                    self.written[key] = value
                    self.puts += 1
                else:
                    answer = self.ask(f"get {key}")
                    expected = f"value {self.written[key]}" if key in self.written else "none"
                    assert answer == expected, f"get {key}: '{answer}' instead of '{expected}'"
                    self.gets += 1
        except (AssertionError, OSError) as error:
            self.failure = error

    def stop(self):
        self.stopping.set()
        self.join(60)
        self.child.stdin.close()
        self.child.wait(30)


def start(directory, url, name):
    log = directory / f"{name}.log"
    return Process(name, [PROGRAM, "node", name, "--nats", url, "--heartbeat", HEARTBEAT], log).start()


def names_of(url):
    listed = litecluster("members", "--cluster", "ring-cache", "--nats", url, "--json", check=False)
    if listed.returncode == 3:  # nobody has been there yet
        return []
    return [member["node"] for member in json.loads(listed.stdout)]


def main():
    with scratch() as directory:
        nats = NatsServers(directory).start()
        nodes, clients = {}, []
        try:
            nodes = {name: start(directory, nats.url, name) for name in ("n1", "n2", "n3")}
            wait_until(lambda: names_of(nats.url) == ["n1", "n2", "n3"], 30, "three members")
            clients = [CacheClient(number, nats.url) for number in range(2)]
            for client in clients:
                client.start()

            def progress(count=50):
                before = [client.puts + client.gets for client in clients]
                wait_until(lambda: any(client.failure for client in clients) or all(
                    client.puts + client.gets >= old + count for client, old in zip(clients, before)), 60,
                    "requests are answered")
                for client in clients:
                    if client.failure:
                        raise client.failure

            progress()
            nodes["n4"] = start(directory, nats.url, "n4")  # joins
            wait_until(lambda: "n4" in names_of(nats.url), 30, "n4 is a member")
            progress()
            assert nodes["n2"].stop() == 0, "n2 did not leave in good order"
            progress()
            nodes["n3"].kill()  # crashes, and comes back
            progress()
            nodes["n3"] = start(directory, nats.url, "n3")
            wait_until(lambda: names_of(nats.url) == ["n1", "n3", "n4"], 30, "n3 is back")
            progress()
            nodes["n1"].kill()  # the first coordinator, for good
            progress()
            for client in clients:
                client.stop()
                if client.failure:
                    raise client.failure
            for name in ("n3", "n4"):
                assert nodes[name].stop() == 0, f"{name} did not leave in good order"
            puts, gets = (sum(getattr(client, what) for client in clients) for what in ("puts", "gets"))
            assert puts > 100 and gets > 100
            print(f"{puts} writes and {gets} reads through a join, a leave and two crashes")
        finally:
            for client in clients:
                client.child.kill()
                client.child.wait()
            for node in nodes.values():
                node.kill()
            nats.stop()


if __name__ == "__main__":
    sys.exit(main())
