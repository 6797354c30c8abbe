"""The tools that people look at a network with, as Debian has them: ip, ss, ping, tcpdump, udhcpc."""
import re
import shutil
import socket
import subprocess

import pytest

from conftest import free_port

TOOLS = ["ip", "ss", "ping", "tcpdump"]
ROUTER, GUEST = "10.0.2.2", "10.0.2.15"  # of the virtual switch


@pytest.fixture
def domain(librettos):
    """A domain that does nothing, with the tools in it: domain("ip", "addr") is what it prints."""
    missing = [t for t in TOOLS if not shutil.which(t)]
    if missing:
        pytest.skip(f"not installed: {missing}")
    files = [option for t in [*TOOLS, "sh"] for option in ("--file", shutil.which(t))]
    librettos("run", "-d", "--name", "tools", "-p", f"{free_port()}:7", *files, "sleep", 600)

    def call(*command, check=True, timeout=60):
        done = librettos("exec", "tools", *command, check=check, timeout=timeout)
        return done.stdout + done.stderr
    return call


def shell(domain, text, **kw):
    return domain("sh", "-c", text, **kw)


def test_ip_shows_the_network(domain):
    text = domain("ip", "addr")
    assert re.search(r"1: lo: <LOOPBACK,UP,LOWER_UP>.*\n.*link/loopback", text), text
    assert re.search(r"inet 127\.0\.0\.1/8 scope host lo", text), text
    assert re.search(rf"inet {GUEST}/24 brd 10\.0\.2\.255 scope global eth0", text), text
    assert re.search(r"inet6 fe80::\S+/64 scope link", text), text
    routes = domain("ip", "route")
    assert f"default via {ROUTER} dev eth0" in routes
    assert f"10.0.2.0/24 dev eth0 proto kernel scope link src {GUEST}" in routes
    assert f"192.0.2.7 via {ROUTER} dev eth0 src {GUEST}" in domain("ip", "route", "get", "192.0.2.7")
    domain("ping", "-c", 1, ROUTER)
    assert re.search(rf"{re.escape(ROUTER)} dev eth0 lladdr \S+ (REACHABLE|STALE|DELAY)",
                     domain("ip", "neigh"))
    assert "RX:  bytes packets errors dropped" in domain("ip", "-s", "link", "show", "eth0")
    assert "does not exist" in domain("ip", "link", "show", "nope0", check=False)


def test_ip_changes_the_network(domain):
    domain("ip", "addr", "add", "198.51.100.1/24", "dev", "eth0")
    assert "198.51.100.1/24" in domain("ip", "-4", "addr", "show", "dev", "eth0")
    assert "198.51.100.0/24 dev eth0" in domain("ip", "route")
    assert "exists" in domain("ip", "addr", "add", "198.51.100.1/24", "dev", "eth0", check=False)
    domain("ip", "route", "add", "203.0.113.0/24", "via", "198.51.100.9")
    assert "203.0.113.0/24 via 198.51.100.9 dev eth0" in domain("ip", "route")
    domain("ip", "route", "del", "203.0.113.0/24")
    assert "203.0.113" not in domain("ip", "route")
    assert "No such process" in domain("ip", "route", "del", "203.0.113.0/24", check=False)
    domain("ip", "addr", "del", "198.51.100.1/24", "dev", "eth0")
    assert "198.51.100" not in domain("ip", "addr") + domain("ip", "route")
    domain("ip", "link", "set", "lo", "down")
    assert "<LOOPBACK>" in domain("ip", "link", "show", "lo")
    domain("ip", "link", "set", "lo", "up")
    assert "1 received" in domain("ping", "-c", 1, "127.0.0.1")


