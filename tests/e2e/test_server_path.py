"""The path through the network server: its life, its death under load, many domains that come and go."""
import json
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from conftest import BUILD, free_port, run, wait_for
from test_supervisor import gone, machines, supervisor_pid

ECHO = os.path.join(BUILD, "netecho")
SLEEP = ("/bin/sleep", "1000")
DOMAINS = 32


def echoes(port, timeout=10):
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as s:
        s.sendall(b"hello")
        return s.recv(64) == b"hello"


def kill_server(librettos):
    """Kills the network server's QEMU; returns when another one serves as many domains."""
    before = librettos.server()
    os.kill(before["pid"], signal.SIGKILL)

    def again():
        now = librettos.server()
        return (now and now["pid"] != before["pid"] and now["server"]["up"] and
                now["server"]["attached"] == now["server"]["domains"])
    wait_for(again, 20, "the next network server")


# ---- its life ----

def test_a_server_comes_and_goes_with_its_domains(librettos):
    librettos.env["LIBRETTOS_SERVER_IDLE_MS"] = "300"
    librettos("run", "-d", "--name", "direct", "--path", "direct", *SLEEP)
    assert librettos.server() is None
    librettos("run", "-d", "--name", "one", *SLEEP)
    server = librettos.server()
    assert server["path"] == "none" and server["memory_mib"] == 32
    (one,) = [d for d in librettos.ps() if d["name"] == "one"]
    assert (one["path"], one["mode"]) == ("server", "dedicated")
    wait_for(lambda: librettos.server()["server"]["attached"] == 1, 10, "the domain's channel")
    assert "network server" in librettos("ps").stdout
    librettos("stop", "-t", 1, "one")
    wait_for(lambda: librettos.server() is None, 5, "the server to end")
    assert gone(server["pid"])
    assert [d["name"] for d in librettos.ps()] == ["direct"]


def test_stopping_a_server_that_is_in_use(librettos):
    librettos.start("echo", ECHO, 7, port=7)
    port = librettos.ps()[0]["ports"][0]["host_port"]
    done = librettos("stop", "net", check=False)
    assert done.returncode == 125 and "--force" in done.stderr and done.stderr.count("\n") == 1
    pid = librettos.server()["pid"]
    librettos("stop", "--force", "net")
    wait_for(lambda: (librettos.server() or {}).get("pid", pid) != pid, 10, "another server")
    assert wait_for(lambda: echoes(port), 10, "the echo")
    assert librettos.server()["server"]["restarts"] == 1
    assert "replaced: 1 x stop" in librettos("ps").stdout
    assert librettos("run", "--name", "net", "/bin/true", check=False).returncode == 125
    librettos("logs", "net")


@pytest.mark.parametrize("options,words", [
    (("--path", "fast"), "use server or direct"),
    (("--address", "own"), "use dedicated"),
    (("--address", "shared", "--path", "direct"), "--path server"),
    (("--address", "dedicated=10.0.3.1"), "10.0.2.15 to"),
    (("--address", "dedicated=x"), "10.0.2.15 to"),
])
def test_bad_options(librettos, options, words):
    done = librettos("run", *options, "/bin/true", check=False)
    assert done.returncode == 125 and words in done.stderr and done.stderr.count("\n") == 1


def test_a_domain_holds_only_its_own_channel(librettos):
    for name in ("one", "two"):
        librettos("run", "-d", "--name", name, *SLEEP)
    for domain in librettos.ps():
        folder = f"/proc/{domain['pid']}/fd"
        regions = [os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)]
        assert len([r for r in regions if "librettos-channel" in r]) == 1
        with open(f"/proc/{domain['pid']}/cmdline") as f:
            command = f.read().split("\0")
        assert command[command.index("-sandbox") + 1].startswith("on,")
        assert not any("virtio-net" in word for word in command)


# ---- addresses ----

def test_a_chosen_address(librettos):
    port = librettos.start("echo", "--address", "dedicated=10.0.2.77", ECHO, 7, port=7)
    assert librettos.ps()[0]["address"] == "10.0.2.77" and echoes(port)
    done = librettos("run", "--address", "dedicated=10.0.2.77", "/bin/true", check=False)
    assert done.returncode == 125 and "another domain has" in done.stderr


def test_one_address_for_two_domains(librettos):
    first = librettos.start("first", "--address", "shared", ECHO, 7, port=7)
    second = librettos.start("second", "--address", "shared", ECHO, 8, port=8)
    assert echoes(first) and echoes(second)
    domains = {d["name"]: d for d in librettos.ps()}
    server = librettos.server()
    assert {d["address"] for d in domains.values()} == {server["address"]}
    assert {"port": 7, "protocol": "tcp"} in domains["first"]["claimed"]
    assert {"port": 8, "protocol": "tcp"} in domains["second"]["claimed"]
    done = librettos("run", "--address", "shared", "-p", f"{free_port()}:7", ECHO, 7, check=False)
    assert done.returncode == 125 and "another domain" in done.stderr
    done = librettos("run", "--address", "shared", ECHO, 8, check=False)
    assert done.returncode not in (0, 125) and "in use" in done.stdout + done.stderr
    librettos("stop", "-t", 1, "first")
    assert echoes(librettos.start("third", "--address", "shared", ECHO, 7, port=7))


