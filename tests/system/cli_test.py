"""What the command line promises: exit statuses (0 fine, 1 failed, 2 usage, 3 not leader / not found / conflict), JSON where
a script would read, "did you mean" for what is misspelt, a private server when no URL is given, and a manual that is true.
"""
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import time

from cluster import NATS_SERVER, NatsServers, Node, PROGRAM, Process, free_port, litecluster, scratch, wait_until

SOURCE = pathlib.Path(__file__).resolve().parents[2]


def fails(status, *arguments, says="", environment=None):
    done = litecluster(*arguments, check=False, environment=environment)
    assert done.returncode == status, f"{arguments}: exit {done.returncode}, expected {status}\n{done.stderr}"
    assert says in done.stderr, f"{arguments}: {done.stderr!r} does not say {says!r}"
    return done


def check_usage():
    fails(2, says="A subcommand is required")
    fails(2, "stauts", says="did you mean status?")
    fails(2, "status", "--clutser", "x", says="did you mean --cluster?")
    fails(2, "kv", "get", "--bukcet", "x", "key", says="did you mean --bucket?")
    fails(2, "status", says="--cluster")
    fails(2, "restore", "--cluster", "x", "--txid", "xyz", says="hexadecimal")
    assert litecluster("--version").stdout.startswith("litecluster ")
    fails(2, "kv", "get", "--cluster", "x", "--nats", "nats://127.0.0.1:1", "key",
          says="did you mean 'LITECLUSTER_CLUSTER'?", environment={"LITECLUSTER_CLUSTRE": "y"})


def check_manual():
    """The flags of `run --help` are those of the table in docs/configuration.md, and the other way round."""
    table = re.findall(r"^\| `([a-z_.]+)` \| (.*) \|$", (SOURCE / "docs" / "configuration.md").read_text(), re.M)
    flags = {"--" + key.replace(".", "-").replace("_", "-"): meaning for key, meaning in table}
    for command in ("run", "check"):
        told = " ".join(litecluster(command, "--help").stdout.split())
        known = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", told)) - {
            "--help", "--config", "--json", "--nats", "--creds", "--user", "--password", "--token", "--nkey", "--nkey-seed",
            "--tls-ca", "--tls-cert", "--tls-key", "--db", "--bucket"}
        assert known == set(flags), f"{command}: undocumented {known - set(flags)}, unknown {set(flags) - known}"
        for flag, meaning in flags.items():
            assert " ".join(meaning.split()) in told, f"{command} --help does not say {meaning!r} of {flag}"
    for command in ("kv", "lock", "ltx", "replicate", "follow", "restore", "snapshot", "status", "stepdown", "demo"):
        assert litecluster(command, "--help").stdout


def check_private_server(directory):
    """Without a URL a server of our own is there, under the same URL after a restart, and what it stored as well."""
    place = directory / "alone"
    place.mkdir()
    configuration = place / "litecluster.yaml"
    configuration.write_text(f"cluster: solo\nnode: n1\ndb: {place}/app.db\nlease_ttl: 2s\nheartbeat: 500ms\n")
    node = Process("solo", [PROGRAM, "run", "-c", configuration], place / "log")
    url = place / "nats-n1" / "url"
    try:
        node.start()
        wait_until(url.exists, 30, "the private server")
        first = url.read_text()
        wait_until(lambda: statuses(first, "solo")[0].get("stage") == "active", 30, "the node leads")
        litecluster("kv", "put", "--cluster", "solo", "--nats", first, "a/b", "1")
        assert stat.S_IMODE((place / "litecluster-n1.sock").stat().st_mode) == 0o600, "the control socket is for the owner"
        assert node.stop() == 0
        assert not (place / "litecluster-n1.sock").exists()
        node.start()
        wait_until(lambda: statuses(first, "solo")[0].get("stage") == "active", 30, "the node leads again, under the same URL")
        assert url.read_text() == first
        assert litecluster("kv", "get", "--cluster", "solo", "--nats", first, "a/b").stdout == "1"
        os.killpg(node.pid, signal.SIGINT)  # what Ctrl-C does: guard and agent get it
        assert node.child.wait(30) == 0, "Ctrl-C stops a leader in order"
        assert node.log.read_text().count("given back") == 2, "both stops gave the term back"
        assert not (place / "litecluster-n1.sock").exists()
    finally:
        node.kill()


