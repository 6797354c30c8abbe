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
    # Refused by name, by form, and by the rules of the channel.
    missing = {"drop_mac", "drop_ip", "drop_malformed", "broken"} | ({"drop_port"} if mode == "shared" else set())
    # Who scribbles over the words of a generation shuts itself out for good: another one comes then.
    for life in range(6):
        librettos("run", "-d", "--name", "evil", "--address", mode, "--kernel", HOSTILE, "sleep", "1000")
        for _ in range(6):
            run("redis-benchmark", "-p", port, "-c", "20", "-n", "5000", "-q", "-t", "set,get", timeout=120)
        attacks = domain(librettos, "evil")["channel"]
        missing -= {kind for kind in missing if attacks[kind]}
        if not missing:
            break
        librettos("stop", "-t", "0", "evil")
    assert not missing, attacks
    server, honest = domain(librettos, "net"), domain(librettos, "kv")
    assert server["pid"] == before["pid"] and server["server"]["restarts"] == 0
    assert honest["channel"]["broken"] == 0, honest
    librettos("stop", "-t", "0", "evil")
    assert run("redis-cli", "-p", port, "ping").strip() == "PONG"
