"""Domains on the host's own network: --tap, --bridge and --ip, in a network namespace of the test's."""
import json
import os
import re
import subprocess
import sys

import pytest

from conftest import BUILD, LIBRETTOS, Librettos, wait_for
from machines import PEER, Namespace

ECHO = os.path.join(BUILD, "netecho")
HOST, GUEST, PREFIX = "10.79.0.1", "10.79.0.2", 24
IP = f"{GUEST}/{PREFIX},gw={HOST}"


class Inside(Librettos):
    """The command, run in the namespace: its supervisor and the domains' taps live there."""

    def __init__(self, folder, ns):
        super().__init__(folder)
        self.ns = ns

    def __call__(self, *args, timeout=60, check=True):
        status, text = self.ns(LIBRETTOS, *args, timeout=timeout, check=check, env=self.env)
        return text if check else (status, text)

    def all(self):
        return json.loads(self("ps", "--json"))

    def kernel_log(self, name):
        return self("logs", "--kernel", name)


@pytest.fixture
def ns():
    namespace = Namespace()
    namespace("ip", "link", "set", "lo", "up")
    status, text = namespace("ip", "tuntap", "add", "probe", "mode", "tap", check=False)
    if status:
        namespace.end()
        pytest.skip("no tap devices here: " + text.strip())
    namespace("ip", "link", "del", "probe")
    yield namespace
    namespace.end()


@pytest.fixture
def inside(ns, tmp_path):
    command = Inside(str(tmp_path), ns)
    yield command
    command.end()


def make_tap(ns, *kind):
    ns("ip", "tuntap", "add", "tap0", "mode", "tap", *kind)
    ns("ip", "addr", "add", f"{HOST}/{PREFIX}", "dev", "tap0")
    ns("ip", "link", "set", "tap0", "up")


def run_nginx(inside, *options):
    inside("run", "-d", "--name", "web", "--loglevel", "info", *options, "nginx")
    wait_for(lambda: inside.ns("curl", "-sf", f"http://{GUEST}/", check=False)[0] == 0, 20, "nginx")


def features(inside):
    return int(re.search(r"features (0x[0-9a-f]+)", inside.kernel_log("web")).group(1), 16)


CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4, MRG_RXBUF = 1 << 0, 1 << 1, 1 << 7, 1 << 11, 1 << 15


def test_tap_with_a_static_address(inside):
    make_tap(inside.ns)
    run_nginx(inside, "--tap", "tap0", "--ip", IP)
    offloads = CSUM | GUEST_CSUM | GUEST_TSO4 | HOST_TSO4 | MRG_RXBUF
    assert features(inside) & offloads == offloads
    assert " 0% packet loss" in inside.ns("ping", "-c", 3, "-i", "0.2", GUEST)[1]
    text = inside.ns("wrk", "-t1", "-c20", "-d2s", "--timeout", "10s", f"http://{GUEST}/", timeout=30)[1]
    assert "Socket errors" not in text and "Non-2xx" not in text


@pytest.mark.parametrize("kind", [[], ["multi_queue"]])
def test_queues_for_every_cpu(inside, kind):
    make_tap(inside.ns, *kind)
    run_nginx(inside, "--tap", "tap0", "--ip", IP, "-c", 2)
    assert f"{2 if kind else 1} queue pair(s)" in inside.kernel_log("web")
    text = inside.ns("wrk", "-t1", "-c20", "-d2s", "--timeout", "10s", f"http://{GUEST}/", timeout=30)[1]
    assert "Socket errors" not in text and "Non-2xx" not in text


def test_two_domains_on_a_bridge(inside):
    for command in ("link add br0 type bridge", f"addr add {HOST}/{PREFIX} dev br0", "link set br0 up"):
        inside.ns("ip", *command.split())
    run_nginx(inside, "--bridge", "br0", "--ip", IP, "-c", 2)
    inside("run", "-d", "--name", "kv", "--bridge", "br0", "--ip", f"10.79.0.3/{PREFIX}",
           "--file", "/usr/bin/curl", "redis-server", "--protected-mode", "no", "--bind", "0.0.0.0")
    wait_for(lambda: "PONG" in inside.ns("redis-cli", "-h", "10.79.0.3", "ping", check=False)[1], 20,
             "redis")
    assert "Welcome to nginx" in inside("exec", "kv", "curl", "-sf", f"http://{GUEST}/")
    inside("stop", "kv")
    inside("stop", "web")
    assert "lostap" not in inside.ns("ip", "link")[1]  # the domains' devices went with them


def redis_answers(inside, address):
    return "PONG" in inside.ns("redis-cli", "-h", address, "ping", check=False)[1]


REDIS = ("redis-server", "--protected-mode", "no", "--bind", "0.0.0.0", "--save", "")


