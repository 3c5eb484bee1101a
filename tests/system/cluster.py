"""Real processes for system tests: NATS servers, litecluster nodes, clients that write and read, and a checker.

Everything runs on loopback with random ports in a directory of the test's own; every process that was started is
ended by its own id. Only Python's standard library is used.
"""
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

BUILD = pathlib.Path(os.environ.get("LITECLUSTER_BUILD", "build/debug")).resolve()
PROGRAM = BUILD / "litecluster"
BACKEND = BUILD / "litecluster-example-backend"
NATS_SERVER = os.environ.get("LITECLUSTER_NATS_SERVER") or shutil.which("nats-server") or "/usr/sbin/nats-server"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, seconds, what):
    """Polls until condition() is true and returns its value; fails the test at the deadline, which is generous."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s: {what}")


class Process:
    """One child with its own log file. scratch() kills those that still run when the test ends, however it does."""
    started = []

    def __init__(self, name, command, log, environment=None, place=None):
        prefix = place.prefix if place else []  # runs it in the network namespace of the place (network.py)
        self.name, self.command, self.log = name, [str(part) for part in [*prefix, *command]], pathlib.Path(log)
        self.environment = {**os.environ, **(environment or {})}
        self.child = None

    def start(self):
        with open(self.log, "ab") as output:
            self.child = subprocess.Popen(self.command, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                                          env=self.environment, start_new_session=True)
        Process.started.append(self)
        return self

    @property
    def pid(self):
        return self.child.pid

    def running(self):
        return self.child is not None and self.child.poll() is None

    def signal(self, number):
        if self.running():
            self.child.send_signal(number)

    def stop(self, seconds=20):
        """TERM, and KILL when that does not help; returns the exit status."""
        if self.child is None:
            return None
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
            self.child.terminate()
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.child.returncode

    def kill(self):
        if self.child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()


class NatsServers:
    """One server, or a cluster of three with JetStream. With `places` each runs in a network namespace of its own."""

    def __init__(self, directory, count=1, places=None):
        self.directory, self.count, self.places = pathlib.Path(directory), count, places or [None] * count
        self.addresses = [place.address if place else "127.0.0.1" for place in self.places]
        self.ports = [4222 if place else free_port() for place in self.places]
        self.routes = [6222 if place else free_port() for place in self.places]
        self.servers = [self._make(index) for index in range(count)]

    def _make(self, index):
        store = self.directory / f"nats-{index}"
        store.mkdir(parents=True, exist_ok=True)
        lines = [f"server_name: n{index}", f"listen: {self.addresses[index]}:{self.ports[index]}",
                 f"jetstream {{ store_dir: \"{store}/data\" }}"]
        if self.count > 1:
            peers = zip(self.addresses, self.routes)
            routes = ", ".join(f"nats-route://{address}:{port}" for address, port in peers)
            lines.append(f"cluster {{ name: test, listen: {self.addresses[index]}:{self.routes[index]}, "
                         f"routes: [{routes}] }}")
        configuration = store / "nats.conf"
        configuration.write_text("\n".join(lines) + "\n")
        return Process(f"nats-{index}", [NATS_SERVER, "-c", configuration], store / "log", place=self.places[index])

    def start(self):
        for server in self.servers:
            server.start()
        for index in range(self.count):
            self.wait_for(index)
        return self

    def wait_for(self, index):
        wait_until(lambda: self._answers(index), 30, f"nats-server {index}")

    def _answers(self, index):
        try:
            with socket.create_connection((self.addresses[index], self.ports[index]), 0.5) as probe:
                probe.settimeout(0.5)
                return probe.recv(4) == b"INFO"
        except OSError:
            return False

    @property
    def url(self):
        return ",".join(f"nats://{address}:{port}" for address, port in zip(self.addresses, self.ports))

    def stop(self):
        for server in self.servers:
            server.kill()


class Node:
    """`litecluster run` with the example backend."""

    def __init__(self, directory, nats_url, name, cluster="test", lease="2s", heartbeat="500ms", arguments=(),
                 environment=None, backend=True, place=None, disk=None):
        self.name, self.cluster, self.nats_url = name, cluster, nats_url
        self.directory = disk.mount_point if disk else pathlib.Path(directory) / name
        self.directory.mkdir(parents=True, exist_ok=True)
        self.database = self.directory / "app.db"
        self.port = 8080 if place else free_port()
        self.address = place.address if place else "127.0.0.1"
        self.place, self.disk = place, disk
        self.log = pathlib.Path(directory) / f"{name}.log" if disk else self.directory / "log"
        command = [PROGRAM, "run", "--cluster", cluster, "--node", name, "--nats", nats_url, "--db", self.database,
                   "--lease-ttl", lease, "--heartbeat", heartbeat, "--log-format", "json",
                   "--backend-health-tcp", f"127.0.0.1:{self.port}", "--backend-health-interval", "200ms", *arguments]
        if backend:
            command += ["--", BACKEND, "--db", self.database, "--port", self.port,
                        "--address", "0.0.0.0" if place else "127.0.0.1"]
        self.process = Process(name, command, self.log, environment, place)

    @property
    def replica(self):
        return self.database.with_name(self.database.name + "-replica")

    def start(self):
        self.process.start()
        return self

    def status(self):
        """What the node says of itself, or None while it does not answer."""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(2)
                client.connect(str(self.directory / f"litecluster-{self.name}.sock"))
                client.sendall(b'{"verb":"status"}\n')
                answer = b""
                while not answer.endswith(b"\n"):
                    piece = client.recv(65536)
                    if not piece:
                        return None
                    answer += piece
            answer = json.loads(answer)
            return answer if answer.get("ok") else None
        except (OSError, ValueError):
            return None

    def is_active(self):
        status = self.status()
        return bool(status and status.get("stage") == "active")

    def agent_pid(self):
        status = self.status()
        return status and status.get("pid")

    def diverged(self):
        return sorted(self.database.parent.glob(self.database.name + ".diverged-*"))


def litecluster(*arguments, timeout=60, check=True, environment=None):
    """Runs one command of the program to its end."""
    done = subprocess.run([str(PROGRAM), *map(str, arguments)], capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stderr}")
    return done


class Client(threading.Thread):
    """Writes numbered entries to whoever serves and remembers every answer."""

    def __init__(self, number, ports, pause=0.002):
        super().__init__(daemon=True)
        self.number, self.ports, self.pause = number, list(ports), pause
        self.acknowledged = []  # (text, id, sent, answered, port)
        self.unknown = set()  # may or may not have been committed
        self.stopping = threading.Event()

    def run(self):
        target, connection, sequence = 0, None, 0
        while not self.stopping.is_set():
            text = f"c{self.number}-{sequence}"
            sent = time.monotonic()
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self.ports[target], timeout=2)
                connection.request("POST", "/entries", body=text)
                response = connection.getresponse()
                body = response.read()
                if response.status == 201:
                    self.acknowledged.append((text, int(body), sent, time.monotonic(), self.ports[target]))
                else:
                    self.unknown.add(text)
                sequence += 1
                if self.pause:
                    time.sleep(self.pause)
            except (OSError, http.client.HTTPException) as error:
                if not isinstance(error, ConnectionRefusedError):
                    self.unknown.add(text)
                    sequence += 1
                if connection is not None:
                    connection.close()
                connection, target = None, (target + 1) % len(self.ports)
                time.sleep(0.002)

    def stop(self):
        self.stopping.set()


def entries_in(database):
    """All texts of a database, read as any SQLite program would."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",), f"{database} is damaged"
        return {bytes(row[0]).decode() for row in connection.execute("SELECT text FROM entry")}


def longest_silence(clients, begin, end):
    """The longest time within [begin, end] in which no client got an answer."""
    answers = sorted(entry[3] for client in clients for entry in client.acknowledged if begin <= entry[3] <= end)
    edges = [begin, *answers, end]
    return max(after - before for before, after in zip(edges, edges[1:]))


@contextlib.contextmanager
def scratch():
    """A directory that is removed when the test passes and kept, with its path printed, when it fails."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="litecluster-system-"))
    try:
        yield directory
    except BaseException:
        print(f"kept for a look: {directory}", file=sys.stderr)
        raise
    finally:
        for process in Process.started:
            if process.running():
                process.kill()
        Process.started.clear()
    shutil.rmtree(directory, ignore_errors=True)
