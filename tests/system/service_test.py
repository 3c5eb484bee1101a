"""`litecluster run` under a service manager, played by this test: the sd_notify protocol, the watchdog, and the unit file.

Promised: READY=1 once it runs, WATCHDOG=1 as long as the agent is well (also the next one after a crash, and not while it is
stopped), the role in STATUS=, STOPPING=1 at TERM with the time it may take; the application never gets to speak for us.
"""
import os
import shutil
import signal
import socket
import subprocess
import time

from cluster import BUILD, NatsServers, Node, scratch, wait_until


class Manager:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.heard = []

    def listen(self):
        while True:
            try:
                self.heard.append((time.monotonic(), self.socket.recv(4096).decode()))
            except BlockingIOError:
                return self.heard

    def has(self, text, since=0.0):
        return any(text in message for moment, message in self.listen() if moment > since)


def check_unit():
    unit = BUILD / "litecluster@.service"
    text = unit.read_text()
    for line in ("Type=notify", "NotifyAccess=all", "KillMode=mixed", "WatchdogSec=30", "TimeoutStopSec=130",
                 "RestartPreventExitStatus=2"):
        assert line in text, line
    if shutil.which("systemd-analyze"):
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
        own = [line for line in done.stderr.splitlines() if "litecluster@" in line and "not executable" not in line
               and "No such file" not in line]
        assert not own, own


def main():
    check_unit()
    with scratch() as directory:
        manager = Manager(directory / "notify")
        nats = NatsServers(directory).start()
        node = Node(directory, nats.url, "n1", environment={"NOTIFY_SOCKET": str(directory / "notify"),
                                                            "WATCHDOG_USEC": "400000"})
        # The shell becomes the main process, whose id systemd would put there.
        node.process.command = ["sh", "-c", 'export WATCHDOG_PID=$$; exec "$@"', "sh", *node.process.command]
        try:
            node.start()
            wait_until(lambda: manager.has("READY=1"), 30, "READY")
            wait_until(lambda: manager.has("STATUS=active, epoch 1, leader n1"), 30, "the role is told")
            wait_until(lambda: manager.has("WATCHDOG=1", time.monotonic() - 0.3), 30, "the watchdog is fed")
            agent = node.agent_pid()
            os.kill(agent, signal.SIGSTOP)
            time.sleep(0.5)
            moment = time.monotonic()
            time.sleep(1.0)
            assert not manager.has("WATCHDOG=1", moment), "a stopped agent feeds the watchdog"
            os.kill(agent, signal.SIGCONT)
            wait_until(lambda: manager.has("WATCHDOG=1", moment), 30, "it goes on")
            wait_until(node.is_active, 30, "it leads")
            os.kill(node.agent_pid(), signal.SIGKILL)
            moment = time.monotonic()
            wait_until(lambda: manager.has("WATCHDOG=1", moment), 30, "the next agent feeds it")
            wait_until(node.is_active, 30, "it leads again")
            children = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True).stdout
            backend = next(line.split()[0] for line in children.splitlines()
                           if f"--db {node.database} --port" in line and " run " not in line)
            environment = open(f"/proc/{backend}/environ", encoding="utf-8").read()
            assert "NOTIFY_SOCKET" not in environment and "WATCHDOG" not in environment, "the backend could speak for us"
            assert node.process.stop() == 0
            assert manager.has("STOPPING=1\nEXTEND_TIMEOUT_USEC="), "it asks for the time that a stop in order may take"
        finally:
            node.process.kill()
            nats.stop()


if __name__ == "__main__":
    main()
