"""Debian's redis-server."""
import re
import subprocess

from conftest import run, wait_for
from conftest import librettos_on_each_path as librettos  # noqa: F401

OPTIONS = ("--protected-mode", "no", "--bind", "0.0.0.0")


def cli(port, *args):
    return run("redis-cli", "-p", port, *args).strip()


def test_100000_requests_without_an_error(librettos):
    port = librettos.start("kv", "redis-server", *OPTIONS, "--save", "", port=6379)
    text = run("redis-benchmark", "-p", port, "-c", 50, "-n", 100000, "-t", "get", "--csv")
    assert "GET" in text
    assert "error" not in text.lower()
    stats = cli(port, "info", "stats")
    assert int(re.search(r"total_commands_processed:(\d+)", stats).group(1)) >= 100000
    assert "total_error_replies:0" in stats


def test_whole_default_benchmark_suite(librettos):
    port = librettos.start("kv", "redis-server", *OPTIONS, "--save", "", port=6379)
    text = run("redis-benchmark", "-p", port, "-c", 50, "-n", 2000, "--csv", timeout=400)
    rows = [line for line in text.splitlines() if line.startswith('"')][1:]
    assert len(rows) == 20, text
    for test in ("PING_INLINE", "SET", "GET", "INCR", "LPUSH", "RPOP", "SADD", "HSET", "SPOP",
                 "ZADD", "ZPOPMIN", "LRANGE_600", "MSET"):
        assert test in text


def test_bgsave_makes_a_good_dump(librettos):
    port = librettos.start("kv", "redis-server", *OPTIONS, "--save", "", "--dir", "/var/lib/redis",
                           port=6379)
    run("redis-benchmark", "-p", port, "-c", 10, "-n", 20000, "-r", 5000, "-t", "set", "-d", 200)
    keys = int(cli(port, "dbsize"))
    assert keys > 1000
    assert "Background saving started" in cli(port, "bgsave")
    wait_for(lambda: "rdb_bgsave_in_progress:0" in cli(port, "info", "persistence"), 30, "BGSAVE")
    assert "rdb_last_bgsave_status:ok" in cli(port, "info", "persistence")
    done = librettos("exec", "kv", "redis-check-rdb", "/var/lib/redis/dump.rdb")
    assert "RDB looks OK" in done.stdout
    assert f"{keys} keys read" in done.stdout


def test_runs_in_64_mib(librettos):
    port = librettos.start("kv", "-m", "64M", "redis-server", *OPTIONS, "--save", "", port=6379)
    run("redis-benchmark", "-p", port, "-c", 50, "-n", 20000, "-t", "set,get", "-q")
    assert cli(port, "ping") == "PONG"


def test_exit_status_and_signals(librettos):
    port = librettos.start("kv", "redis-server", *OPTIONS, "--save", "", port=6379)
    subprocess.run(["redis-cli", "-p", str(port), "shutdown", "nosave"], timeout=10)
    wait_for(lambda: all(d["name"] != "kv" or d["state"] != "running" for d in librettos.ps()), 10,
             "the domain to end")
