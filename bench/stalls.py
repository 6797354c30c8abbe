"""What clients of a domain see when its network server dies or is replaced, or when it is switched: the
events of tests/e2e/events.py under the load of hold, beside a control. Also auto mode, over time."""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/e2e"))
import events  # noqa: E402
import stub  # noqa: E402
from conftest import Librettos  # noqa: E402

COUNTS = {"control": 15, "switch": 30, "kill": 8, "panic": 8, "hang": 4, "restart": 5, "upgrade": 10,
          "supervisor": 5}
ALONE = {"control": 3, "kill": 5}  # without a standby
# A thousand requests a second: with more the queues of the machine's processors would hide the short stalls.
LOAD = ("-c", 200, "-i", "150-250", "-b", 150, "-r", 1)
COLOURS = ("#888888", "#2a7ab0", "#c0622f", "#a03050", "#202020", "#6ab04a", "#8050a0",
           "#c0a020")


def start(folder, standby, *options):
    """(the command, a port of 127.0.0.1 that leads to holdpeer in the domain "peer")."""
    librettos = Librettos(folder)
    stub.wrap(librettos.env, folder)
    librettos.env["LIBRETTOS_STANDBY_MS"] = standby
    port = librettos.start("peer", *options, events.PEER, events.PEER_PORT, port=events.PEER_PORT)
    return librettos, port


