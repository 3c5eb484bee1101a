"""A fault campaign over real nodes: three nodes, a NATS cluster of three, each in a network namespace of its own, and
clients and readers that work all the time. Every kind of fail-over is caused again and again; history.py judges all
that was acknowledged and read.

  campaign_test.py [--rounds N | --minutes M] [--kinds a,b] [--seed N] [--lease MS] [--report FILE]

Without arguments (as ctest runs it) each kind comes once. Needs root; otherwise it is skipped (exit status 77).
"""
import argparse
import json
import os
import pathlib
import random
import re
import signal
import statistics
import subprocess
import sys
import time

import network
from cluster import NATS_SERVER, PROGRAM, NatsServers, Node, litecluster, scratch, wait_until
from history import (Client, Judgement, StandbyReader, check_copies, served_since, settle, silence, start_watched,
                     stop_watching)

NODES = 3
NATS_ELECTION_SECONDS = 8


def children_of(pid):
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found


def everything_of(node):
    """Guard, agent, backend, and whatever they started."""
    processes, at = [node.process.pid], 0
    while at < len(processes):
        processes += children_of(processes[at])
        at += 1
    return processes


def send(processes, number):
    for pid in processes:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


class Cluster:
    def __init__(self, directory, lease_ms, pause):
        self.directory, self.lease = directory, lease_ms / 1000
        network.enter_router()
        self.node_places = [network.Place(number + 1) for number in range(NODES)]
        self.nats_places = [network.Place(number + 11) for number in range(3)]
        self.nats = NatsServers(directory, 3, self.nats_places).start()
        # The first cluster-wide election of JetStream takes a while; nodes would only wait for it.
        self.nodes = [Node(directory, self.nats.url, f"node-{number}", lease=f"{lease_ms}ms",
                           heartbeat=f"{lease_ms * 3 // 10}ms", place=place)
                      for number, place in enumerate(self.node_places)]
        self.clients = [Client(number, self.nodes, pause) for number in range(4)]
        self.readers = [StandbyReader(node) for node in self.nodes]
        self.faults, self.pauses, self.asking = [], [], []

    def start(self):
        start_watched(self.nodes, self.clients + self.readers, self.clients, 120)

    def stop(self):
        stop_watching(self.clients + self.readers, self.asking)
        for node in self.nodes:
            send(everything_of(node) if node.process.running() else [], signal.SIGCONT)
            node.process.kill()
        self.nats.stop()
        for place in self.node_places + self.nats_places:
            place.close()

    def leader(self):
        return next((node for node in self.nodes if node.is_active()), None)

    def wait_for_successor(self, old, seconds=60):
        return wait_until(lambda: next((node for node in self.nodes if node is not old and node.is_active()), None),
                          seconds, "another node leads")

    def wait_served(self, since, seconds=60):
        wait_until(lambda: served_since(self.clients, since), seconds, "clients are served again")

    def server_of(self, node):
        """Number of the NATS server to which the agent of this node is connected."""
        wanted = {f"{number + 11:02X}": number for number in range(3)}
        for line in pathlib.Path(f"/proc/{node.agent_pid()}/net/tcp").read_text().splitlines()[1:]:
            remote, state = line.split()[2:4]
            # 10.77.<place>.2 in little-endian hexadecimal, port 4222, established.
            if state == "01" and remote.endswith(":107E") and remote[2:4] in wanted:
                return wanted[remote[2:4]]
        return 0


# Each kind causes one fail-over and returns when all that it broke is whole again; `old` leads when it begins.

def step_down(cluster, old):
    litecluster("stepdown", "--cluster", "test", "--nats", cluster.nats.url)
    cluster.wait_for_successor(old)


def step_down_to(cluster, old):
    target = random.choice([node for node in cluster.nodes if node is not old])
    wait_until(lambda: ((target.status() or {}).get("lag") or {}).get("txids") in range(100), 60,
               f"{target.name} has caught up")
    # Refused as long as that node's record does not say so: it may just have come back.
    wait_until(lambda: litecluster("stepdown", "--cluster", "test", "--nats", cluster.nats.url, "--to", target.name,
                                   check=False).returncode == 0, 60, f"{old.name} hands over to {target.name}")
    new = cluster.wait_for_successor(old)
    assert new is target, f"{new.name} leads and not {target.name}, which was named"


