"""Ten thousand connections to one nginx in 256 MiB, all of them served.

They come over a tap in a namespace of the test's: libslirp, behind published ports, looks at every socket
in each turn of its loop, so that there its cost would be measured and not the domain's.
"""
import json
import os
import re

from conftest import wait_for
from crowd import CONFIGURATION, Crowd
from test_tap import GUEST, IP, inside, make_tap, ns  # noqa: F401

COUNT = 10000
KIB_PER_CONNECTION = 8  # kernel and nginx; above that 256 MiB would not be enough for 30,000


def free_memory(inside):
    return json.loads(inside("ps", "--stats", "web"))["memory"]["free"]


def busy(inside, seconds=3):
    text = inside.ns("wrk", "-t1", "-c50", f"-d{seconds}s", "--timeout", "10s", f"http://{GUEST}/", timeout=120)[1]
    assert "Socket errors" not in text and "Non-2xx" not in text, text
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))


def test_ten_thousand_are_served_beside_busy_ones(inside, tmp_path):
    make_tap(inside.ns)
    (tmp_path / "crowd.conf").write_text(CONFIGURATION)
    inside("run", "-d", "--name", "web", "-m", "256M", "--tap", "tap0", "--ip", IP, "--file",
           f"{tmp_path}/crowd.conf:/etc/nginx/crowd.conf", "nginx", "-c", "/etc/nginx/crowd.conf")
    wait_for(lambda: inside.ns("curl", "-sf", f"http://{GUEST}/", check=False)[0] == 0, 20, "nginx")
    before, free = busy(inside), free_memory(inside)
    crowd = Crowd(inside.ns.popen, GUEST, COUNT)
    each = (free - free_memory(inside)) / COUNT
    beside = busy(inside)
    print(f"{before:.0f} requests/s alone, {beside:.0f} beside {COUNT} idle connections, {each:.0f} bytes each")
    crowd.ask()
    assert each < 1024 * KIB_PER_CONNECTION
    crowd.leave()
    # What they took comes back. nginx keeps its own; a megabyte is for what is still in TIME-WAIT.
    wait_for(lambda: free - free_memory(inside) < COUNT * 1024 + (1 << 20), 20, "the memory")
    assert "out of memory" not in inside.kernel_log("web").lower()
