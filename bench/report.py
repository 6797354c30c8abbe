"""The table and the plot of a comparison."""
import os
import subprocess
import tempfile


def number(value):
    if value is None:
        return "-"
    for unit in ("", "k", "M", "G"):
        if abs(value) < 1000:
            return f"{value:.3g}{unit}" if value < 100 else f"{value:.0f}{unit}"
        value /= 1000
    return f"{value:.3g}T"


def ratio(a, b):
    return a / b if a and b else None


def rows(data):
    """(name, {system: values}, ratio(a, b) of rates, ratio(a, b) of instructions) in measured order."""
    for name, systems in data.items():
        def rates(a, b, systems=systems):
            return ratio(systems.get(a, {}).get("rate"), systems.get(b, {}).get("rate"))

        def instructions(a, b, systems=systems):
            return ratio(*(sum(systems.get(s, {}).get("instructions", [0])) for s in (a, b)))
        yield name, systems, rates, instructions


def plain(system):
    """Start time and memory are kept as rates (more is better); shown as what they are."""
    if "seconds" in system:
        return f"{system['seconds'] * 1000:.0f} ms"
    if "megabytes" in system:
        return f"{system['megabytes']:.0f} MB"
    return number(system.get("rate"))


def cell(value, suffix=""):
    return f"{value:.2f}{suffix}" if value else "-"


LABELS = {"librettos": "direct path", "server": "server path", "linux": "Linux guest"}


def table(data):
    """Rates and ratios, then instructions per request and doorbells."""
    lines = ["| row | direct | server path | Linux | direct/Linux | server/Linux | server/direct |",
             "|---|---|---|---|---|---|---|"]
    for name, systems, rates, _ in rows(data):
        shown = [plain(systems.get(s, {})) for s in LABELS]
        ratios = [cell(rates(*pair), "x") for pair in (("librettos", "linux"), ("server", "linux"),
                                                       ("server", "librettos"))]
        if any(s != "-" for s in shown):
            lines.append("| " + " | ".join([name, *shown, *ratios]) + " |")
        for system, values in systems.items():
            for failure in values.get("failed", []):
                lines.append(f"| {name}: {LABELS[system]} failed: {failure.splitlines()[0]} |")
    lines += ["", "| instructions, user+kernel | direct | server path | Linux | direct/Linux | "
              "server/Linux | doorbells |", "|---|---|---|---|---|---|---|"]
    for name, systems, _, instructions in rows(data):
        if not any("instructions" in s for s in systems.values()):
            continue
        shown = ["+".join(number(i) for i in systems.get(s, {}).get("instructions", [])) or "-"
                 for s in LABELS]
        ratios = [cell(instructions("librettos", "linux")), cell(instructions("server", "linux"))]
        doorbells = systems.get("server", {}).get("doorbells")
        lines.append("| " + " | ".join([name, *shown, *ratios, cell(doorbells)]) + " |")
    return "\n".join(lines)


def plot(data, path):
    """Bars relative to the Linux guest: rates (more is better) and instructions (less is better)."""
    lines = [(name, rates("librettos", "linux"), rates("server", "linux"),
              instructions("librettos", "linux")) for name, _, rates, instructions in rows(data)]
    columns = (("direct path: rate", "#2a7ab0"), ("server path: rate", "#6ab04a"),
               ("direct path: instructions (less is better)", "#c0622f"))
    bars = [f"'{{values}}' using {i + 2}:xtic(1) title '{title}' lc rgb '{colour}'"
            for i, (title, colour) in enumerate(columns) if any(line[i + 1] for line in lines)]
    if not bars:
        return
    with tempfile.TemporaryDirectory() as work:
        values = os.path.join(work, "values")
        with open(values, "w") as f:
            for name, *numbers in lines:
                f.write(f'"{name}" ' + " ".join(str(n or "NaN") for n in numbers) + "\n")
        script = f"""set terminal svg size 1200,520 background 'white'
set output '{path}'
set style data histograms
set style fill solid 0.8
set boxwidth 0.9
set logscale y
set grid ytics
set ylabel 'relative to the Linux guest'
set xtics rotate by -35
set key top right
plot 1 notitle with lines lc rgb 'black', {", ".join(bars).format(values=values)}
"""
        subprocess.run(["gnuplot"], input=script, text=True, check=True)
