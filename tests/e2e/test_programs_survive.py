"""Programs that opened their connections themselves keep them when the network server dies or is replaced,
and when their domain is switched; datagrams are lost only while nobody is served."""
import hashlib
import http.server
import json
import os
import subprocess
import threading
import time

import pytest

import events
from conftest import run, wait_for
from test_no_connection_lost import GUEST, HOST, PREFIX, bridge, prepare  # noqa: F401

REDIS = ("redis-server", "--save", "", "--protected-mode", "no", "--repl-diskless-sync-delay", "0")
KINDS = ("kill", "switch", "switch", "panic", "upgrade", "restart", "supervisor")
OTHER_GUEST = "10.81.0.3"
DATAGRAMS = 500  # per second


def survive(system, kinds):
    for kind in kinds:
        events.cause(system, kind)


def redis(port, *command):
    return run("redis-cli", "-p", port, *command, timeout=30).strip()


def info(port, section):
    lines = redis(port, "info", section).splitlines()
    return dict(line.strip().split(":", 1) for line in lines if ":" in line)


def test_a_redis_replica_follows_its_master(librettos, tmp_path):
    prepare(librettos, tmp_path)
    master = librettos.start("master", *REDIS, port=6379)
    address = next(d["address"] for d in librettos.ps())
    replica = librettos.start("replica", *REDIS, "--replicaof", address, "6379", port=6379)
    wait_for(lambda: info(replica, "replication")["master_link_status"] == "up", 20, "the replica")
    writer = subprocess.Popen(["redis-cli", "-p", str(master), "-r", "-1", "-i", "0.002", "incr", "n"],
                              stdout=subprocess.DEVNULL)
    try:
        survive(events.System(librettos, "replica"), KINDS)
    finally:
        writer.kill()
        writer.wait()
    written = int(redis(master, "get", "n"))
    wait_for(lambda: int(redis(replica, "get", "n")) == written, 10, "the last write")
    # It is the connection it began with: no second synchronisation, full or partial.
    stats = info(master, "stats")
    assert (stats["sync_full"], stats["sync_partial_ok"]) == ("1", "0")
    assert info(replica, "replication")["master_link_status"] == "up" and written > 500


@pytest.fixture
def download(tmp_path):
    """(a port of this host's loopback address that serves a file over HTTP, the file's SHA-256)."""
    data = os.urandom(1 << 20) * 90
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever).start()
    yield server.server_address[1], hashlib.sha256(data).hexdigest(), requests
    server.shutdown()
    server.server_close()


def test_curl_downloads_a_file(librettos, tmp_path, download):
    port, digest, requests = download
    librettos.env["LIBRETTOS_HOST_LOOPBACK"] = "1"
    prepare(librettos, tmp_path)
    script = f"curl -sS --limit-rate 6M http://10.0.2.2:{port}/file | sha256sum"
    client = librettos.popen("run", "--name", "curl", "--package", "curl", "--package", "coreutils",
                             "/bin/sh", "-c", script, stdout=subprocess.PIPE, text=True,
                             stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: requests, 20, "the download")
        survive(events.System(librettos, "curl"), KINDS)
        assert client.poll() is None, "it ended before the events did"
        assert client.communicate(timeout=60)[0].split() == [digest, "-"]
        assert requests == ["/file"]
    finally:
        client.kill()
        client.wait()


def test_udp_loses_what_the_stall_loses(bridge, tmp_path):  # noqa: F811
    """iperf3 sends datagrams to one domain, while hold measures on another one of the same server."""
    prepare(bridge, tmp_path)
    for name, address, program in (("sink", GUEST, ("iperf3", "-s")),
                                   ("peer", OTHER_GUEST, (events.PEER, events.PEER_PORT))):
        bridge("run", "-d", "--name", name, "--path", "server", "--bridge", "br0", "--ip",
               f"{address}/{PREFIX},gw={HOST}", *program)
    load = events.Load(OTHER_GUEST, events.PEER_PORT, "-c", 40, "-i", "5-15", "-b", 0,
                       popen=lambda command, **kw: bridge.ns.popen(*command, **kw))
    client = bridge.ns.popen("iperf3", "-c", GUEST, "-u", "-l", 1000, "-b", 8000 * DATAGRAMS, "-t", 12,
                             "-J", stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(1)
        survive(events.System(bridge, "sink", "net-br0"), ("kill", "panic", "upgrade", "restart"))
        result = json.loads(client.communicate(timeout=60)[0])["end"]["sum"]
        record = load.end()
    finally:
        load.abandon()
    stalled = sum(end - begin for begin, end in record.spans("outages") if end - begin > 0.01)
    print(f"\n{result['lost_packets']} of {result['packets']} datagrams lost; "
          f"nobody was answered for {stalled * 1000:.0f} ms")
    assert record.errors == [] and result["packets"] > 10 * DATAGRAMS
    assert result["lost_packets"] <= DATAGRAMS * (1.5 * stalled + 0.1)