def run(counts, standby):
    """(the record, its events)."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        librettos, port = start(folder, standby)
        load = events.Load("127.0.0.1", port, *LOAD)
        try:
            system = events.System(librettos, "peer", steady=standby == "off")
            caused = [events.cause(system, kind) for kind in events.in_turns(counts)]
            return load.end(), caused
        finally:
            load.abandon()
            librettos.end()


def collect():
    """{kind: {"count", "outage_ms", "request_ms": [median, maximum]}, ...}, what to plot, errors."""
    rows, errors, plotted = {}, 0, None
    for counts, standby, suffix in ((COUNTS, "200", ""), (ALONE, "off", ", no standby")):
        print(f"[stalls{suffix}] {counts}", file=sys.stderr, flush=True)
        record, caused = run(counts, standby)
        plotted = plotted or (record, caused)
        errors += len(record.errors)
        events.find_stalls(record, caused)
        for kind, (outages, requests) in events.by_kind(caused).items():
            rows[kind + suffix] = {
                "count": len(outages),
                "outage_ms": [statistics.median(outages), max(outages)],
                "request_ms": [statistics.median(requests), max(requests)]}
    return rows, plotted, errors


def table(rows, errors):
    lines = ["| ms | events | nobody answered: median | max | slowest request: median | max |",
             "|---|---|---|---|---|---|"]
    for kind, row in rows.items():
        figures = [f"{v:.1f}" for v in row["outage_ms"] + row["request_ms"]]
        lines.append(f"| {kind} | {row['count']} | " + " | ".join(figures) + " |")
    return "\n".join(lines + ["", f"connections lost or bytes wrong: {errors}"])


def gnuplot(path, title, settings, curves):
    """curves: [(rows of numbers, gnuplot's words for them)]."""
    with tempfile.TemporaryDirectory() as work:
        parts = []
        for i, (points, words) in enumerate(curves):
            name = os.path.join(work, str(i))
            with open(name, "w") as f:
                f.writelines(" ".join(map(str, p)) + "\n" for p in points)
            parts.append(f"'{name}' {words}")
        script = (f"set terminal svg size 1200,420 background 'white'\nset output '{path}'\n"
                  f"set title '{title}'\nset xlabel 'seconds'\nset grid\nset key outside\n"
                  f"{settings}\nplot " + ", ".join(parts) + "\n")
        subprocess.run(["gnuplot"], input=script, text=True, check=True)


def plot(plotted, path):
    record, caused = plotted
    slices, step = record.data["slices"], record.data["slice_ns"] / 1e9
    curves = [([(i * step, max(s[3] / 1e6, 0.05)) for i, s in enumerate(slices)],
               "using 1:2 with impulses lc rgb '#c8c8c8' title 'each tenth of a second'")]
    for kind, colour in zip(events.KINDS, COLOURS):
        points = [(e.begin - record.begin, e.outage or 0.5) for e in caused if e.kind == kind]
        if points:
            curves.append((points, f"using 1:2 with points pt 7 lc rgb '{colour}' title '{kind}'"))
    gnuplot(path, "The longest time in which no connection was answered",
            "set logscale y\nset ylabel 'ms'", curves)


# ---- auto mode ----

QUIET, BUSY = ("-c", 20, "-i", "80-120"), ("-c", 200, "-i", "10-20")
PHASES = [("quiet", 6, QUIET, QUIET), ("one busy", 12, BUSY, QUIET), ("both busy", 14, BUSY, BUSY),
          ("two busy", 14, QUIET, BUSY), ("quiet", 14, QUIET, QUIET)]


def sample(librettos, names, begin, last):
    """Of each domain (seconds, frames per second since the last sample, whether it is on the direct path)."""
    domains = {d["name"]: d for d in librettos.ps()}
    result = {}
    for name in names:
        at, network = time.monotonic() - begin, domains[name]["network"]
        frames = network["rx_frames"] + network["tx_frames"]
        before = last.get(name, (at - 1, frames))
        last[name] = (at, frames)
        result[name] = (round(at, 2), max(0, frames - before[1]) / (at - before[0]),
                        int(domains[name]["path"] == "direct"))
    return result


def automode():
    """Two domains in auto mode and one device; returns {name: [sample, ...]} and the number of errors."""
    names, samples, last, errors = ("peer", "second"), {"peer": [], "second": []}, {}, 0
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        os.environ["LIBRETTOS_DIRECT_DEVICES"] = "1"
        try:
            librettos, port = start(folder, "1000", "--mode", "auto")
        finally:
            del os.environ["LIBRETTOS_DIRECT_DEVICES"]
        try:
            ports = [port, librettos.start("second", "--mode", "auto", events.PEER, events.PEER_PORT,
                                           port=events.PEER_PORT)]
            begin, running = time.monotonic(), []
            for name, seconds, *loads in PHASES:
                print(f"[auto mode] {name}, {seconds} s", file=sys.stderr, flush=True)
                before, running = running, [events.Load("127.0.0.1", p, "-b", 0, *load)
                                            for p, load in zip(ports, loads)]
                errors += sum(len(load.end().errors) for load in before)
                until = time.monotonic() + seconds
                while time.monotonic() < until:
                    for domain, point in sample(librettos, names, begin, last).items():
                        samples[domain].append(point)
                    time.sleep(0.5)
            errors += sum(len(load.end().errors) for load in running)
        finally:
            librettos.end()
    return samples, errors


def plot_automode(samples, path):
    curves = []
    for (name, points), colour in zip(samples.items(), ("#2a7ab0", "#c0622f")):
        curves += [(points, f"using 1:2 with lines lw 2 lc rgb '{colour}' title '{name}: frames/s'"),
                   (points, f"using 1:3 axes x1y2 with steps dt 2 lw 2 lc rgb '{colour}' "
                            f"title '{name}: path'")]
    gnuplot(path, "Auto mode: two domains, one device",
            "set ylabel 'frames per second'\nset ytics nomirror\nset y2range [-0.1:1.6]\n"
            "set y2tics ('server' 0, 'direct' 1)", curves)


def moves(samples):
    """How often each domain changed its path."""
    return {name: sum(a[2] != b[2] for a, b in zip(points, points[1:]))
            for name, points in samples.items()}


def report(out):
    """Measures, prints and writes stalls.json, stalls.svg and auto.svg into a folder."""
    rows, plotted, errors = collect()
    print(table(rows, errors), flush=True)
    plot(plotted, os.path.join(out, "stalls.svg"))
    samples, auto_errors = automode()
    print(f"\nauto mode: changes of path {moves(samples)}, errors: {auto_errors}")
    plot_automode(samples, os.path.join(out, "auto.svg"))
    with open(os.path.join(out, "stalls.json"), "w") as f:
        json.dump({"stalls": rows, "errors": errors + auto_errors, "auto": samples}, f, indent=2)
