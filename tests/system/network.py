"""Network namespaces for system tests: one per member, joined by a router in which paths can be cut one way.

enter_router() puts this very process into a new namespace, so that nothing of the machine's network is touched and
all of it is gone when the processes are. Each Place is a namespace held by a child that ends when this process does.
A path is cut by a rule in the router that drops silently what comes from one place and goes to another: nobody is
told, as when a cable is cut.
"""
import ctypes
import itertools
import os
import subprocess

CLONE_NEWNET = 0x40000000
_priorities = itertools.count(1000)


def _run(*arguments):
    subprocess.run([str(argument) for argument in arguments], check=True, capture_output=True, text=True)


def why_not():
    """Why namespaces cannot be used here; empty when they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        _run("unshare", "-n", "ip", "rule", "add", "to", "192.0.2.1", "blackhole")
    except (OSError, subprocess.CalledProcessError) as error:
        return f"network namespaces do not work here: {error}"
    return ""


def enter_router():
    """Call it while this process has one thread."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _run("ip", "link", "set", "lo", "up")
    with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="ascii") as file:
        file.write("1")


class Place:
    """One member's namespace, behind a link of its own."""

    def __init__(self, number):
        self.number, self.address, self.link = number, f"10.77.{number}.2", f"link{number}"
        self.holder = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo up; exec cat > /dev/null"],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.holder.stdout.readline()
        self.prefix = ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", "--"]
        _run("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.holder.pid)
        _run("ip", "addr", "add", f"10.77.{number}.1/24", "dev", self.link)
        _run("ip", "link", "set", self.link, "up")
        for command in (["ip", "link", "set", "lo", "up"], ["ip", "addr", "add", f"{self.address}/24", "dev", "eth0"],
                        ["ip", "link", "set", "eth0", "up"],
                        ["ip", "route", "add", "default", "via", f"10.77.{number}.1"]):
            _run(*self.prefix, *command)

    def close(self):
        self.holder.stdin.close()
        self.holder.wait()


class Cut:
    """Drops what goes from each of `sources` to each of `targets` while it is in force."""

    def __init__(self, sources, targets):
        priority = str(next(_priorities))  # so that two cuts may share a path
        self.rules = [["pref", priority, "iif", source.link, "to", target.address, "blackhole"]
                      for source in sources for target in targets if source is not target]

    def begin(self):
        for rule in self.rules:
            _run("ip", "rule", "add", *rule)

    def end(self):
        for rule in self.rules:
            _run("ip", "rule", "del", *rule)


def isolate_from_the_router(place):
    """Drops everything to and from this process as well; returns what undoes it."""
    rules = [["iif", place.link, "blackhole"], ["to", place.address, "blackhole"]]
    for rule in rules:
        _run("ip", "rule", "add", "pref", "0", *rule)

    def undo():
        for rule in rules:
            _run("ip", "rule", "del", "pref", "0", *rule)
    return undo


class Slow:
    """Lets through no more than so many kilobits a second, to a place and from it, while it is in force."""

    def __init__(self, place, kilobits):
        shape = ["root", "tbf", "rate", f"{kilobits}kbit", "burst", "8kb", "latency", "200ms"]
        self.ends = [([], place.link), (place.prefix, "eth0")]
        self.shape = shape

    def begin(self):
        for prefix, device in self.ends:
            _run(*prefix, "tc", "qdisc", "add", "dev", device, *self.shape)

    def end(self):
        for prefix, device in self.ends:
            _run(*prefix, "tc", "qdisc", "del", "dev", device, "root")


class Lossy:
    """Loses so many percent of all packets, to a place and from it, while it is in force."""

    def __init__(self, place, percent):
        self.link, self.percent, self.table = place.link, percent, f"lossy_{place.link}"

    def begin(self):
        lost = f"numgen random mod 100 < {self.percent} drop"
        rules = (f"add table ip {self.table}\n"
                 f"add chain ip {self.table} passing {{ type filter hook forward priority 0; }}\n"
                 f"add rule ip {self.table} passing iifname {self.link} {lost}\n"
                 f"add rule ip {self.table} passing oifname {self.link} {lost}\n")
        subprocess.run(["nft", "-f", "-"], input=rules, check=True, capture_output=True, text=True)

    def end(self):
        _run("nft", "delete", "table", "ip", self.table)
