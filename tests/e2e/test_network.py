"""The network with real clients: both IP versions, UDP, DHCP, names, many connections, a hostile wire."""
import json
import os
import re
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from conftest import BUILD, free_port, librettos_on_each_path, run, wait_for  # noqa: F401
from machines import GUEST, GUEST6, HOST, MAC, PEER, wire  # noqa: F401 (wire is a fixture)

ECHO = os.path.join(BUILD, "netecho")
NGINX = """user root; worker_processes %d; daemon off; error_log stderr;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000; keepalive_timeout 300;
  server { listen 80%s; listen [::]:80; location / { return 200 "the page\\n"; } } }
"""


def nginx_files(folder, workers=1, reuseport=False):
    path = folder / "test.conf"
    path.write_text(NGINX % (workers, " reuseport" if reuseport else ""))
    return [f"{path}:/etc/nginx/test.conf", "/bin/cat"]


NGINX_COMMAND = ("nginx", "-c", "/etc/nginx/test.conf")


def wrk(ns, seconds, connections=50, options=(), address=GUEST):
    """Requests that were answered; all must be."""
    _, text = ns("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", *options, f"http://{address}/",
                 timeout=seconds + 30)
    assert "Socket errors" not in text and "Non-2xx" not in text, text
    return int(re.search(r"(\d+) requests in", text).group(1))


class Files:
    """Files of /proc of a running domain."""

    def __init__(self, librettos, name):
        self.librettos, self.name = librettos, name

    def __call__(self, path):
        return self.librettos("exec", self.name, "cat", path).stdout

    def number(self, path, pattern):
        return int(re.search(pattern, self(path)).group(1))


# ---- through the virtual switch ----

def test_udp_port(librettos):
    port = free_port()
    librettos("run", "-d", "--name", "echo", "-p", f"{port}:7/udp", ECHO, 7)
    wait_for(lambda: subprocess.run([*PEER, "echo", "127.0.0.1", str(port), "1"],
                                    stderr=subprocess.DEVNULL, timeout=10).returncode == 0, 20, "UDP")
    run(*PEER, "echo", "127.0.0.1", port, 1, 100, 1472, 1473, 9000, 40000)


def test_udp_without_end(librettos_on_each_path):
    """iperf3 in the domain sends as fast as its socket lets it: it sleeps and goes on."""
    port, results = free_port(), []
    librettos_on_each_path("run", "-d", "--name", "perf", "-p", f"{port}:5201", "-p", f"{port}:5201/udp",
                           "iperf3", "-s")

    def ran():
        done = subprocess.run(["iperf3", "-c", "127.0.0.1", "-p", str(port), "-u", "-R", "-b", "0",
                               "-l", "1400", "-t", "3", "-J"], stdout=subprocess.PIPE, timeout=60)
        results.append(json.loads(done.stdout))
        return "error" not in results[-1]
    wait_for(ran, 20, "iperf3")
    rates = [second["sum"]["bytes"] for second in results[-1]["intervals"]]
    assert len(rates) >= 3 and min(rates[:3]) > 1 << 20, rates


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"from the host")

    def log_message(self, *args):
        pass


class Server6(HTTPServer):
    address_family = 10


@pytest.mark.parametrize("server,listen,gateway", [(HTTPServer, "127.0.0.1", "10.0.2.2"),
                                                   (Server6, "::1", "[fd00:4c69:6272::2]")],
                         ids=["IPv4", "IPv6"])
def test_connections_to_the_outside(librettos, server, listen, gateway):
    librettos.env["LIBRETTOS_HOST_LOOPBACK"] = "1"
    with server((listen, 0), Page) as outside:
        threading.Thread(target=outside.serve_forever, daemon=True).start()
        url = f"http://{gateway}:{outside.server_address[1]}/"
        done = librettos("run", "curl", "-gsS", "-m", 10, url)
        outside.shutdown()
    assert done.stdout == "from the host"


def test_domain_to_domain(librettos):
    librettos.start("kv", "redis-server", "--protected-mode", "no", "--bind", "* -::*", "--save", "",
                    port=6379)
    (domain,) = librettos.ps()
    done = librettos("run", "redis-benchmark", "-h", domain["address"], "-n", 10000, "-t", "set,get",
                     "-d", 1000, "--csv")
    assert '"GET"' in done.stdout and "error" not in done.stdout.lower()
    done = librettos("run", "redis-cli", "-h", "fd00:4c69:6272::f", "dbsize")
    assert done.stdout.strip() == "1"


def test_loopback(librettos):
    librettos.start("kv", "redis-server", "--save", "", port=None)
    wait_for(lambda: "PONG" in librettos("exec", "kv", "redis-cli", "ping", check=False).stdout, 20,
             "redis")
    text = librettos("exec", "kv", "redis-benchmark", "-n", 5000, "-t", "set,get", "-P", 4, "--csv").stdout
    assert '"GET"' in text and "error" not in text.lower()
    assert librettos("exec", "kv", "redis-cli", "-h", "::1", "ping").stdout.strip() == "PONG"


# ---- on a tap ----