def agent_killed(cluster, old):
    os.kill(old.agent_pid(), signal.SIGKILL)
    cluster.wait_served(time.monotonic())


def backend_killed(cluster, old):
    agent = old.agent_pid()
    backend = [pid for pid in children_of(old.process.pid) if pid != agent]
    send(backend, signal.SIGKILL)
    cluster.wait_served(time.monotonic())


def guard_killed(cluster, old):
    os.kill(old.process.pid, signal.SIGKILL)
    wait_until(lambda: not old.process.running(), 10, "the guard is dead")
    old.start()
    cluster.wait_served(time.monotonic())


def node_killed(cluster, old):
    send(everything_of(old), signal.SIGKILL)
    old.process.child.wait()
    cluster.wait_for_successor(old)
    old.start()


def all_stopped(cluster, old):
    processes = everything_of(old)
    send(processes, signal.SIGSTOP)
    time.sleep(3 * cluster.lease)
    cluster.pauses.append((old.name, time.monotonic()))
    send(processes, signal.SIGCONT)


def agent_stopped(cluster, old):
    agent = old.agent_pid()
    os.kill(agent, signal.SIGSTOP)
    time.sleep(3 * cluster.lease)
    os.kill(agent, signal.SIGCONT)


def cut_for(cluster, cuts):
    for cut in cuts:
        cut.begin()
    try:
        time.sleep(3 * cluster.lease)
    finally:
        for cut in cuts:
            cut.end()


def others_of(cluster, old):
    return cluster.nats_places + [place for place in cluster.node_places if place is not old.place]


def partition(cluster, old):
    others = others_of(cluster, old)
    cut_for(cluster, [network.Cut([old.place], others), network.Cut(others, [old.place])])


def partition_outgoing(cluster, old):
    cut_for(cluster, [network.Cut([old.place], others_of(cluster, old))])


def partition_incoming(cluster, old):
    cut_for(cluster, [network.Cut(others_of(cluster, old), [old.place])])


def host_vanished(cluster, old):
    undo = network.isolate_from_the_router(old.place)
    try:
        cluster.wait_for_successor(old)
        time.sleep(cluster.lease)
    finally:
        undo()


def nats_server_killed(cluster, old):
    number = cluster.server_of(old)
    cluster.nats.servers[number].kill()
    time.sleep(3 * cluster.lease)
    cluster.wait_served(time.monotonic())
    cluster.nats.servers[number].start()
    cluster.nats.wait_for(number)
    # What comes next shall measure us, and not the elections that NATS holds among its servers.
    time.sleep(NATS_ELECTION_SECONDS)


def steady(cluster, old):
    """Nothing is broken for a minute, and so nothing may change."""
    epoch = old.status()["epoch"]
    time.sleep(60)
    status = old.status()
    assert status and status["stage"] == "active" and status["epoch"] == epoch, f"the leader changed: {status}"


KINDS = {kind.__name__: kind for kind in
         (step_down, step_down_to, agent_killed, backend_killed, guard_killed, node_killed, all_stopped, agent_stopped,
          partition, partition_outgoing, partition_incoming, host_vanished, nats_server_killed, steady)}
PLANNED = {"step_down", "step_down_to", "steady"}
NOT_BY_DEFAULT = {"steady"}


def cause(cluster, kind):
    """One fault; returns for how long nobody was served."""
    old = settle(cluster.nodes, 120)
    cluster.wait_served(time.monotonic())
    begin = time.monotonic()
    try:
        KINDS[kind](cluster, old)
        cluster.wait_served(time.monotonic())
    finally:
        if kind not in PLANNED:
            cluster.faults.append((begin, time.monotonic()))
    settle(cluster.nodes, 120)
    if kind not in PLANNED:
        cluster.faults[-1] = (begin, time.monotonic())
    return silence(cluster.clients, begin, time.monotonic())


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table_of(times):
    lines = ["| kind | times | nobody served, p50 | p99 | longest |", "| --- | --- | --- | --- | --- |"]
    for kind in KINDS:
        if times.get(kind):
            values = [1000 * value for value in times[kind]]
            lines.append(f"| {kind} | {len(values)} | {statistics.median(values):.0f} ms | "
                         f"{percentile(values, 0.99):.0f} ms | {max(values):.0f} ms |")
    return "\n".join(lines)


