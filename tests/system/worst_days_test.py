"""The worst days of docs/operations.md, each walked through as it says: worst_days_test.py [NAME...].

Promised: with the written steps every write comes back that any node, the log or a copy of NATS still holds, the
nodes end up equal, and going on works: a hand-over loses nothing.
"""
import os
import shutil
import signal
import sys

from bad_days_test import Cluster, leader_of, log_of, stage
from cluster import Client, Node, entries_in, litecluster, scratch, wait_until
from follow_test import Listener
from history import served_since


def ask_nats(nats, subject):
    """One request to a server, and its answer."""
    listener = Listener(nats.ports[0], "answer")
    listener.socket.sendall(f"PUB {subject} answer 2\r\n{{}}\r\n".encode())
    return listener.next()[1]


def written(cluster):
    return {entry[0] for client in cluster.clients for entry in client.acknowledged}


def equal_everywhere(cluster):
    """Whether each standby holds what the leader does; what that is."""
    leader = wait_until(lambda: leader_of(cluster.nodes), 60, "a leader")
    served = entries_in(leader.database)
    for node in cluster.nodes:
        if node is not leader:
            wait_until(lambda node=node: node.replica.exists() and entries_in(node.replica) == served, 60,
                       f"the replica of {node.name} is equal")
    return served


def write_for_a_while(cluster):
    cluster.write()
    wait_until(lambda: len(written(cluster)) > 200, 30, "writes")
    cluster.stop_writing()
    served = equal_everywhere(cluster)
    assert written(cluster) <= served
    return served


def goes_on(cluster, before):
    """Everything of before is served, and after more writes and a hand-over nothing is missing."""
    missing = before - equal_everywhere(cluster)
    assert not missing, f"{len(missing)} of {len(before)} are missing: {sorted(missing)[:5]}"
    # Each client counts from nothing again: what it wrote before has other texts.
    first = 100
    cluster.clients = [Client(first + number, [node.port for node in cluster.nodes]) for number in range(2)]
    for client in cluster.clients:
        client.start()
    wait_until(lambda: served_since(cluster.clients, 0), 30, "an answer")
    old = wait_until(lambda: leader_of(cluster.nodes), 60, "a leader")
    litecluster("stepdown", "--cluster", "test", "--nats", cluster.nats.url)
    wait_until(lambda: leader_of(cluster.nodes, but=old), 30, "another leader")
    count = len(written(cluster))
    wait_until(lambda: len(written(cluster)) > count, 30, "more writes")
    cluster.stop_writing()
    missing = (before | written(cluster)) - equal_everywhere(cluster)
    assert not missing, f"a hand-over lost {sorted(missing)[:5]}"


def set_aside(node):
    """Everything that the node knows of the former log."""
    old = node.directory / "old"
    old.mkdir()
    for name in [f"{node.database.name}*", f".{node.database.name}-litecluster"]:
        for path in node.directory.glob(name):
            path.rename(old / path.name)


def take_as_primary(node):
    """The node's copy as a database of which no log knows anything."""
    set_aside(node)
    old = node.directory / "old"
    found = old / node.database.name
    if not found.exists():
        found = old / node.replica.name
    for suffix in ("", "-wal"):
        if (old / (found.name + suffix)).exists():
            shutil.copy(old / (found.name + suffix), node.directory / (node.database.name + suffix))


def bucket_gone(directory):
    """The bucket vanishes: all nodes end and refuse to start; one of them begins a new log under a new name."""
    with Cluster(directory, count=3) as cluster:
        leader = cluster.start()
        before = write_for_a_while(cluster)
        answer = ask_nats(cluster.nats, "$JS.API.STREAM.DELETE.OBJ_test-wal")
        assert answer.get("success") is True, answer
        for node in cluster.nodes:
            wait_until(lambda node=node: "it existed and is gone" in log_of(node), 120,
                       f"{node.name} says what happened")
        assert leader_of(cluster.nodes) is None, "somebody writes into nothing"
        for node in cluster.nodes:
            node.process.stop()
        # The truth is on the nodes' disks, here on the former leader's.
        nodes = [Node(directory, cluster.nats.url, node.name, arguments=["--bucket", "test-wal-2"])
                 for node in cluster.nodes]
        chosen = nodes[cluster.nodes.index(leader)]
        take_as_primary(chosen)
        for node in nodes:
            if node is not chosen:
                set_aside(node)
        cluster.nodes = nodes
        chosen.start()
        wait_until(chosen.is_active, 60, "the chosen node leads")
        for node in nodes:
            if node is not chosen:
                node.start()
        goes_on(cluster, before)


def lose_nodes(cluster):
    """All of them, with their disks."""
    for node in cluster.nodes:
        node.process.kill()
        shutil.rmtree(node.directory)


def new_nodes(cluster, directory):
    cluster.nodes = [Node(directory, cluster.nats.url, f"new-{number}") for number in range(len(cluster.nodes))]
    cluster.start()


def nodes_gone(directory):
    """All nodes are gone with their disks, NATS is there: new ones seed themselves from the log."""
    with Cluster(directory, count=3) as cluster:
        cluster.start()
        before = write_for_a_while(cluster)
        lose_nodes(cluster)
        look = directory / "look.db"
        litecluster("restore", "--cluster", "test", "--nats", cluster.nats.url, "-o", look)
        assert entries_in(look) == before
        new_nodes(cluster, directory)
        goes_on(cluster, before)


def everything_gone(directory):
    """Nodes and NATS are gone; there is a copy of what the NATS server had stored."""
    with Cluster(directory, count=2) as cluster:
        cluster.start()
        before = write_for_a_while(cluster)
        lose_nodes(cluster)
        server, store = cluster.nats.servers[0], directory / "nats-0" / "data"
        server.stop()
        shutil.copytree(store, directory / "copy")
        shutil.rmtree(store)
        shutil.copytree(directory / "copy", store)
        server.start()
        cluster.nats.wait_for(0)
        new_nodes(cluster, directory)
        goes_on(cluster, before)


def diverged(directory):
    """A leader that was cut off held commits that nobody else has: they are kept aside, and told until removed."""
    with Cluster(directory, count=2) as cluster:
        leader = cluster.start()
        other = next(node for node in cluster.nodes if node is not leader)
        before = write_for_a_while(cluster)
        pid = leader.agent_pid()
        os.kill(pid, signal.SIGSTOP)
        cluster.clients = [Client(7, [leader.port])]
        cluster.clients[0].start()
        wait_until(lambda: leader_of([other]), 60, "another leader")
        only_there = written(cluster)
        cluster.stop_writing()
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: stage(leader) == "standby", 60, "the former leader follows")
        assert leader.diverged(), "nothing was kept aside"
        aside = entries_in(leader.diverged()[0] / "app.db")
        assert only_there <= aside | entries_in(other.database), "writes are nowhere"
        assert (leader.status() or {}).get("diverged"), "the status does not tell"
        shutil.rmtree(leader.diverged()[0])
        wait_until(lambda: not (leader.status() or {}).get("diverged"), 30, "the status forgets")
        goes_on(cluster, before)


def main():
    days = {day.__name__: day for day in (bucket_gone, nodes_gone, everything_gone, diverged)}
    for name in sys.argv[1:] or days:
        with scratch() as directory:
            days[name](directory)
        print(f"{name}: ok")


if __name__ == "__main__":
    main()
