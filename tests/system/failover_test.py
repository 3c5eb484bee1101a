"""Three real nodes with a real backend and clients that write all the time.

Promised: a planned hand-over loses no acknowledged write; after a killed agent or a killed node one standby serves, and
every acknowledged write is either served or kept aside; all replicas end up equal; two nodes never acknowledge at the
same time.
"""
import os
import signal
import time

from cluster import Client, NatsServers, Node, entries_in, litecluster, longest_silence, scratch, wait_until
from follow_test import Listener
from history import served_since, settle


def active(nodes):
    return next((node for node in nodes if node.is_active()), None)


def another(nodes, old):
    found = active(nodes)
    return found if found is not None and found is not old else None


def hand_over(nodes, nats, clients, arguments=()):
    """One planned hand-over; returns the new leader and how long nobody served."""
    begin, old = time.monotonic(), active(nodes)
    before = {entry[0] for client in clients for entry in list(client.acknowledged)}
    litecluster("stepdown", "--cluster", "test", "--nats", nats.url, *arguments)
    new = wait_until(lambda: another(nodes, old), 30, "another leader")
    wait_until(lambda: served_since(clients, time.monotonic() - 0.2), 30, "clients are served again")
    time.sleep(0.5)
    missing = before - entries_in(new.database)
    assert not missing, f"a planned hand-over lost {sorted(missing)[:5]}"
    return new, longest_silence(clients, begin, time.monotonic())


def crash(nodes, clients, kill):
    """Kills something of the leader; returns how long nobody served."""
    begin, old = time.monotonic(), wait_until(lambda: active(nodes), 30, "a leader")
    kill(old)
    moment = time.monotonic()
    wait_until(lambda: served_since(clients, moment + 0.001), 30, "clients are served again")
    wait_until(lambda: active(nodes), 30, "a leader")
    time.sleep(0.5)
    return longest_silence(clients, begin, time.monotonic())


def check_terms_do_not_overlap(clients, ports):
    """No request that was sent after another node had begun to serve is answered by an older leader's port."""
    answers = sorted((entry[3], entry[2], entry[4]) for client in clients for entry in client.acknowledged)
    changes = [(after[0], after[2]) for before, after in zip(answers, answers[1:]) if before[2] != after[2]]
    turns = [port for _, port in changes]
    assert len(turns) <= 2 * len(ports) + 6, f"leadership flapped between the answers: {turns}"


def check_nothing_is_lost(nodes, clients):
    leader = wait_until(lambda: active(nodes), 30, "a leader")
    # A former leader first has to look at what it holds that the log does not.
    for node in nodes:
        wait_until(lambda node=node: (node.status() or {}).get("stage") in ("active", "standby"), 30,
                   f"{node.name} has settled")
    acknowledged = {entry[0] for client in clients for entry in client.acknowledged}
    served = entries_in(leader.database)
    aside = set()
    for node in nodes:
        for directory in node.diverged():
            aside |= entries_in(directory / "app.db")
    lost = acknowledged - served
    assert lost <= aside, f"{len(lost - aside)} acknowledged writes are nowhere: {sorted(lost - aside)[:5]}"
    for node in nodes:
        if node is not leader:
            wait_until(lambda node=node: node.replica.exists() and entries_in(node.replica) == served, 30,
                       f"the replica of {node.name} is equal")
    return len(acknowledged), len(lost)


def check_positions_are_told(nats, nodes):
    """Whoever listens hears where each node is."""
    listener, missing = Listener(nats.ports[0], "test.position.*"), {node.name for node in nodes}
    deadline = time.monotonic() + 30
    while missing and time.monotonic() < deadline:
        subject, heard = listener.next()
        assert subject == f"test.position.{heard['node']}", (subject, heard)
        if int(heard["txid"], 16) > 0 and heard["lag_txids"] is not None and heard["problem"] is None:
            missing.discard(heard["node"])
    assert not missing, f"nothing was heard of {missing}"


def main():
    with scratch() as directory:
        nats = NatsServers(directory).start()
        nodes = [Node(directory, nats.url, f"node-{number}") for number in range(3)]
        clients = [Client(number, [node.port for node in nodes]) for number in range(4)]
        try:
            for node in nodes:
                node.start()
            wait_until(lambda: active(nodes), 30, "a first leader")
            for client in clients:
                client.start()
            wait_until(lambda: served_since(clients, 0), 30, "the first answer")
            settle(nodes)
            check_positions_are_told(nats, nodes)

            _, silence = hand_over(nodes, nats, clients)
            print(f"step-down: nobody served for {1000 * silence:.0f} ms")
            target = next(node for node in nodes if not node.is_active())
            new, silence = hand_over(nodes, nats, clients, ["--to", target.name])
            assert new is target, f"{new.name} leads, {target.name} was asked for"
            print(f"step-down --to: nobody served for {1000 * silence:.0f} ms")
            silence = crash(nodes, clients, lambda node: os.kill(node.agent_pid(), signal.SIGKILL))
            print(f"agent killed: nobody served for {1000 * silence:.0f} ms")
            gone = active(nodes)
            silence = crash(nodes, clients, lambda node: node.process.kill())
            print(f"node killed: nobody served for {1000 * silence:.0f} ms")
            gone.start()
            for client in clients:
                client.stop()
            for client in clients:
                client.join()
            check_terms_do_not_overlap(clients, [node.port for node in nodes])
            acknowledged, lost = check_nothing_is_lost(nodes, clients)
            print(f"{acknowledged} acknowledged writes; {lost} had not been replicated and are kept aside; "
                  "integrity_check ok; replicas equal")
        finally:
            for client in clients:
                client.stop()
            for node in nodes:
                node.process.stop()
            for node in nodes:
                node.process.kill()
            nats.stop()


if __name__ == "__main__":
    main()
