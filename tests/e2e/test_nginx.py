"""Debian's nginx with its default configuration."""
import hashlib
import os
import re
import subprocess
import threading
import urllib.request

from conftest import run


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
        text = run("wrk", "-t1", "-c50", f"-d{seconds}s", f"http://127.0.0.1:{port}/")
        assert "Socket errors" not in text and "Non-2xx" not in text, text
        done += int(re.search(r"(\d+) requests in", text).group(1))
        if done >= 100000:
            return
    raise AssertionError(f"only {done} requests in {40 * seconds} s")


def test_reload_under_load_loses_no_request(librettos):
    port = librettos.start("web", "nginx", port=80)
    # One connection a request: a keep-alive connection may be closed by the old worker just as the next
    # request is on its way, on any system; that loss is HTTP's, not ours.
    load = subprocess.Popen(["wrk", "-t1", "-c20", "-d12s", "-H", "Connection: close",
                             f"http://127.0.0.1:{port}/"], stdout=subprocess.PIPE, text=True)
    for _ in range(4):
        threading.Event().wait(2)
        librettos("exec", "web", "nginx", "-s", "reload")
    text, _ = load.communicate(timeout=60)
    assert "Socket errors" not in text and "Non-2xx" not in text, text
    assert int(re.search(r"(\d+) requests in", text).group(1)) > 100


def test_one_gibibyte_up_and_down(librettos, tmp_path):
    size = int(os.environ.get("TRANSFER_MIB", "1024")) << 20
    config = tmp_path / "dav.conf"
    config.write_text("""user root; worker_processes 1;
events { worker_connections 256; }
http { access_log off; client_max_body_size 0; client_body_temp_path /srv/tmp;
  server { listen 80; root /srv; location / { dav_methods PUT; create_full_put_path on; } } }
""")
    source = tmp_path / "source"
    digest = hashlib.sha256()
    with open(source, "wb") as f:
        block = os.urandom(1 << 20)
        for i in range(size >> 20):
            piece = i.to_bytes(8, "little") + block[8:]
            digest.update(piece)
            f.write(piece)
    port = librettos.start("dav", "-m", "3G", "--file", f"{config}:/etc/nginx/dav.conf", "nginx",
                           "-c", "/etc/nginx/dav.conf", port=80)
    url = f"http://127.0.0.1:{port}/up.bin"
    status = run("curl", "-sS", "-T", source, "-o", "/dev/null", "-w", "%{http_code}", url,
                 timeout=400)
    assert status == "201"
    os.unlink(source)
    curl = subprocess.Popen(["curl", "-sSf", url], stdout=subprocess.PIPE)
    got = hashlib.sha256()
    total = 0
    while piece := curl.stdout.read(1 << 20):
        got.update(piece)
        total += len(piece)
    assert curl.wait(timeout=60) == 0
    assert total == size
    assert got.hexdigest() == digest.hexdigest()
