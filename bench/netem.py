#!/usr/bin/python3
"""Goodput over bad networks: a LibrettOS domain and a Linux guest under the same conditions.

Usage: netem.py [--build DIR] [--conditions NAME,...] [--directions NAME,...] [--systems NAME,...] [--runs N]
                [--seconds S] [--list] [--table]

Each guest is behind a tests/tools/impair of its own, which gets the conditions while it runs; one boot
of each serves the whole matrix. Runs of the two alternate, with a seed that both share. The results of a
condition take the place of older ones in BUILD/bench/netem.json; --table prints what is there.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guests import PREFIX, Images, enter_namespace, wait_for  # noqa: E402

PORT = 9000
CONGESTION = "cubic"
SYSTEMS = ("librettos", "linux")
DIRECTIONS = {"out": "receive", "in": "send"}  # the guest's, and what the host does
GOAL = 0.8
# A link that was so late with a frame at some time was itself kept from the processor: that run is done
# again, at most so often.
LATE_US, ATTEMPTS = 100000, 4

# Round trips are twice the delay of a direction. Without another rate the line has 100 Mbit/s, so that
# the emulated processor is not what is measured; its queue holds 256 full frames, 31 ms.
CONDITIONS = {
    "loss 0.1 %, RTT 20 ms": "loss=0.1 delay=10",
    "loss 0.5 %, RTT 20 ms": "loss=0.5 delay=10",
    "loss 1 %, RTT 20 ms": "loss=1 delay=10",
    "loss 2 %, RTT 20 ms": "loss=2 delay=10",
    "loss 5 %, RTT 20 ms": "loss=5 delay=10",
    "RTT 2 ms": "delay=1",
    "RTT 20 ms": "delay=10",
    "RTT 100 ms": "delay=50",
    "RTT 200 ms": "delay=100",
    "RTT 2 ms, loss 0.1 %": "delay=1 loss=0.1",
    "RTT 100 ms, loss 0.1 %": "delay=50 loss=0.1",
    "RTT 200 ms, loss 0.1 %": "delay=100 loss=0.1",
    "jitter, 10 ± 5 ms each way": "delay=10 jitter=5",
    "reordering 1 %, RTT 20 ms": "delay=10 overtake=1",
    "reordering 5 %, RTT 20 ms": "delay=10 overtake=5",
    "duplication 1 %, RTT 20 ms": "delay=10 duplicate=1",
    "duplication 5 %, RTT 20 ms": "delay=10 duplicate=5",
    "duplication 5 %, loss 1 %, RTT 20 ms": "delay=10 duplicate=5 loss=1",
    "corruption 0.1 %, RTT 20 ms": "delay=10 corrupt=0.1",
    "corruption 1 %, RTT 20 ms": "delay=10 corrupt=1",
    "1 Mbit/s, queue 10, RTT 20 ms": "rate=1 limit=10 delay=10",
    "1 Mbit/s, queue 100, RTT 20 ms": "rate=1 limit=100 delay=10",
    "10 Mbit/s, queue 10, RTT 20 ms": "rate=10 limit=10 delay=10",
    "10 Mbit/s, queue 250, RTT 20 ms": "rate=10 limit=250 delay=10",
    "100 Mbit/s, queue 30, RTT 20 ms": "rate=100 limit=30 delay=10",
    "100 Mbit/s, queue 1000, RTT 20 ms": "rate=100 limit=1000 delay=10",
    "bad wifi: 50 ± 20 ms each way, loss 1 %, reordering 1 %": "delay=50 jitter=20 loss=1 overtake=1",
    "satellite: 10 Mbit/s, RTT 600 ms": "rate=10 delay=300 limit=500",
}


def words(name):
    """What impair is told for a condition."""
    return CONDITIONS[name] if "rate=" in CONDITIONS[name] else "rate=100 " + CONDITIONS[name]


@dataclass
class Wire:
    """A guest behind a bad link of its own."""
    system: str
    number: int
    images: Images

    def __post_init__(self):
        self.tap = f"bad{self.number}"
        self.host, self.address = (f"10.77.{self.number}.{i}" for i in (1, 2))
        mac = f"52:54:00:77:0{self.number}:02"
        for command in (f"ip tuntap add {self.tap} mode tap",
                        f"sysctl -qw net.ipv6.conf.{self.tap}.disable_ipv6=1",
                        f"ip addr add {self.host}/{PREFIX} dev {self.tap}", f"ip link set {self.tap} up",
                        f"ip neigh add {self.address} lladdr {mac} dev {self.tap} nud permanent"):
            subprocess.run(command.split(), check=True)
        near, far = (os.path.join(self.images.work, f"{self.tap}.{end}") for end in ("near", "far"))
        self.impair = subprocess.Popen([os.path.join(self.images.build, "impair"), self.tap, near, far],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            wait_for(lambda: os.path.exists(near), 5)
            self.guest = self._start(mac, near, far)
        except (RuntimeError, OSError, subprocess.SubprocessError):
            self.impair.kill()
            raise

    def _start(self, mac, near, far):
        start = self.images.start_linux if self.system == "linux" else self.images.start_librettos
        program = os.path.join(self.images.build, "bench/stream")
        return start("stream", [program, "serve", str(PORT)], address=self.address, mac=mac,
                     netdev=f"dgram,local.type=unix,local.path={far},"
                            f"remote.type=unix,remote.path={near}")

    def set(self, conditions):
        """From now on; returns what the link did until now."""
        self.impair.stdin.write(conditions + "\n")
        self.impair.stdin.flush()
        return json.loads(self.impair.stdout.readline())

    def transfer(self, conditions, direction, seconds):
        """Mbit/s that arrived, and what there is to say about it."""
        self.set(conditions)
        seen = len(self.guest.output(whole=True))
        done = subprocess.run([os.path.join(self.images.build, "bench/stream"), DIRECTIONS[direction],
                               self.address, str(PORT), str(seconds), CONGESTION],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=seconds + 120)
        link = self.set("rate=100")
        time.sleep(0.3)  # for the reset, and for what the guest has to say
        said = self.guest.output(whole=True)[seen:]
        if done.returncode or "WRONG" in said + done.stdout:
            raise RuntimeError(f"{self.system}: {done.stdout}{said}")
        result = json.loads(done.stdout)
        result.update(mbit=result["bytes"] * 8 / result["seconds"] / 1e6, link=link,
                      guest=re.findall(r"stream: sent (.*)", said))
        return result

    def stop(self):
        self.guest.stop()
        self.impair.kill()
        self.impair.wait()


def set_up_host():
    """Linux's own defaults for the buffers, whatever this machine has; nothing is remembered of a path."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name, value in (("net.ipv4.tcp_rmem", "4096 131072 6291456"),
                        ("net.ipv4.tcp_wmem", "4096 16384 4194304"),
                        ("net.ipv4.tcp_no_metrics_save", "1"),
                        # A unix socket queues 10 datagrams by default.
                        ("net.unix.max_dgram_qlen", "2000")):
        subprocess.run(["sysctl", "-qw", f"{name}={value}"], check=True)


