"""Running domains move between the server path and the direct path, with their connections open."""
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import threading
import time

import pytest

from conftest import BUILD, wait_for
from test_server_path import kill_server
from test_tap import inside, make_tap, ns  # noqa: F401

ECHO = os.path.join(BUILD, "netecho")
REDIS = ("redis-server", "--port", "6379", "--save", "", "--protected-mode", "no")
SLEEP = ("/bin/sleep", "1000")


class Probe:
    """Small requests, one after the other on one connection; each answer is checked. What the
    longest of them took is the stall of whatever happened meanwhile."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stop = threading.Event()
        self.error = None
        self.count = 0
        self.times = []  # (when it began, what it took)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        try:
            while not self.stop.is_set():
                begun = time.monotonic()
                self.socket.sendall(b"INCR probe\r\n")
                answer = b""
                while not answer.endswith(b"\r\n"):
                    got = self.socket.recv(64)
                    if not got:
                        raise OSError("closed")
                    answer += got
                self.count += 1
                assert answer == b":%d\r\n" % self.count, answer
                self.times.append((begun, time.monotonic() - begun))
                time.sleep(0.0005)
        except (OSError, AssertionError) as e:
            self.error = e

    def goes_on(self, what):
        before = self.count
        wait_for(lambda: self.count > before + 10, 10, what)

    def worst(self, begin, end):
        """Seconds of the longest request that was under way in that time."""
        return max((took for at, took in list(self.times) if at + took >= begin and at <= end), default=0)

    def end(self):
        self.stop.set()
        self.thread.join(15)
        self.socket.close()
        assert self.error is None, self.error


class Qmp:
    """A second QMP connection to a domain's QEMU: what the supervisor knows nothing of."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "qmp.sock")

    def options(self):
        return ["--qemu-arg", "-qmp", "--qemu-arg", f"unix:{self.path},server=on,wait=off"]

    def __call__(self, command, **arguments):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(self.path)
            f = s.makefile("rw")
            f.readline()
            for line in ({"execute": "qmp_capabilities"},
                         {"execute": command, "arguments": arguments}):
                f.write(json.dumps(line) + "\n")
                f.flush()
                while True:
                    answer = json.loads(f.readline())
                    if "return" in answer or "error" in answer:
                        break
        assert "return" in answer, answer


def switch(librettos, name, path, **kw):
    return json.loads(librettos("switch", "--json", name, path, **kw).stdout)


def domain(librettos, name):
    return next(d for d in librettos.ps() if d["name"] == name)


def path_of(librettos, name):
    return domain(librettos, name)["path"]


def released(librettos, name):
    """Waits until its NIC was given back."""
    wait_for(lambda: not domain(librettos, name)["switching"], 10, "the NIC to go")


