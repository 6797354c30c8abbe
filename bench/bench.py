#!/usr/bin/python3
"""Side-by-side comparison of LibrettOS domains, on the direct path and behind a network server, with a
Linux guest: rates and guest instructions.

Usage: bench.py [--build DIR] [--runs N] [--seconds S] [--systems NAME,...] [--rows NAME,...]
                [--out DIR]

Runs are alternated between the two systems, each boot serves one program, medians are compared. The
rates are measured without the instruction counter, the instructions in boots of their own. It needs root
or unprivileged user namespaces, since it makes a network namespace and a tap of its own; they go when it
ends. Prints a table, and writes OUT/bench.json and OUT/bench.svg. The row "stalls" has a table, JSON and
plots of its own (stalls.py). The row "netem", bad networks, takes half an hour and is run only when it is
named; netem.py runs single conditions of it.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guests import HOST_IP, PREFIX, TAP, Images, enter_namespace  # noqa: E402
import connections  # noqa: E402
import flood  # noqa: E402
import netem  # noqa: E402
import pairs  # noqa: E402
import report  # noqa: E402
import serverstart  # noqa: E402
import workloads  # noqa: E402

SYSTEMS = ("librettos", "server", "linux")


def set_up_network():
    for command in (f"ip link set lo up", f"ip tuntap add {TAP} mode tap",
                    f"ip addr add {HOST_IP}/{PREFIX} dev {TAP}", f"ip link set {TAP} up"):
        subprocess.run(command.split(), check=True)


def hold_cpu_latency():
    """Keeps CPUs out of deep sleep states where we may: else each wake-up costs 80 to 600 us."""
    try:
        fd = os.open("/dev/cpu_dma_latency", os.O_WRONLY)
        os.write(fd, b"\0\0\0\0")
        return fd
    except OSError:
        return None


def measure_boot(images, service, system, options, plugin):
    """One boot of one service: {row: {"rate": r} or {"instructions": [user, kernel]}}."""
    results = {}
    guest = images.start(system, service.name, service.command, service.files(options),
                         service.memory, plugin, 1)
    try:
        start = guest.first_answer(service.port, 60, service.probe)
        if plugin:
            results[service.name + " boot"] = {"instructions": guest.counters.read()}
            time.sleep(0.5)
            before, seconds = guest.counters.read(), 2.0
            time.sleep(seconds)
            after = guest.counters.read()
            results["idle, per second"] = {
                "instructions": [(a - b) / seconds for a, b in zip(after, before)]}
        else:
            results[service.name + " start"] = {"rate": 1 / start, "seconds": start}
            results[service.name + " resident"] = {"rate": 1 / guest.resident_mb(),
                                                   "megabytes": guest.resident_mb()}
        for row in service.rows:
            if options.rows and row.name not in options.rows:
                continue
            before = guest.counters.read() if plugin else None
            rung = guest.doorbells() if system == "server" else 0
            rate, count = row.run(options)
            more = ({"doorbells": (guest.doorbells() - rung) / count} if system == "server" else {})
            if plugin:
                after = guest.counters.read()
                results[row.name] = {"instructions": [(a - b) / count
                                                      for a, b in zip(after, before)]}
            else:
                results[row.name] = {"rate": rate, **more}
    finally:
        guest.stop()
    return results


def collect(images, options):
    data = {}

    def add(system, results):
        for row, values in results.items():
            for key, value in values.items():
                data.setdefault(row, {}).setdefault(system, {}).setdefault(key, []).append(value)

    plugin = os.path.join(options.build, "bench/insn.so")
    services = [s for s in workloads.SERVICES
                if not options.rows or any(r.name in options.rows for r in s.rows)]
    boots = [(s, run, system, p) for s in services
             for run, p in [(n, None) for n in range(options.runs)] + [("instructions", plugin)]
             for system in options.systems]
    for done, (service, run, system, p) in enumerate(boots):
        print(f"[{done + 1}/{len(boots)}] {service.name} on {system}, run {run}", file=sys.stderr,
              flush=True)
        try:
            add(system, measure_boot(images, service, system, options, p))
        except (RuntimeError, subprocess.SubprocessError, OSError, KeyError) as error:
            print(f"  failed: {error}", file=sys.stderr)
            add(system, {service.rows[0].name: {"failed": str(error)[:200]}})
    if not options.rows or "domain to domain" in options.rows:
        collect_pairs(images, options, add)
    if not options.rows or "network server start" in options.rows:
        collect_server_start(images, options, add)
    if not options.rows or "flood" in options.rows:
        collect_flood(images, options, add)
    if not options.rows or "connections" in options.rows:
        collect_connections(images, options, add)
    return data


def redis_conf(options):
    return next(s for s in workloads.SERVICES if s.name == "redis").files(options)[0]


def collect_server_start(images, options, add):
    for run in range(options.runs):
        print(f"[network server start] run {run}", file=sys.stderr, flush=True)
        try:
            seconds = serverstart.run(images.build)
            add("server", {"network server start": {"rate": 1 / seconds, "seconds": seconds}})
        except (RuntimeError, subprocess.SubprocessError, OSError, StopIteration) as error:
            print(f"  failed: {error}", file=sys.stderr)
            add("server", {"network server start": {"failed": str(error)[:200]}})


def collect_flood(images, options, add):
    """The share of its rate that redis keeps; shown in the server path's column."""
    for run in range(options.runs):
        print(f"[flood] run {run}", file=sys.stderr, flush=True)
        try:
            alone, beside, frames = flood.run(images.build, redis_conf(options))
            add("server", {"redis GET beside a flood": {"rate": beside},
                           "redis GET, share kept": {"rate": beside / alone},
                           "the flood's frames": {"rate": frames}})
        except (RuntimeError, subprocess.SubprocessError, OSError) as error:
            print(f"  failed: {error}", file=sys.stderr)
            add("server", {"redis GET beside a flood": {"failed": str(error)[:200]}})


