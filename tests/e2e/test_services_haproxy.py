"""Debian's haproxy in a domain, in front of nginx in two others."""
import collections
import re
import urllib.request

import pytest

from conftest import free_port, run, wait_for
from conftest import librettos_on_each_path_if_long as librettos  # noqa: F401

PAGES = ("one", "two")
NGINX = """user root; daemon off; error_log stderr;
events {{ }}
http {{ access_log off; server {{ listen 80; location / {{ return 200 "{name}"; }} }} }}
"""
HAPROXY = """defaults
    mode http
    timeout connect 2s
    timeout check 2s
    timeout client 30s
    timeout server 30s
    retries 3
    option redispatch 1
    retry-on all-retryable-errors
frontend web
    bind :8000
    stats enable
    stats uri /state
    default_backend pages
frontend plain
    mode tcp
    bind :8001
    default_backend first
backend pages
    balance roundrobin
    option httpchk GET /
    default-server check inter 300 fall 2 rise 2
    server one {one}:80
    server two {two}:80
backend first
    mode tcp
    server one {one}:80
"""


def fetch(port, path=""):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=20) as answer:
        return answer.read().decode()


def answers_of(port, requests):
    return collections.Counter(fetch(port) for _ in range(requests))


class Farm:
    """Two web servers and the proxy before them."""

    def __init__(self, librettos, folder):  # noqa: F811
        self.librettos, self.folder = librettos, folder
        for name in PAGES:
            (folder / f"{name}.conf").write_text(NGINX.format(name=name))
            self.start_page(name)
        self.addresses = {d["name"]: d["address"] for d in librettos.ps()}
        config = folder / "haproxy.cfg"
        config.write_text(HAPROXY.format(**self.addresses))
        self.tcp_port = free_port()
        self.port = librettos.start("proxy", "-c", 2, "-p", f"{self.tcp_port}:8001", "haproxy", "-db",
                                    "-f", config, port=8000)

    def start_page(self, name, *options):
        self.librettos("run", "-d", "--name", name, *options, "nginx", "-c", self.folder / f"{name}.conf")

    def state(self):
        """The proxy's view of each server: UP, DOWN, or "UP 1/2" if a check is due before it is sure."""
        rows = [line.split(",") for line in fetch(self.port, "state;csv").splitlines()]
        return {row[1]: row[17] for row in rows if row[0] == "pages"}

    def wait(self, name, state):
        wait_for(lambda: self.state()[name] == state, 20, f"{name} to be {state} for the proxy")


@pytest.fixture
def farm(librettos, tmp_path):  # noqa: F811
    return Farm(librettos, tmp_path)


def test_both_take_turns(farm):
    assert answers_of(farm.port, 40) == {"one": 20, "two": 20}
    assert answers_of(farm.tcp_port, 10) == {"one": 10}


def test_under_load(farm):
    text = run("wrk", "-t1", "-c20", "-d3s", "--timeout", "10s", f"http://127.0.0.1:{farm.port}/")
    assert "Socket errors" not in text and "Non-2xx" not in text, text
    assert int(re.search(r"(\d+) requests in", text).group(1)) > 20


def test_a_server_goes_and_comes_back(farm):
    farm.wait("two", "UP")
    farm.librettos("stop", "two")
    assert answers_of(farm.port, 20) == {"one": 20}  # those that went to the other are sent again
    farm.wait("two", "DOWN")
    farm.start_page("two", "--address", f"dedicated={farm.addresses['two']}")
    farm.wait("two", "UP")
    assert answers_of(farm.port, 20) == {"one": 10, "two": 10}
