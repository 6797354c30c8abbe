"""Debian's memcached with two threads on two virtual CPUs."""
import json
import os

from conftest import BUILD, run
from conftest import librettos_on_each_path as librettos  # noqa: F401


def test_100000_requests_without_an_error(librettos):
    port = librettos.start("cache", "-c", 2, "memcached", "-u", "root", "-t", 2, port=11211)
    result = json.loads(run(os.path.join(BUILD, "mcload"), "127.0.0.1", port, 50, 100000, 1))
    assert result["requests"] >= 100000 and result["errors"] == 0


def test_deep_pipelines(librettos):
    port = librettos.start("cache", "-c", 2, "memcached", "-u", "root", "-t", 2, port=11211)
    result = json.loads(run(os.path.join(BUILD, "mcload"), "127.0.0.1", port, 50, 100000, 16))
    assert result["errors"] == 0