def test_switches_under_load(librettos):
    port = librettos.start("r", *REDIS, port=6379)
    load = subprocess.Popen(["redis-benchmark", "-p", str(port), "-c", "20", "-n", "10000000", "-t",
                             "set", "-q"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    probe = Probe(port)
    stalls = []
    try:
        time.sleep(1)
        for i in range(20):
            path = ("direct", "server")[i % 2]
            begin = time.monotonic()
            answer = switch(librettos, "r", path)
            assert answer["moved"] and answer["path"] == path
            assert path_of(librettos, "r") == path
            time.sleep(0.4)
            stalls.append(probe.worst(begin, time.monotonic()))
        quiet = time.monotonic()
        time.sleep(2)
        usual = probe.worst(quiet, time.monotonic())
        assert load.poll() is None, load.stderr.read()
    finally:
        load.terminate()
        load.wait(10)
        probe.end()
    print(f"stalls: median {1000 * statistics.median(stalls):.1f} ms, most {1000 * max(stalls):.1f} ms;"
          f" longest request without a switch {1000 * usual:.1f} ms")
    assert max(stalls) < 1
    last = domain(librettos, "r")
    assert last["switches"] == 20 and "asked for" in last["last_switch"]["what"]
    # The same path again is no switch.
    answer = switch(librettos, "r", "server")
    assert not answer["moved"]
    assert "already" in librettos("switch", "r", "server").stdout


def test_nginx_on_two_cpus(librettos):
    port = librettos.start("web", "-c", "2", "nginx", port=80)
    load = subprocess.Popen(["wrk", "-t1", "-c20", "-d10s", "--timeout", "10s", f"http://127.0.0.1:{port}/"],
                            stdout=subprocess.PIPE, text=True)
    for i in range(20):
        switch(librettos, "web", ("direct", "server")[i % 2])
        time.sleep(0.3)
    text = load.communicate(timeout=60)[0]
    assert "requests in" in text and "Socket errors" not in text and "Non-2xx" not in text, text


def test_a_domain_that_started_on_the_direct_path(librettos):
    port = librettos.start("r", "--path", "direct", *REDIS, port=6379)
    assert librettos.server() is None
    probe = Probe(port)
    for _ in range(2):
        assert switch(librettos, "r", "server")["moved"]
        assert path_of(librettos, "r") == "server"
        released(librettos, "r")
        probe.goes_on("answers on the server path")
        assert switch(librettos, "r", "direct")["moved"]
        probe.goes_on("answers on the direct path")
    probe.end()


def test_the_link_goes_and_comes(librettos):
    qmp = Qmp(librettos.folder)
    port = librettos.start("r", *qmp.options(), *REDIS, port=6379)
    switch(librettos, "r", "direct")
    probe = Probe(port)
    for _ in range(3):
        time.sleep(0.2)
        begin = time.monotonic()
        qmp("set_link", name="nic0", up=False)
        wait_for(lambda: path_of(librettos, "r") == "server", 5, "the server path")
        assert "lost its link" in domain(librettos, "r")["last_switch"]["what"]
        probe.goes_on("answers on the server path")
        print(f"stall of a lost link: {1000 * probe.worst(begin, time.monotonic()):.1f} ms")
        begin = time.monotonic()
        qmp("set_link", name="nic0", up=True)
        wait_for(lambda: path_of(librettos, "r") == "direct", 5, "the direct path")
        probe.goes_on("answers on the direct path")
        print(f"stall of a link that came back: {1000 * probe.worst(begin, time.monotonic()):.1f} ms")
    # Without a link there is no way to the direct path.
    switch(librettos, "r", "server")
    released(librettos, "r")
    probe.end()


def test_the_device_is_pulled_out(librettos):
    qmp = Qmp(librettos.folder)
    port = librettos.start("r", *qmp.options(), *REDIS, port=6379)
    switch(librettos, "r", "direct")
    probe = Probe(port)
    time.sleep(0.2)
    begin = time.monotonic()
    qmp("device_del", id="nic0")
    wait_for(lambda: path_of(librettos, "r") == "server", 5, "the server path")
    assert "taken away" in domain(librettos, "r")["last_switch"]["what"]
    probe.goes_on("answers on the server path")
    print(f"stall of a NIC that was pulled out: {1000 * probe.worst(begin, time.monotonic()):.1f} ms")
    released(librettos, "r")
    assert switch(librettos, "r", "direct")["moved"]  # with another one
    for _ in range(10):  # one goes, the next comes at once
        qmp("device_del", id="nic0")
        wait_for(lambda: path_of(librettos, "r") == "server", 5, "the server path")
        assert switch(librettos, "r", "direct")["moved"]
    probe.end()


def test_the_server_dies_while_a_domain_has_its_own_nic(librettos):
    port = librettos.start("r", *REDIS, port=6379)
    switch(librettos, "r", "direct")
    probe = Probe(port)
    time.sleep(0.2)
    begin = time.monotonic()
    kill_server(librettos)
    time.sleep(0.3)
    print(f"stall of a server it does not use: {1000 * probe.worst(begin, time.monotonic()):.1f} ms")
    assert switch(librettos, "r", "server")["moved"]
    probe.goes_on("answers by the new server")
    released(librettos, "r")
    switch(librettos, "r", "direct")
    os.kill(librettos.server()["pid"], signal.SIGKILL)
    assert switch(librettos, "r", "server")["moved"]  # what it sends waits for the next server
    count = probe.count
    wait_for(lambda: probe.count > count + 10, 20, "answers by the next server")
    probe.end()


def test_the_pool_is_empty(librettos):
    librettos.env["LIBRETTOS_DIRECT_DEVICES"] = "1"
    port = librettos.start("a", *REDIS, port=6379)
    librettos.start("b", *SLEEP)
    switch(librettos, "b", "direct")
    probe = Probe(port)
    failed = librettos("switch", "a", "direct", check=False)
    assert failed.returncode and "no device is left" in failed.stderr
    assert path_of(librettos, "a") == "server"
    assert "no device is left" in domain(librettos, "a")["last_switch"]["what"]
    switch(librettos, "b", "server")
    released(librettos, "b")
    assert switch(librettos, "a", "direct")["moved"]
    librettos("stop", "-t", "0", "a")
    probe.stop.set()
    assert switch(librettos, "b", "direct")["moved"]  # a dead domain's device is free


def test_concurrent_switches(librettos):
    port = librettos.start("r", *REDIS, port=6379)
    probe = Probe(port)
    paths = ["direct", "server"] * 8
    asked = [librettos.popen("switch", "r", p, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
             for p in paths]
    for p in asked:
        out, err = p.communicate(timeout=60)
        assert p.returncode == 0, err
    assert switch(librettos, "r", "server")["path"] == "server"
    assert path_of(librettos, "r") == "server"
    probe.end()
    # Its own announcements, which come back by the other path, are nobody else's.
    assert "in use by another node" not in librettos("logs", "--kernel", "r").stdout


def test_a_domain_that_dies_in_the_middle(librettos):
    librettos.env["LIBRETTOS_DIRECT_DEVICES"] = "1"
    for delay in (0, 0.004, 0.01, 0.2):
        librettos.start("r", *SLEEP)
        pid = domain(librettos, "r")["pid"]
        switch(librettos, "r", "direct")
        back = librettos.popen("switch", "r", "server", stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        out, err = back.communicate(timeout=20)
        assert back.returncode in (0, 125), err
        wait_for(lambda: not librettos.ps(), 10, "its end")
    librettos.start("r", *SLEEP)
    assert switch(librettos, "r", "direct")["moved"]  # no device got lost


def test_a_domain_that_does_not_answer(librettos):
    """Its QEMU stands still: the switch fails in bounded time, and is undone."""
    librettos.start("r", *SLEEP)
    pid = domain(librettos, "r")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        failed = librettos("switch", "r", "direct", check=False, timeout=60)
        assert failed.returncode == 125 and "does not answer" in failed.stderr
    finally:
        os.kill(pid, signal.SIGCONT)
    assert path_of(librettos, "r") == "server"
    wait_for(lambda: not domain(librettos, "r")["switching"], 10, "the way back")
    assert switch(librettos, "r", "direct")["path"] == "direct"


def test_who_cannot_move(librettos):
    librettos.start("s", "--address", "shared", *SLEEP)
    failed = librettos("switch", "s", "direct", check=False)
    assert failed.returncode == 125 and "--address dedicated" in failed.stderr
    failed = librettos("switch", "net", "direct", check=False)
    assert failed.returncode == 125 and "not an application domain" in failed.stderr
    failed = librettos("switch", "nobody", "direct", check=False)
    assert failed.returncode == 125 and "no domain named nobody" in failed.stderr
    librettos.start("d", *SLEEP)
    failed = librettos("switch", "--device", "ffff:00:00.0", "d", "direct", check=False)
    assert failed.returncode == 125 and "no PCI device" in failed.stderr
    assert path_of(librettos, "d") == "server"


# ---- auto mode ----

class Load:
    """Requests on a few connections, at about so many a second in all."""

    def __init__(self, port, rate):
        self.rate = rate
        self.stop = threading.Event()
        self.errors = []
        self.thread = threading.Thread(target=self._run, args=(port,))
        self.thread.start()

    def _run(self, port):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                begun, sent = time.monotonic(), 0
                while not self.stop.is_set():
                    s.sendall(b"PING\r\n")
                    got = b""
                    while len(got) < 7:
                        got += s.recv(7 - len(got)) or b"!" * 7
                    assert got == b"+PONG\r\n", got
                    sent += 1
                    ahead = sent / self.rate - (time.monotonic() - begun)
                    if ahead > 0:
                        self.stop.wait(ahead)
        except (OSError, AssertionError) as e:
            self.errors.append(e)

    def end(self):
        self.stop.set()
        self.thread.join(15)
        assert not self.thread.is_alive() and not self.errors, self.errors


def test_auto_mode_follows_the_load(librettos):
    librettos.env["LIBRETTOS_AUTO_PACKETS"] = "400"
    port = librettos.start("r", "--mode", "auto", *REDIS, port=6379)
    assert domain(librettos, "r")["path_mode"] == "auto"
    assert "server/auto" in librettos("ps").stdout
    load = Load(port, 400)
    wait_for(lambda: path_of(librettos, "r") == "direct", 30, "the direct path")
    assert "auto: busy" in domain(librettos, "r")["last_switch"]["what"]
    time.sleep(3)
    load.rate = 5
    moves = domain(librettos, "r")["switches"]
    assert moves == 1
    load.end()
    load = Load(port, 5)
    wait_for(lambda: path_of(librettos, "r") == "server", 30, "the server path")
    assert "auto: idle" in domain(librettos, "r")["last_switch"]["what"]
    time.sleep(8)
    assert domain(librettos, "r")["switches"] == 2
    load.end()
    # A switch by hand ends it.
    switch(librettos, "r", "direct")
    assert domain(librettos, "r")["path_mode"] == "direct"
    librettos("mode", "r", "auto")
    wait_for(lambda: path_of(librettos, "r") == "server", 30, "the server path")
    librettos("mode", "r", "direct")
    assert path_of(librettos, "r") == "direct"


def test_two_domains_compete_for_one_device(librettos):
    librettos.env["LIBRETTOS_DIRECT_DEVICES"] = "1"
    librettos.env["LIBRETTOS_AUTO_PACKETS"] = "200"
    a = librettos.start("a", "--mode", "auto", *REDIS, port=6379)
    b = librettos.start("b", "--mode", "auto", *REDIS, port=6379)
    loads = [Load(a, 150)]
    wait_for(lambda: path_of(librettos, "a") == "direct", 30, "a on the direct path")
    loads.append(Load(b, 150))
    time.sleep(10)
    assert [path_of(librettos, n) for n in "ab"] == ["direct", "server"]  # as busy: nobody moves
    loads.append(Load(b, 600))
    wait_for(lambda: path_of(librettos, "b") == "direct", 40, "b on the direct path")
    assert path_of(librettos, "a") == "server"
    assert "b needs the device more" in domain(librettos, "a")["last_switch"]["what"]
    time.sleep(8)
    assert [domain(librettos, n)["switches"] for n in "ab"] == [2, 1]  # no flapping
    for load in loads:
        load.end()


def test_mode_options(librettos):
    for options, message in (
            (("--mode", "fast"), "use auto, direct or server"),
            (("--mode", "auto", "--address", "shared"), "--address dedicated"),
            (("--mode", "direct", "--path", "server"), "exclude each other"),
            (("--mode", "auto", "--tap", "tap0"), "--bridge")):
        failed = librettos("run", "-d", *options, *SLEEP, check=False)
        assert failed.returncode == 125 and message in failed.stderr, failed.stderr
    librettos.start("d", "--mode", "direct", *SLEEP)
    assert path_of(librettos, "d") == "direct"
    assert librettos("mode", "d", "fast", check=False).returncode == 125
    assert librettos("switch", "d", "auto", check=False).returncode == 125
    for command in ("switch", "mode"):
        assert f"usage: librettos {command}" in librettos(command, "--help").stdout


# ---- on the host's own network ----

def test_a_domain_on_a_bridge(ns, inside):
    ns("ip", "link", "add", "br0", "type", "bridge")
    ns("ip", "addr", "add", "10.79.0.1/24", "dev", "br0")
    ns("ip", "link", "set", "br0", "up")
    inside("run", "-d", "--name", "r", "--bridge", "br0", "--path", "server", "--ip",
           "10.79.0.2/24", *REDIS)
    ask = ("redis-cli", "-h", "10.79.0.2", "ping")
    wait_for(lambda: "PONG" in ns(*ask, check=False)[1], 20, "redis")
    load = ns.popen("redis-benchmark", "-h", "10.79.0.2", "-c", "5", "-n", "1000000", "-t", "set", "-q",
                    stdout=subprocess.DEVNULL)
    for path in ("direct", "server") * 4:
        inside("switch", "r", path)
        assert path_of(inside, "r") == path
        time.sleep(0.3)
        assert "PONG" in ns(*ask)[1]
    assert load.poll() is None
    load.kill()
    load.wait()
    assert domain(inside, "r")["network"]["rx_frames"] > 1000


def test_a_tap_device_has_one_user(ns, inside):
    make_tap(ns)
    inside("run", "-d", "--name", "s", "--tap", "tap0", "--path", "server", "--ip",
           "10.79.0.2/24", *SLEEP)
    status, text = inside("switch", "s", "direct", check=False)
    assert status == 125 and "--bridge" in text
    assert path_of(inside, "s") == "server"