def default_kinds():
    """nats-server 2.9.10 comes back from kill -9 without a part of what it had stored (docs/operations.md)."""
    version = subprocess.run([NATS_SERVER, "--version"], capture_output=True, text=True, check=True).stdout
    major, minor = re.search(r"v(\d+)\.(\d+)", version).groups()
    left_out = set(NOT_BY_DEFAULT)
    if (int(major), int(minor)) < (2, 12):
        print(f"without nats_server_killed, since this is {version.strip()}")
        left_out.add("nats_server_killed")
    return [kind for kind in KINDS if kind not in left_out]


def order_of(arguments, draw):
    kinds = arguments.kinds.split(",") if arguments.kinds else default_kinds()
    begin, done = time.monotonic(), 0
    while True:
        draw.shuffle(kinds)
        for kind in kinds:
            if arguments.minutes and time.monotonic() - begin > 60 * arguments.minutes:
                return
            yield kind
            done += 1
            if not arguments.minutes and done >= (arguments.rounds or len(kinds)):
                return


def run(cluster, arguments):
    times = {}
    draw = random.Random(arguments.seed)
    cluster.start()
    for kind in order_of(arguments, draw):
        begin = time.monotonic()
        try:
            seconds = cause(cluster, kind)
        except AssertionError as error:
            raise AssertionError(f"{kind}: {error}") from error
        times.setdefault(kind, []).append(seconds)
        print(f"{kind:20} nobody served for {1000 * seconds:6.0f} ms   ({time.monotonic() - begin:.1f} s)", flush=True)
    for thread in cluster.clients + cluster.readers:
        thread.stopping.set()
    for thread in cluster.clients + cluster.readers:
        thread.join()
    leader = settle(cluster.nodes, 120)
    rows = check_copies(cluster.nodes, leader, cluster.nats.url, cluster.directory)
    judgement = Judgement(cluster.nodes, leader, cluster.clients, cluster.readers, cluster.faults, cluster.pauses)
    summary = (
        f"{sum(map(len, times.values()))} faults (seed {arguments.seed}, lease {arguments.lease} ms), "
        f"{len(judgement.acknowledged)} acknowledged writes, {rows} rows, {len(judgement.lost)} never replicated and "
        f"kept aside in {sum(len(node.diverged()) for node in cluster.nodes)} directories, {judgement.after_pause} "
        f"answered by a leader right after a pause of the whole, "
        f"{sum(len(client.reads) for client in cluster.clients)} reads on leaders, "
        f"{sum(reader.reads for reader in cluster.readers)} on standbys; {len(judgement.violations)} violations")
    print(table_of(times), summary, sep="\n\n")
    if arguments.report:
        pathlib.Path(arguments.report).write_text(
            json.dumps({"times": times, "summary": summary, "violations": judgement.violations}) + "\n")
    assert not judgement.violations, "\n".join(judgement.violations)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("LITECLUSTER_CAMPAIGN_ROUNDS", "0")))
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--kinds", default="")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--lease", type=int, default=1000, help="lease_ttl in milliseconds")
    parser.add_argument("--pause", type=float, default=0.01, help="seconds between two writes of each of four clients")
    parser.add_argument("--report", default="", help="write times and judgement there, as JSON")
    arguments = parser.parse_args()
    reason = network.why_not()
    if reason:
        print(f"SKIP: {reason}")
        sys.exit(77)
    print(f"seed {arguments.seed}, {PROGRAM}", flush=True)
    with scratch() as directory:
        cluster = Cluster(directory, arguments.lease, arguments.pause)
        try:
            run(cluster, arguments)
        finally:
            cluster.stop()


if __name__ == "__main__":
    main()
