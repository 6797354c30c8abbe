"""CPython's own test modules (Debian's libpython3.11-testsuite) in a domain, with this machine as the oracle."""
import os
import re
import subprocess

PYTHON = "/usr/bin/python3"
# What a shell and its tests are looked for, beside the interpreter.
PACKAGES = ("python3", "libpython3.11-testsuite", "libpython3.11-stdlib", "bash", "coreutils", "dash")
# They wait for a hypervisor's socket, for ever where one machine is in another.
LEFT_OUT = ("-i", "*VSOCK*")


def results(text):
    """{test: "ok", "skipped", "FAIL" or "ERROR"} of `python3 -m test -v`."""
    found = {}
    name = None
    for line in text.splitlines():
        begins = re.match(r"\w+ \(([\w.]+)\)", line)
        name = begins.group(1) if begins else name
        ends = re.search(r"(?:^|\.\.\. |\W)(ok|skipped|FAIL|ERROR)(?: '.*| \".*)?$", line)
        if ends and name and name not in found:
            found[name] = ends.group(1)
    return found


def compare(librettos, *modules, left_out=()):
    """Runs the modules here and in a domain at once: what passes here passes there."""
    command = [PYTHON, "-m", "test", "-v", *LEFT_OUT]
    for pattern in left_out:
        command += ["-i", pattern]
    command += modules
    packages = [word for name in PACKAGES for word in ("--package", name)]
    here = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                            stderr=subprocess.STDOUT, env=dict(os.environ, LC_ALL="C.UTF-8"))
    try:
        there = librettos("run", "-c", 2, "-m", "768M", "-e", "LC_ALL=C.UTF-8", *packages, *command,
                          check=False, timeout=200)
        want = results(here.communicate(timeout=200)[0])
    finally:
        here.kill()
        here.wait()
    got = results(there.stdout + there.stderr)
    passed = {name for name, result in want.items() if result == "ok"}
    assert passed
    wrong = {name: got.get(name, "did not end") for name in passed if got.get(name) != "ok"}
    assert not wrong, f"{wrong}\n{there.stdout[-3000:]}"
    return len(passed)
