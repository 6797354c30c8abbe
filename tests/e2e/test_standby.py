"""Two instances of a network server: the standby takes over from one that is killed or hangs, and from one
that is restarted or upgraded, under a redis that answers all the time. No connection is lost in any of it."""
import json
import os
import signal
import socket
import struct
import threading
import time

import pytest

from conftest import BUILD, wait_for

KERNEL = os.path.realpath(os.path.join(BUILD, "kernel.elf"))
OTHER = os.path.realpath(os.path.join(BUILD, "kernel.hostile.elf"))  # another build; hostile only as an application
CONNECTIONS = 4


class Load:
    """Connections that ask redis for numbers in sequence, and how long the longest answer took."""

    def __init__(self, port):
        self.port, self.errors, self.answers, self.worst = port, [], 0, 0.0
        self.done = threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(CONNECTIONS)]
        for thread in self.threads:
            thread.start()

    def _ask(self, number):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=20) as s:
                count = 0
                while not self.done.is_set():
                    begin = time.monotonic()
                    s.sendall(b"INCR n%d\r\n" % number)
                    answer = b""
                    while not answer.endswith(b"\r\n"):
                        got = s.recv(64)
                        assert got, "connection closed"
                        answer += got
                    count += 1
                    assert answer == b":%d\r\n" % count, (answer, count)
                    self.worst = max(self.worst, time.monotonic() - begin)
                    self.answers += 1
                    time.sleep(0.002)
        except (OSError, AssertionError) as error:
            self.errors.append(error)

    def goes_on(self):
        """Every connection still answers."""
        before = self.answers
        wait_for(lambda: self.errors or self.answers > before + 20 * CONNECTIONS, 20, "answers")
        assert not self.errors

    def end(self):
        self.done.set()
        for thread in self.threads:
            thread.join(30)
        assert not self.errors


@pytest.fixture
def loaded(librettos):
    """The command, with a server whose standby is ready, and its load."""
    librettos.env["LIBRETTOS_STANDBY_MS"] = "0"
    port = librettos.start("kv", "redis-server", "--protected-mode", "no", "--bind", "0.0.0.0",
                           "--save", "", port=6379)
    load = Load(port)
    ready(librettos)
    yield librettos, load
    load.end()


def ready(librettos, after=0):
    """The server, when it serves and has a standby; its pid is not `after`."""
    def look():
        d = librettos.server()
        return (d and d["pid"] != after and d["server"]["up"] and
                d["server"]["standby"] == "ready" and d)
    return wait_for(look, 30, "a server with a standby")


def standby(librettos):
    return next(d for d in librettos.all() if d.get("server", {}).get("role") == "standby")


def ends(librettos):
    return librettos.server()["server"]["ends"]


def test_a_killed_server_is_followed_by_its_standby(loaded):
    librettos, load = loaded
    stalls = []
    for n in range(1, 11):
        server, next_one = ready(librettos), standby(librettos)["pid"]
        load.worst = 0
        os.kill(server["pid"], signal.SIGKILL)
        wait_for(lambda: librettos.server()["pid"] == next_one, 10, "the standby to take over")
        load.goes_on()
        assert ends(librettos)["crash"] == n
        stalls.append(load.worst)
    assert sorted(stalls)[5] < 0.5, stalls  # 15 ms on an idle machine
    assert "replaced: 10 x crash" in librettos("ps").stdout
    assert librettos("logs", "net").stdout.count("ended (crash)") == 10


def test_a_killed_standby_is_replaced(loaded):
    librettos, load = loaded
    server = ready(librettos)
    for _ in range(2):
        pid = standby(librettos)["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: any(d["server"]["role"] == "standby" and d["pid"] != pid
                             for d in librettos.all() if "server" in d), 10, "another standby")
        ready(librettos)
    load.goes_on()
    assert librettos.server()["pid"] == server["pid"]
    assert sum(ends(librettos).values()) == 0


def test_a_stopped_server_is_found_out(loaded):
    librettos, load = loaded
    for n in range(1, 4):
        server = ready(librettos)
        os.kill(server["pid"], signal.SIGSTOP)
        ready(librettos, after=server["pid"])
        load.goes_on()
        assert ends(librettos) == {"crash": 0, "panic": 0, "hang": n, "upgrade": 0}
    assert "hung: no answer" in librettos("ps").stdout
    # So is a standby.
    pid = standby(librettos)["pid"]
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), 10, "the hung standby to be ended")
    ready(librettos)
    assert ends(librettos)["hang"] == 3


