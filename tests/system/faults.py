"""What the fault campaign breaks, one function each.

Each is called with the cluster and the node that leads, and returns when all that it broke is whole again. Those that
break, hold and mend are generators that yield once in between, so that two of them can overlap. What is drawn is drawn
from Python's generator, which the campaign seeds.
"""
import functools
import os
import pathlib
import random
import signal
import sqlite3
import threading
import time

import network
from cluster import litecluster, wait_until
from history import STALL_SECONDS, rows_of, served_since

NATS_ELECTION_SECONDS = 8
# Longer than raw objects are kept with the campaign's retention.
AWAY_SECONDS = 75
LEAF_PAGE = 0x0D


def children_of(pid):
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except OSError:
            pass  # it ended meanwhile
    return found


def everything_of(node):
    """Guard, agent, backend, and whatever they started."""
    processes, at = [node.process.pid], 0
    while at < len(processes):
        processes += children_of(processes[at])
        at += 1
    return processes


def backend_of(node, agent):
    return [pid for pid in children_of(node.process.pid) if pid != agent]


def send(processes, number):
    for pid in processes:
        try:
            if pid:
                os.kill(pid, number)
        except ProcessLookupError:
            pass


def holding(break_and_mend):
    """Makes a fault out of a generator: it is held for what it yields, in leases."""
    @functools.wraps(break_and_mend)
    def fault(cluster, old):
        steps = break_and_mend(cluster, old)
        time.sleep(next(steps) * cluster.lease)
        next(steps, None)
    fault.steps = break_and_mend
    return fault


def standby_of(cluster, old):
    return random.choice([node for node in cluster.present() if node is not old])


# Handing over, and processes that die.

def epoch_of(node):
    return (node.status() or {}).get("epoch", 0)


def caught_up(node):
    return ((node.status() or {}).get("lag") or {}).get("txids") in range(100)


def step_down(cluster, old):
    # With nobody ready to follow it would have to go on itself, after its cooldown.
    wait_until(lambda: any(caught_up(node) for node in cluster.present() if node is not old), 60, "a standby has caught up")
    epoch = epoch_of(old)
    litecluster("stepdown", "--cluster", "test", "--nats", cluster.nats.url)
    cluster.wait_for_successor(epoch)


def hand_over_to(cluster, old, target):
    wait_until(lambda: caught_up(target), 60, f"{target.name} has caught up")
    begin, epoch = time.monotonic(), epoch_of(old)
    # Refused as long as that node's record does not say so: it may just have come back.
    wait_until(lambda: litecluster("stepdown", "--cluster", "test", "--nats", cluster.nats.url, "--to", target.name,
                                   check=False).returncode == 0, 60, f"{old.name} hands over to {target.name}")
    new = cluster.wait_for_successor(epoch)
    if new is target:
        return
    unasked = cluster.losses.moments and cluster.losses.moments[-1] > begin
    # The named one has the first chance. It misses it when its watch does not tell it, as when NATS has just come back.
    late = begin - cluster.nats_disturbed < STALL_SECONDS
    assert unasked or late, f"{new.name} leads and not {target.name}, which was named"
    cluster.chances_missed += 1


def step_down_to(cluster, old):
    hand_over_to(cluster, old, standby_of(cluster, old))


def agent_killed(cluster, old):
    send([old.agent_pid()], signal.SIGKILL)
    cluster.wait_served(time.monotonic())


def backend_killed(cluster, old):
    send(backend_of(old, old.agent_pid()), signal.SIGKILL)
    cluster.wait_served(time.monotonic())


def guard_killed(cluster, old):
    send([old.process.pid], signal.SIGKILL)
    wait_until(lambda: not old.process.running(), 10, "the guard is dead")
    old.start()
    cluster.wait_served(time.monotonic())


def node_killed(cluster, old):
    epoch = epoch_of(old)
    send(everything_of(old), signal.SIGKILL)
    old.process.child.wait()
    cluster.wait_for_successor(epoch)
    old.start()


def standby_killed(cluster, old):
    node = standby_of(cluster, old)
    send(everything_of(node), signal.SIGKILL)
    node.process.child.wait()
    node.start()


def everything_killed(cluster, _old):
    """All nodes and all NATS servers at once, as when a data centre loses power, but for the page cache."""
    nodes = cluster.present()
    for node in nodes:
        send(everything_of(node), signal.SIGKILL)
    for server in cluster.nats.servers:
        server.kill()
    for node in nodes:
        node.process.child.wait()
    cluster.nats.start()
    for node in nodes:
        node.start()
    cluster.wait_served(time.monotonic(), 120)


# Processes that stand still.

def stand_still(processes):
    send(processes, signal.SIGSTOP)
    yield 3
    send(processes, signal.SIGCONT)


def serve_late(cluster, old, processes):
    """The backend is among them: what it had been asked before, it answers when it goes on."""
    steps = stand_still(processes)
    yield next(steps)
    cluster.pauses.append((old.name, time.monotonic()))
    next(steps, None)


@holding
def all_stopped(cluster, old):
    yield from serve_late(cluster, old, everything_of(old))


