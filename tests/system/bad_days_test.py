"""Bad days of a cluster, each with real processes: bad_days_test.py [NAME...] runs those that are named, or all.

The promise in all of them: one node says clearly what is wrong, nobody serves whose lease is over, and what can go on
does, without an acknowledged write that had been replicated getting lost.
"""
import os
import re
import signal
import socket
import subprocess
import sys
import time

from cluster import BACKEND, Client, NatsServers, Node, PROGRAM, entries_in, litecluster, scratch, wait_until
from history import served_since
from tcp_proxy import TcpProxy


def leader_of(nodes, but=None):
    return next((node for node in nodes if node is not but and node.is_active()), None)


def stage(node):
    return (node.status() or {}).get("stage")


def log_of(node):
    return node.log.read_text(errors="replace")


class Cluster:
    """Servers, nodes and clients of one test; all of them gone at its end."""

    def __init__(self, directory, count=2, urls=None, **options):
        self.nats = NatsServers(directory).start()
        self.urls = urls(self.nats) if urls else [self.nats.url] * count
        self.nodes = [Node(directory, url, f"node-{number + 1}", **options) for number, url in enumerate(self.urls)]
        self.clients = []

    def __enter__(self):
        return self

    def start(self):
        for node in self.nodes:
            node.start()
        return wait_until(lambda: leader_of(self.nodes), 60, "a first leader")

    def write(self, count=2):
        self.clients = [Client(number, [node.port for node in self.nodes]) for number in range(count)]
        for client in self.clients:
            client.start()
        wait_until(lambda: served_since(self.clients, 0), 30, "the first answer")

    def stop_writing(self):
        for client in self.clients:
            client.stop()
        for client in self.clients:
            client.join()

    def check_nothing_is_lost(self):
        """Every acknowledged write is served or kept aside, and the replicas get equal."""
        self.stop_writing()
        leader = wait_until(lambda: leader_of(self.nodes), 60, "a leader")
        for node in self.nodes:
            wait_until(lambda node=node: stage(node) in ("active", "standby"), 60, f"{node.name} has settled")
        served = entries_in(leader.database)
        # A node whose replica is equal has looked at what it held as a leader, and put aside what the log has not.
        for node in self.nodes:
            if node is not leader:
                wait_until(lambda node=node: node.replica.exists() and entries_in(node.replica) == served, 60,
                           f"the replica of {node.name} is equal")
        acknowledged = {entry[0] for client in self.clients for entry in client.acknowledged}
        aside = set()
        for node in self.nodes:
            for directory in node.diverged():
                aside |= entries_in(directory / "app.db")
        lost = acknowledged - served - aside
        assert not lost, f"{len(lost)} of {len(acknowledged)} are nowhere: {sorted(lost)[:5]}"
        return len(acknowledged)

    def __exit__(self, *_):
        for client in self.clients:
            client.stop()
        for node in self.nodes:
            node.process.stop()
        for node in self.nodes:
            node.process.kill()
        self.nats.stop()


def nats_slow(directory):
    """Every byte to and from NATS takes 60 ms each way: all works, only later."""
    proxies = []

    def urls(nats):
        proxies.extend(TcpProxy(nats.ports[0], delay=0.06) for _ in range(2))
        return [proxy.url for proxy in proxies]

    with Cluster(directory, urls=urls) as cluster:
        first = cluster.start()
        cluster.write()
        time.sleep(1.0)
        litecluster("stepdown", "--cluster", "test", "--nats", cluster.nats.url)
        wait_until(lambda: leader_of(cluster.nodes, first), 60, "the other one leads")
        moment = time.monotonic()
        wait_until(lambda: served_since(cluster.clients, moment), 60, "clients are served again")
        count = cluster.check_nothing_is_lost()
    for proxy in proxies:
        proxy.stop()
    return f"{count} acknowledged writes"


