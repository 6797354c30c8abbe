"""The guests that are compared, on one tap: a LibrettOS domain with a NIC of its own (direct path), one
behind a network server (server path), and a Linux guest.

All get the same QEMU flags, the same program files and the same address. Everything runs in a network
namespace of the benchmark's own.
"""
import json
import mmap
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

HOST_IP, GUEST_IP, PREFIX, TAP = "10.77.0.1", "10.77.0.2", 24, "tap0"
MAC = "52:54:00:77:00:02"
# Under TCG "rep movsb" is slow and 5-level paging adds to every walk: without erms, smap and la57 the
# Linux guest is at its best. Both guests get the same CPU.
CPU = "max,-erms,-smap,-la57"


def enter_namespace():
    """Runs this program again in a network namespace of its own."""
    if os.environ.get("BENCH_NAMESPACE"):
        return
    os.environ["BENCH_NAMESPACE"] = "1"
    unshare = ["unshare", "--net"] + ([] if os.geteuid() == 0 else ["--user", "--map-root-user"])
    os.execvp("unshare", unshare + ["--", sys.executable] + sys.argv)


class Counters:
    """The instruction counters that the TCG plugin keeps in a shared file."""

    def __init__(self, path):
        wait_for(lambda: os.path.exists(path) and os.path.getsize(path) == 16, 10)
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 16)

    def read(self):
        return struct.unpack("<QQ", self.map[:16])


class Sum:
    """Several guests counted together."""

    def __init__(self, counters):
        self.counters = counters

    def read(self):
        return tuple(map(sum, zip(*(c.read() for c in self.counters))))


def resident_mb(pid):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0.0


def first_answer(started, address, port, limit, probe, alive):
    """Seconds from `started` to the first answer on the port; None if there is none."""
    while time.monotonic() < started + limit and alive():
        try:
            with socket.create_connection((address, port), timeout=0.25) as s:
                if probe:
                    s.settimeout(2)
                    s.sendall(probe)
                    if not s.recv(64):
                        continue
                return time.monotonic() - started
        except OSError:
            time.sleep(0.001)
    return None


