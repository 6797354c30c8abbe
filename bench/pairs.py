"""Client and server in two guests: two domains behind one network server, two Linux guests on a bridge."""
import re
import subprocess
import time

from guests import Supervised

SERVER_IP, CLIENT_IP = "10.77.0.2", "10.77.0.3"
SERVER = ["/usr/bin/redis-server", "/etc/redis/bench.conf"]
TESTS = (("SET", 1), ("GET", 1), ("GET", 16))


def client(test, depth):
    count = 20000 * (1 if depth == 1 else 5)
    return ["/usr/bin/redis-benchmark", "-h", SERVER_IP, "-c", "50", "-n", str(count), "-t",
            test.lower(), "-P", str(depth), "--csv"]


def rate_of(test, text):
    """Of redis-benchmark's CSV, or None while it is not complete."""
    found = re.search(rf'"{test}[^"]*","([\d.]+)"', text)
    return float(found.group(1)) if found else None


def row_name(test, depth):
    return f"redis {test}{' -P 16' if depth > 1 else ''}, domain to domain"


def on_librettos(build, conf):
    guest = Supervised(build)
    try:
        guest.run(SERVER, ["-m", "512M", "--file", conf], name="kv", address=SERVER_IP)
        guest.first_answer(6379, 30, b"PING\r\n")
        for test, depth in TESTS:
            text = guest.run(client(test, depth), [], name="load", address=CLIENT_IP,
                             wait=True)
            yield row_name(test, depth), rate_of(test, text)
    finally:
        guest.stop()


def bridge(up):
    commands = ["ip link add brp type bridge", "ip addr add 10.77.0.1/24 dev brp", "ip link set brp up"]
    for tap in ("tapa", "tapb"):
        commands += [f"ip tuntap add {tap} mode tap", f"ip link set {tap} master brp",
                     f"ip link set {tap} up"]
    if not up:
        commands = [f"ip link del {d}" for d in ("tapa", "tapb", "brp")]
    for command in commands:
        subprocess.run(command.split(), check=True)


def on_linux(images, conf):
    bridge(True)
    # The tap of the other rows has the same subnet: out of the way meanwhile.
    subprocess.run("ip link set tap0 down".split(), check=True)
    kv = images.start_linux("pair-kv", SERVER, [conf], tap="tapa", address=SERVER_IP)
    try:
        kv.first_answer(6379, 60, b"PING\r\n")
        for test, depth in TESTS:
            load = images.start_linux(f"pair-{test}-{depth}", client(test, depth),
                                      tap="tapb", mac="52:54:00:77:00:03", address=CLIENT_IP)
            try:
                deadline = time.monotonic() + 120
                while not rate_of(test, load.output()):
                    if time.monotonic() > deadline:
                        raise RuntimeError("no result: " + load.output()[-500:])
                    time.sleep(0.1)
                yield row_name(test, depth), rate_of(test, load.output())
            finally:
                load.stop()
    finally:
        kv.stop()
        bridge(False)
        subprocess.run("ip link set tap0 up".split(), check=True)


def run(system, images, conf):
    """(row, requests per second) of each test between two guests of a kind."""
    if system == "linux":
        return list(on_linux(images, conf))
    return list(on_librettos(images.build, conf))
