"""nginx and redis under connections that come and go, for rounds of five seconds; nothing of them is left.

A quarter of a minute by default; LIBRETTOS_SOAK_SECONDS=3600 is the long run. Counters are compared after the first round,
which fills caches and the programs' own pools, and after the last.
"""
import json
import os
import re
import time

from conftest import run, wait_for
from conftest import librettos  # noqa: F401
from crowd import CONFIGURATION

SECONDS = int(os.environ.get("LIBRETTOS_SOAK_SECONDS", "15"))
ROUND = 5
REDIS = ("redis-server", "--protected-mode", "no", "--bind", "0.0.0.0", "--save", "")
# Objects that caches of the kernel hold for their CPU are not in use; what differs is what the programs happen
# to have open: log files, a connection that is being accepted.
OBJECTS = 32
TIME_WAIT = 256  # bytes, at most
PAGES = 1 << 20  # bytes; lists of free pages and empty slabs of one processor, growth of the programs' heaps


def proc(librettos, name, path):
    return librettos("exec", name, "cat", path).stdout


def counters(librettos, name):
    """What a domain holds."""
    sockets = proc(librettos, name, "/proc/net/sockstat")
    tcp = {key: int(value) for key, value in re.findall(r"(\w+) (\d+)", re.search(r"TCP: (.*)", sockets).group(1))}
    files, unused, _ = map(int, proc(librettos, name, "/proc/sys/fs/file-nr").split())
    return {"free bytes": json.loads(librettos("ps", "--stats", name).stdout)["memory"]["free"],
            "files": files - unused, "connections": tcp["inuse"], "TCP sockets": tcp["alloc"],
            "orphans": tcp["orphan"], "buffered": tcp["mem"], "TIME-WAIT": tcp["tw"]}


def one_round(web, kv):
    """Each request has a connection of its own."""
    text = run("wrk", "-t1", "-c20", f"-d{ROUND}s", "-H", "Connection: close", f"http://127.0.0.1:{web}/")
    assert "Socket errors" not in text and "Non-2xx" not in text, text
    text = run("redis-benchmark", "-p", kv, "-c", 10, "-n", 300, "-k", 0, "-t", "set,get,lpush,lpop", "--csv")
    assert "error" not in text.lower(), text


def at_rest(librettos, name):
    """The counters once the last connection is over."""
    return wait_for(lambda: (c := counters(librettos, name))["orphans"] == 0 and c["buffered"] == 0 and c, 20,
                    f"{name} to be at rest")


def test_nothing_is_left_of_what_came_and_went(librettos, tmp_path):
    (tmp_path / "soak.conf").write_text(CONFIGURATION)  # without a log, which would grow in memory
    ports = [librettos.start("web", "--file", "/bin/cat", "--file", f"{tmp_path}/soak.conf:/etc/nginx/soak.conf",
                             "nginx", "-c", "/etc/nginx/soak.conf", port=80),
             librettos.start("kv", "--file", "/bin/cat", *REDIS, port=6379)]
    until = time.monotonic() + SECONDS
    one_round(*ports)
    before = {name: at_rest(librettos, name) for name in ("web", "kv")}
    rounds = 1
    while time.monotonic() < until or rounds < 3:
        one_round(*ports)
        rounds += 1
    for name, first in before.items():
        last = at_rest(librettos, name)
        print(f"{name}, {rounds} rounds: {first} {last}")
        waiting = last.pop("TIME-WAIT") - first.pop("TIME-WAIT")  # they end by themselves, a minute later
        assert first.pop("free bytes") - last.pop("free bytes") < PAGES + max(0, waiting) * TIME_WAIT, name
        for what, count in first.items():
            assert last[what] - count < OBJECTS, f"{name}: {what}: {count} before, {last[what]} after"