def test_restarts_and_upgrades_between_two_builds(loaded):
    librettos, load = loaded
    for kernel in (None, None, OTHER, KERNEL, OTHER, KERNEL, OTHER, None, None, None):
        server = ready(librettos)
        if kernel:
            done = librettos("upgrade", "--kernel", kernel, "--json", "net")
        else:
            done = librettos("restart", "--json", "net")
        answer = json.loads(done.stdout)
        assert answer["ok"] and answer["handover_ms"] < 1000
        now = ready(librettos, after=server["pid"])
        assert now["server"]["kernel"] == (kernel or server["server"]["kernel"])
        load.goes_on()
    assert ends(librettos) == {"crash": 0, "panic": 0, "hang": 0, "upgrade": 10}
    # What was upgraded stays so: a crash brings the new build, not the first one.
    pid = librettos.server()["pid"]
    os.kill(pid, signal.SIGKILL)
    assert ready(librettos, after=pid)["server"]["kernel"] == OTHER
    load.goes_on()


# ---- images that will not do ----

def never_comes_up(path):
    """A copy of the kernel whose entry point is an endless loop."""
    with open(KERNEL, "rb") as f:
        image = bytearray(f.read())
    phoff, phnum = struct.unpack_from("<Q", image, 32)[0], struct.unpack_from("<H", image, 56)[0]
    segments = [struct.unpack_from("<IIQQQQQQ", image, phoff + 56 * n) for n in range(phnum)]
    entry = None
    for kind, _, offset, _, _, size, _, _ in segments:
        at = offset
        while kind == 4 and at + 12 <= offset + size:  # PT_NOTE
            name, desc, note = struct.unpack_from("<III", image, at)
            if note == 18 and image[at + 12:at + 15] == b"Xen":  # XEN_ELFNOTE_PHYS32_ENTRY
                entry = struct.unpack_from("<I", image, at + 12 + (name + 3 & ~3))[0]
            at += 12 + (name + 3 & ~3) + (desc + 3 & ~3)
    for kind, _, offset, _, paddr, size, _, _ in segments:
        if kind == 1 and paddr <= entry < paddr + size:
            image[offset + entry - paddr:offset + entry - paddr + 2] = b"\xeb\xfe"
    with open(path, "wb") as f:
        f.write(image)


def test_images_that_are_refused_stop_nothing(loaded):
    librettos, load = loaded
    server = ready(librettos)
    garbage, stuck = (os.path.join(librettos.folder, n) for n in ("garbage", "stuck.elf"))
    with open(garbage, "wb") as f:
        f.write(os.urandom(100000))
    never_comes_up(stuck)
    for image, words in ((garbage, "is no kernel image"),
                         ("/bin/true", "is no kernel image"),
                         (stuck, "did not come up"),
                         ("/nowhere/kernel", "/nowhere/kernel")):
        done = librettos("upgrade", "--kernel", image, "net", check=False)
        assert done.returncode == 125, (image, done)
        assert words in done.stderr and done.stderr.count("\n") == 1, done.stderr
        assert librettos.server()["pid"] == server["pid"]
        load.goes_on()
    ready(librettos)  # of the old kernel
    assert sum(ends(librettos).values()) == 0
    assert json.loads(librettos("restart", "--json", "net").stdout)["ok"]


def test_bad_requests(librettos):
    librettos.start("kv", "redis-server", port=None)
    for words, what in ((("restart", "kv"), "is no network server"),
                        (("restart", "nobody"), "no domain named"),
                        (("upgrade",), "which network server"),
                        (("restart", "--kernel", KERNEL, "net"), "usage: librettos restart")):
        done = librettos(*words, check=False)
        assert done.returncode == 125 and what in done.stderr, done


# ---- without a standby ----

def test_without_a_standby(librettos):
    librettos.env["LIBRETTOS_STANDBY_MS"] = "off"
    port = librettos.start("kv", "redis-server", "--protected-mode", "no", "--bind", "0.0.0.0",
                           "--save", "", port=6379)
    load = Load(port)
    assert librettos.server()["server"]["standby"] == "none"
    pids = []
    for _ in range(4):  # the more it dies, the longer it takes
        pids.append(librettos.server()["pid"])
        begin = time.monotonic()
        os.kill(pids[-1], signal.SIGKILL)
        wait_for(lambda: (librettos.server() or {}).get("pid", pids[-1]) != pids[-1], 20, "a server")
        wait_for(lambda: librettos.server()["server"]["up"], 20, "it to serve")
        load.goes_on()
    assert len(set(pids)) == 4 and time.monotonic() - begin < 20
    assert ends(librettos)["crash"] == 4
    # An upgrade starts one for itself.
    assert json.loads(librettos("upgrade", "--kernel", OTHER, "--json", "net").stdout)["ok"]
    load.goes_on()
    load.end()
    assert librettos.server()["server"]["standby"] == "none"


def test_the_standby_ends_with_the_server(librettos):
    librettos.env.update(LIBRETTOS_STANDBY_MS="0", LIBRETTOS_SERVER_IDLE_MS="100")
    librettos("run", "-d", "--name", "one", "/bin/sleep", "1000")
    ready(librettos)
    pids = [d["pid"] for d in librettos.all() if "server" in d]
    assert len(pids) == 2
    librettos("stop", "-t", 1, "one")
    wait_for(lambda: not any(os.path.exists(f"/proc/{p}") for p in pids), 10, "both to end")
