"""Terminals: run -it and exec -it, as a user at a keyboard."""
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time

import pytest

from conftest import LIBRETTOS

SHELL = ("/bin/bash",)


class Keyboard:
    """The command on a pseudo-terminal."""

    def __init__(self, librettos, *args):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            self.resize(24, 80, 0)
            # A plain terminal: readline writes no control sequences between command and answer.
            os.execve(LIBRETTOS, ["librettos", *args], dict(librettos.env, TERM="dumb"))
        self.status = None

    def resize(self, rows, columns, fd=None):
        fcntl.ioctl(self.fd if fd is None else fd, termios.TIOCSWINSZ,
                    struct.pack("HHHH", rows, columns, 0, 0))

    def read_until(self, text, seconds=20):
        """What appears up to this text."""
        seen, deadline = "", time.monotonic() + seconds
        while text not in seen:
            ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"waiting for {text!r}, seen: {seen!r}"
            try:
                data = os.read(self.fd, 4096)
            except OSError:  # Linux: the last process with the terminal ended
                data = b""
            assert data, f"ended before {text!r}, seen: {seen!r}"
            seen += data.decode(errors="replace")
        return seen

    def type(self, text):
        os.write(self.fd, text.encode())

    def line(self, text, answer):
        """Types a line and waits for its answer, on a line of its own."""
        self.type(text + "\n")
        return self.read_until("\r\n" + answer)

    def wait(self, seconds=20):
        deadline = time.monotonic() + seconds
        while self.status is None and time.monotonic() < deadline:
            if select.select([self.fd], [], [], 0)[0]:
                try:
                    os.read(self.fd, 4096)
                except OSError:
                    pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        return self.status

    def end(self):
        if self.wait(0.1) is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def keyboard(librettos):
    boards = []

    def open_keyboard(*args):
        boards.append(Keyboard(librettos, *args))
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