def ask_control_socket(path, request):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(path))
        client.sendall(request.encode() + b"\n")
        return json.loads(client.makefile().readline())


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:  # it does not listen yet
        return 0, ""
    finally:
        connection.close()


def check_endpoints(directory):
    """What a monitor, a hook command and the owner's own program see of a node: HTTP, variables, the control socket."""
    place = directory / "endpoints"
    place.mkdir()
    told, port = place / "told", free_port()
    told.touch()
    hook = ["/bin/sh", "-c", f'echo "$LITECLUSTER_HOOK $LITECLUSTER_LEADER$LITECLUSTER_HEALTH" >> {told}']
    configuration = {"cluster": "ends", "node": "n1", "db": f"{place}/app.db", "lease_ttl": "2s", "heartbeat": "500ms",
                     "http_listen": f"127.0.0.1:{port}",
                     "hooks": {name: hook for name in ("on_active", "on_passive", "on_leader_change", "on_health_change")}}
    file = place / "litecluster.yaml"
    file.write_text(json.dumps(configuration))  # JSON is YAML
    node = Process("ends", [PROGRAM, "run", "-c", file], place / "log").start()
    control = place / "litecluster-n1.sock"
    try:
        wait_until(lambda: get(port, "/ready") == (200, "active\n"), 30, "the node is ready")
        wait_until(lambda: get(port, "/health")[0] == 200, 30, "it is healthy")
        assert json.loads(get(port, "/status")[1])["node"] == "n1"
        assert re.search(r"^litecluster_\w+(\{.*\})? \S+$", get(port, "/metrics")[1], re.M)
        assert get(port, "/stepdown")[0] == 404, "HTTP reads only"
        wait_until(lambda: {"on_active ", "on_leader_change n1"} <= set(told.read_text().splitlines()), 30, "hooks are told")

        with sqlite3.connect(place / "app.db") as writer:
            writer.execute("CREATE TABLE t(a)")
        assert ask_control_socket(control, '{"verb": "sync"}')["ok"]
        made = ask_control_socket(control, '{"verb": "snapshot"}')
        assert made["ok"] and int(made["id"], 16) > 0 and made["size"] > 0, made
        assert "not one of" in ask_control_socket(control, '{"verb": "dance"}')["message"]
        assert "JSON object" in ask_control_socket(control, "dance")["message"]
        taken = Process("taken", [PROGRAM, "run", "-c", file, "--node", "n2", "--data-directory", place / "other",
                                  "--db", place / "other" / "app.db"],
                        place / "taken.log")
        (place / "other").mkdir()
        assert taken.start().child.wait(30) == 2 and str(port) in taken.log.read_text(), "the port of HTTP is taken"
        assert node.stop() == 0
        assert get(port, "/ready")[0] == 0
        assert told.read_text().splitlines().count("on_passive ") >= 1
    finally:
        node.stop()
        node.kill()


def check_ltx(directory):
    """For people the same is printed as for scripts."""
    place = directory / "ltx"
    place.mkdir()
    database, made = place / "app.db", place / "made.ltx"
    with sqlite3.connect(database) as writer:
        writer.execute("CREATE TABLE t(a)")
    litecluster("ltx", "encode", "--checksums", database, "-o", made)
    described = json.loads(litecluster("ltx", "dump", "--json", "--pages", made).stdout)
    text = litecluster("ltx", "dump", "--pages", made).stdout
    assert re.search(r"^kind +snapshot$", text, re.M), text
    assert re.search(r"^page size +4096$", text, re.M) and re.search(r"^size +\d+ bytes$", text, re.M), text
    assert len(re.findall(r"^ +\d+ +\d+ +\d+ +block$", text, re.M)) == len(described["pages"]), text
    total = litecluster("ltx", "checksum", database).stdout.strip()
    assert json.loads(litecluster("ltx", "checksum", "--json", database).stdout)["checksum"] == total
    assert re.search(rf"^post-apply checksum +{total}$", text, re.M), (total, text)
    assert made.name in litecluster("ltx", "verify", made).stdout
    made.write_bytes(made.read_bytes()[:-9])
    fails(1, "ltx", "dump", made)
    fails(2, "ltx", "encode", database, "-o", place / "other.ltx", "--txid", "0", says="hexadecimal")


