"""Large files, up and down, byte for byte: over a good network and over a bad one."""
import hashlib
import json
import os
import subprocess
import time

import pytest

from conftest import run
from machines import GUEST, GUEST6, wire  # noqa: F401 (wire is a fixture)

DAV = """user root; worker_processes 1; daemon off; error_log stderr;
events { worker_connections 256; }
http { access_log off; client_max_body_size 0; client_body_temp_path /srv/tmp;
  server { listen 80; listen [::]:80; root /srv/www; location / { dav_methods PUT; } } }
"""
COMMAND = ("nginx", "-c", "/etc/nginx/dav.conf")


def dav_files(folder):
    (folder / "dav.conf").write_text(DAV)
    (folder / "srv" / "www").mkdir(parents=True)
    (folder / "srv" / "www" / "empty").write_text("")
    return [f"{folder}/dav.conf:/etc/nginx/dav.conf", f"{folder}/srv:/srv"]


def make_source(path, size):
    """A file in which no two blocks are equal; returns its digest."""
    digest = hashlib.sha256()
    block = os.urandom(1 << 20)
    with open(path, "wb") as f:
        for i in range(size >> 20):
            piece = i.to_bytes(8, "little") + block[8:]
            digest.update(piece)
            f.write(piece)
    return digest.hexdigest()


def put(url, source, prefix=(), timeout=400):
    """Seconds it took."""
    start = time.monotonic()
    status = run(*prefix, "curl", "-g", "-sS", "-m", timeout, "-H", "Expect:", "-T", source, "-o",
                 "/dev/null", "-w", "%{http_code}", url, timeout=timeout + 10)
    assert status == "201", status
    return time.monotonic() - start


def get(url, size, digest, prefix=(), timeout=400):
    start = time.monotonic()
    curl = subprocess.Popen([*prefix, "curl", "-g", "-sSf", "-m", str(timeout), url],
                            stdout=subprocess.PIPE)
    got, total = hashlib.sha256(), 0
    while piece := curl.stdout.read(1 << 20):
        got.update(piece)
        total += len(piece)
    assert curl.wait(timeout=60) == 0
    assert total == size
    assert got.hexdigest() == digest
    return time.monotonic() - start


def test_one_gibibyte_up_and_down(librettos, tmp_path):
    size = int(os.environ.get("TRANSFER_MIB", "1024")) << 20
    files = [a for f in dav_files(tmp_path) for a in ("--file", f)]
    source = tmp_path / "source"
    digest = make_source(source, size)
    port = librettos.start("dav", "-m", "3G", *files, *COMMAND, port=80)
    url = f"http://127.0.0.1:{port}/up.bin"
    up = put(url, source)
    os.unlink(source)
    down = get(url, size, digest)
    print(f"up {size / up / 1e6:.1f} MB/s, down {size / down / 1e6:.1f} MB/s")


LOSSY = ("loss=1", "reorder=1", "duplicate=0.1")


@pytest.mark.parametrize("address,mib,conditions", [
    (GUEST, 100, (*LOSSY, "seed=1")),
    (f"[{GUEST6}]", 100, (*LOSSY, "seed=2")),
    # A few MiB only: CUBIC, like any loss-based sender, gets less than 1 MB/s through this.
    (GUEST, 2, (*LOSSY, "delay=20", "seed=3")),
], ids=["IPv4", "IPv6", "20ms"])
def test_over_a_bad_link(wire, tmp_path, address, mib, conditions):  # noqa: F811
    size = mib << 20
    files = dav_files(tmp_path)
    ns = wire.namespace()
    source = tmp_path / "source"
    digest = make_source(source, size)
    machine = wire.bad_link(ns, COMMAND, files, conditions, memory=1024)
    machine.wait_port(80)
    url = f"http://{address}/up.bin"
    up = put(url, source, ns.enter)
    down = get(url, size, digest, ns.enter)
    machine.check_alive()
    counts = wire.link_counts()
    print(f"up {size / up / 1e6:.1f} MB/s, down {size / down / 1e6:.1f} MB/s; {json.dumps(counts)}")
    assert counts["lost"] and counts["reordered"] and counts["duplicated"]