@holding
def agent_stopped(_cluster, old):
    yield from stand_still([old.agent_pid()])


@holding
def backend_stopped(cluster, old):
    yield from serve_late(cluster, old, backend_of(old, old.agent_pid()))


@holding
def guard_stopped(_cluster, old):
    yield from stand_still([old.process.pid])


@holding
def nats_server_stopped(cluster, old):
    yield from stand_still([cluster.nats.servers[cluster.server_of(old)].pid])


# The network.

def others_of(cluster, old):
    return cluster.nats_places + [place for place in cluster.node_places if place is not old.place]


def in_force(conditions, leases=3):
    for condition in conditions:
        condition.begin()
    yield leases
    for condition in conditions:
        condition.end()


@holding
def partition(cluster, old):
    others = others_of(cluster, old)
    yield from in_force([network.Cut([old.place], others), network.Cut(others, [old.place])])


@holding
def partition_outgoing(cluster, old):
    yield from in_force([network.Cut([old.place], others_of(cluster, old))])


@holding
def partition_incoming(cluster, old):
    yield from in_force([network.Cut(others_of(cluster, old), [old.place])])


@holding
def nats_server_isolated(cluster, old):
    """The leader's server cannot reach the other servers any more; clients reach it."""
    server = cluster.nats_places[cluster.server_of(old)]
    others = [place for place in cluster.nats_places if place is not server]
    yield from in_force([network.Cut([server], others), network.Cut(others, [server])])


def host_vanished(cluster, old):
    epoch = epoch_of(old)
    undo = network.isolate_from_the_router(old.place)
    try:
        cluster.wait_for_successor(epoch)
        time.sleep(cluster.lease)
    finally:
        undo()


@holding
def link_slow(_cluster, old):
    yield from in_force([network.Slow(old.place, random.choice([64, 256, 1024]))], random.uniform(2, 5))


@holding
def link_lossy(_cluster, old):
    yield from in_force([network.Lossy(old.place, random.choice([5, 20, 40]))], random.uniform(2, 5))


# NATS.

def start_nats_again(cluster, numbers):
    for number in numbers:
        cluster.nats.servers[number].start()
    for number in numbers:
        cluster.nats.wait_for(number)


def nats_server_killed(cluster, old):
    number = cluster.server_of(old)
    cluster.nats.servers[number].kill()
    time.sleep(3 * cluster.lease)
    cluster.wait_served(time.monotonic())
    start_nats_again(cluster, [number])
    # What comes next shall measure us, and not the elections that NATS holds among its servers.
    time.sleep(NATS_ELECTION_SECONDS)


@holding
def nats_without_majority(cluster, _old):
    numbers = random.sample(range(3), 2)
    for number in numbers:
        cluster.nats.servers[number].kill()
    yield random.uniform(1, 4)
    start_nats_again(cluster, numbers)


def bit_flipped_in_store(cluster, _old):
    """In what a stopped NATS server has stored of the log."""
    number = random.randrange(3)
    server = cluster.nats.servers[number]
    server.kill()
    blocks = [path for path in (cluster.nats.directory / f"nats-{number}").rglob("*.blk")
              if "OBJ_test-wal" in str(path) and path.stat().st_size > 4096]
    if blocks:
        block = random.choice(blocks)
        flip(block, random.randrange(block.stat().st_size))
    start_nats_again(cluster, [number])
    time.sleep(NATS_ELECTION_SECONDS)


# Disks.

@holding
def disk_full(_cluster, old):
    old.disk.fill()
    yield random.uniform(1, 4)
    old.disk.free()


@holding
def disk_full_agent_killed(_cluster, old):
    old.disk.fill()
    yield random.uniform(0.2, 1)
    send([old.agent_pid()], signal.SIGKILL)
    time.sleep(1)
    old.disk.free()


@holding
def standby_disk_full(cluster, old):
    node = standby_of(cluster, old)
    node.disk.fill()
    yield random.uniform(1, 4)
    if random.random() < 0.3:
        send([node.agent_pid()], signal.SIGKILL)
        time.sleep(cluster.lease)
    node.disk.free()


def flip(path, offset):
    """Flips one bit; returns the byte that is there now."""
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = bytes([file.read(1)[0] ^ (1 << random.randrange(8))])
        file.seek(offset)
        file.write(byte)
    return byte


def rotten_place(path):
    """An offset in the content of a leaf page in the middle of the file: it shows only to who reads that page."""
    with open(path, "rb") as file:
        pages = os.fstat(file.fileno()).st_size // 4096
        for _ in range(100):
            if pages < 12:
                break
            page = random.randrange(3, pages - 5)
            file.seek(page * 4096)
            if file.read(1)[0] == LEAF_PAGE:
                return page * 4096 + random.randrange(1024, 4096)
    return None


def byte_at(path, offset):
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(1)


def found_rot(node):
    return node.log.read_text().count("replica quarantined")


def equals_leader(node, leader):
    try:
        copy, all_rows = rows_of(node.replica), rows_of(leader.database)
    except (sqlite3.Error, AssertionError, UnicodeDecodeError):
        return False
    return all(all_rows.get(number) == text for number, text in copy.items())