def statuses(url, cluster):
    done = litecluster("status", "--cluster", cluster, "--nats", url, "--json", check=False)
    return (json.loads(done.stdout) if done.returncode == 0 else []) or [{}]


def all_staged(entries):
    return {entry["node"]: entry for entry in entries} if all("stage" in entry for entry in entries) else None


def check_cluster(directory):
    nats = NatsServers(directory / "cluster").start()
    nodes = [Node(directory / "cluster", nats.url, f"n{number}") for number in (1, 2)]
    common = ("--cluster", "test", "--nats", nats.url)
    try:
        fails(3, "status", *common)
        fails(3, "stepdown", *common)
        fails(3, "restore", *common, "-o", directory / "none.db")
        for node in nodes:
            node.start()
        leader = wait_until(lambda: next((node for node in nodes if node.is_active()), None), 30, "a leader")
        other = next(node for node in nodes if node is not leader)
        wait_until(lambda: (other.status() or {}).get("stage") == "standby", 30, "a standby")
        wait_until(lambda: other.status()["lag"]["txids"] == 0, 30, "it has caught up")
        # A node answers by NATS a moment after it has joined.
        seen = wait_until(lambda: all_staged(statuses(nats.url, "test")), 30, "both nodes tell their stage")
        assert {entry["stage"] for entry in seen.values()} == {"active", "standby"}, seen
        assert seen[leader.name]["leader"] == leader.name == seen[other.name]["leader"]
        assert seen[other.name]["epoch"] == seen[leader.name]["epoch"] or seen[other.name]["epoch"] == 0
        text = litecluster("status", *common).stdout
        assert re.search(rf"^{leader.name} +active ", text, re.M) and re.search(rf"^{other.name} +standby ", text, re.M), text
        watching = subprocess.Popen([str(PROGRAM), "status", *common, "--watch", "--json"], stdout=subprocess.PIPE, text=True)
        assert json.loads(watching.stdout.readline()) and json.loads(watching.stdout.readline())
        watching.terminate()
        assert watching.wait(20) == 0, "TERM ends a watch in order"
        fails(3, "stepdown", *common, "--to", "nobody", says="nobody")
        assert leader.is_active(), "it leads on"
        environment = {"LITECLUSTER_CLUSTER": "test", "LITECLUSTER_NATS_URLS": nats.url}
        told = json.loads(litecluster("stepdown", "--to", other.name, "--json", environment=environment).stdout)
        assert told["ok"] and told["node"] == leader.name
        wait_until(other.is_active, 30, "the named one leads")
        # The same by the control socket of one node, which needs no NATS.
        sockets = {node: node.directory / f"litecluster-{node.name}.sock" for node in nodes}
        told = json.loads(litecluster("status", "--socket", sockets[other], "--json").stdout)
        assert [entry["stage"] for entry in told] == ["active"], told
        wait_until(lambda: re.search(rf"^{leader.name} +standby ", litecluster("status", "--socket", sockets[leader]).stdout),
                   30, "the former leader follows")
        fails(3, "stepdown", "--socket", sockets[leader], says="leads")
        fails(3, "status", "--socket", directory / "none.sock")
        wait_until(lambda: litecluster("stepdown", "--socket", sockets[other], "--to", leader.name,
                                       check=False).returncode == 0, 30, "it hands over")
        wait_until(leader.is_active, 30, "the first one leads again")
        fails(3, "kv", "get", *common, "no/such/key")
        litecluster("kv", "put", *common, "key", "1")
        fails(3, "kv", "create", *common, "key", "2")
        fails(3, "kv", "update", *common, "key", "2", "--revision", "99")
        fails(2, "kv", "put", *common, "a b", "1")
        fails(1, "kv", "get", "--cluster", "test", "--nats", "nats://127.0.0.1:1", "key")
        restored = directory / "copy.db"
        litecluster("restore", *common, "-o", restored)
        fails(3, "restore", *common, "-o", restored)
        fails(3, "restore", *common, "--txid", "ffffff", "-o", directory / "later.db")
    finally:
        for node in nodes:
            node.process.stop()
            node.process.kill()
        nats.stop()


