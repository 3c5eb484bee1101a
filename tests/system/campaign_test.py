"""A fault campaign over real nodes: three nodes, a NATS cluster of three, each in a network namespace of its own, and
clients and readers that work all the time. Faults of every kind (faults.py) are caused again and again; history.py
judges all that was acknowledged and read.

  campaign_test.py [--rounds N] [--minutes M] [--kinds a,b|all] [--seed N] [--lease MS] [--report FILE]

Without arguments (as ctest runs it) the usual kinds come once each. INT or TERM ends it after the present round, with a
judgement of what was done until then. Needs root; otherwise it is skipped (exit status 77).
"""
import argparse
import json
import os
import pathlib
import random
import re
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import time

import disk
import network
from cluster import NATS_SERVER, PROGRAM, NatsServers, Node, scratch, wait_until
from faults import (DISTURB_NATS, KINDS, NEED_CLOCKS, NEED_DISKS, NEED_SOUND_NATS, PLANNED, USUAL, everything_of, send)
from history import (Client, Judgement, LossWatch, StandbyReader, check_copies, served_since, settle, silence, start_watched,
                     stop_watching)

NODES = 3
STOP_ASKED = []  # filled by a signal
UNEXPECTED_MAX = 10  # after so many there is nothing left to be learnt
# So short that a campaign of an hour gets through all of it.
LOG_OPTIONS = ["--sqlite-retention", "60s", "--sqlite-snapshot-interval", "20s", "--sqlite-compaction-levels",
               "1=2s,2=10s", "--sqlite-scrub-interval", "1s", "--sqlite-min-sync-interval", "50ms"]


class Cluster:
    def __init__(self, directory, lease_ms, pause, possible):
        """`possible`: the kinds that may come, which decide what is set up for them."""
        self.directory, self.lease, self.possible = directory, lease_ms / 1000, set(possible)
        network.enter_router()
        disk.enter_mount_namespace()
        self.node_places = [network.Place(number + 1) for number in range(NODES)]
        self.nats_places = [network.Place(number + 11) for number in range(3)]
        self.nats = NatsServers(directory, 3, self.nats_places).start()
        # The first cluster-wide election of JetStream takes a while; nodes would only wait for it.
        self.disks, self.clocks, self.away = [], {}, None
        self.nodes = [self._node(number, lease_ms) for number in range(NODES)]
        self.clients = [Client(number, self.nodes, pause) for number in range(4)]
        self.readers = [StandbyReader(node) for node in self.nodes]
        self.losses = LossWatch(self.nodes)
        self.faults, self.pauses, self.asking = [], [], []
        self.nats_disturbed, self.chances_missed, self.unexpected = float("-inf"), 0, []

    def _node(self, number, lease_ms):
        name, environment, own_disk = f"node-{number}", {}, None
        if self.possible & NEED_DISKS:
            own_disk = disk.Disk(self.directory / f"{name}.img", self.directory / name)
            self.disks.append(own_disk)
        if self.possible & NEED_CLOCKS:
            self.clocks[name] = self.directory / f"{name}.clock"
            self.clocks[name].write_bytes(struct.pack("q", 0))
            environment = {"LD_PRELOAD": str(build_clock_shim(self.directory)),
                           "LITECLUSTER_TEST_CLOCK": str(self.clocks[name])}
        return Node(self.directory, self.nats.url, name, lease=f"{lease_ms}ms", heartbeat=f"{lease_ms * 3 // 10}ms",
                    arguments=LOG_OPTIONS, environment=environment, place=self.node_places[number], disk=own_disk)

    def set_clock(self, node, seconds):
        with open(self.clocks[node.name], "r+b") as file:
            file.write(struct.pack("q", int(seconds * 1e9)))

    def present(self):
        return [node for node in self.nodes if not self.away or node is not self.away[0]]

    def bring_back(self):
        node, self.away = self.away[0], None
        node.start()

    def settle(self):
        """Brings back who was away for long enough; then one leads and the others follow."""
        if self.away and time.monotonic() > self.away[1]:
            self.bring_back()
        return settle(self.present(), 120)

    def start(self):
        start_watched(self.nodes, [*self.clients, *self.readers, self.losses], self.clients, 120)

    def stop(self):
        stop_watching([*self.clients, *self.readers, self.losses], self.asking)
        for node in self.nodes:
            send(everything_of(node) if node.process.running() else [], signal.SIGCONT)
            node.process.kill()
        self.nats.stop()
        for place in self.node_places + self.nats_places:
            place.close()
        for own_disk in self.disks:
            own_disk.close()

    def leader(self):
        return next((node for node in self.nodes if node.is_active()), None)

    def wait_for_successor(self, epoch, seconds=60):
        """Whoever leads in a later term: the old one again, when the new one lost its lease before it served."""
        def leads_later(node):
            status = node.status()
            return status and status["stage"] == "active" and status["epoch"] > epoch
        return wait_until(lambda: next(filter(leads_later, self.nodes), None), seconds, f"a term after {epoch}")

    def wait_served(self, since, seconds=120):
        wait_until(lambda: served_since(self.clients, since), seconds, "clients are served again")

    def server_of(self, node):
        """Number of the NATS server to which the agent of this node is connected."""
        wanted = {f"{number + 11:02X}": number for number in range(3)}
        table = pathlib.Path(f"/proc/{node.agent_pid()}/net/tcp")
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            remote, state = line.split()[2:4]
            # 10.77.<place>.2 in little-endian hexadecimal, port 4222, established.
            if state == "01" and remote.endswith(":107E") and remote[2:4] in wanted:
                return wanted[remote[2:4]]
        return 0