def nats_flapping(directory):
    """Connections to NATS break every 150 ms for a while: whatever call is under way fails. Nothing is lost."""
    proxies = []

    def urls(nats):
        proxies.extend(TcpProxy(nats.ports[0]) for _ in range(2))
        return [proxy.url for proxy in proxies]

    with Cluster(directory, urls=urls) as cluster:
        cluster.start()
        cluster.write()
        rounds = int(os.environ.get("LITECLUSTER_FLAPS", "25"))
        for number in range(rounds):
            proxies[number % 2].cut()
            time.sleep(0.15)
        moment = time.monotonic()
        wait_until(lambda: served_since(cluster.clients, moment), 60, "clients are served again")
        count = cluster.check_nothing_is_lost()
    for proxy in proxies:
        proxy.stop()
    return f"{count} acknowledged writes, {rounds} breaks"


def served_without_nats(cluster, leader):
    """Stops NATS for everybody; for how many seconds the leader's application served on."""
    stopped = time.monotonic()
    for server in cluster.nats.servers:
        server.signal(signal.SIGSTOP)
    wait_until(lambda: not backend_answers(leader), 30, "the leader's application is stopped")
    last = max(entry[3] for client in cluster.clients for entry in list(client.acknowledged))
    assert last - stopped < 2.0 + 0.5, f"served for {last - stopped:.2f} s after NATS was gone, the lease is 2 s"
    return last - stopped


def let_nats_go_on(cluster):
    for server in cluster.nats.servers:
        server.signal(signal.SIGCONT)


def judge_with_nats(cluster):
    """The number of acknowledged writes, none of which is lost."""
    moment = time.monotonic()
    wait_until(lambda: served_since(cluster.clients, moment), 60, "clients are served when NATS is back")
    return cluster.check_nothing_is_lost()


def nats_gone(directory):
    """NATS is down for everybody: the leader stops serving at its deadline, says so, and somebody goes on later."""
    with Cluster(directory) as cluster:
        leader = cluster.start()
        cluster.write()
        time.sleep(0.5)
        served = served_without_nats(cluster, leader)
        wait_until(lambda: not leader_of(cluster.nodes), 30, "nobody says that it leads")
        wait_until(lambda: any(check["name"] in ("nats", "lease") and check["level"] != "passing"
                               for check in (leader.status() or {"health": {"checks": []}})["health"]["checks"]), 30,
                   "the node's health says why")
        let_nats_go_on(cluster)
        return f"served for {served:.2f} s of a lease of 2 s; {judge_with_nats(cluster)} acknowledged writes"


def guard_stopped(directory):
    """NATS is down, and the leader's guard stands still: its agent ends the application at the deadline all the same."""
    with Cluster(directory) as cluster:
        leader = cluster.start()
        cluster.write()
        time.sleep(0.5)
        leader.process.signal(signal.SIGSTOP)
        served = served_without_nats(cluster, leader)
        let_nats_go_on(cluster)
        leader.process.signal(signal.SIGCONT)
        return f"served for {served:.2f} s of a lease of 2 s; {judge_with_nats(cluster)} acknowledged writes"


def backend_answers(node):
    try:
        socket.create_connection(("127.0.0.1", node.port), 0.5).close()
        return True
    except OSError:
        return False


def same_name(directory):
    """A second node with the name of a live one refuses to start, with 3, and the first one is not disturbed."""
    with Cluster(directory, count=1) as cluster:
        first = cluster.start()
        twin = Node(directory / "twin", cluster.nats.url, first.name)
        twin.start()
        code = twin.process.child.wait(60)
        assert code == 3, f"exit status {code}\n{log_of(twin)}"
        assert first.name in log_of(twin) and "alive" in log_of(twin) or "name" in log_of(twin), log_of(twin)
        assert first.is_active(), "the first one leads on"
        return "refused"


