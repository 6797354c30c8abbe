"""Induced panics and hangs of a network server: QEMU's gdb stub changes the instruction that comes next.

Every server's QEMU gets a stub, by a wrapper that is found before it; its socket is named after its pid.
"""
import contextlib
import os
import shutil
import socket

UD2 = "0f0b"          # an invalid instruction: the kernel panics
CLI_LOOP = "faebfe"   # interrupts off, and a jump to itself


def wrap(env, folder):
    """Lets the commands with this environment start network servers with a stub."""
    real = shutil.which("qemu-system-x86_64")
    wrapper = os.path.join(folder, "qemu-system-x86_64")
    with open(wrapper, "w") as f:
        f.write(f'#!/bin/sh\ncase "$*" in *role=net*)\n'
                f'    exec {real} "$@" -gdb "unix:path={folder}/gdb.$$,server=on,wait=off" ;;\n'
                f'esac\nexec {real} "$@"\n')
    os.chmod(wrapper, 0o755)
    env["PATH"] = f"{folder}:{env['PATH']}"
    env["LIBRETTOS_TEST_STUBS"] = folder


class Stub:
    """A conversation in gdb's remote protocol; the machine stands still during it."""

    def __init__(self, env, pid):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(os.path.join(env["LIBRETTOS_TEST_STUBS"], f"gdb.{pid}"))

    def ask(self, command):
        self.socket.sendall(f"${command}#{sum(command.encode()) % 256:02x}".encode())
        while True:
            answer = self._packet()
            if not answer.startswith("T"):  # it tells, unasked, that the machine stopped
                return answer

    def _packet(self):
        packet = b""
        while packet[-3:-2] != b"#":
            got = self.socket.recv(1)
            if not got:
                raise OSError("the stub is gone")
            packet += got
        self.socket.sendall(b"+")
        return packet.split(b"$", 1)[1][:-3].decode()


def execute(env, pid, code):
    """Lets the machine of a QEMU go on with these instructions, in hexadecimal."""
    stub = Stub(env, pid)
    registers = stub.ask("g")
    rip = int.from_bytes(bytes.fromhex(registers[16 * 16:17 * 16]), "little")
    if stub.ask(f"M{rip:x},{len(code) // 2:x}:{code}") != "OK":
        raise OSError(f"cannot write at {rip:x}")
    with contextlib.suppress(OSError):  # it may have died before it answers
        stub.ask("D")
    stub.socket.close()
