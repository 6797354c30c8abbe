"""Hostile domains (tests/hostile) on a live network server, beside an honest one under load."""
import os

import pytest

from conftest import BUILD, run

HOSTILE = os.path.join(BUILD, "kernel.hostile.elf")


def domain(librettos, name):
    return next(d for d in librettos.all() if d["name"] == name)


@pytest.mark.parametrize("mode", ["dedicated", "shared"])
def test_a_hostile_domain_harms_nobody_else(librettos, mode):
    port = librettos.start("kv", "--address", mode, "redis-server", "--protected-mode", "no", "--bind",
                           "0.0.0.0", "--save", "", "--dir", "/tmp", port=6379)
    before = domain(librettos, "net")
    librettos("run", "-d", "--name", "evil", "--address", mode, "--kernel", HOSTILE, "sleep", "1000")
    for _ in range(5):
        run("redis-benchmark", "-p", port, "-c", "20", "-n", "10000", "-q", "-t", "set,get", timeout=120)
    server, evil, honest = (domain(librettos, n) for n in ("net", "evil", "kv"))
    assert server["pid"] == before["pid"] and server["server"]["restarts"] == 0
    attacks = evil["channel"]
    # Refused by name, by form and by the rules of the channel.
    assert attacks["drop_mac"] > 0 and attacks["drop_ip"] > 0, attacks
    assert mode == "dedicated" or attacks["drop_port"] > 0, attacks
    assert attacks["drop_malformed"] > 0 and attacks["broken"] > 0, attacks
    assert honest["channel"]["broken"] == 0 and honest["channel"]["drop_full"] == 0, honest
    librettos("stop", "-t", "0", "evil")
    assert run("redis-cli", "-p", port, "ping").strip() == "PONG"