def build_clock_shim(directory):
    library = directory / "clock_shim.so"
    if not library.exists():
        source = pathlib.Path(__file__).with_name("clock_shim.c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def cause(cluster, kind):
    """One fault; returns for how long nobody was served."""
    old = cluster.settle()
    cluster.wait_served(time.monotonic())
    begin = time.monotonic()
    try:
        KINDS[kind](cluster, old)
        cluster.wait_served(time.monotonic())
    finally:
        if kind not in PLANNED:
            cluster.faults.append((begin, time.monotonic()))
        if kind in DISTURB_NATS:
            cluster.nats_disturbed = time.monotonic()
    cluster.settle()
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


def kinds_of(arguments):
    """The kinds that shall come, without those that cannot come here."""
    version = subprocess.run([NATS_SERVER, "--version"], capture_output=True, text=True, check=True).stdout
    major, minor = re.search(r"v(\d+)\.(\d+)", version).groups()
    named = [kind for kind in arguments.kinds.split(",") if kind not in ("", "all")]
    left_out = {} if named else {"steady": "it breaks nothing"}
    if (int(major), int(minor)) < (2, 12) and not named:
        left_out |= dict.fromkeys(NEED_SOUND_NATS, f"this is {version.strip()}")
    if reason := disk.why_not():
        left_out |= dict.fromkeys(NEED_DISKS, reason)
    if not shutil.which("cc"):
        left_out |= dict.fromkeys(NEED_CLOCKS, "there is no C compiler")
    if not shutil.which("nft"):
        left_out["link_lossy"] = "there is no nft"
    wanted = named or (list(KINDS) if arguments.kinds == "all" else USUAL)
    for kind in wanted:
        if kind in left_out:
            print(f"without {kind}: {left_out[kind]}")
    return [kind for kind in wanted if kind not in left_out]


def order_of(arguments, kinds, draw):
    begin, done = time.monotonic(), 0
    while True:
        draw.shuffle(kinds)
        for kind in kinds:
            if STOP_ASKED or (arguments.minutes and time.monotonic() - begin > 60 * arguments.minutes):
                return
            yield kind
            done += 1
            if not arguments.minutes and done >= (arguments.rounds or len(kinds)):
                return


def cause_all(cluster, arguments, kinds, times):
    for kind in order_of(arguments, kinds, random.Random(arguments.seed)):
        begin = time.monotonic()
        try:
            seconds = cause(cluster, kind)
        except AssertionError as error:
            # It counts as a violation. The campaign goes on: what came before is worth a judgement.
            print(f"{kind:22} UNEXPECTED: {error}", flush=True)
            cluster.unexpected.append(f"{kind}: {error}")
            if len(cluster.unexpected) >= UNEXPECTED_MAX:
                return
            continue
        times.setdefault(kind, []).append(seconds)
        print(f"{kind:22} nobody served for {1000 * seconds:6.0f} ms   ({time.monotonic() - begin:.1f} s)", flush=True)


def judge(cluster, arguments, times):
    for thread in cluster.clients + cluster.readers:
        thread.stopping.set()
    for thread in cluster.clients + cluster.readers:
        thread.join()
    if cluster.away:
        cluster.bring_back()
    leader = cluster.settle()
    rows = check_copies(cluster.nodes, leader, cluster.nats.url, cluster.directory)
    judgement = Judgement(cluster.nodes, leader, cluster.clients, cluster.readers, cluster.faults, cluster.pauses,
                          cluster.losses.moments)
    violations = cluster.unexpected + judgement.violations
    summary = (
        f"{sum(map(len, times.values()))} faults (seed {arguments.seed}, lease {arguments.lease} ms), "
        f"{len(judgement.acknowledged)} acknowledged writes, {rows} rows, {len(judgement.lost)} never replicated and "
        f"kept aside in {sum(len(node.diverged()) for node in cluster.nodes)} directories, {judgement.after_pause} "
        f"answered by a leader right after a pause of the whole, {len(judgement.unasked)} terms lost without a fault, "
        f"{sum(len(client.reads) for client in cluster.clients)} reads on leaders, "
        f"{sum(reader.reads for reader in cluster.readers)} on standbys, {cluster.chances_missed} hand-overs to another "
        f"than the named one; {len(violations)} violations")
    print(table_of(times), summary, sep="\n\n")
    if arguments.report:
        pathlib.Path(arguments.report).write_text(
            json.dumps({"times": times, "summary": summary, "violations": violations}) + "\n")
    assert not violations, "\n".join(violations)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("LITECLUSTER_CAMPAIGN_ROUNDS", "0")))
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--kinds", default="", help="names, or all; default: the usual ones")
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
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: STOP_ASKED.append(True))
    random.seed(arguments.seed)
    kinds, times = kinds_of(arguments), {}
    with scratch() as directory:
        cluster = Cluster(directory, arguments.lease, arguments.pause, kinds)
        try:
            cluster.start()
            cause_all(cluster, arguments, kinds, times)
            judge(cluster, arguments, times)
        except BaseException:
            print(table_of(times))
            raise
        finally:
            cluster.stop()


if __name__ == "__main__":
    main()
