"""`litecluster run` in modes pool and ring: hook commands, a backend on every node, members, status, refusals.

Promised: the partitions that the hooks were told never overlap and are all owned in the end; a killed agent comes back
by itself; what cannot work is refused with the reason, for good.
"""
import json
import os
import pathlib
import signal
import sys
import time

from cluster import NatsServers, PROGRAM, Process, litecluster, scratch, wait_until

HOOK = """#!/bin/sh
echo "$LITECLUSTER_HOOK ${LITECLUSTER_PARTITIONS}${LITECLUSTER_MEMBER}${LITECLUSTER_HEALTH}" >> "$1"
"""
HOOKS = ("on_start", "on_stop", "on_own", "on_release", "on_member_join", "on_member_leave", "on_health_change")


class Worker:
    """One node of a pool or ring whose hooks write to a file."""

    def __init__(self, directory, url, name, cluster, mode, backend=(), **more):
        self.name, self.directory = name, pathlib.Path(directory) / f"{cluster}-{name}-{time.monotonic_ns()}"
        self.directory.mkdir()
        self.told = self.directory / "told"
        self.told.touch()
        hook = self.directory / "hook.sh"
        hook.write_text(HOOK)
        hook.chmod(0o755)
        configuration = {"cluster": cluster, "node": name, "nats": {"urls": url.split(",")}, "mode": mode,
                         "heartbeat": "500ms", "data_directory": str(self.directory),
                         "labels": {"rack": "7"}, "addresses": ["10.0.0.1:80"],
                         "hooks": {hook_name: [str(hook), str(self.told)] for hook_name in HOOKS}, **more}
        if mode == "ring" and "ring" not in more:
            configuration["ring"] = {"partitions": 16}
        if backend:
            configuration["backend"] = {"command": list(backend)}
        file = self.directory / "litecluster.yaml"
        file.write_text(json.dumps(configuration))  # JSON is YAML
        self.process = Process(name, [PROGRAM, "run", "-c", file], self.directory / "log").start()

    def lines(self):
        return self.told.read_text().splitlines()

    def owned(self):
        """What the hooks were told: the partitions of this node, as of now."""
        owned = set()
        for line in self.lines():
            hook, _, rest = line.partition(" ")
            if hook == "on_own":
                assert not owned & set(rest.split(",")), f"{self.name} owns {rest} twice"
                owned |= set(rest.split(","))
            elif hook == "on_release":
                assert owned >= set(rest.split(",")), f"{self.name} releases {rest}, which it does not own"
                owned -= set(rest.split(","))
            elif hook == "on_start":
                owned = set()  # a new agent
        return owned

    def log(self):
        return (self.directory / "log").read_text()


def status(cluster, url):
    return {node["node"]: node for node in
            json.loads(litecluster("status", "--cluster", cluster, "--nats", url, "--json").stdout)}


def members(cluster, url):
    return json.loads(litecluster("members", "--cluster", cluster, "--nats", url, "--json").stdout)


