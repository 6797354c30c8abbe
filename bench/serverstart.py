"""How long a network server takes from the start of its QEMU to the first packet that it answers."""
import os
import socket
import subprocess
import threading
import time

from guests import TAP, Supervised

SHARED_IP = "10.77.0.4"


def started_at(pid):
    """Of a process, on the clock of time.monotonic(), to a hundredth of a second."""
    with open(f"/proc/{pid}/stat") as f:
        ticks = int(f.read().rsplit(")", 1)[1].split()[19])
    offset = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    return ticks / os.sysconf("SC_CLK_TCK") - offset


def start(guest):
    guest.run(["/usr/bin/sleep", "1000"], ["--address", "shared"], name="sleeper", address=SHARED_IP)


def refused(stop):
    """When a UDP port of the shared address was refused first: the server's own stack is there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((SHARED_IP, 9))
        s.settimeout(0.001)
        while not stop.is_set():
            try:
                s.send(b"?")
                s.recv(16)
            except ConnectionRefusedError:
                return time.monotonic()
            except (TimeoutError, OSError):
                time.sleep(0.0005)
    return None


def server_of(guest):
    return next(d for d in guest.ps() if d["kind"] == "network server")


def run(build):
    """Seconds. The server's MAC address is learned from a first start, so that no ARP request of this
    host's, which come a second apart, is waited for."""
    guest = Supervised(build)
    try:
        start(guest)
        if not refused(threading.Event()):
            raise RuntimeError("the server does not answer")
        line = subprocess.run(["ip", "neigh", "show", SHARED_IP], stdout=subprocess.PIPE, text=True,
                              check=True).stdout.split()
        mac = line[line.index("lladdr") + 1]
    finally:
        guest.stop()
    subprocess.run(["ip", "neigh", "replace", SHARED_IP, "lladdr", mac, "dev", TAP], check=True)
    guest, stop, answered = Supervised(build), threading.Event(), []
    watcher = threading.Thread(target=lambda: answered.append(refused(stop)))
    try:
        watcher.start()
        start(guest)
        watcher.join(20)
        stop.set()
        if not answered or not answered[0]:
            raise RuntimeError("the server does not answer")
        return answered[0] - started_at(server_of(guest)["pid"])
    finally:
        stop.set()
        guest.stop()
        subprocess.run(["ip", "neigh", "del", SHARED_IP, "dev", TAP], check=False)
