"""The virtual address through real nodes, in network namespaces: two hosts and a client on one bridge.

Promised: only the leader has the address, also when both hosts had one left over; it moves within a fail-over, so that a
client with a warm neighbour table gets through; a killed agent leaves no address behind; when a whole host's processes
are killed the new leader says who else has the address, and the old host takes it off when it starts again, also while
NATS cannot be reached. An address without a backend is guarded like one with: a stopped agent loses it.
"""
import json
import os
import signal
import subprocess
import sys
import time

from cluster import NATS_SERVER, PROGRAM, Node, Process, scratch, wait_until

TAG = f"lc{os.getpid() % 100000}"


def ip(*arguments, check=True):
    done = subprocess.run(["ip", *map(str, arguments)], capture_output=True, text=True)
    if check and done.returncode != 0:
        raise AssertionError(f"ip {' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


def inside(namespace):
    return ["ip", "netns", "exec", namespace]


class Network:
    """A bridge in the hub's namespace, and a namespace for each host."""

    def __init__(self, hosts):
        self.hub = f"{TAG}-hub"
        self.hosts = [f"{TAG}-{host}" for host in hosts]
        ip("netns", "add", self.hub)
        ip("-n", self.hub, "link", "add", "bridge", "type", "bridge")
        for number, host in enumerate(self.hosts, 1):
            ip("netns", "add", host)
            ip("-n", self.hub, "link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", host)
            ip("-n", self.hub, "link", "set", f"port{number}", "master", "bridge", "up")
            ip("-n", host, "link", "set", "eth0", "up")
            ip("-n", host, "link", "set", "lo", "up")
            ip("-n", host, "addr", "add", f"10.77.0.{number + 1}/24", "dev", "eth0")
            ip("-n", host, "addr", "add", f"fd77::{number + 1}/64", "dev", "eth0", "nodad")
        ip("-n", self.hub, "link", "set", "lo", "up")
        ip("-n", self.hub, "link", "set", "bridge", "up")
        ip("-n", self.hub, "addr", "add", "10.77.0.1/24", "dev", "bridge")
        ip("-n", self.hub, "addr", "add", "fd77::1/64", "dev", "bridge", "nodad")

    def remove(self):
        for namespace in (*self.hosts, self.hub):
            ip("netns", "del", namespace, check=False)

    def has(self, host, address):
        found = json.loads(ip("-n", host, "-j", "addr", "show", "dev", "eth0"))
        return any(entry["local"] == address for entry in found[0]["addr_info"])

    def get(self, url):
        """What the client at the hub gets, or an empty text."""
        program = f"import urllib.request; print(urllib.request.urlopen({url!r}, timeout=2).read().decode())"
        return subprocess.run([*inside(self.hub), sys.executable, "-c", program], capture_output=True, text=True).stdout


def make_node(directory, network, number, address, bind):
    host = network.hosts[number]
    node = Node(directory, "nats://10.77.0.1:4222", f"node-{number + 1}",
                arguments=["--vip-address", address, "--vip-interface", "eth0"])
    node.process.command = [*inside(host), *node.process.command, "--address", bind]
    node.host, node.port = host, node.port
    return node


def health_of(node, name):
    status = node.status()
    checks = status["health"]["checks"] if status else []
    return next((check for check in checks if check["name"] == name), None)


def scenario(directory, network, address, bind, url_of):
    plain = address.split("/")[0]
    directory.mkdir()
    nats = Process("nats", [*inside(network.hub), NATS_SERVER, "-a", "10.77.0.1", "-p", "4222", "-js", "-sd",
                            directory / "store"], directory / "nats.log").start()
    nodes = [make_node(directory, network, number, address, bind) for number in range(2)]
    try:
        for host in network.hosts:
            ip("-n", host, "addr", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
        for node in nodes:
            node.start()

        def leader(but=None):
            return next((node for node in nodes if node is not but and node.is_active()), None)

        first = wait_until(leader, 30, "a leader")
        second = next(node for node in nodes if node is not first)
        wait_until(lambda: (second.status() or {}).get("stage") == "standby", 30, "a standby")
        assert network.has(first.host, plain), "the leader has the address"
        assert not network.has(second.host, plain), "what was left over on the standby is gone"
        assert network.get(url_of(first)), "the client reaches the leader by the address"
        assert health_of(first, "vip")["level"] == "passing"

        # A planned hand-over: the client's neighbour table still names the old host and is corrected from outside.
        wait_until(lambda: second.status()["lag"]["txids"] == 0, 30, "the standby has caught up")
        begin = time.monotonic()
        wait_until(lambda: "true" in ask(first, {"verb": "stepdown"}), 30, "step-down")
        wait_until(lambda: leader(first), 30, "the other one leads")
        assert network.has(second.host, plain) and not network.has(first.host, plain), "the address has moved"
        wait_until(lambda: network.get(url_of(second)), 10, "the client reaches the new leader")
        print(f"{plain}: reached again {time.monotonic() - begin:.2f} s after the order to step down (with the start of the "
              "client's program)")

        # A killed agent: the guard takes the address off at once.
        wait_until(lambda: (first.status() or {}).get("stage") == "standby", 30, "the former leader follows")
        os.kill(second.agent_pid(), 9)
        wait_until(lambda: not network.has(second.host, plain) or network.has(first.host, plain), 10,
                   "the address is off or back after a new election")
        third = wait_until(leader, 30, "a leader after the crash")
        fourth = next(node for node in nodes if node is not third)
        wait_until(lambda: (fourth.status() or {}).get("stage") == "standby", 30, "a standby after the crash")
        assert not network.has(fourth.host, plain), "the standby has no address"

        # A killed guard: its agent takes the address off before it goes along.
        os.kill(third.process.pid, 9)
        wait_until(lambda: not third.process.running(), 10, "the guard is dead")
        wait_until(lambda: not network.has(third.host, plain), 10, "the address is off when the guard is dead")
        third.start()
        third = wait_until(leader, 30, "a leader after the guard was killed")
        fourth = next(node for node in nodes if node is not third)
        wait_until(lambda: (fourth.status() or {}).get("stage") == "standby", 30, "a standby after that")

        # Guard, agent and backend killed at once: nobody is left to take the address off.
        third.process.kill()
        wait_until(lambda: leader(third), 30, "the other one leads")
        assert network.has(third.host, plain), "this test needs the address of the dead node to be left over"
        conflict = wait_until(lambda: (health_of(fourth, "vip") or {}).get("level") == "critical"
                              and health_of(fourth, "vip"), 30, "the leader notices that another host has the address")
        hardware = json.loads(ip("-n", third.host, "-j", "link", "show", "dev", "eth0"))[0]["address"]
        assert hardware in conflict["reason"], f"{conflict['reason']} does not name {hardware}"
        third.start()
        wait_until(lambda: not network.has(third.host, plain), 30, "the left-over address is gone after the restart")
        wait_until(lambda: health_of(fourth, "vip")["level"] == "passing", 30, "the conflict is over")
        wait_until(lambda: network.get(url_of(fourth)), 10, "the client reaches the leader")

        # TERM leaves no address behind.
        for node in nodes:
            assert node.process.stop() == 0, f"{node.name} ends in order"
        for host in network.hosts:
            assert not network.has(host, plain), f"{host} keeps the address after TERM"
    finally:
        for node in nodes:
            node.process.kill()
        nats.kill()


def address_alone(directory, network, address):
    """Nodes that have an address and neither backend nor database."""
    plain = address.split("/")[0]
    directory.mkdir()
    nats = Process("nats", [*inside(network.hub), NATS_SERVER, "-a", "10.77.0.1", "-p", "4222", "-js", "-sd",
                            directory / "store"], directory / "nats.log").start()
    nodes = []
    for number, host in enumerate(network.hosts, 1):
        node = Node(directory, "nats://10.77.0.1:4222", f"node-{number}")
        node.host = host
        node.process.command = [*inside(host), PROGRAM, "run", "--cluster", "test", "--node", node.name, "--nats",
                                node.nats_url, "--data-directory", node.directory, "--lease-ttl", "2s", "--heartbeat",
                                "500ms", "--log-format", "json", "--vip-address", address, "--vip-interface", "eth0"]
        nodes.append(node.start())
    try:
        first = wait_until(lambda: next((node for node in nodes if node.is_active()), None), 30, "a leader")
        second = next(node for node in nodes if node is not first)
        wait_until(lambda: (second.status() or {}).get("stage") == "standby", 30, "a standby")
        assert network.has(first.host, plain), "the leader has the address"
        again = subprocess.run([str(part) for part in first.process.command], capture_output=True, text=True, timeout=60)
        assert again.returncode == 3 and network.has(first.host, plain), "a second start by mistake takes nothing away"
        agent = first.agent_pid()
        os.kill(agent, signal.SIGSTOP)
        wait_until(lambda: not network.has(first.host, plain), 30, "the stopped agent's address is off")
        wait_until(second.is_active, 30, "the other one leads")
        assert network.has(second.host, plain) and not network.has(first.host, plain), "one address"
        os.kill(agent, signal.SIGCONT)
        wait_until(lambda: (first.status() or {}).get("stage") == "standby", 30, "it follows")
        assert network.has(second.host, plain) and not network.has(first.host, plain), "one address"

        second.process.kill()
        assert network.has(second.host, plain), "this test needs the address of the dead node to be left over"
        nats.kill()
        second.start()
        wait_until(lambda: not network.has(second.host, plain), 30, "the left-over address is gone without NATS")
    finally:
        for node in nodes:
            node.process.kill()
        nats.kill()


def ask(node, request):
    import socket
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(node.directory / f"litecluster-{node.name}.sock"))
        client.sendall(json.dumps(request).encode() + b"\n")
        return client.makefile().readline()


def main():
    if subprocess.run(["ip", "netns", "add", f"{TAG}-try"], capture_output=True).returncode != 0:
        print("SKIPPED: network namespaces cannot be made here (needs root)")
        sys.exit(77)
    ip("netns", "del", f"{TAG}-try")
    network = None
    try:
        network = Network(["one", "two"])
        with scratch() as directory:
            scenario(directory / "v4", network, "10.77.0.100/24", "0.0.0.0",
                     lambda node: f"http://10.77.0.100:{node.port}/summary")
            scenario(directory / "v6", network, "fd77::100/64", "::",
                     lambda node: f"http://[fd77::100]:{node.port}/summary")
            address_alone(directory / "alone", network, "10.77.0.101/24")
    finally:
        if network:
            network.remove()


if __name__ == "__main__":
    main()
