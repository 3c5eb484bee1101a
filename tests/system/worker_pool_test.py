"""The example worker pool: a queue of tasks shared by workers of which one is killed and one leaves.

Promised: every task gets exactly one result; what a killed worker had begun is done by another; members are told who
came and who went.
"""
import sys

from cluster import BUILD, NatsServers, Process, litecluster, scratch, wait_until

PROGRAM = BUILD / "litecluster-example-worker-pool"
TASKS = 150


def main():
    with scratch() as directory:
        nats = NatsServers(directory).start()
        workers = {}

        def start(name):
            workers[name] = Process(name, [PROGRAM, "work", name, "--nats", nats.url, "--heartbeat", 300, "--task-time",
                                           20], directory / f"{name}.log").start()

        def said(name):
            return (directory / f"{name}.log").read_text().splitlines()

        def done():
            return sum(line.startswith("did ") for name in workers for line in said(name))

        try:
            for name in ("w1", "w2", "w3"):
                start(name)
            for name in workers:
                wait_until(lambda name=name: {"join w1", "join w2", "join w3"} <= set(said(name)), 30,
                           f"{name} knows all")
            Process("add", [PROGRAM, "add", 1, TASKS, "--nats", nats.url], directory / "add.log").start().child.wait(60)
            wait_until(lambda: done() > TASKS // 5, 60, "some tasks are done")
            workers["w1"].kill()
            wait_until(lambda: done() > TASKS // 2, 60, "the others go on")
            assert workers["w2"].stop() == 0, "w2 did not leave in good order"
            start("w4")

            def keys(pattern):
                listed = litecluster("kv", "keys", pattern, "--cluster", "worker-pool", "--nats", nats.url, check=False)
                assert listed.returncode in (0, 3), listed.stderr
                return listed.stdout.split()

            wait_until(lambda: not keys("task/>"), 60, "the queue is empty")
            results = keys("result/>")
            assert len(results) == TASKS, f"{len(results)} results of {TASKS} tasks"
            told = [line for name in workers for line in said(name) if line.startswith("did ")]
            assert len(told) == len(set(told)), "a result was made twice"
            assert {"leave w1", "leave w2", "join w4"} <= set(said("w3"))
            for name in ("w3", "w4"):
                assert workers[name].stop() == 0, f"{name} did not leave in good order"
                print(f"{name} did {sum(line.startswith('did ') for line in said(name))}")
        finally:
            for worker in workers.values():
                worker.kill()
            nats.stop()


if __name__ == "__main__":
    sys.exit(main())
