"""Debian's programs, unmodified: what a script prints in a domain is what it prints on this machine.

Each of programs/* runs twice in a fresh directory, here and in a domain; output and exit status are
compared. The scripts print nothing that may differ from run to run, as numbers of processes.
"""
import os
import shutil
import subprocess

import pytest

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": "/tmp"}
TOOLS = ("bash", "coreutils", "dash")
# The packages behind python3 and gcc, which only name a version: python3.11, gcc-12.
PYTHON = os.path.basename(os.path.realpath("/usr/bin/python3"))
GCC = "gcc-" + os.path.realpath("/usr/bin/gcc").rsplit("-", 1)[1]


@pytest.fixture
def compare(librettos, tmp_path):
    """compare(command, script, packages): runs it here and there."""
    def compare(command, script, packages=(), options=()):
        shutil.copy(os.path.join(SCRIPTS, script), tmp_path)
        here = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=ENVIRONMENT, timeout=60,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        arguments = ["-c", 2, "--file", f"{os.path.join(SCRIPTS, script)}:/work/{script}", *options]
        for package in (*TOOLS, *packages):
            arguments += ["--package", package]
        for name, value in ENVIRONMENT.items():
            arguments += ["-e", f"{name}={value}"]
        there = librettos("run", *arguments, "/bin/sh", "-c", f"cd /work; {command}", check=False,
                          timeout=90)
        assert here.stdout and there.stdout.splitlines() == here.stdout.splitlines(), there.stderr
        assert there.returncode == here.returncode, there.stderr
    return compare


def test_bash(compare):
    compare("bash shell.sh", "shell.sh", ("diffutils", "grep"))


def test_standard_streams_and_locale(compare):
    compare("env -u LC_ALL bash streams.sh", "streams.sh", ("perl",))


def test_coreutils_and_findutils(compare):
    compare("bash files.sh", "files.sh",
            ("findutils", "diffutils", "tar", "gzip", "sed", "grep", "util-linux"))


def test_busybox(compare):
    compare("busybox sh busybox.sh", "busybox.sh", ("busybox-static",))


def test_perl(compare):
    compare("perl perl.pl", "perl.pl", ("perl",))


def test_python(compare):
    compare("/usr/bin/python3 python.py", "python.py", ("python3", PYTHON), ("-m", "512M"))


def test_sqlite(compare):
    compare("sqlite3 a.db <sqlite.sql", "sqlite.sql", ("sqlite3",))


def test_luajit(compare):
    compare("luajit luajit.lua", "luajit.lua", ("luajit",))


def test_node(compare):
    compare("node node.js", "node.js", ("nodejs",), ("-m", "512M"))


def test_gcc_and_make(compare):
    compare("bash gcc.sh", "gcc.sh",
            ("gcc", GCC, "binutils", "libc6-dev", "linux-libc-dev", "make", "grep"), ("-m", "1G"))


def test_python_serves_a_folder(librettos, tmp_path):
    (tmp_path / "page").write_text("as it is here\n")
    port = librettos.start("web", "-v", f"{tmp_path}:/srv:ro", "/usr/bin/python3", "-m", "http.server",
                           "-d", "/srv", "8000", port=8000)
    fetch(port, "page", "--retry", "30", "--retry-delay", "1", "--retry-all-errors")  # until python listens
    for _ in range(20):
        assert fetch(port, "page") == "as it is here\n"
    assert 'href="page"' in fetch(port, "")


def fetch(port, name, *options):
    done = subprocess.run(["curl", "-sS", "--fail", *options, f"http://127.0.0.1:{port}/{name}"], timeout=60,
                          stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout
