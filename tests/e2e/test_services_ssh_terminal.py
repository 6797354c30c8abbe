"""Terminals of Debian's sshd in a domain: the host's ssh -tt, as a user at a keyboard."""
import os
import signal
import subprocess
import time

import pytest

from conftest import wait_for
from keyboard import Keyboard
from test_services_ssh import Login


@pytest.fixture
def login(librettos, tmp_path):
    return Login(librettos, tmp_path)


@pytest.fixture
def terminal(login):
    board = Keyboard(login.command(), os.environ)
    board.read_until("# ")
    yield board
    board.end()


def test_an_interactive_session(login, terminal):
    terminal.line("tty", "/dev/pts/0")
    terminal.line("stty size", "24 80")
    terminal.resize(50, 132)
    time.sleep(0.3)
    terminal.line("stty size", "50 132")
    terminal.type("sleep 1000\n")
    time.sleep(0.5)
    terminal.type("\x03")
    terminal.line("echo status $?", "status 130")
    terminal.type("sleep 1000\n")
    time.sleep(0.5)
    terminal.type("\x1a")
    terminal.read_until("Stopped")
    terminal.type("kill %1; wait; exit 9\n")
    assert terminal.wait() == 9


def test_a_broken_connection_hangs_up_its_program(login):
    script = "trap 'echo hung >/tmp/said; exit' HUP; echo ready; while :; do sleep 0.1; done"
    board = Keyboard(login.command("-tt", script), os.environ)
    try:
        board.read_until("ready")
    finally:
        os.kill(board.pid, signal.SIGKILL)  # the host's ssh
        board.wait()
        board.end()
    wait_for(lambda: login("cat /tmp/said", check=False).stdout == b"hung\n", 20, "the program's SIGHUP")
    nothing = "/dev/pts/[0-9]*"
    wait_for(lambda: login(f"echo {nothing}").stdout.decode() == nothing + "\n", 20, "the terminal's end")


def test_a_terminal_for_a_command(login):
    script = "tty; test -t 0 && test -t 1 && test -t 2 && echo all three; exit 4"
    done = subprocess.run(login.command("-tt", script), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          timeout=60)
    assert (done.returncode, done.stdout) == (4, b"/dev/pts/0\r\nall three\r\n")