def test_two_domains_behind_a_server_on_a_tap(inside):
    """One tap device, each domain with an address of its own."""
    make_tap(inside.ns)
    run_nginx(inside, "--path", "server", "--tap", "tap0", "--ip", IP)
    inside("run", "-d", "--name", "kv", "--path", "server", "--tap", "tap0", "--ip",
           f"10.79.0.3/{PREFIX}", "--file", "/usr/bin/curl", *REDIS)
    wait_for(lambda: redis_answers(inside, "10.79.0.3"), 20, "redis")
    for address in (GUEST, "10.79.0.3"):
        assert " 0% packet loss" in inside.ns("ping", "-c", 3, "-i", "0.2", address)[1]
    assert "Welcome to nginx" in inside("exec", "kv", "curl", "-sf", f"http://{GUEST}/")
    text = inside.ns("wrk", "-t1", "-c20", "-d2s", "--timeout", "10s", f"http://{GUEST}/", timeout=30)[1]
    assert "Socket errors" not in text and "Non-2xx" not in text
    server = inside.server("net-tap0")
    assert server["server"]["domains"] == 2 and server["address"] == ""
    assert {d["path"] for d in inside.ps()} == {"server"}


def test_an_address_by_dhcp_behind_a_server_on_a_tap(inside):
    """Nobody granted the domain an address: it asks for one through the server."""
    make_tap(inside.ns)
    peer = inside.ns.popen(*PEER, "dhcp", "tap0", HOST, GUEST, stdout=subprocess.PIPE, text=True)
    assert peer.stdout.readline() == "ready\n"
    run_nginx(inside, "--path", "server", "--tap", "tap0")
    (web,) = inside.ps()
    assert web["path"] == "server" and web["channel"]["drop_ip"] == 0, web


def test_two_domains_share_an_address_on_a_bridge(inside):
    """The first brings it, others need not tell it again."""
    for command in ("link add br0 type bridge", f"addr add {HOST}/{PREFIX} dev br0", "link set br0 up"):
        inside.ns("ip", *command.split())
    shared = ("--path", "server", "--bridge", "br0", "--address", "shared")
    run_nginx(inside, *shared, "--ip", IP)
    inside("run", "-d", "--name", "kv", *shared, *REDIS)
    wait_for(lambda: redis_answers(inside, GUEST), 20, "redis")
    status, text = inside("run", *shared, "--ip", f"10.79.0.9/{PREFIX}", "/bin/true", check=False)
    assert status == 125 and "shares" in text
    assert {d["address"] for d in inside.all()} == {GUEST}


COUNT_ANSWERS = """
import select, socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 7))
sent, answered, last = 0, set(), time.monotonic()
print("ready", flush=True)
while time.monotonic() < last + 1:
    going = not select.select([sys.stdin], [], [], 0)[0]
    if going:
        s.send(b"%d" % sent)
        sent, last = sent + 1, time.monotonic()
    while select.select([s], [], [], 0.001)[0]:
        answered.add(s.recv(64))
print(sent, len(answered))
"""


def test_a_restart_loses_no_datagram(inside):
    """On a bridge each instance has a port of its own, and what comes meanwhile waits there. The bridge has
    an address of its own: otherwise it takes one of its ports'."""
    for command in ("link add br0 address 52:54:00:79:00:01 type bridge", f"addr add {HOST}/{PREFIX} dev br0", "link set br0 up"):
        inside.ns("ip", *command.split())
    inside.env["LIBRETTOS_STANDBY_MS"] = "0"
    inside("run", "-d", "--name", "echo", "--path", "server", "--bridge", "br0", "--ip", IP, ECHO, "7")
    wait_for(lambda: inside.ns("ping", "-c1", "-W1", GUEST, check=False)[0] == 0, 20, "the domain")
    client = inside.ns.popen(sys.executable, "-c", COUNT_ANSWERS, GUEST, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    assert client.stdout.readline() == "ready\n"
    for _ in range(6):
        wait_for(lambda: inside.server("net-br0")["server"]["standby"] == "ready", 20, "a standby")
        assert "handed over" in inside("restart", "net-br0")
    client.stdin.close()
    sent, answered = map(int, client.stdout.readline().split())
    assert sent > 100
    assert answered == sent
    server = inside.server("net-br0")
    assert server["server"]["ends"]["upgrade"] == 6


def test_sharing_needs_an_address(inside):
    make_tap(inside.ns)
    shared = ("run", "--path", "server", "--tap", "tap0", "--address", "shared")
    status, text = inside(*shared, "/bin/true", check=False)
    assert status == 125 and "--ip" in text and text.count("\n") == 1
    assert inside.all() == []


def test_what_cannot_be_connected(inside):
    for options, why in ((["--tap", "nosuch"], "ip tuntap add nosuch"),
                         (["--bridge", "nosuch"], "no bridge nosuch"),
                         (["--tap", "t", "--bridge", "b"], "exclude"),
                         (["--ip", "10.0.0.1/24"], "--tap"),
                         (["--tap", "t", "-p", "80:80"], "virtual switch"),
                         (["--tap", "t", "--ip", "10.0.0.1"], "expected")):
        status, text = inside("run", *options, "/bin/true", check=False)
        assert status == 125 and why in text and text.count("\n") == 1, text