def wrong_configuration(directory):
    """Each mistake is refused at once, with 2, and named."""
    def refused(expected, *arguments, text=None):
        command = ["run", *arguments]
        if text is not None:
            path = directory / "litecluster.yaml"
            path.write_text(text)
            command += ["-c", path]
        done = litecluster(*command, check=False, timeout=20)
        assert done.returncode == 2, f"{arguments} {text!r}: exit {done.returncode}\n{done.stderr}"
        assert expected in done.stderr, f"{arguments} {text!r}: {done.stderr}"

    base = "cluster: c\nnode: n\n"
    refused("did you mean 'lease_ttl'", text=base + "leas_ttl: 3s\n")
    refused("litecluster.yaml:3", text=base + "leas_ttl: 3s\n")
    refused("did you mean 'sqlite.retention'", text=base + "db: { path: /x, retentoin: 1h }\n")
    refused("given twice", text=base + "node: m\n")
    refused("duration", text=base + "lease_ttl: soon\n")
    refused("third of lease_ttl", text=base + "heartbeat: 9s\n")
    refused("backend", text=base + "backend: { command: [a], systemd_unit: b }\n")
    refused("vip", text=base + "vip: { address: 10.0.0.1/24 }\n")
    refused("address", text=base + "vip: { address: nonsense, interface: lo }\n")
    refused("must not be the database itself", text=base + "db: { path: /x, replica: /x }\n")
    refused("cluster", "--node", "n")
    refused("node", "--cluster", "c")
    refused("did you mean --lease-ttl?", "--leas-ttl", "3s")
    refused("litecluster.yaml", "-c", directory / "missing" / "litecluster.yaml")
    refused("letters", text="cluster: a b\nnode: n\n")
    return "all refused"


def ports_taken(directory):
    """A taken port of the HTTP endpoint is refused at once; one of the backend costs this node the leadership."""
    with socket.create_server(("127.0.0.1", 0)) as taken, Cluster(directory, arguments=[
            "--backend-start-timeout", "2s"]) as cluster:
        port = taken.getsockname()[1]
        done = litecluster("run", "--cluster", "test", "--node", "x", "--nats", cluster.nats.url, "--db",
                           directory / "x.db", "--http-listen", f"127.0.0.1:{port}", check=False)
        assert done.returncode == 2 and str(port) in done.stderr, f"{done.returncode}: {done.stderr}"
        # The health check looks at another port, so that the program that is there does not pass for ours.
        bad, good = cluster.nodes
        bad.process.command[bad.process.command.index("--port") + 1] = str(port)
        bad.start()
        wait_until(lambda: "cannot listen" in log_of(bad), 30, "the backend says that its port is taken")
        good.start()
        wait_until(lambda: good.is_active(), 60, "the other one leads")
        wait_until(lambda: stage(bad) == "standby", 60, "the bad one follows")
        return "the other node leads"


def backend_never_healthy(directory):
    """A backend that never gets healthy: leadership is given up after start_timeout, and another node takes it."""
    with Cluster(directory, arguments=["--backend-start-timeout", "1500ms"]) as cluster:
        bad, good = cluster.nodes
        bad.process.command = bad.process.command[:bad.process.command.index("--") + 1] + ["sleep", "1000"]
        bad.start()
        wait_until(lambda: "start_backend" in log_of(bad), 30, "the bad one gives up")
        good.start()
        wait_until(lambda: good.is_active(), 60, "the other one leads")
        wait_until(lambda: stage(bad) == "standby", 60, "the bad one follows")
        left = subprocess.run(["ps", "-eo", "ppid,args"], capture_output=True, text=True).stdout
        assert f"{bad.process.pid} sleep 1000" not in left, "its backend is still there"
        return "the other node leads"


def backend_dies(directory):
    """A backend that dies again and again is restarted, then leadership goes to a node where it lives."""
    with Cluster(directory, arguments=["--backend-start-timeout", "20s", "--backend-restarts-max", "2"]) as cluster:
        bad, good = cluster.nodes
        at = bad.process.command.index("--") + 1
        bad.process.command = bad.process.command[:at] + [
            "sh", "-c", 'echo begun; "$@" & child=$!; sleep 0.7; kill -9 $child; wait', "sh", *bad.process.command[at:]]
        bad.start()
        wait_until(lambda: len(re.findall("begun", log_of(bad))) >= 3, 60, "it was restarted twice")
        good.start()
        wait_until(lambda: good.is_active(), 60, "the other one leads")
        wait_until(lambda: stage(bad) == "standby", 60, "the bad one follows")
        return "the other node leads"


