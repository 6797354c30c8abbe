"""Debian's iperf3 as a server, each of its kinds of test run by the host's."""
import json
import subprocess

import pytest

from conftest import free_port, wait_for
from conftest import librettos_on_each_path_if_long as librettos  # noqa: F401

SECONDS = 1
TCP = [(), ("-R",), ("-P", 4), ("-P", 4, "-R"), ("--bidir",)]
UDP = [(), ("-R",), ("-P", 4)]


@pytest.fixture
def measure(librettos):  # noqa: F811
    """Runs the host's iperf3 with options; returns the "end" of its report."""
    port = free_port()
    librettos("run", "-d", "--name", "perf", "-p", f"{port}:5201", "-p", f"{port}:5201/udp", "iperf3", "-s")

    def attempt(options):
        # The server closes its listening socket after each test, and opens a new one: whoever comes in
        # between is reset.
        done = subprocess.run(["iperf3", "-c", "127.0.0.1", "-p", str(port), "-t", str(SECONDS), "-J",
                               *map(str, options)], stdout=subprocess.PIPE, text=True, timeout=30)
        return json.loads(done.stdout)["end"] if done.returncode == 0 else None

    return lambda options: wait_for(lambda: attempt(options), 20, f"iperf3 {options}")


def name(options):
    return " ".join(map(str, options)) or "default"


@pytest.mark.parametrize("options", TCP, ids=name)
def test_tcp(measure, options):
    end = measure(options)
    assert len(end["streams"]) == (4 if "-P" in options else 2 if "--bidir" in options else 1)
    for stream in end["streams"]:
        sent, received = stream["sender"]["bytes"], stream["receiver"]["bytes"]
        assert 1 << 20 < received <= sent
    assert end["sum_received"]["seconds"] >= 0.9 * SECONDS


@pytest.mark.parametrize("options", UDP, ids=name)
def test_udp(measure, options):
    end = measure(("-u", "-l", 1200, "-b", "2M", *options))
    assert len(end["streams"]) == (4 if "-P" in options else 1)
    for stream in (s["udp"] for s in end["streams"]):
        expected = SECONDS * 2e6 / (8 * 1200)
        assert 0.8 * expected < stream["packets"] < 1.2 * expected
        assert stream["lost_packets"] <= 0.05 * stream["packets"]
        assert stream["out_of_order"] == 0
