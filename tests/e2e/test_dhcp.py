"""DHCP with Debian's programs on both ends: clients and a server in a domain, on a wire and behind a network server."""
import re
import shutil
import subprocess

import pytest

from conftest import librettos_on_each_path, wait_for  # noqa: F401 (fixtures)
from machines import GUEST, HOST, PEER, wire  # noqa: F401 (wire is a fixture)

LEASE = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/24" dev "$interface" && ip route add default via "$router"
ip addr show dev "$interface"; ip route; ping -c 1 "$router"
"""


def test_dhcp_client(wire, tmp_path):  # noqa: F811
    """A DHCP client of Debian's, over packet sockets, on an interface without an address."""
    missing = [t for t in ["busybox", "ip", "ping"] if not shutil.which(t)]
    if missing:
        pytest.skip(f"not installed: {missing}")
    script = tmp_path / "lease"
    script.write_text(LEASE)
    script.chmod(0o755)
    ns = wire.namespace()
    ns.tap()
    peer = ns.popen(*PEER, "dhcp", "tap0", HOST, "10.78.0.77", stdout=subprocess.PIPE, text=True)
    assert peer.stdout.readline() == "ready\n"
    command = ["busybox", "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-s", "/lease"]
    files = [f"{script}:/lease", *(shutil.which(t) for t in ["ip", "ping", "sh"])]
    machine = wire.machine(ns, command, files, net0="fd00:78::2/64", make_tap=False)
    assert machine.qemu.wait(timeout=40) == 0, machine.console
    text = machine.console
    assert "lease of 10.78.0.77 obtained" in text, text
    assert "inet 10.78.0.77/24" in text and f"default via {HOST} dev eth0" in text, text
    assert "1 received" in text, text


SHOW = """#!/bin/sh
[ "$1" = bound ] || exit 0
echo "lease $ip $subnet $router $dns $serverid"
"""
# What /sbin/dhclient-script and its hooks run.
SCRIPT = ["/sbin/dhclient-script", "/etc/dhcp/dhclient.conf", "/etc/fstab",
          *filter(None, map(shutil.which, ["ip", "sh", "cat", "readlink", "rm", "chmod", "chown", "mv", "sleep", "hostname",
                                           "ping", "run-parts", "mkdir"]))]


def script(tmp_path, text):
    path = tmp_path / "lease"
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_client_behind_a_network_server(librettos_on_each_path, tmp_path):
    """It is offered the address that it has been granted, which is the one that it may use."""
    run = librettos_on_each_path
    run("run", "-d", "--name", "client", "--file", f"{script(tmp_path, SHOW)}:/lease", "--file", shutil.which("sh"),
        "--file", shutil.which("busybox"), "sleep", 100)
    (domain,) = run.ps()
    done = run("exec", "client", "busybox", "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-s", "/lease")
    assert f"lease {domain['address']} 255.255.255.0 10.0.2.2 10.0.2.3 10.0.2.2" in done.stdout + done.stderr


def test_dhclient(wire, tmp_path):  # noqa: F811
    if not shutil.which("dhclient", path="/sbin:/usr/sbin"):
        pytest.skip("isc-dhcp-client is not installed")
    ns = wire.namespace()
    ns.tap()
    peer = ns.popen(*PEER, "dhcp", "tap0", HOST, "10.78.0.77", stdout=subprocess.PIPE, text=True)
    assert peer.stdout.readline() == "ready\n"
    machine = wire.machine(ns, ["/sbin/dhclient", "-v", "-d", "-1", "-4", "eth0"], SCRIPT, net0="fd00:78::2/64",
                           make_tap=False)
    wait_for(lambda: "bound to 10.78.0.77" in machine.console, 30, "the lease")
    assert "1 received" in ns("ping", "-c", 1, "-W", 2, "10.78.0.77")[1]
    assert "not found" not in machine.console and "RTNETLINK" not in machine.console, machine.console


def test_dnsmasq_serves_addresses_and_names(wire, tmp_path):  # noqa: F811
    dnsmasq = shutil.which("dnsmasq", path="/usr/sbin:/usr/bin")
    if not dnsmasq or not shutil.which("busybox"):
        pytest.skip("dnsmasq or busybox is not installed")
    ns = wire.namespace()
    machine = wire.machine(ns, [dnsmasq, "-d", "--conf-file=/dev/null", "--user=root", "--no-resolv", "--no-hosts",
                                "--bind-dynamic", "--interface=eth0", "--dhcp-range=10.78.0.50,10.78.0.50,1h",
                                f"--dhcp-option=option:router,{HOST}", "--no-ping", "--dhcp-leasefile=/tmp/leases",
                                "--address=/host.example/192.0.2.9"])
    wait_for(lambda: "sockets bound exclusively to interface eth0" in machine.console, 30, "dnsmasq")
    _, text = ns("busybox", "udhcpc", "-i", "tap0", "-n", "-q", "-f", "-s", script(tmp_path, SHOW))
    assert f"lease 10.78.0.50 255.255.255.0 {HOST} {GUEST} {GUEST}" in text, text
    _, text = ns("busybox", "nslookup", "host.example", GUEST, check=False)
    assert re.search(r"Name:\s+host\.example\nAddress: 192\.0\.2\.9", text), text
    assert "failed" not in machine.console, machine.console