def backend_killed_once(directory):
    """A backend that dies once is started again in the same term, and nothing acknowledged is missing."""
    with Cluster(directory) as cluster:
        leader = cluster.start()
        cluster.write()
        epoch = leader.status()["epoch"]
        children = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True).stdout
        pid = next(int(line.split()[0]) for line in children.splitlines()
                   if f"{BACKEND} --db {leader.database}" in line and " run " not in line)
        os.kill(pid, signal.SIGKILL)
        moment = time.monotonic()
        wait_until(lambda: served_since(cluster.clients, moment), 30, "clients are served again")
        assert leader.status()["epoch"] == epoch, "the term went on"
        count = cluster.check_nothing_is_lost()
        return f"{count} acknowledged writes, all in one term"


def read_only_disk(directory):
    """A node whose disk is read-only says so and does not lead; the others are not disturbed. Needs root."""
    place = directory / "read-only"
    place.mkdir()
    with Cluster(directory, count=1) as cluster:
        leader = cluster.start()
        broken = Node(place, cluster.nats.url, "broken", arguments=["--socket", directory / "broken.sock"])
        log = directory / "broken.log"
        broken.log = broken.process.log = log
        broken.process.command = ["unshare", "-m", "sh", "-c",
                                  f'mount --bind "{place}" "{place}" && mount -o remount,bind,ro "{place}" || exit 77; '
                                  'exec "$@"', "sh", *broken.process.command]
        broken.start()
        wait_until(lambda: "Read-only file system" in log.read_text() or broken.process.child.poll() is not None, 30,
                   "the broken node says what is wrong")
        if broken.process.child.poll() == 77:
            return "SKIPPED: mounts cannot be made here (needs root)"
        assert "Read-only file system" in log.read_text(), log.read_text()
        assert leader.is_active(), "the leader leads on"
        broken.process.stop()
        broken.process.kill()
        return "it says so"


def terminated(directory):
    """TERM and INT, to the leader and to a standby: in order, with 0, and nothing is left running."""
    with Cluster(directory, count=3) as cluster:
        cluster.start()
        cluster.write()
        for number in (signal.SIGTERM, signal.SIGINT):
            leader = wait_until(lambda: leader_of(cluster.nodes), 30, "a leader")
            before = {entry[0] for client in cluster.clients for entry in list(client.acknowledged)}
            leader.process.signal(number)
            assert leader.process.child.wait(30) == 0, f"exit {leader.process.child.returncode}"
            other = wait_until(lambda: leader_of(cluster.nodes, leader), 30, "another leader")
            assert not backend_answers(leader), "its application is still there"
            missing = before - entries_in(other.database)
            assert not missing, f"the hand-over of {number} lost {sorted(missing)[:5]}"
            leader.start()
            wait_until(lambda: stage(leader) == "standby", 30, "it comes back")
        standby = next(node for node in cluster.nodes if not node.is_active())
        standby.process.signal(signal.SIGTERM)
        assert standby.process.child.wait(30) == 0
        standby.start()
        count = cluster.check_nothing_is_lost()
        return f"{count} acknowledged writes"


DAYS = [nats_slow, nats_flapping, nats_gone, guard_stopped, same_name, wrong_configuration, ports_taken, backend_never_healthy, backend_dies,
        backend_killed_once, read_only_disk, terminated]


def main():
    wanted = sys.argv[1:] or [day.__name__ for day in DAYS]
    for day in DAYS:
        if day.__name__ not in wanted:
            continue
        begin = time.monotonic()
        with scratch() as directory:
            told = day(directory)
        print(f"{day.__name__}: {told} ({time.monotonic() - begin:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
