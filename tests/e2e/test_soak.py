"""Three services under connections and processes that come and go, for rounds of five seconds; nothing of them
is left, and a service is then as fast as one that has just begun.

A quarter of a minute by default; `make test` runs it for five minutes beside the other suites, with
LIBRETTOS_SOAK_SECONDS=300, and 3600 is the long run. Counters are compared after the first round, which fills
caches and the programs' own pools, and after the last. The speed of runs of a minute and more is compared with that
of a new domain, in turns.
"""
import json
import os
import re
import statistics
import threading
import time
import urllib.request

from conftest import run, wait_for
from conftest import librettos  # noqa: F401
from crowd import CONFIGURATION

SECONDS = int(os.environ.get("LIBRETTOS_SOAK_SECONDS", "15"))
ROUND = 5
LONG_RUN = SECONDS >= 1800
# How much of a round there is load: the short run leaves the processors to the tests beside it.
LOAD = ROUND if LONG_RUN else 1
SPEED_IS_JUDGED = SECONDS >= 60
# Of a new domain's rate. Short runs are beside other tests: they find a collapse (there was one, of a factor of
# twenty, after 30,000 connections), not a small loss.
LEAST, COMPARISONS = (0.8, 7) if LONG_RUN else (0.5, 3)
SERVER = "net"
KV = ("redis-server", "--protected-mode", "no", "--bind", "0.0.0.0", "--save", "")
# A process for each request, and three for the pipeline in it.
SCRIPT = """#!/bin/sh
echo "Content-Type: text/plain"; echo; echo "$QUERY_STRING" | sed s/a/b/ | tr b c
"""
# Objects that caches of the kernel hold for their CPU are not in use; what differs is what the programs happen
# to have open: log files, a connection that is being accepted.
OBJECTS = 32
TIME_WAIT = 256  # bytes, at most
PAGES = 1 << 20  # bytes; lists of free pages and empty slabs of one processor, growth of the programs' heaps


class Services:
    """A domain of each kind, behind the network server; their ports."""

    def __init__(self, librettos, folder, suffix=""):
        (folder / "soak.conf").write_text(CONFIGURATION)  # without a log, which would grow in memory
        (folder / "script").write_text(SCRIPT)
        (folder / "script").chmod(0o755)
        tools = [o for f in ("/bin/cat", "/bin/sh", "/bin/sed", "/usr/bin/tr") for o in ("--file", f)]
        self.names = [kind + suffix for kind in ("web", "kv", "cgi")]
        web, kv, cgi = self.names
        self.web = librettos.start(web, *tools, "--file", f"{folder}/soak.conf:/etc/nginx/soak.conf", "nginx", "-c",
                                   "/etc/nginx/soak.conf", port=80)
        self.kv = librettos.start(kv, *tools, *KV, port=6379)
        self.cgi = librettos.start(cgi, *tools, "--file", f"{folder}/script:/www/cgi-bin/script", "busybox", "httpd",
                                   "-f", "-p", "80", "-h", "/www", port=80)

    def short_requests(self):
        """Each with a connection of its own; their number in a second."""
        text = run("wrk", "-t1", "-c20", f"-d{LOAD}s", "--timeout", "10s", "-H", "Connection: close",
                   f"http://127.0.0.1:{self.web}/")
        assert "Socket errors" not in text and "Non-2xx" not in text, text
        return float(re.search(r"Requests/sec: +([\d.]+)", text).group(1))

    def commands(self):
        text = run("redis-benchmark", "-p", self.kv, "-c", 10, "-n", 60 * LOAD, "-k", 0, "-t", "set,get,lpush,lpop", "--csv")
        assert "error" not in text.lower(), text

    def scripts(self):
        until = time.monotonic() + LOAD
        while time.monotonic() < until:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.cgi}/cgi-bin/script?aaa", timeout=30) as answer:
                assert answer.read() == b"caa\n"

    def round(self):
        """All of them at once, for a part of its time."""
        failures, end = [], time.monotonic() + ROUND

        def act(load):
            try:
                load()
            except Exception as e:  # noqa: BLE001: told by the thread that waits
                failures.append(e)
        threads = [threading.Thread(target=act, args=(load,))
                   for load in (self.short_requests, self.commands, self.scripts)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        time.sleep(max(0, end - time.monotonic()))


def counters(librettos, name):
    """What a domain holds."""
    def proc(path):
        return librettos("exec", name, "cat", path).stdout
    tcp = re.search(r"TCP: (.*)", proc("/proc/net/sockstat")).group(1)
    tcp = {key: int(value) for key, value in re.findall(r"(\w+) (\d+)", tcp)}
    files, unused, _ = map(int, proc("/proc/sys/fs/file-nr").split())
    return {"free bytes": free_memory(librettos, name), "files": files - unused, "connections": tcp["inuse"],
            "TCP sockets": tcp["alloc"], "orphans": tcp["orphan"], "buffered": tcp["mem"], "TIME-WAIT": tcp["tw"]}


def free_memory(librettos, name):
    return json.loads(librettos("ps", "--stats", name).stdout)["memory"]["free"]


def at_rest(librettos, services):
    """The counters of each domain once its last connection is over, and the server's free memory."""
    found = {name: wait_for(lambda n=name: (c := counters(librettos, n))["orphans"] == 0 and c["buffered"] == 0 and c,
                            20, f"{name} to be at rest") for name in services.names}
    return found, free_memory(librettos, SERVER)


def compare_speed(old, new):
    """The median rates of services that have long been running and of new ones."""
    rates = ([], [])
    for _ in range(COMPARISONS):
        for services, found in zip((old, new), rates):
            found.append(services.short_requests())
    return [statistics.median(found) for found in rates]


def test_nothing_is_left_of_what_came_and_went(librettos, tmp_path):
    services = Services(librettos, tmp_path)
    until = time.monotonic() + SECONDS
    services.round()
    before, server_before = at_rest(librettos, services)
    rounds = 1
    while time.monotonic() < until or rounds < 3:
        services.round()
        rounds += 1
    after, server_after = at_rest(librettos, services)
    print(f"{rounds} rounds; free in the server: {server_before}, {server_after}")
    for name, first in before.items():
        last = after[name]
        print(f"{name}: {first} {last}")
        waiting = last.pop("TIME-WAIT") - first.pop("TIME-WAIT")  # they end by themselves, a minute later
        assert first.pop("free bytes") - last.pop("free bytes") < PAGES + max(0, waiting) * TIME_WAIT, name
        for what, count in first.items():
            assert last[what] - count < OBJECTS, f"{name}: {what}: {count} before, {last[what]} after"
    assert server_before - server_after < PAGES
    if SPEED_IS_JUDGED:
        old, new = compare_speed(services, Services(librettos, tmp_path, "-new"))
        print(f"{old:.0f} requests/s after {rounds} rounds, {new:.0f} in a new domain")
        assert old > LEAST * new