class Guest:
    """A QEMU of ours on a tap: both the direct path and Linux."""

    def __init__(self, kernel, image, cmdline, memory, plugin=None, cpus=1, tap=TAP, mac=MAC,
                 address=GUEST_IP, netdev=None):
        self.address = address
        netdev = netdev or f"tap,ifname={tap},script=no,downscript=no,vhost=off"
        self.dir = tempfile.mkdtemp(prefix="bench-")
        self.console = os.path.join(self.dir, "console")
        args = [
            "qemu-system-x86_64",
            "-M", "q35,smbus=off,sata=off,usb=off,hpet=off,vmport=off,graphics=off",
            "-bios", "qboot.rom", "-accel", "tcg,thread=multi", "-cpu", CPU,
            "-smp", str(cpus), "-m", str(memory), "-nodefaults", "-no-user-config", "-no-reboot",
            "-display", "none", "-serial", "file:" + self.console,
            "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
            "-netdev", f"{netdev},id=n0",
            "-device", f"virtio-net-pci,netdev=n0,mac={mac},disable-legacy=on",
            "-kernel", kernel, "-initrd", image, "-append", cmdline,
        ]
        self.counters = None
        if plugin:
            counts = os.path.join(self.dir, "insn")
            args += ["-plugin", f"{plugin},counts={counts}"]
        self.started = time.monotonic()
        self.qemu = subprocess.Popen(args, stdin=subprocess.DEVNULL)
        if plugin:
            self.counters = Counters(counts)

    def first_answer(self, port, limit, probe=None):
        seconds = first_answer(self.started, self.address, port, limit, probe,
                               lambda: self.qemu.poll() is None)
        if seconds:
            return seconds
        raise RuntimeError(f"no answer on port {port} within {limit} s; console:\n{self.output()}")

    def output(self, whole=False):
        if not os.path.exists(self.console):
            return ""  # QEMU has not got that far
        with open(self.console, errors="replace") as f:
            return f.read() if whole else f.read()[-4000:]

    def resident_mb(self):
        return resident_mb(self.qemu.pid)

    def stop(self):
        self.qemu.kill()
        self.qemu.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Supervised:
    """Domains behind a network server that owns the tap, started as a user does."""

    def __init__(self, build, plugin=None):
        self.command = os.path.join(build, "librettos")
        self.dir = tempfile.mkdtemp(prefix="bench-")
        self.env = dict(os.environ, XDG_RUNTIME_DIR=self.dir, LIBRETTOS_SERVER_IDLE_MS="0")
        self.plugin = plugin
        self.counters = None
        self.started = time.monotonic()

    def run(self, command, options, name="bench", address=GUEST_IP, wait=False):
        """Starts a domain; with `wait` to its end, returning its output."""
        args = [self.command, "run", "--name", name, "--path", "server", "--tap", TAP, "--ip",
                f"{address}/{PREFIX},gw={HOST_IP}", "--cpu", CPU, *options]
        if self.plugin:
            counts = [os.path.join(self.dir, who) for who in ("domain.insn", "server.insn")]
            self.env["LIBRETTOS_SERVER_QEMU_ARGS"] = f"-plugin {self.plugin},counts={counts[1]}"
            args += ["--qemu-arg", "-plugin", "--qemu-arg", f"{self.plugin},counts={counts[0]}"]
        self.started = time.monotonic()
        done = subprocess.run(args + ([] if wait else ["-d"]) + ["--"] + command, env=self.env,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120)
        if done.returncode:
            raise RuntimeError(f"librettos run ended with {done.returncode}: {done.stdout[-2000:]}")
        if self.plugin:
            self.counters = Sum([Counters(c) for c in counts])
        return done.stdout

    def ps(self):
        done = subprocess.run([self.command, "ps", "--json"], env=self.env, check=True, text=True,
                              stdout=subprocess.PIPE)
        return json.loads(done.stdout)

    def doorbells(self):
        """Rung so far by any side of any channel."""
        channels = [d.get("channel") or {} for d in self.ps()]
        return sum(c.get("doorbells_in", 0) + c.get("doorbells_out", 0) for c in channels)

    def first_answer(self, port, limit, probe=None):
        seconds = first_answer(self.started, GUEST_IP, port, limit, probe, lambda: True)
        if seconds:
            return seconds
        raise RuntimeError(f"no answer on port {port} within {limit} s")

    def resident_mb(self):
        return sum(resident_mb(d["pid"]) for d in self.ps())

    def stop(self):
        domains = self.ps()
        for domain in domains:
            if domain["kind"] == "application":
                subprocess.run([self.command, "stop", "--time", "0", domain["name"]], env=self.env,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # The server goes when nobody uses it any more; the tap is free only then.
        wait_for(lambda: not any(os.path.exists(f"/proc/{d['pid']}") for d in domains), 20)
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
        if system == "server":
            guest = Supervised(self.build, plugin)
            options = ["-m", f"{memory}M", "-c", str(cpus)]
            for f in files:
                options += ["--file", f]
            try:
                guest.run(command, options)
            except (RuntimeError, subprocess.SubprocessError):
                guest.stop()
                raise
            return guest
        if system == "linux":
            return self.start_linux(name, command, files, memory, plugin, cpus)
        return self.start_librettos(name, command, files, memory, plugin, cpus)

    def start_librettos(self, name, command, files=(), memory=512, plugin=None, cpus=1,
                        address=GUEST_IP, **nic):
        image = self.librettos(name, command, files)
        kernel = os.path.join(self.build, "kernel.elf")
        cmdline = (f"role=app hostname=bench net0={address}/{PREFIX},gw={HOST_IP} -- "
                   + " ".join(command))
        return Guest(kernel, image, cmdline, memory, plugin, cpus, address=address, **nic)

    def start_linux(self, name, command, files=(), memory=512, plugin=None, cpus=1,
                    address=GUEST_IP, **nic):
        image = self.linux(name, command, files)
        kernel = os.path.join(self.build, "bench/linux/vmlinuz")
        cmdline = (f"console=ttyS0 quiet mitigations=off panic=-1 rdinit=/init "
                   f"guest.ip={address}/{PREFIX} guest.gw={HOST_IP}")
        return Guest(kernel, image, cmdline, memory, plugin, cpus, address=address, **nic)
