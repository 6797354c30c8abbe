"""The two kinds of guest that are compared: a LibrettOS domain and a Linux guest, on one tap.

Both get the same QEMU flags, the same program files and the same address. Everything runs in a network
namespace of the benchmark's own (see bench.py).
"""
import mmap
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time

HOST_IP, GUEST_IP, PREFIX, TAP = "10.77.0.1", "10.77.0.2", 24, "tap0"
MAC = "52:54:00:77:00:02"
# Under TCG "rep movsb" is slow and 5-level paging adds to every walk: without erms, smap and la57 the
# Linux guest is at its best. Both guests get the same CPU.
CPU = "max,-erms,-smap,-la57"


class Counters:
    """The instruction counters that the TCG plugin keeps in a shared file."""

    def __init__(self, path):
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 16)

    def read(self):
        return struct.unpack("<QQ", self.map[:16])


class Guest:
    def __init__(self, kernel, image, cmdline, memory, plugin=None, cpus=1):
        self.dir = tempfile.mkdtemp(prefix="bench-")
        self.console = os.path.join(self.dir, "console")
        args = [
            "qemu-system-x86_64",
            "-M", "q35,smbus=off,sata=off,usb=off,hpet=off,vmport=off,graphics=off",
            "-bios", "qboot.rom", "-accel", "tcg,thread=multi", "-cpu", CPU,
            "-smp", str(cpus), "-m", str(memory), "-nodefaults", "-no-user-config", "-no-reboot",
            "-display", "none", "-serial", "file:" + self.console,
            "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
            "-netdev", f"tap,id=n0,ifname={TAP},script=no,downscript=no,vhost=off",
            "-device", f"virtio-net-pci,netdev=n0,mac={MAC},disable-legacy=on",
            "-kernel", kernel, "-initrd", image, "-append", cmdline,
        ]
        self.counters = None
        if plugin:
            counts = os.path.join(self.dir, "insn")
            args += ["-plugin", f"{plugin},counts={counts}"]
        self.started = time.monotonic()
        self.qemu = subprocess.Popen(args, stdin=subprocess.DEVNULL)
        if plugin:
            wait_for(lambda: os.path.exists(counts) and os.path.getsize(counts) == 16, 10)
            self.counters = Counters(counts)

    def first_answer(self, port, limit, probe=None):
        """Seconds from QEMU's start to the first answer on the port."""
        deadline = self.started + limit
        while time.monotonic() < deadline:
            if self.qemu.poll() is not None:
                break
            try:
                with socket.create_connection((GUEST_IP, port), timeout=0.25) as s:
                    if probe:
                        s.settimeout(2)
                        s.sendall(probe)
                        if not s.recv(64):
                            continue
                    return time.monotonic() - self.started
            except OSError:
                time.sleep(0.001)
        with open(self.console, errors="replace") as f:
            tail = f.read()[-2000:]
        raise RuntimeError(f"no answer on port {port} within {limit} s; console:\n{tail}")

    def resident_mb(self):
        with open(f"/proc/{self.qemu.pid}/status") as f:
            for line in f:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) / 1024
        return 0.0

    def stop(self):
        self.qemu.kill()
        self.qemu.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("gave up waiting")
        time.sleep(0.005)


class Images:
    """Boot images of a program for both guests, made once per run from the same packed files."""

    def __init__(self, build, work):
        self.build, self.work = build, work
        self.made = {}

    def librettos(self, name, command, files):
        key = ("librettos", name)
        if key not in self.made:
            out = os.path.join(self.work, name + ".cpio")
            args = [os.path.join(self.build, "librettos"), "image", "-o", out]
            for f in files:
                args += ["--file", f]
            subprocess.run(args + ["--"] + command, check=True)
            self.made[key] = out
        return self.made[key]

    def linux(self, name, command, files):
        key = ("linux", name)
        if key not in self.made:
            packed = self.librettos(name, command, files)
            root = os.path.join(self.work, name + ".root")
            os.makedirs(root)
            with open(packed, "rb") as f:
                subprocess.run(["cpio", "-idm", "--quiet", "--no-absolute-filenames"], stdin=f,
                               cwd=root, check=True)
            base = os.path.join(self.build, "bench/linux/base")
            shutil.copytree(os.path.join(base, "guest"), os.path.join(root, "guest"))
            for d in ("proc", "sys", "dev", "run", "tmp"):
                os.makedirs(os.path.join(root, d), exist_ok=True)
            busybox = os.path.join(root, "bin/busybox")
            os.makedirs(os.path.dirname(busybox), exist_ok=True)
            shutil.copy(os.path.join(base, "bin/busybox"), busybox)
            shutil.copy(os.path.join(base, "init"), os.path.join(root, "init"))
            with open(os.path.join(root, "guest/command"), "w") as f:
                f.write(" ".join(command) + "\n")
            out = os.path.join(self.work, name + ".linux.cpio")
            with open(out, "wb") as f:
                find = subprocess.Popen(["find", "."], cwd=root, stdout=subprocess.PIPE)
                subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], stdin=find.stdout, stdout=f,
                               cwd=root, check=True)
                find.wait()
            shutil.rmtree(root)
            self.made[key] = out
        return self.made[key]

    def start(self, system, name, command, files=(), memory=512, plugin=None, cpus=1):
        if system == "linux":
            image = self.linux(name, command, files)
            kernel = os.path.join(self.build, "bench/linux/vmlinuz")
            cmdline = (f"console=ttyS0 quiet mitigations=off panic=-1 rdinit=/init "
                       f"guest.ip={GUEST_IP}/{PREFIX} guest.gw={HOST_IP}")
        else:
            image = self.librettos(name, command, files)
            kernel = os.path.join(self.build, "kernel.elf")
            cmdline = (f"role=app hostname=bench net0={GUEST_IP}/{PREFIX},gw={HOST_IP} -- "
                       + " ".join(command))
        return Guest(kernel, image, cmdline, memory, plugin, cpus)