def test_ping_and_fragments(wire):  # noqa: F811
    ns = wire.namespace()
    machine = wire.machine(ns, [ECHO, "7"])
    machine.wait_port(7)
    for address in (GUEST, GUEST6):
        _, text = ns("ping", "-q", "-c", 20, "-i", 0.01, "-W", 2, address)
        assert " 0% packet loss" in text, text
        _, text = ns("ping", "-q", "-c", 5, "-i", 0.01, "-s", 20000, "-W", 2, address)
        assert " 0% packet loss" in text, text
        ns(*PEER, "echo", address, 7, 1, 1472, 1473, 8000, 65000)


def test_dhcp_and_names(wire):  # noqa: F811
    ns = wire.namespace()
    ns.tap()
    for command in (("dhcp", "tap0", HOST, "10.78.0.77"), ("dns", HOST, "host.example", HOST)):
        peer = ns.popen(*PEER, *command, stdout=subprocess.PIPE, text=True)
        assert peer.stdout.readline() == "ready\n"
    command = ["getent", "ahostsv4", "host.example"]
    machine = wire.machine(ns, command, net0="dhcp", make_tap=False)
    assert machine.qemu.wait(timeout=30) == 0, machine.console
    assert re.search(rf"{re.escape(HOST)}\s+STREAM", machine.console), machine.console


def test_slaac(wire):  # noqa: F811
    """Addresses from router advertisements: those of libslirp in QEMU."""
    ns = wire.namespace()
    machine = wire.machine(ns, ["cat", "/proc/net/if_inet6"], net0="dhcp", make_tap=False,
                           netdev="user,id=n0,ipv6-prefix=fd00:7::")
    assert machine.qemu.wait(timeout=30) == 0, machine.console
    assert re.search(r"fe80[0-9a-f]{28} .* eth0", machine.console), machine.console


@pytest.mark.parametrize("reuseport", [False, True], ids=["shared", "reuseport"])
def test_two_workers_on_two_cpus(wire, tmp_path, reuseport):  # noqa: F811
    ns = wire.namespace()
    machine = wire.machine(ns, NGINX_COMMAND, nginx_files(tmp_path, 2, reuseport), queues=2, cpus=2)
    machine.wait_port(80)
    assert wrk(ns, 4) > 1000
    assert wrk(ns, 4, options=("-H", "Connection: close")) > 500
    machine.check_alive()


def test_2000_idle_connections(wire, tmp_path):  # noqa: F811
    ns = wire.namespace()
    machine = wire.machine(ns, NGINX_COMMAND, nginx_files(tmp_path))
    machine.wait_port(80)
    before = wrk(ns, 3)
    idle = ns.popen(*PEER, "idle", GUEST, 80, 2000, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert idle.stdout.readline() == b"open\n"
    with_idle = wrk(ns, 3)
    idle.stdin.close()
    assert with_idle > before / 2, (before, with_idle)
    machine.check_alive()


# ---- a hostile wire ----

def test_syn_flood(wire, tmp_path):  # noqa: F811
    ns = wire.namespace()
    machine = wire.machine(ns, NGINX_COMMAND, nginx_files(tmp_path))
    machine.wait_port(80)
    flood = ns.popen(*PEER, "flood", "tap0", MAC, GUEST, 80, 6, stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    assert wrk(ns, 4, connections=10, options=("-H", "Connection: close")) > 100
    assert int(flood.communicate(timeout=20)[0]) > 5000
    assert wrk(ns, 1) > 100
    machine.check_alive()


@pytest.mark.parametrize("seed", [1, 2])
def test_noise(wire, tmp_path, seed):  # noqa: F811
    ns = wire.namespace()
    machine = wire.machine(ns, NGINX_COMMAND, nginx_files(tmp_path))
    machine.wait_port(80)
    _, sent = ns(*PEER, "noise", "tap0", MAC, GUEST, GUEST6, 5, seed)
    assert int(sent) > 5000
    machine.check_alive()
    # It may have poisoned the caches; the network heals.
    ns("ip", "neigh", "flush", "dev", "tap0")
    wait_for(lambda: ns("curl", "-sf", "-m", 1, "-o", "/dev/null", f"http://{GUEST}/",
                        check=False)[0] == 0, 40, "the network to heal")
    assert wrk(ns, 1) > 100


def test_churn_leaves_nothing(librettos, tmp_path):
    files = [a for f in nginx_files(tmp_path) for a in ("--file", f)]
    port = librettos.start("web", *files, *NGINX_COMMAND, port=80)
    proc = Files(librettos, "web")
    close = ["-t1", "-c20", "-H", "Connection: close", f"http://127.0.0.1:{port}/"]

    def figures():
        time.sleep(1)
        return (proc.number("/proc/net/sockstat", r"TCP: .* alloc (\d+)"),
                proc.number("/proc/meminfo", r"MemFree: +(\d+)"))

    run("wrk", "-d2s", "--timeout", "10s", *close)
    sockets, free = figures()
    text = run("wrk", "-d8s", "--timeout", "10s", *close)
    assert "Socket errors" not in text, text
    assert int(re.search(r"(\d+) requests in", text).group(1)) > 500
    sockets_after, free_after = figures()
    assert sockets_after <= sockets + 2, proc("/proc/net/sockstat")
    # A TIME-WAIT entry is small, and there are at most 65536 of them.
    assert free - free_after < 4096, (free, free_after)
