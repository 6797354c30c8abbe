"""What can happen to a network server under its domains' load, and what clients see of it.

hold (tests/tools/hold.c) is the load and the measure; docs/measuring.md says what is counted.
"""
import json
import os
import random
import signal
import statistics
import subprocess
import tempfile
import time

import stub
from conftest import BUILD, wait_for
from test_supervisor import supervisor_pid

PEER = os.path.join(BUILD, "holdpeer")
PEER_PORT = 7000
WINDOW = 1.0  # seconds that belong to an event: a longer one has until it is over
SETTLE = 0.3  # from there to the next one
IN_FLIGHT = 0.05  # a request that an event delays was sent at most so long before
STEADY = 10.5  # a server that lived that long is started again without a pause when it dies


class Record:
    """What hold recorded. Times are seconds of time.monotonic(), lengths milliseconds."""

    def __init__(self, data):
        self.data = data
        self.begin = data["begin_monotonic_ns"] / 1e9
        self.errors = data["errors"]

    def spans(self, kind):
        for _, begin, end in self.data[kind]:
            yield self.begin + begin / 1e9, self.begin + end / 1e9


class Load:
    """hold, running."""

    def __init__(self, address, port, *options, popen=subprocess.Popen):
        handle, self.path = tempfile.mkstemp(prefix="hold-")
        os.close(handle)
        self.process = popen([os.path.join(BUILD, "hold"), *map(str, options), "-l", "5", "-o",
                              self.path, address, str(port)], stdout=subprocess.PIPE, text=True)
        self.next_line("ready")

    def next_line(self, key):
        line = self.process.stdout.readline()
        if key not in line:
            raise AssertionError(f"hold ended with {self.process.wait(10)}: {line}")
        return json.loads(line)

    def since_last(self):
        """The figures of the time since the last call."""
        self.process.send_signal(signal.SIGUSR1)
        return self.next_line("seconds")

    def end(self, seconds=120):
        """Lets it complete its bulk transfers; returns the record."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=seconds)
            with open(self.path) as f:
                return Record(json.load(f))
        finally:
            self.abandon()

    def abandon(self):
        self.process.kill()
        self.process.wait()
        if os.path.exists(self.path):
            os.unlink(self.path)


class System:
    """What events happen to: a domain on the server path and its network server."""

    def __init__(self, librettos, domain, server="net", steady=False):
        self.librettos, self.domain, self.name = librettos, domain, server
        self.steady = steady  # let a server live before it dies, as in normal life: no pause follows
        self.path = "server"
        self.serves_since = 0
        self.kernels = [os.path.join(BUILD, k) for k in ("kernel.other.elf", "kernel.elf")]

    def server(self):
        return self.librettos.server(self.name)

    def await_server(self, condition, seconds=30):
        """Waits for a server that serves all its domains and fulfils a condition; returns it. It looks
        seldom, not to disturb the measurement."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            now = self.server()
            if (now and now["server"]["up"] and condition(now) and
                    now["server"]["attached"] == now["server"]["domains"]):
                return now
            time.sleep(0.2)
        raise AssertionError(f"no network server that serves in {seconds} s: {self.server()}")

    def has_standby(self, server):
        return (self.librettos.env.get("LIBRETTOS_STANDBY_MS") == "off" or
                server["server"]["standby"] == "ready")

    def prepare(self, kind):
        """The state that a kind of event begins with."""
        if kind not in ("control", "switch"):
            if self.path == "direct":
                switch(self)
                time.sleep(WINDOW)
            self.await_server(self.has_standby)
        if kind in CRASHES and self.steady:
            time.sleep(max(0, self.serves_since + STEADY - time.monotonic()))

    def crash(self, how):
        """Ends the server in some way; returns when another one serves."""
        pid = self.server()["pid"]
        how(pid)
        self.await_server(lambda now: now["pid"] != pid)
        self.serves_since = time.monotonic()

    def execute(self, code):
        self.crash(lambda pid: stub.execute(self.librettos.env, pid, code))


# ---- kinds of events: each returns when it is over ----

def control(system):
    time.sleep(WINDOW)


def switch(system):
    """To the other path."""
    system.path = "direct" if system.path == "server" else "server"
    system.librettos("switch", system.domain, system.path)


def kill(system):
    """kill -9 of the server's QEMU."""
    system.crash(lambda pid: os.kill(pid, signal.SIGKILL))


def panic(system):
    system.execute(stub.UD2)


def hang(system):
    """The guest is stuck with interrupts off."""
    system.execute(stub.CLI_LOOP)


def restart(system):
    system.librettos("restart", system.name)


def upgrade(system):
    """To the other one of two builds, in turns."""
    system.librettos("upgrade", "--kernel", system.kernels[0], system.name)
    system.kernels.reverse()


def supervisor(system):
    """kill -9 of the supervisor; it is over when the next one knows the server."""
    before = supervisor_pid(system.librettos)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: supervisor_pid(system.librettos) not in (None, before), 30, "the next supervisor")
    system.await_server(lambda now: True)


KINDS = {k.__name__: k for k in (control, switch, kill, panic, hang, restart, upgrade, supervisor)}
CRASHES = {"kill", "panic", "hang"}  # a server that has them often is started again with a pause


# ---- a run ----

class Event:
    """The times are seconds of time.monotonic(), the stalls milliseconds: the longest outage and the
    slowest request that the event caused (find_stalls)."""

    def __init__(self, kind, begin, end):
        self.kind, self.begin, self.end = kind, begin, end
        self.outage = self.request = 0.0


def cause(system, kind):
    """Makes one event happen; returns it when the time that belongs to it has passed."""
    system.prepare(kind)
    begin = time.monotonic()
    KINDS[kind](system)
    end = max(begin + WINDOW, time.monotonic() + SETTLE)
    time.sleep(max(0, end - time.monotonic()))
    return Event(kind, begin, end)


def in_turns(counts, seed=1):
    """The kinds, each as often as it says, mixed; the same order each time."""
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    random.Random(seed).shuffle(kinds)
    return kinds


def find_stalls(record, events):
    """A span belongs to the last event before its begin, or just after it: a request that an event delays
    may have been sent shortly before."""
    for attribute, kind in (("outage", "outages"), ("request", "slow")):
        for begin, end in record.spans(kind):
            before = [e for e in events if e.begin <= begin + IN_FLIGHT]
            if before and begin <= before[-1].end:
                longest = max(getattr(before[-1], attribute), (end - begin) * 1000)
                setattr(before[-1], attribute, longest)


def by_kind(events):
    """{kind: ([longest outage of each event], [slowest request of each])}, the control first."""
    return {kind: ([e.outage for e in events if e.kind == kind],
                   [e.request for e in events if e.kind == kind])
            for kind in KINDS if any(e.kind == kind for e in events)}


def table(events):
    """Of each kind the number, the median and the maximum."""
    lines = [f"{'ms':>12}  {'events':>6}  {'nobody is answered':>20}  {'slowest request':>18}",
             f"{'':>12}  {'':>6}  {'median':>10}{'max':>10}  {'median':>9}{'max':>9}"]
    for kind, (outages, requests) in by_kind(events).items():
        lines.append(f"{kind:>12}  {len(outages):>6}  {statistics.median(outages):>10.1f}"
                     f"{max(outages):>10.1f}  {statistics.median(requests):>9.1f}"
                     f"{max(requests):>9.1f}")
    return "\n".join(lines)