def bit_flipped_in_replica(cluster, old):
    """On the disk of a standby, which finds it by reading its replica through again and mends it."""
    node = standby_of(cluster, old)
    offset = wait_until(lambda: node.replica.exists() and rotten_place(node.replica), 60, "the replica has some pages")
    found = found_rot(node)
    flipped = flip(node.replica, offset)
    # A newer version of the page in the WAL may have hidden it, and will be copied over it.
    wait_until(lambda: found_rot(node) > found or byte_at(node.replica, offset) != flipped, 60,
               f"{node.name} finds a bit that flipped in its replica")
    wait_until(lambda: equals_leader(node, cluster.leader() or old), 60, f"the replica of {node.name} is mended")
    if random.random() < 0.5:
        hand_over_to(cluster, old, node)


# Clocks and logs.

@holding
def clock_set(cluster, old):
    """CLOCK_REALTIME of one node is hours off from now on; nothing may come of it."""
    node = random.choice(cluster.present())
    cluster.set_clock(node, random.uniform(-6, 6) * 3600)
    yield random.uniform(0.5, 2)
    if random.random() < 0.5:
        step_down(cluster, old)


def standby_left_behind(cluster, old):
    """A standby is away for longer than the log keeps what it would need next, while other things happen."""
    if cluster.away:
        cluster.bring_back()
        return
    node = standby_of(cluster, old)
    send(everything_of(node), signal.SIGKILL)
    node.process.child.wait()
    cluster.away = (node, time.monotonic() + AWAY_SECONDS)


def replica_lost(cluster, old):
    node = standby_of(cluster, old)
    send(everything_of(node), signal.SIGKILL)
    node.process.child.wait()
    for path in node.replica.parent.glob(node.replica.name + "*"):
        if not path.name.endswith("-bucket"):
            path.unlink()
    node.start()


def steady(_cluster, old):
    """Nothing is broken for a minute, and so nothing may change."""
    epoch = old.status()["epoch"]
    time.sleep(60)
    status = old.status()
    assert status and status["stage"] == "active" and status["epoch"] == epoch, f"the leader changed: {status}"


# Without guard_stopped: when guard and agent both stand still, nobody can end the backend.
OVERLAPPING = [all_stopped, agent_stopped, backend_stopped, nats_server_stopped, partition,
               partition_outgoing, partition_incoming, nats_server_isolated, link_slow, link_lossy,
               nats_without_majority, disk_full, standby_disk_full]


def two_at_once(cluster, old):
    """Two faults that overlap by chance, on the leader and on the leader or another node."""
    kinds = [kind for kind in random.sample(OVERLAPPING, 4) if kind.__name__ in cluster.possible][:2]
    nodes = [old, random.choice(cluster.present())]
    print("  " + ", ".join(f"{kind.__name__} on {node.name}" for kind, node in zip(kinds, nodes)), flush=True)
    failed = []

    def run(kind, node, late):
        try:
            time.sleep(late)
            kind(cluster, node)
        except Exception as error:  # pylint: disable=broad-except
            failed.append(error)

    threads = [threading.Thread(target=run, args=(kind, node, random.uniform(0, 2)))
               for kind, node in zip(kinds, nodes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


KINDS = {kind.__name__: kind for kind in (
    step_down, step_down_to, agent_killed, backend_killed, guard_killed, node_killed, standby_killed,
    everything_killed, all_stopped, agent_stopped, backend_stopped, guard_stopped, nats_server_stopped, partition,
    partition_outgoing, partition_incoming, nats_server_isolated, host_vanished, link_slow, link_lossy,
    nats_server_killed, nats_without_majority, bit_flipped_in_store, disk_full, disk_full_agent_killed,
    standby_disk_full, bit_flipped_in_replica, clock_set, standby_left_behind, replica_lost, two_at_once, steady)}
# After these NATS has more to do for a while than to answer.
DISTURB_NATS = {"everything_killed", "nats_server_stopped", "nats_server_isolated", "nats_server_killed",
                "nats_without_majority", "bit_flipped_in_store", "two_at_once"}
# Nothing that was acknowledged may be missing after these.
PLANNED = {"step_down", "step_down_to", "standby_killed", "guard_stopped", "standby_disk_full", "bit_flipped_in_replica",
           "clock_set", "standby_left_behind", "replica_lost", "steady"}
# What each run of the test-suite does; the rest is for longer ones.
USUAL = ["step_down", "step_down_to", "agent_killed", "guard_killed", "node_killed", "all_stopped", "partition",
         "partition_outgoing", "host_vanished", "link_lossy", "nats_server_killed", "disk_full", "standby_disk_full",
         "bit_flipped_in_replica", "clock_set", "replica_lost"]
NEED_DISKS = {"disk_full", "disk_full_agent_killed", "standby_disk_full"}
NEED_CLOCKS = {"clock_set"}
# nats-server before 2.12 comes back from kill -9 without a part of what it had stored (docs/operations.md).
NEED_SOUND_NATS = {"nats_server_killed", "nats_without_majority", "everything_killed", "bit_flipped_in_store"}
