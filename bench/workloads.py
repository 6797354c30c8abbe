"""What is run: services, and the load that each row puts on them. Debian's programs on both sides."""
import json
import os
import re
import subprocess
import time
from dataclasses import dataclass, field
from typing import Callable

from guests import GUEST_IP

CONNECTIONS = 50


def run(command, limit=120):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=limit)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stdout[-500:]}")
    return done.stdout


def wrk(path):
    def load(options):
        text = run(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{options.seconds}s",
                    f"http://{GUEST_IP}{path}"])
        if "Socket errors" in text or "Non-2xx" in text:
            raise RuntimeError("errors: " + text)
        requests = int(re.search(r"(\d+) requests in", text).group(1))
        return float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)), requests
    return load


def redis_benchmark(test, depth=1):
    def load(options):
        count = 20000 * (1 if depth == 1 else 5)
        text = run(["redis-benchmark", "-h", GUEST_IP, "-c", str(CONNECTIONS), "-n", str(count),
                    "-t", test, "-P", str(depth), "--csv"])
        rate = [line.split(",")[1].strip('"') for line in text.splitlines()
                if line.startswith(f'"{test.upper()}"')]
        return float(rate[0]), count
    return load


def memcached_get(depth):
    def load(options):
        count = 20000 * (1 if depth == 1 else 5)
        text = run([os.path.join(options.build, "mcload"), GUEST_IP, "11211", str(CONNECTIONS),
                    str(count), str(depth)])
        return json.loads(text)["rate"], count
    return load


def iperf3(reverse):
    def load(options):
        # The server takes a moment between two tests until it listens again.
        for _ in range(20):
            done = subprocess.run(["iperf3", "-c", GUEST_IP, "-t", str(options.seconds), "-J"]
                                  + (["-R"] if reverse else []), stdout=subprocess.PIPE, text=True,
                                  timeout=120)
            result = json.loads(done.stdout)
            if "error" not in result:
                break
            time.sleep(0.2)
        else:
            raise RuntimeError("iperf3: " + result["error"])
        end = result["end"]["sum_received"]
        return end["bits_per_second"] / 1e6, end["bytes"] / 1024
    return load


def ping(options):
    count = 200
    text = run(["ping", "-q", "-c", str(count), "-i", "0.01", GUEST_IP])
    average_ms = float(re.search(r"= [\d.]+/([\d.]+)/", text).group(1))
    return 1000 / average_ms, count


@dataclass
class Row:
    name: str
    unit: str
    run: Callable


@dataclass
class Service:
    name: str
    command: list
    port: int
    rows: list
    memory: int = 512
    probe: bytes = b""
    extra: dict = field(default_factory=dict)

    def files(self, options):
        """Further files for the image as HOST:GUEST, written to the work folder."""
        out = []
        for path, content in self.extra.items():
            os.makedirs(os.path.join(options.work, "files"), exist_ok=True)
            host = os.path.join(options.work, "files", os.path.basename(path))
            with open(host, "wb") as f:
                f.write(content)
            out.append(f"{host}:{path}")
        return out


SERVICES = [
    Service("nginx", ["/usr/sbin/nginx"], 80,
            [Row("ping", "per s", ping),
             Row("nginx 612 B", "req/s", wrk("/index.nginx-debian.html")),
             Row("nginx 100 KB", "req/s", wrk("/100k.bin"))],
            probe=b"HEAD / HTTP/1.0\r\n\r\n",
            extra={"/var/www/html/100k.bin": bytes(102400)}),
    Service("redis", ["/usr/bin/redis-server", "/etc/redis/bench.conf"], 6379,
            [Row("redis SET", "req/s", redis_benchmark("set")),
             Row("redis GET", "req/s", redis_benchmark("get")),
             Row("redis SET -P 16", "req/s", redis_benchmark("set", 16)),
             Row("redis GET -P 16", "req/s", redis_benchmark("get", 16))],
            probe=b"PING\r\n",
            extra={"/etc/redis/bench.conf": b'save ""\nprotected-mode no\nbind 0.0.0.0\n'}),
    Service("memcached", ["/usr/bin/memcached", "-u", "root", "-t", "1", "-m", "64"], 11211,
            [Row("memcached get", "req/s", memcached_get(1)),
             Row("memcached get x16", "req/s", memcached_get(16))],
            probe=b"version\r\n"),
    Service("iperf3", ["/usr/bin/iperf3", "-s"], 5201,
            [Row("iperf3 in", "Mbit/s", iperf3(False)),
             Row("iperf3 out", "Mbit/s", iperf3(True))]),
]