# ---- its death ----

def test_a_killed_server_comes_back(librettos):
    ports = [librettos.start("echo", ECHO, 7, port=7),
             librettos.start("shared", "--address", "shared", ECHO, 9, port=9)]
    for n in range(1, 4):
        kill_server(librettos)
        assert librettos.server()["server"]["restarts"] == n
        assert all(echoes(p) for p in ports)
    # What was claimed still is, and new domains are served.
    done = librettos("run", "--address", "shared", ECHO, 9, check=False)
    assert done.returncode != 0 and "in use" in done.stdout + done.stderr
    assert echoes(librettos.start("new", ECHO, 7, port=7))


def test_a_server_killed_under_load(librettos):
    port = librettos.start("web", "nginx", port=80)
    load = subprocess.Popen(["wrk", "-t1", "-c10", "-d8s", "--timeout", "10s",
                             f"http://127.0.0.1:{port}/"], stdout=subprocess.PIPE, text=True)
    time.sleep(2)
    kill_server(librettos)
    assert "nginx" in run("curl", "-sf", "-m", 20, f"http://127.0.0.1:{port}/")
    text, _ = load.communicate(timeout=60)
    assert int(re.search(r"(\d+) requests in", text).group(1)) > 100, text
    assert "Welcome" in run("curl", "-sf", "-m", 20, f"http://127.0.0.1:{port}/")


def test_a_server_killed_while_domains_start(librettos):
    ports = {}

    def start(i):
        ports[i] = librettos.start(f"d{i}", "-m", "48M", ECHO, 7, port=7)
    threads = [threading.Thread(target=start, args=(i,)) for i in range(12)]
    for t in threads:
        t.start()
    for _ in range(3):
        wait_for(librettos.server, 20, "a server")
        try:
            os.kill(librettos.server()["pid"], signal.SIGKILL)
        except (TypeError, ProcessLookupError):
            pass  # between two instances
        time.sleep(0.3)
    for t in threads:
        t.join(timeout=60)
    assert len(ports) == 12
    for port in ports.values():
        assert wait_for(lambda: echoes(port), 20, "an echo")


# ---- many ----

def test_many_domains_come_and_go(librettos):
    """At least 32 at a time, started, used and stopped in a random order; nothing is left.

    LIBRETTOS_CHURN_SECONDS goes on for longer than three rounds.
    """
    until = time.monotonic() + float(os.environ.get("LIBRETTOS_CHURN_SECONDS", 0))
    librettos.env["LIBRETTOS_SERVER_IDLE_MS"] = "2000"
    rng = random.Random(1)
    librettos("run", "--name", "first", "/bin/true")
    pid = supervisor_pid(librettos)
    wait_for(lambda: not machines(librettos), 10, "the first to end")
    fds = len(os.listdir(f"/proc/{pid}/fd"))
    ports, free_memory, served = {}, [], 0

    def start(i):
        shared = i % 3 == 0
        guest = 100 + i if shared else 7
        ports[i] = librettos.start(f"d{i}", "-m", "48M", "--address",
                                   "shared" if shared else "dedicated", ECHO, guest, port=guest)

    def stop(i):
        ports.pop(i)
        librettos("stop", "-t", 1, f"d{i}")

    def server_memory():
        return json.loads(librettos("ps", "--stats", "net").stdout)["memory"]["free"]

    for i in range(DOMAINS):
        start(i)
    most = librettos.server()["server"]
    assert most["domains"] == DOMAINS and most["channels"] == DOMAINS
    while len(free_memory) < 3 or time.monotonic() < until:
        free_memory.append(server_memory())
        absent = rng.sample(sorted(ports), DOMAINS // 4)
        for i in absent:
            stop(i)
        rng.shuffle(absent)
        for i in absent:
            start(i)
        for i in rng.sample(sorted(ports), DOMAINS):
            assert echoes(ports[i]), i
            served += 1
    assert served == len(free_memory) * DOMAINS
    # Slots are used again, and the server has its memory back.
    assert librettos.server()["server"]["channels"] <= DOMAINS + 8
    assert free_memory[0] - server_memory() < 1 << 20, free_memory
    for i in rng.sample(sorted(ports), DOMAINS):
        stop(i)
    wait_for(lambda: librettos.server()["server"]["attached"] == 0, 5, "all slots to be free")
    wait_for(lambda: not machines(librettos), 10, "the server to end")
    # libslirp needs some seconds to give up a connection that a domain left open when it was stopped.
    wait_for(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= fds, 30, "descriptors to be closed")