def test_ip_monitor_tells_changes(domain):
    text = shell(domain, "ip monitor >/tmp/seen & monitor=$!; sleep 1; "
                         "ip addr add 198.51.100.1/24 dev eth0; ip route add 203.0.113.0/24 via 198.51.100.9; "
                         "ip route del 203.0.113.0/24; ip addr del 198.51.100.1/24 dev eth0; "
                         "ip link set lo down; ip link set lo up; ping -c 1 10.0.2.3 >/dev/null; "
                         "ip -6 addr add fd00:7::7/64 dev eth0; sleep 2; kill $monitor; while read -r line; do "
                         'echo "$line"; done </tmp/seen')
    for wanted in (r"^2: eth0 +inet 198\.51\.100\.1/24 brd", r"^198\.51\.100\.0/24 dev eth0",
                   r"^203\.0\.113\.0/24 via 198\.51\.100\.9 dev eth0", r"^Deleted 203\.0\.113\.0/24 via",
                   r"^Deleted 198\.51\.100\.0/24 dev", r"^Deleted 2: eth0 +inet 198\.51\.100\.1/24",
                   r"^1: lo: <LOOPBACK>", r"^1: lo: <LOOPBACK,UP,LOWER_UP>",
                   r"^10\.0\.2\.3 dev eth0 lladdr \S+ (REACHABLE|STALE)",
                   r"inet6 fd00:7::7/64 scope global optimistic", r"inet6 fd00:7::7/64 scope global *$"):
        assert re.search(wanted, text, re.M), f"{wanted}: {text}"


def test_ip_rule_lists_the_three(domain):
    assert re.sub(r"\s+", " ", domain("ip", "rule")) == (
        "0: from all lookup local 32766: from all lookup main 32767: from all lookup default ")
    assert "lookup default" not in domain("ip", "-6", "rule")
    assert "not supported" in domain("ip", "rule", "add", "from", "192.0.2.1", "table", "7", check=False)


def test_ping(domain):
    text = domain("ping", "-c", 3, "-i", "0.2", ROUTER)
    assert "3 packets transmitted, 3 received, 0% packet loss" in text and "WARNING" not in text, text
    assert "1 received" in domain("ping", "-c", 1, "-s", 3000, ROUTER)
    assert "1 received" in domain("ping", "-c", 1, "::1")
    assert "Time to live exceeded" in domain("ping", "-c", 1, "-W", 2, "-t", 1, "192.0.2.1",
                                             check=False)


def test_tcpdump_counts_what_it_sees(domain):
    text = shell(domain, "tcpdump -i eth0 -c 6 -w /tmp/dump icmp 2>/tmp/said & sleep 1; "
                         f"ping -c 3 -i 0.2 {ROUTER} >/dev/null; wait; cat /tmp/said 2>/dev/null; "
                         "tcpdump -n -r /tmp/dump")
    assert len(re.findall(rf"IP {GUEST} > {ROUTER}: ICMP echo request", text)) == 3, text
    assert len(re.findall(rf"IP {ROUTER} > {GUEST}: ICMP echo reply", text)) == 3, text


def test_tcpdump_on_all_interfaces(domain):
    text = shell(domain, "tcpdump -i any -n -c 4 icmp & sleep 1; ping -c 1 127.0.0.1 >/dev/null; "
                         f"ping -c 1 {ROUTER} >/dev/null; wait")
    assert re.search(rf"eth0 +Out IP {GUEST} > {ROUTER}: ICMP echo request", text), text
    assert re.search(r"lo +In +IP 127\.0\.0\.1 > 127\.0\.0\.1: ICMP echo request", text), text
    assert "0 packets dropped by kernel" in text


def test_ss_lists_sockets(librettos):
    redis = shutil.which("redis-server")
    if not redis or not shutil.which("ss"):
        pytest.skip("redis-server or ss is not installed")
    port = librettos.start("redis", "--file", shutil.which("ss"), redis, "--unixsocket", "/tmp/redis.sock",
                           "--protected-mode", "no", port=6379)

    def ss(*options):
        return librettos("exec", "redis", "ss", *options).stdout
    text = ss("-tulpn")
    assert re.search(r"tcp +LISTEN \d+ +511 +0\.0\.0\.0:6379 +0\.0\.0\.0:\* +users:\(\(\"redis-server\",pid=",
                     text), text
    assert re.search(r"u_str +LISTEN 0 +\d+ +/tmp/redis\.sock \d+", ss("-xl")), ss("-xl")
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(7) == b"+PONG\r\n"
        text = ss("-tin")
        assert re.search(r"ESTAB +0 +0 +\S+:6379 ", text) and re.search(r"\bcubic\b", text), text
    assert re.search(r"TCP: +\d+ \(estab", ss("-s"))
