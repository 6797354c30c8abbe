"""Many domains behind one network server: five services at once, under one address and under their own."""
import json
import os
import re
import socket
import subprocess

import pytest

from conftest import BUILD

# The whole minute is for a person who waits; CI has less time.
SECONDS = int(os.environ.get("LIBRETTOS_LOAD_SECONDS", "10"))

HAPROXY = """
global
    maxconn 1000
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend web
    bind :8000
    default_backend pages
backend pages
    server nginx {address}:80
"""


def address_of(librettos, name):
    return next(d["address"] for d in librettos.ps() if d["name"] == name)


def start_services(librettos, mode):
    """Their host ports by name."""
    options = ["--address", mode]
    ports = {
        "web": librettos.start("web", *options, "nginx", port=80),
        "kv": librettos.start("kv", *options, "redis-server", "--protected-mode", "no", "--bind",
                              "0.0.0.0", "--save", "", "--dir", "/tmp", port=6379),
        "cache": librettos.start("cache", *options, "memcached", "-u", "root", "-t", "1", port=11211),
        "perf": librettos.start("perf", *options, "iperf3", "-s", port=5201),
    }
    config = os.path.join(librettos.folder, "haproxy.cfg")
    with open(config, "w") as f:
        f.write(HAPROXY.format(address=address_of(librettos, "web")))
    ports["proxy"] = librettos.start("proxy", *options, "haproxy", "-db", "-f", config, port=8000)
    return ports


def loads(ports):
    """A client for each service that ends by itself after SECONDS and exits with 0 if all went well."""
    wrk = ["wrk", "-t1", "-c10", f"-d{SECONDS}s", "--timeout", "10s"]
    keys = f"""end=$(($(date +%s) + {SECONDS})); while [ $(date +%s) -lt $end ]; do
        {{}} || exit 1; done"""
    return {
        "web": [*wrk, f"http://127.0.0.1:{ports['web']}/"],
        "proxy": [*wrk, f"http://127.0.0.1:{ports['proxy']}/"],
        "kv": ["sh", "-c", keys.format(f"redis-benchmark -p {ports['kv']} -c 10 -n 2000 -q "
                                       "-t set,get,lpush")],
        "cache": ["sh", "-c", keys.format(f"{BUILD}/mcload 127.0.0.1 {ports['cache']} 10 2000 1")],
        "perf": ["iperf3", "-c", "127.0.0.1", "-p", str(ports["perf"]), "-t", str(SECONDS), "-J"],
    }


@pytest.mark.parametrize("mode", ["shared", "dedicated"])
def test_five_services_under_load(librettos, mode):
    ports = start_services(librettos, mode)
    addresses = {address_of(librettos, name) for name in ports}
    assert len(addresses) == (1 if mode == "shared" else len(ports))
    clients = {name: subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                      text=True)
               for name, command in loads(ports).items()}
    outputs = {name: client.communicate(timeout=SECONDS + 60)[0] for name, client in clients.items()}
    for name, client in clients.items():
        assert client.returncode == 0, f"{name}: {outputs[name]}"
    for name in ("web", "proxy"):
        assert "Socket errors" not in outputs[name] and "Non-2xx" not in outputs[name], outputs[name]
        assert int(re.search(r"(\d+) requests in", outputs[name]).group(1)) > 100
    assert json.loads(outputs["perf"])["end"]["sum_received"]["bytes"] > 1 << 20
    for domain in librettos.ps():
        channel = domain.get("channel") or {}
        assert channel.get("broken", 0) == 0 and channel.get("drop_malformed", 0) == 0, domain
        assert channel.get("drop_ip", 0) == 0 and channel.get("drop_port", 0) == 0, domain
    for name in ports:
        librettos("stop", name)


def version(port):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
        s.sendall(b"version\r\n")
        return s.recv(64)


def test_same_port_twice(librettos):
    """The second program's bind fails, as it would on one machine; a third port is free."""
    librettos.start("one", "--address", "shared", "memcached", "-u", "root", port=11211)
    second = librettos("run", "--name", "two", "--address", "shared", "memcached", "-u", "root",
                       check=False)
    assert second.returncode != 0
    assert "Address already in use" in second.stdout + second.stderr
    librettos("run", "-d", "--name", "three", "--address", "shared", "memcached", "-u", "root", "-p",
              "11212")
    librettos("stop", "one")
    again = librettos.start("two", "--address", "shared", "memcached", "-u", "root", port=11211)
    assert version(again).startswith(b"VERSION")
