"""Domains on a wire of the test's own: QEMU run directly, in a network namespace, behind a tap.

`librettos run` is for users; these tests want the NIC's other end: a tap with several queues, a link that
loses frames, a raw socket for hostile ones.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pytest

from conftest import BUILD, LIBRETTOS, wait_for

HOST, GUEST, PREFIX = "10.78.0.1", "10.78.0.2", 24
HOST6, GUEST6 = "fd00:78::1", "fd00:78::2"
MAC = "52:54:00:78:00:02"
NET0 = f"{GUEST}/{PREFIX},gw={HOST},{GUEST6}/64,gw6={HOST6}"
PEER = (sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peer.py"))
KERNEL = os.environ.get("LIBRETTOS_KERNEL", os.path.join(BUILD, "kernel.elf"))


class Namespace:
    """A network namespace, held by a sleeping process; everything started in it ends with it."""

    def __init__(self):
        root = os.geteuid() == 0
        if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            pytest.skip("this user may not open /dev/net/tun: no tap device")
        flags = ["--net"] + ([] if root else ["--user", "--map-root-user"])
        self.holder = subprocess.Popen(["unshare", *flags, "--", "sleep", "1000"],
                                       stderr=subprocess.PIPE, text=True)
        self.enter = ["nsenter", "-t", str(self.holder.pid), "--net"]
        if not root:
            self.enter += ["--user", "--preserve-credentials"]
        self.started = []
        try:
            wait_for(self._ready, 5, "a network namespace")
        except AssertionError:
            self.end()
            pytest.skip("neither root nor unprivileged user namespaces: no network namespace")

    def _ready(self):
        try:
            return (os.readlink(f"/proc/{self.holder.pid}/ns/net") !=
                    os.readlink("/proc/self/ns/net")) and self("true", check=False)[0] == 0
        except OSError:
            return False

    def popen(self, *command, **kw):
        process = subprocess.Popen(self.enter + [str(c) for c in command], **kw)
        self.started.append(process)
        return process

    def __call__(self, *command, timeout=60, check=True, **kw):
        """Runs a command to its end; returns (status, output)."""
        done = subprocess.run(self.enter + [str(c) for c in command], timeout=timeout, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, **kw)
        if check and done.returncode:
            raise AssertionError(f"{command}: exit {done.returncode}\n{done.stdout[-3000:]}")
        return done.returncode, done.stdout

    def tap(self, queues=1, name="tap0"):
        multi = ["multi_queue"] if queues > 1 else []
        self("ip", "tuntap", "add", name, "mode", "tap", *multi)
        for command in (f"link set lo up", f"addr add {HOST}/{PREFIX} dev {name}",
                        f"addr add {HOST6}/64 dev {name} nodad", f"link set {name} up"):
            self("ip", *command.split())
        return name

    def end(self):
        for process in reversed(self.started + [self.holder]):
            if process.poll() is None:
                process.kill()
            process.wait()


class Machine:
    """A domain in a namespace. `console` is what it printed; `status` QEMU's exit status."""

    def __init__(self, ns, image, command, netdev, device="", cpus=1, memory=512, net0=NET0,
                 options=(), kernel=KERNEL, cmdline=None):
        self.ns = ns
        self.dir = tempfile.mkdtemp(prefix="machine-")
        self.log = os.path.join(self.dir, "console")
        open(self.log, "w").close()  # for who looks before QEMU does
        if cmdline is None:
            cmdline = f"role=app loglevel=info net0={net0} -- " + " ".join(command)
        self.qemu = ns.popen(
            "qemu-system-x86_64", "-M",
            "q35,smbus=off,sata=off,usb=off,hpet=off,vmport=off,graphics=off",
            "-bios", "qboot.rom", "-accel", "tcg,thread=multi", "-cpu", "max,-erms,-smap,-la57",
            "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
            "-serial", "file:" + self.log, "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
            "-smp", cpus, "-m", memory, "-kernel", kernel, "-initrd", image, "-append", cmdline,
            "-netdev", netdev,
            "-device", f"virtio-net-pci,netdev=n0,mac={MAC},disable-legacy=on,romfile=" + device,
            *options, stdin=subprocess.DEVNULL)

    @property
    def console(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def wait_port(self, port, address=GUEST, seconds=30):
        def answers():
            assert self.qemu.poll() is None, self.console[-3000:]
            return self.ns("timeout", 1, "bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}",
                           check=False)[0] == 0
        try:
            wait_for(answers, seconds, f"port {port}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.console[-3000:]}") from None

    def check_alive(self):
        assert self.qemu.poll() is None, self.console[-4000:]
        assert "panic" not in self.console.lower(), self.console[-4000:]

    def end(self):
        if self.qemu.poll() is None:
            self.qemu.kill()
        self.qemu.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Wire:
    """Makes namespaces, machines, images and bad links, and ends them all."""

    def __init__(self, folder):
        self.folder = folder
        self.things = []

    def namespace(self):
        return self.keep(Namespace())

    def keep(self, thing):
        self.things.append(thing)
        return thing

    def image(self, command, files=(), packages=()):
        out = os.path.join(self.folder, f"image{len(self.things)}-{len(os.listdir(self.folder))}.cpio")
        args = [LIBRETTOS, "image", "-o", out]
        for f in files:
            args += ["--file", str(f)]
        for p in packages:
            args += ["--package", p]
        done = subprocess.run(args + [str(c) for c in command], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=60)
        assert done.returncode == 0, done.stdout
        return out

    def machine(self, ns, command, files=(), queues=1, image=None, make_tap=True,
                netdev="tap,id=n0,ifname=tap0,script=no,downscript=no,vhost=off", **kw):
        """A domain on a tap of the namespace."""
        if make_tap:
            ns.tap(queues)
        device = ""
        if queues > 1:
            netdev += f",queues={queues}"
            device = f",mq=on,vectors={2 * queues + 2}"
        return self.keep(Machine(ns, image or self.image(command, files), command, netdev, device,
                                 **kw))

    def bad_link(self, ns, command, files=(), conditions=(), image=None, machine=Machine, **kw):
        """A domain behind a link with the conditions of tests/tools/impair."""
        ns.tap()
        # A unix socket queues 10 datagrams by default; less would be lost on a good link.
        ns("sh", "-c", "echo 2000 > /proc/sys/net/unix/max_dgram_qlen")
        near, far = os.path.join(self.folder, "near"), os.path.join(self.folder, "far")
        self.link = ns.popen(os.path.join(BUILD, "impair"), "tap0", near, far, *conditions,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        wait_for(lambda: os.path.exists(near), 5, "impair")
        netdev = (f"dgram,id=n0,local.type=unix,local.path={far},"
                  f"remote.type=unix,remote.path={near}")
        return self.keep(machine(ns, image or self.image(command, files), command, netdev, **kw))

    def link_counts(self):
        """Ends the bad link; returns what it did, both directions together."""
        self.link.send_signal(signal.SIGTERM)
        done = json.loads(self.link.communicate(timeout=10)[0])
        return {name: n + done["to_host"][name] for name, n in done["to_guest"].items()}

    def end(self):
        for thing in reversed(self.things):
            thing.end()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def wire():
    w = Wire(tempfile.mkdtemp(prefix="wire-"))
    yield w
    w.end()
