"""Debian's nginx with its default configuration."""
import re
import subprocess
import threading
import urllib.request

from conftest import run
from conftest import librettos_on_each_path as librettos  # noqa: F401


def fetch(port, path="/", timeout=10):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout) as answer:
        return answer.status, answer.read()


def test_default_page(librettos):
    port = librettos.start("web", "nginx", port=80)
    status, body = fetch(port)
    assert status == 200
    assert b"Welcome to nginx!" in body
    assert run("curl", "-sf", f"http://127.0.0.1:{port}/").startswith("<!DOCTYPE html>")


def test_100000_requests_without_an_error(librettos):
    port = librettos.start("web", "nginx", port=80)
    done, seconds = 0, 10
    for _ in range(40):
        text = run("wrk", "-t1", "-c50", f"-d{seconds}s", "--timeout", "10s", f"http://127.0.0.1:{port}/")
        assert "Socket errors" not in text and "Non-2xx" not in text, text
        done += int(re.search(r"(\d+) requests in", text).group(1))
        if done >= 100000:
            return
    raise AssertionError(f"only {done} requests in {40 * seconds} s")


def test_reload_under_load_loses_no_request(librettos):
    port = librettos.start("web", "nginx", port=80)
    # One connection a request: a keep-alive connection may be closed by the old worker just as the next
    # request is on its way, on any system; that loss is HTTP's, not ours.
    load = subprocess.Popen(["wrk", "-t1", "-c20", "-d12s", "--timeout", "10s", "-H", "Connection: close",
                             f"http://127.0.0.1:{port}/"], stdout=subprocess.PIPE, text=True)
    for _ in range(4):
        threading.Event().wait(2)
        librettos("exec", "web", "nginx", "-s", "reload")
    text, _ = load.communicate(timeout=60)
    assert "Socket errors" not in text and "Non-2xx" not in text, text
    assert int(re.search(r"(\d+) requests in", text).group(1)) > 100
