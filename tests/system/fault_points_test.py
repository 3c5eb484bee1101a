"""kill -9 between every two steps of a promotion and a demotion, and inside of those that move files.

For each named point: it is armed in one of three real nodes, a hand-over brings that node there, and it dies: the
agent alone, so that its guard starts the next one, or guard and agent together, so that the node is started anew.
Promised: somebody serves again, and at the end one node leads, all replicas are equal, and nothing is lost that had
been replicated (history.py says it in full).

  LITECLUSTER_FAULT_ROUNDS=N   that many of the points, drawn at random (default 8; all: every point, both ways)
  LITECLUSTER_FAULT_SEED=N     the same choice again
"""
import os
import random
import subprocess
import time

from cluster import PROGRAM, NatsServers, Node, scratch, wait_until
from history import Client, Judgement, StandbyReader, check_copies, served_since, settle, start_watched, stop_watching

PROMOTION = ["catch_up", "fence", "seal_replica", "install_primary", "attach_capture", "start_backend", "run_on_active"]
DEMOTION = ["stop_backend", "run_on_passive", "final_sync", "detach_capture", "release_lease", "follow"]
IN_PROMOTION = ([f"before.{step}" for step in PROMOTION] + ["after.run_on_active"] +
                ["promote.fence", "object.chunk_sent", "promote.fenced", "promote.seal", "promote.install",
                 "replica.move.linked", "replica.move.renamed", "promote.installed", "promote.attached",
                 "election.write", "election.written"])
IN_DEMOTION = ([f"before.{step}" for step in DEMOTION] + ["after.follow"] +
               ["demote.sync", "demote.detach", "retire.move", "retire.adopt", "replica.move.linked",
                "replica.move.renamed", "election.write", "election.written"])
# A leader whose agent is stopped while its backend goes on: its commits diverge and are put aside.
IN_DIVERGENCE = ["aside.move", "replica.move.linked", "replica.move.renamed", "before.follow"]
KINDS = {"promotion": IN_PROMOTION, "demotion": IN_DEMOTION, "divergence": IN_DIVERGENCE}


def choose_rounds():
    everything = [(kind, point, action) for kind, points in KINDS.items() for point in points
                  for action in ("kill", "kill_parent")]
    wanted = os.environ.get("LITECLUSTER_FAULT_ROUNDS", "8")
    seed = int(os.environ.get("LITECLUSTER_FAULT_SEED", random.randrange(1 << 30)))
    print(f"LITECLUSTER_FAULT_SEED={seed}")
    draw = random.Random(seed)
    draw.shuffle(everything)
    return everything if wanted == "all" else everything[:int(wanted)]


class Campaign:
    def __init__(self, directory):
        self.directory = directory
        self.nats = NatsServers(directory).start()
        self.nodes = []
        for number in range(3):
            faults = directory / f"faults-{number}"
            faults.mkdir()
            node = Node(directory, self.nats.url, f"node-{number}", lease="1s", heartbeat="300ms",
                        environment={"LITECLUSTER_FAULT_DIRECTORY": str(faults)})
            node.faults = faults
            self.nodes.append(node)
        self.clients = [Client(number, self.nodes, pause=0.005) for number in range(3)]
        self.readers = [StandbyReader(node) for node in self.nodes]
        self.faults = []
        self.asking = []

    def start(self):
        start_watched(self.nodes, self.clients + self.readers, self.clients)

    def stop(self):
        stop_watching(self.clients + self.readers, self.asking)
        for node in self.nodes:
            node.process.kill()
        self.nats.stop()

    def round(self, kind, point, action):
        leader = settle(self.nodes)
        other = next(node for node in self.nodes if node is not leader)
        victim = other if kind == "promotion" else leader
        begin = time.monotonic()
        armed = victim.faults / point
        if kind == "divergence":
            agent = leader.agent_pid()
            os.kill(agent, 19)
            wait_until(lambda: any(node.is_active() for node in self.nodes if node is not leader), 30, "a successor")
            self._arm(armed, action)
            os.kill(agent, 18)
        else:
            self._arm(armed, action)
            # Not waited for: who has to answer may be killed.
            command = [PROGRAM, "stepdown", "--cluster", "test", "--nats", self.nats.url, "--to", other.name]
            self.asking.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_until(lambda: not armed.exists(), 30, f"{victim.name} gets to {point}")
        if action == "kill_parent":
            wait_until(lambda: not victim.process.running(), 30, f"the guard of {victim.name} is dead")
            victim.start()
        moment = time.monotonic()
        wait_until(lambda: served_since(self.clients, moment), 30, "clients are served again")
        settle(self.nodes)
        self.faults.append((begin, time.monotonic()))

    @staticmethod
    def _arm(path, action):
        draft = path.with_name(".draft")
        draft.write_text(action)
        draft.rename(path)

    def judge(self):
        for thread in self.clients + self.readers:
            thread.stopping.set()
        for thread in self.clients + self.readers:
            thread.join()
        leader = settle(self.nodes)
        rows = check_copies(self.nodes, leader, self.nats.url, self.directory)
        judgement = Judgement(self.nodes, leader, self.clients, self.readers, self.faults)
        assert not judgement.violations, "\n".join(judgement.violations)
        print(f"{len(judgement.acknowledged)} acknowledged writes, {rows} rows, {len(judgement.lost)} never replicated "
              f"and kept aside, {sum(reader.reads for reader in self.readers)} reads on standbys; replicas equal")


def main():
    with scratch() as directory:
        campaign = Campaign(directory)
        try:
            campaign.start()
            for kind, point, action in choose_rounds():
                begin = time.monotonic()
                try:
                    campaign.round(kind, point, action)
                except AssertionError as error:
                    raise AssertionError(f"{kind}, {point}={action}: {error}") from error
                print(f"{kind:10} {point:24} {action:12} {time.monotonic() - begin:5.1f} s", flush=True)
            campaign.judge()
        finally:
            campaign.stop()


if __name__ == "__main__":
    main()