def levels(done):
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def check_preflight(directory):
    place = directory / "preflight"
    place.mkdir()
    nats = NatsServers(place).start()
    database = place / "app.db"
    connection = sqlite3.connect(database)
    connection.executescript("PRAGMA journal_mode=WAL; CREATE TABLE t(a);")
    connection.close()
    common = ("check", "--cluster", "c", "--node", "n", "--nats", nats.url, "--db", database, "--json")
    try:
        fine = litecluster(*common)
        seen = levels(fine)
        for name in ("configuration", "nats", "max_payload", "jetstream", "database", "disk", "open files"):
            assert seen[name]["level"] in ("passing", "warning"), seen[name]
        assert seen["nats version"]["level"] in ("passing", "warning")
        assert json.loads(fine.stdout)["level"] in ("passing", "warning")
        text = litecluster(*common[:-1]).stdout
        assert re.search(r"^passing +database ", text, re.M), text

        connection = sqlite3.connect(database)
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.close()
        done = fails(1, *common)
        assert "WAL" in levels(done)["database"]["detail"]
        connection = sqlite3.connect(database, isolation_level=None)
        connection.executescript("PRAGMA journal_mode=WAL; PRAGMA locking_mode=EXCLUSIVE; INSERT INTO t VALUES(1);")
        done = fails(1, *common)
        assert "EXCLUSIVE" in levels(done)["database"]["detail"]
        connection.close()
        (place / "no").write_text("not a database, only some text that is long enough" * 20)
        done = fails(1, *common[:-2], place / "no", "--json")
        assert levels(done)["database"]["level"] == "critical"
        done = fails(1, *common, "--backend-command", "/no/such/program")
        assert levels(done)["backend"]["level"] == "critical"
        done = fails(1, *common, "--vip-address", "10.0.0.9/24", "--vip-interface", "nowhere0")
        assert levels(done)["vip"]["level"] == "critical"
        done = fails(1, *common, "--heartbeat", "9s")
        assert "third" in levels(done)["configuration"]["detail"]
    finally:
        nats.stop()
    done = fails(1, *common)
    assert levels(done)["nats"]["level"] == "critical", "the server is gone"

    port = nats.ports[0]
    plain = Process("plain", [NATS_SERVER, "-a", "127.0.0.1", "-p", port], place / "plain.log").start()
    try:
        wait_until(lambda: levels(litecluster(*common, check=False))["nats"]["level"] == "passing", 30, "the plain server")
        assert levels(fails(1, *common))["jetstream"]["level"] == "critical", "JetStream is off"
    finally:
        plain.kill()
    fails(2, "check", "-c", place / "missing.yaml", says="missing.yaml")


def check_standard_streams(directory):
    """Lost output is no success, and a standard descriptor that is closed is never a file of ours: a log line would go into it."""
    place = directory / "streams"
    place.mkdir()
    database, copy = place / "app.db", place / "copy.db"
    writer = sqlite3.connect(database)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("CREATE TABLE t(a)")
    nats = NatsServers(place).start()
    connection = ["--cluster", "streams", "--nats", nats.url]
    started = []
    try:
        litecluster("kv", "put", *connection, "key", "value")
        with open("/dev/full", "w") as full:
            done = subprocess.run([PROGRAM, "kv", "get", *connection, "key"], stdout=full, stderr=subprocess.PIPE, text=True,
                                  timeout=60)
        assert done.returncode == 1 and "standard output" in done.stderr, (done.returncode, done.stderr)
        for arguments, ready in ((["replicate", database], place / ".app.db-litecluster" / "lock"), (["follow", copy], copy)):
            command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", PROGRAM, *map(str, arguments), *connection]
            process = Process(arguments[0], command, place / f"{arguments[0]}.log").start()
            started.append(process)
            wait_until(ready.exists, 30, f"{arguments[0]} has its files")
            opened = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)]
            assert opened == ["/dev/null"] * 3, f"{arguments[0]}: {opened}"
            assert process.running()
        done = fails(3, "restore", *connection, "-o", database, says="--force")
    finally:
        for process in started:
            process.kill()
        nats.stop()
        writer.close()


def main():
    with scratch() as directory:
        for part in (check_usage, check_manual):
            part()
        for part in (check_private_server, check_endpoints, check_ltx, check_cluster, check_preflight, check_standard_streams):
            begin = time.monotonic()
            part(directory)
            print(f"{part.__name__}: {time.monotonic() - begin:.1f} s", flush=True)


if __name__ == "__main__":
    main()