def check_ring(directory, url):
    nodes = [Worker(directory, url, name, "ring", "ring", ("/bin/sleep", "1000")) for name in ("a", "b", "c")]
    try:
        def settled(live):
            owned = [node.owned() for node in live]
            return sum(map(len, owned)) == 16 and len(set().union(*owned)) == 16 and min(map(len, owned)) >= 16 // len(
                live)

        wait_until(lambda: settled(nodes), 30, "16 partitions are owned by three")
        assert nodes[0].lines()[0].startswith("on_start"), nodes[0].lines()
        shown = members("ring", url)
        assert [member["node"] for member in shown] == ["a", "b", "c"], shown
        assert shown[0]["labels"] == {"rack": "7"} and shown[0]["addresses"] == ["10.0.0.1:80"], shown
        assert shown[0]["mode"] == "ring" and shown[0]["role"] == "worker", shown
        wait_until(lambda: all(node.get("ok") for node in status("ring", url).values()), 30, "all answer")
        told = status("ring", url)
        assert sum(node["ring"]["owned"] for node in told.values()) == 16, told
        checks = {check["name"]: check["level"] for check in told["a"]["health"]["checks"]}
        assert checks.keys() >= {"nats", "lease", "backend", "hooks", "ring"} and set(checks.values()) == {"passing"}, checks
        assert "owns" in litecluster("status", "--cluster", "ring", "--nats", url).stdout

        # The agent dies: its guard starts another one, which begins a new life.
        os.kill(told["b"]["pid"], signal.SIGKILL)
        wait_until(lambda: nodes[1].lines().count("on_start ") == 2, 30, "another agent of b")
        wait_until(lambda: settled(nodes), 30, "16 partitions are owned again")

        assert nodes[2].process.stop() == 0, nodes[2].log()
        assert not nodes[2].owned() and nodes[2].lines()[-1].startswith("on_stop"), nodes[2].lines()
        wait_until(lambda: settled(nodes[:2]), 30, "16 partitions are owned by two")

        refused = Worker(directory, url, "d", "ring", "ring", ring={"partitions": 32})
        assert refused.process.child.wait(30) == 3, refused.log()
        assert "32 partitions, but" in refused.log() and "runs the ring with 16" in refused.log(), refused.log()
        refused = Worker(directory, url, "d", "ring", "pool")
        assert refused.process.child.wait(30) == 3, refused.log()
        assert "mode pool, but" in refused.log(), refused.log()
        refused = Worker(directory, url, "a", "ring", "ring")
        assert refused.process.child.wait(30) == 3, refused.log()
        assert "another process with this name is alive at 10.0.0.1:80" in refused.log(), refused.log()
    finally:
        for node in nodes:
            node.process.kill()


def check_pool(directory, url):
    nodes = [Worker(directory, url, name, "pool", "pool", ("/bin/sleep", "1000")) for name in ("a", "b")]
    try:
        for node in nodes:
            wait_until(lambda node=node: {"on_member_join a", "on_member_join b"} <= set(node.lines()), 30, "joins")
        wait_until(lambda: all(node.get("stage") == "working" and node.get("ring", 0) is None
                               for node in status("pool", url).values()), 30, "both are at work")
        assert nodes[1].process.stop() == 0, nodes[1].log()
        assert nodes[1].lines()[-1].startswith("on_stop"), nodes[1].lines()
        wait_until(lambda: "on_member_leave b" in nodes[0].lines(), 30, "b has left")
        assert [member["node"] for member in members("pool", url)] == ["a"]
        nodes[0].process.kill()
        # Nobody is alive now, which shows after a lease in which nobody renews anything.
        wait_until(lambda: members("pool", url) == [], 30, "nobody is left")
        assert "silent" in litecluster("status", "--cluster", "pool", "--nats", url).stdout
    finally:
        for node in nodes:
            node.process.kill()


def check_usage(url):
    common = ("run", "--cluster", "x", "--node", "a", "--nats", url)
    for arguments, reason in ((("--mode", "ring", "--ring-partitions", "0"), "must be from 1 to 4096"),
                              (("--mode", "ring", "--ring-partitions", "4097"), "from 0 to 4096"),
                              (("--mode", "pool", "--db", "/tmp/x.db"), "sqlite"),
                              (("--mode", "ring", "--vip-address", "10.0.0.1/24", "--vip-interface", "lo"), "vip")):
        refused = litecluster(*common, *arguments, check=False)
        assert refused.returncode == 2 and reason in refused.stderr, (arguments, refused.returncode, refused.stderr)


def main():
    with scratch() as directory:
        nats = NatsServers(directory).start()
        try:
            check_usage(nats.url)
            check_ring(directory, nats.url)
            check_pool(directory, nats.url)
        finally:
            nats.stop()


if __name__ == "__main__":
    sys.exit(main())