def collect_connections(images, options, add):
    for run in range(options.runs):
        for system in options.systems:
            print(f"[connections] nginx on {system}, run {run}", file=sys.stderr, flush=True)
            try:
                alone, beside = connections.run(images, system, options)
                add(system, {"nginx beside 10,000 idle": {"rate": beside},
                             "nginx, share kept": {"rate": beside / alone}})
            except (RuntimeError, subprocess.SubprocessError, OSError) as error:
                print(f"  failed: {error}", file=sys.stderr)
                add(system, {"nginx beside 10,000 idle": {"failed": str(error)[:200]}})


def collect_pairs(images, options, add):
    """redis and its client in two guests each; only what needs a server has a second guest to talk to."""
    conf = redis_conf(options)
    for run in range(options.runs):
        for system in [s for s in options.systems if s != "librettos"]:
            print(f"[pairs] redis on {system}, run {run}", file=sys.stderr, flush=True)
            try:
                for row, rate in pairs.run(system, images, conf):
                    add(system, {row: {"rate": rate}})
            except (RuntimeError, subprocess.SubprocessError, OSError) as error:
                print(f"  failed: {error}", file=sys.stderr)
                add(system, {pairs.row_name("GET", 1): {"failed": str(error)[:200]}})


def medians(data):
    result = {}
    for row, systems in data.items():
        result[row] = {}
        for system, values in systems.items():
            out = result[row][system] = {}
            for key, samples in values.items():
                if key == "failed":
                    out[key] = samples
                elif key == "instructions":
                    out[key] = [statistics.median(s[i] for s in samples) for i in (0, 1)]
                else:
                    out[key] = statistics.median(samples)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--systems", type=lambda s: s.split(","), default=SYSTEMS)
    parser.add_argument("--rows", type=lambda s: s.split(","), default=None)
    parser.add_argument("--out", default=None)
    options = parser.parse_args()
    enter_namespace()
    options.build = os.path.abspath(options.build)
    options.out = os.path.abspath(options.out or os.path.join(options.build, "bench"))
    set_up_network()
    latency = hold_cpu_latency()
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        options.work = work
        data = medians(collect(Images(options.build, work), options))
    if latency is not None:
        os.close(latency)
    os.makedirs(options.out, exist_ok=True)
    with open(os.path.join(options.out, "bench.json"), "w") as f:
        json.dump(data, f, indent=2, sort_keys=True)
    print(report.table(data))
    report.plot(data, os.path.join(options.out, "bench.svg"))
    if not options.rows or "stalls" in options.rows:
        os.environ["BUILD"] = options.build  # for the modules of the tests that stalls uses
        import stalls
        stalls.report(options.out)
    if options.rows and "netem" in options.rows:
        netem.main(["--build", options.build, "--out", options.out, "--runs", str(options.runs),
                    "--seconds", str(options.seconds)])


if __name__ == "__main__":
    main()
