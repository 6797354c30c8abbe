"""Terminals: run -it and exec -it, as a user at a keyboard."""
import os
import pty
import termios
import time

import pytest

from conftest import LIBRETTOS
from keyboard import Keyboard

SHELL = ("/bin/bash",)


@pytest.fixture
def keyboard(librettos):
    boards = []

    def open_keyboard(*args):
        boards.append(Keyboard([LIBRETTOS, *args], librettos.env))
        return boards[-1]

    yield open_keyboard
    for board in boards:
        board.end()


def test_a_shell(keyboard):
    board = keyboard("run", "-it", *SHELL)
    board.read_until("# ")
    board.line("echo $((6 * 7))", "42")
    board.line("stty size", "24 80")
    board.resize(50, 132)
    time.sleep(0.3)
    board.line("stty size", "50 132")
    board.line("cat", "")
    board.line("typed", "typed")
    board.type("\x04")  # end of file ends cat, not the shell
    board.line("echo status $?", "status 0")
    board.type("exit 7\n")
    assert board.wait() == 7


def test_interrupt_and_job_control(keyboard):
    board = keyboard("run", "-it", *SHELL)
    board.read_until("# ")
    board.type("sleep 1000\n")
    time.sleep(0.5)
    board.type("\x03")  # the terminal's business: the sleep dies, the domain does not
    board.read_until("^C")
    board.line("echo status $?", "status 130")
    board.type("sleep 1000\n")
    time.sleep(0.5)
    board.type("\x1a")
    board.read_until("Stopped")
    board.type("kill %1; wait; echo all gone\n")
    board.read_until("\nall gone\r\nroot@bash:/# ")  # an earlier ^D would be the command's
    board.type("\x04")
    assert board.wait() == 0


def test_exec_gives_a_second_terminal(librettos, keyboard):
    librettos("run", "-d", "--name", "box", "--package", "bash", "--package", "coreutils",
              "/bin/sleep", "1000")
    board = keyboard("exec", "-it", "box", "/bin/bash")
    board.read_until("# ")
    board.line("echo $HOSTNAME", "box")
    board.type("exit 3\n")
    assert board.wait() == 3
    assert [d["state"] for d in librettos.ps()] == ["running"]


def test_the_terminal_is_as_before(keyboard):
    fresh, other = pty.openpty()
    board = keyboard("run", "-it", "/bin/cat")
    board.line("raw", "raw")
    assert not termios.tcgetattr(board.fd)[3] & termios.ICANON
    board.type("\x04")
    assert board.wait() == 0
    assert termios.tcgetattr(board.fd) == termios.tcgetattr(fresh)
    os.close(fresh)
    os.close(other)


def test_the_streams_of_a_terminal_can_be_opened(keyboard):
    board = keyboard("run", "-it", "--package", "coreutils", *SHELL)
    board.read_until("# ")
    board.line("echo a | tee /dev/stderr >/dev/null", "a\r\n")
    board.type("(read x </dev/stdin; echo got $x >/dev/stdout)\nhello\n")
    board.read_until("got hello\r\n")
    board.type("exit\n")
    assert board.wait() == 0


def test_terminals_have_names(librettos, keyboard):
    board = keyboard("run", "-it", "--name", "box", "-u", "daemon", "--package", "coreutils", "--package", "procps",
                     "--package", "bash", *SHELL)
    board.read_until("$ ")
    board.line("tty", "/dev/pts/0")
    board.line("stat -c '%n %U %G' $(tty)", "/dev/pts/0 daemon tty")
    board.line("ps -o tty= -p $$", "pts/0")
    board.line("readlink /proc/self/fd/1", "/dev/pts/0")
    second = keyboard("exec", "-it", "box", "/bin/bash")
    second.read_until("# ")
    second.line("tty", "/dev/pts/1")
    second.type("exit\n")
    assert second.wait() == 0
    board.line("ls /dev/pts", "0")  # the second one's name went with it
    board.type("exit\n")
    assert board.wait() == 0


def test_tmux(keyboard):
    board = keyboard("run", "-it", "-e", "TERM=xterm", "--depends", "--package", "bash", "--package", "coreutils", "tmux",
                     "new", "/bin/bash")
    board.read_until("# ")
    board.type("tty\n")
    board.read_until("/dev/pts/1")
    board.type("\x02c")  # a second window, the first stays
    board.read_until("1:bash*")
    board.type("tty; exit\n")
    board.read_until("/dev/pts/2")
    board.read_until("0:bash*")
    board.type("exit\n")
    board.read_until("[exited]")
    assert board.wait() == 0
