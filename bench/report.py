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
    """(name, rates of both, their ratio, instructions of both, their ratio) in measured order."""
    for name, systems in data.items():
        ours, theirs = systems.get("librettos", {}), systems.get("linux", {})
        insn = [sum(s["instructions"]) if "instructions" in s else None for s in (ours, theirs)]
        yield (name, ours.get("rate"), theirs.get("rate"), ratio(ours.get("rate"), theirs.get("rate")),
               insn[0], insn[1], ratio(insn[0], insn[1]), ours, theirs)


def plain(system):
    """Start time and memory are kept as rates (more is better); shown as what they are."""
    if "seconds" in system:
        return f"{system['seconds'] * 1000:.0f} ms"
    if "megabytes" in system:
        return f"{system['megabytes']:.0f} MB"
    return number(system.get("rate"))


def table(data):
    lines = ["| row | LibrettOS | Linux | ratio | LibrettOS insn (user+kernel) | Linux insn | ratio |",
             "|---|---|---|---|---|---|---|"]
    for name, _, _, rate_ratio, ours_insn, theirs_insn, insn_ratio, ours, theirs in rows(data):
        parts = "+".join(number(i) for i in ours.get("instructions", [])) or "-"
        parts_theirs = "+".join(number(i) for i in theirs.get("instructions", [])) or "-"
        lines.append(f"| {name} | {plain(ours)} | {plain(theirs)} | "
                     f"{f'{rate_ratio:.2f}x' if rate_ratio else '-'} | {parts} | {parts_theirs} | "
                     f"{f'{insn_ratio:.2f}' if insn_ratio else '-'} |")
        for system, label in ((ours, "LibrettOS"), (theirs, "Linux")):
            for failure in system.get("failed", []):
                lines.append(f"| {name} | {label} failed: {failure.splitlines()[0]} | | | | | |")
    return "\n".join(lines)


def plot(data, path):
    """Bars of LibrettOS relative to Linux: rate (more is better) and instructions (less is better)."""
    lines = [(name, r, i) for name, _, _, r, _, _, i, _, _ in rows(data) if r or i]
    if not lines:
        return
    with tempfile.TemporaryDirectory() as work:
        values = os.path.join(work, "values")
        with open(values, "w") as f:
            for name, rate, insn in lines:
                f.write(f'"{name}" {rate or "NaN"} {insn or "NaN"}\n')
        script = f"""set terminal svg size 1100,480 background 'white'
set output '{path}'
set style data histograms
set style fill solid 0.8
set boxwidth 0.9
set logscale y
set grid ytics
set ylabel 'LibrettOS relative to the Linux guest'
set xtics rotate by -35
set key top right
plot 1 notitle with lines lc rgb 'black', '{values}' using 2:xtic(1) title 'rate (more is better)' \
lc rgb '#2a7ab0', '' using 3 title 'instructions (less is better)' lc rgb '#c0622f'
"""
        subprocess.run(["gnuplot"], input=script, text=True, check=True)
