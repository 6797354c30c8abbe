"""A user at a keyboard, for tests of terminals."""
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time


class Keyboard:
    """A command on a pseudo-terminal of this machine's."""

    def __init__(self, command, env):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            self.resize(24, 80, 0)
            # A plain terminal: readline writes no control sequences between command and answer.
            os.execvpe(command[0], command, dict(env, TERM="dumb"))
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
