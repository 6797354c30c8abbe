"""Makes a network server fail: one that runs tests/faulty's kernel reads a word that we write into its table."""
import mmap
import os
import struct

from conftest import BUILD

FAULTY = os.path.join(BUILD, "kernel.faulty.elf")
TABLE_SIZE = 1 << 19
PANIC, HANG = 1, 2


def _table(pid):
    """The table's memory, as a server's QEMU holds it."""
    folder = f"/proc/{pid}/fd"
    for fd in os.listdir(folder):
        try:
            path = os.path.join(folder, fd)
            if "librettos-channel" in os.readlink(path) and os.stat(path).st_size == TABLE_SIZE:
                with open(path, "r+b") as f:
                    return mmap.mmap(f.fileno(), TABLE_SIZE)
        except FileNotFoundError:
            continue
    raise AssertionError(f"process {pid} has no table of a network server")


def inject(server, what):
    """server: as `ps --json` describes the active instance."""
    assert server["server"]["kernel"] == FAULTY, server
    with _table(server["pid"]) as table:
        active = struct.unpack_from("<I", table, 20)[0]
        struct.pack_into("<I", table, 0x30000 + (active - 1) * 4096 + 2048, what)
