"""End-to-end tests: real programs in domains, real clients on the host, through the librettos command.

Every test gets a runtime folder of its own, so that supervisors of different tests never meet, and
everything it started is ended and checked afterwards.
"""
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", os.path.join(ROOT, "build"))
LIBRETTOS = os.path.join(BUILD, "librettos")
LONG = bool(os.environ.get("LIBRETTOS_TEST_LONG"))  # what does not fit into the time of `make test`, too


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"gave up after {seconds} s waiting for {what}")


def answers(port, host="127.0.0.1"):
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


class Librettos:
    """The command, with a supervisor of its own."""

    def __init__(self, folder):
        self.env = dict(os.environ, XDG_RUNTIME_DIR=os.path.join(folder, "run"),
                        XDG_CACHE_HOME=os.environ.get("LIBRETTOS_TEST_CACHE",
                                                      os.path.join(folder, "cache")))
        os.makedirs(self.env["XDG_RUNTIME_DIR"], mode=0o700)
        self.folder = folder
        self.run_options = []  # of every `run`

    def _command(self, args):
        options = self.run_options if args[0] == "run" else []
        return [LIBRETTOS, str(args[0]), *options, *map(str, args[1:])]

    def __call__(self, *args, timeout=60, check=True, **kw):
        done = subprocess.run(self._command(args), env=self.env, timeout=timeout,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              stdin=kw.pop("stdin", subprocess.DEVNULL), **kw)
        if check and done.returncode:
            raise AssertionError(f"librettos {args}: exit {done.returncode}\n{done.stdout}\n"
                                 f"{done.stderr}")
        return done

    def popen(self, *args, **kw):
        return subprocess.Popen(self._command(args), env=self.env, **kw)

    def start(self, name, *args, port=None, **kw):
        """`run -d`; returns the host port that leads to the guest's `port`."""
        options = ["run", "-d", "--name", name]
        host = None
        if port:
            host = free_port()
            options += ["-p", f"{host}:{port}"]
        self(*options, *args, **kw)
        if host:
            wait_for(lambda: answers(host), 20, f"{name} on port {port}")
        return host

    def all(self):
        return json.loads(self("ps", "--json").stdout)

    def ps(self):
        """The running application domains."""
        return [d for d in self.all() if d["kind"] == "application"]

    def server(self, name="net"):
        """The network server, or None."""
        return next((d for d in self.all() if d["kind"] == "network server" and d["name"] == name),
                    None)

    def end(self):
        for domain in self.ps() + self.all():  # network servers only when nobody uses them
            self("stop", domain["name"], check=False)


@pytest.fixture
def librettos():
    folder = tempfile.mkdtemp(prefix="librettos-test-")
    command = Librettos(folder)
    yield command
    command.end()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["server", "direct"])
def librettos_on_each_path(request, librettos):
    """For tests that are to pass on both paths: import it as `librettos`."""
    librettos.run_options = ["--path", request.param]
    return librettos


@pytest.fixture(params=["server", "direct"] if LONG else ["server"])
def librettos_on_each_path_if_long(request, librettos):
    """For long tests whose programs do not care about the path."""
    librettos.run_options = ["--path", request.param]
    return librettos


def run(*command, timeout=300, check=True, **kw):
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=timeout, **kw)
    if check and done.returncode:
        raise AssertionError(f"{command}: exit {done.returncode}\n{done.stdout[-3000:]}")
    return done.stdout