def punctual_transfer(wire, conditions, direction, seconds):
    for _ in range(ATTEMPTS):
        result = wire.transfer(conditions, direction, seconds)
        result["late_us"] = max(way["behind_max_us"] for way in result["link"].values())
        if result["late_us"] < LATE_US:
            break
    return result


def measure(wires, name, direction, options):
    """All runs of a condition: {system: [result, ...]} and the load of the machine."""
    results = {wire.system: [] for wire in wires}
    for run in range(options.runs):
        for wire in wires:
            result = punctual_transfer(wire, f"{words(name)} seed={run + 1}", direction, options.seconds)
            results[wire.system].append(result)
            print(f"{name}, {direction}, {wire.system}: {result['mbit']:.2f} Mbit/s"
                  + (f" {json.dumps(result)}" if options.verbose else ""), file=sys.stderr, flush=True)
    return {"runs": results, "load": os.getloadavg()[0]}


def median(cell, system):
    rates = [run["mbit"] for run in cell["runs"].get(system, [])]
    return statistics.median(rates) if rates else None


def table(data):
    """Markdown; what misses the goal is in bold."""
    lines = ["| condition | guest sends: domain | Linux | ratio | guest receives: domain | Linux | ratio |",
             "|---|---|---|---|---|---|---|"]
    for name in [n for n in CONDITIONS if n in data]:
        shown = [name]
        for direction in DIRECTIONS:
            cell = data[name].get(direction, {"runs": {}})
            ours, theirs = (median(cell, system) for system in SYSTEMS)
            ratio = ours / theirs if ours and theirs else None
            shown += [f"{v:.3g}" if v else "-" for v in (ours, theirs)]
            shown.append("-" if not ratio else f"**{ratio:.2f}**" if ratio < GOAL else f"{ratio:.2f}")
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines)


def loads(data):
    """The lowest and the highest load average that a measurement was done with."""
    seen = [cell["load"] for directions in data.values() for cell in directions.values()]
    return f"load average {min(seen):.0f} to {max(seen):.0f}" if seen else ""


def load(path):
    if not os.path.exists(path):
        return {}
    with open(path) as f:
        return json.load(f)


def run(options, path):
    """Measures the chosen conditions, one after the other, and keeps each as soon as it is done."""
    set_up_host()
    data = load(path)
    with tempfile.TemporaryDirectory(prefix="netem-") as work:
        images, wires = Images(options.build, work), []
        try:
            for number, system in enumerate(options.systems, 1):
                wires.append(Wire(system, number, images))
            for wire in wires:
                wire.guest.first_answer(PORT, 60)
            for name in options.conditions:
                for direction in options.directions:
                    cell = measure(wires, name, direction, options)
                    data.setdefault(name, {})[direction] = cell
                    with open(path, "w") as f:
                        json.dump(data, f, indent=1)
        finally:
            for wire in wires:
                wire.stop()
    return data


def parse(arguments):
    def names(text):
        return text.split(",")

    def conditions(text):
        """Those whose names begin with one of these."""
        return [n for n in CONDITIONS if any(n.startswith(t) for t in text.split(";"))]

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--conditions", type=conditions, default=list(CONDITIONS),
                        help="beginnings of names, with ; between them")
    parser.add_argument("--directions", type=names, default=list(DIRECTIONS))
    parser.add_argument("--systems", type=names, default=list(SYSTEMS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--out", help="instead of BUILD/bench")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--table", action="store_true")
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse(arguments)
    options.build = os.path.abspath(options.build)
    out = os.path.abspath(options.out or os.path.join(options.build, "bench"))
    path = os.path.join(out, "netem.json")
    os.makedirs(out, exist_ok=True)
    if options.list:
        print("\n".join(f"{name}: {words(name)}" for name in CONDITIONS))
        return
    if not options.table:
        enter_namespace()
        run(options, path)
    data = load(path)
    print(table(data), loads(data), sep="\n\n")


if __name__ == "__main__":
    main()
