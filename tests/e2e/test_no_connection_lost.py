"""200 connections with request/response and 100 MiB each way, under everything that can happen to the
network server: no connection is reset, no byte is wrong.

LIBRETTOS_TEST_EVENTS=full has as many events as the project promises to survive; or name counts,
kill=20,control=5.
"""
import json
import os

import pytest

import events
import stub
from conftest import BUILD, wait_for
from machines import Namespace
from test_tap import Inside

HOST, GUEST, PREFIX = "10.81.0.1", "10.81.0.2", 24
FEW = {"control": 3, "switch": 6, "kill": 3, "panic": 2, "hang": 1, "restart": 1, "upgrade": 3,
       "supervisor": 1}
FULL = {"control": 20, "switch": 100, "kill": 20, "panic": 20, "hang": 5, "restart": 5, "upgrade": 20,
        "supervisor": 5}
CONNECTIONS, MIB, RATE = 200, 100, 4


def counts():
    wanted = os.environ.get("LIBRETTOS_TEST_EVENTS", "")
    if wanted in ("", "full"):
        return FULL if wanted else FEW
    return {kind: int(n) for kind, n in (word.split("=") for word in wanted.split(","))}


@pytest.fixture
def bridge(tmp_path):
    """A bridge in a network namespace, the host at HOST, and the command in it. It has an uplink and an
    address of its own: without, it would lose its carrier when the server's tap goes, and change its MAC
    address when one comes."""
    namespace = Namespace()
    try:
        for command in ("ip link set lo up", "ip link add br0 address 52:54:00:81:00:01 type bridge",
                        "ip link add uplink type veth peer name far", "ip link set far up",
                        "ip link set uplink master br0 up",
                        f"ip addr add {HOST}/{PREFIX} dev br0", "ip link set br0 up"):
            status, text = namespace(*command.split(), check=False)
            if status:
                pytest.skip("no bridge here: " + text.strip())
        command = Inside(str(tmp_path), namespace)
        yield command
        command.end()
    finally:
        namespace.end()


def prepare(librettos, tmp_path):
    """What the command's first call decides for the supervisor."""
    stub.wrap(librettos.env, str(tmp_path))
    librettos.env.setdefault("LIBRETTOS_STANDBY_MS", "200")


def note(network, caused):
    """Puts each event's stalls (ms) into BUILD/stalls.json, beside those of the other network."""
    path = os.path.join(BUILD, "stalls.json")
    noted = {}
    if os.path.exists(path):
        with open(path) as f:
            noted = json.load(f)
    noted[network] = {kind: {"outage_ms": outages, "request_ms": requests}
                      for kind, (outages, requests) in events.by_kind(caused).items()}
    with open(path, "w") as f:
        json.dump(noted, f, indent=1)


def survive(network, system, load):
    caused = [events.cause(system, kind) for kind in events.in_turns(counts())]
    record = load.end()
    events.find_stalls(record, caused)
    print("\n" + events.table(caused))
    note(network, caused)
    assert record.errors == []
    assert record.data["requests"] == record.data["responses"] > 0
    assert record.data["up"]["bytes"] == record.data["down"]["bytes"] == bulk_mib() << 20


def bulk_mib():
    """Enough for the transfers to last."""
    return max(MIB, RATE * 2 * sum(counts().values()))


def load_options():
    return ["-c", CONNECTIONS, "-b", bulk_mib(), "-r", RATE, "-t", 60]


def test_published_on_the_virtual_switch(librettos, tmp_path):
    prepare(librettos, tmp_path)
    port = librettos.start("peer", events.PEER, events.PEER_PORT, port=events.PEER_PORT)
    load = events.Load("127.0.0.1", port, *load_options())
    try:
        survive("virtual switch", events.System(librettos, "peer"), load)
    finally:
        load.abandon()


def test_on_a_bridge(bridge, tmp_path):
    prepare(bridge, tmp_path)
    bridge("run", "-d", "--name", "peer", "--path", "server", "--bridge", "br0", "--ip",
           f"{GUEST}/{PREFIX},gw={HOST}", events.PEER, events.PEER_PORT)
    wait_for(lambda: bridge.ns("bash", "-c", f": </dev/tcp/{GUEST}/{events.PEER_PORT}", check=False)[0] == 0,
             20, "the domain")
    load = events.Load(GUEST, events.PEER_PORT, *load_options(),
                       popen=lambda command, **kw: bridge.ns.popen(*command, **kw))
    try:
        survive("bridge", events.System(bridge, "peer", server="net-br0"), load)
    finally:
        load.abandon()
