"""Hosts on a domain's wire that a test plays frame by frame: scapy makes and reads the frames.

Packet sockets are opened in the test's network namespace and passed out, so scapy itself needs no
privileges there. The domain runs programs/agent.py.
"""
import ast
import itertools
import os
import socket
import sys
import tempfile
import time

import pytest

pytest.importorskip("scapy", reason="python3-scapy is not installed")
from scapy.layers.inet import ICMP, IP, TCP, in4_chksum  # noqa: E402
from scapy.layers.inet6 import (ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, IPv6, in6_chksum)  # noqa: E402
from scapy.layers.l2 import ARP, Ether  # noqa: E402
from scapy.utils import checksum  # noqa: E402

from machines import GUEST, GUEST6, MAC, Wire  # noqa: E402

FOLDER = os.path.dirname(os.path.abspath(__file__))
AGENT = os.path.join(FOLDER, "programs", "agent.py")
PACKAGES = ("python3", "libpython3.11-stdlib")
PASS_OUT = """import socket, sys
%s
socket.send_fds(socket.socket(fileno=int(sys.argv[1])), [b"it"], [s.fileno()])"""
# A packet socket that sees what the domain sends, and not what it is sent.
RAW = """s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("tap0", 0))
s.setsockopt(263, 23, 1)  # SOL_PACKET, PACKET_IGNORE_OUTGOING
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)"""
CONTROL = f's = socket.create_connection(("{GUEST}", 1), 10)'
GUEST_LINK6 = "fe80::5054:ff:fe78:2"
# The domain does all checksums and segments itself.
NO_OFFLOAD = [word for feature in ("csum", "gso", "host_tso4", "host_tso6", "host_ufo")
              for word in ("-global", f"virtio-net-pci.{feature}=off")]


def socket_in(ns, made_by):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ns(sys.executable, "-c", PASS_OUT % made_by, theirs.fileno(), pass_fds=[theirs.fileno()])
        return socket.socket(fileno=socket.recv_fds(ours, 2, 1)[1][0])


def check_sums(frame):
    """Of what the domain sends every checksum is right."""
    ip = frame.payload
    if isinstance(ip, IP):
        head = bytes(ip)[:ip.ihl * 4]
        assert checksum(head) == 0, frame.summary()
        body = bytes(frame)[14 + ip.ihl * 4:14 + ip.len]
        if not ip.frag and not ip.flags.MF:
            if ip.proto in (6, 17):
                assert in4_chksum(ip.proto, ip, body) == 0, frame.summary()
            elif ip.proto in (1, 2):
                assert checksum(body) == 0, frame.summary()
    elif isinstance(ip, IPv6) and ip.nh in (6, 17, 58):
        assert in6_chksum(ip.nh, ip, bytes(frame)[54:54 + ip.plen]) == 0, frame.summary()


class Agent:
    """agent("expression") evaluates it in the domain. An OSError there is one here."""

    def __init__(self, ns):
        self.socket = socket_in(ns, CONTROL)
        self.socket.settimeout(20)
        self.lines = self.socket.makefile()

    def __call__(self, line):
        self.socket.sendall(line.encode() + b"\n")
        kind, value = ast.literal_eval(self.lines.readline())
        if kind == "error":
            raise OSError(value, os.strerror(value))
        return value


class Peer:
    """A host: its own MAC and addresses, for which it answers ARP and neighbour solicitations."""

    ports = itertools.count(20000)

    def __init__(self, ns, n):
        self.mac = f"02:00:00:00:01:{n:02x}"
        self.ip, self.ip6, self.link6 = f"10.78.0.{100 + n}", f"fd00:78::{n:x}:66", f"fe80::{n:x}:66"
        self.mute = False  # does not answer
        self.socket = socket_in(ns, RAW)
        self.fences = itertools.count(1)

    def close(self):
        self.socket.close()

    def v4(self, **kw):
        return Ether(src=self.mac, dst=MAC) / IP(**{"src": self.ip, "dst": GUEST, **kw})

    def v6(self, **kw):
        return Ether(src=self.mac, dst=MAC) / IPv6(**{"src": self.ip6, "dst": GUEST6, **kw})

    def send(self, *frames):
        for frame in frames:
            self.socket.send(bytes(frame))

    def _answer(self, frame):
        if ARP in frame and frame[ARP].op == 1 and frame[ARP].pdst == self.ip:
            self.send(Ether(src=self.mac, dst=frame.src) /
                      ARP(op=2, hwsrc=self.mac, psrc=self.ip, hwdst=frame.src, pdst=frame[ARP].psrc))
        if ICMPv6ND_NS in frame and frame[ICMPv6ND_NS].tgt in (self.ip6, self.link6):
            target = frame[ICMPv6ND_NS].tgt
            self.send(Ether(src=self.mac, dst=frame.src) / IPv6(src=target, dst=frame[IPv6].src, hlim=255) /
                      ICMPv6ND_NA(tgt=target, S=1, O=1, R=0) / ICMPv6NDOptDstLLAddr(lladdr=self.mac))

    def frames(self, seconds):
        """What comes for us meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                frame = Ether(self.socket.recv(65536))
            except TimeoutError:
                return
            if frame.dst == self.mac or int(frame.dst[:2], 16) & 1:
                check_sums(frame)
                if not self.mute:
                    self._answer(frame)
                yield frame

    def expect(self, wanted, seconds=5, what="a frame"):
        """The first frame for which wanted(frame) is true."""
        seen = []
        for frame in self.frames(seconds):
            if wanted(frame):
                return frame
            seen.append(frame.summary())
        raise AssertionError(f"no {what} in {seconds} s; but: {seen}")

    def _fence(self):
        """A ping: what comes before its answer was the answer to what went before it."""
        n = next(self.fences)
        mute, self.mute = self.mute, False
        self.send(self.v4() / ICMP(type=8, id=0xfe7c, seq=n))
        for frame in self.frames(5):
            if ICMP in frame and frame[ICMP].type == 0 and frame[ICMP].id == 0xfe7c and frame[ICMP].seq == n:
                self.mute = mute
                return
            yield frame
        raise AssertionError("the domain answers no ping")

    def answers(self, *frames, of=None):
        """Sends the frames; what the stack sent us at once in return (of: what has this layer)."""
        self.send(*frames)
        # The second one is taken in when the batch of the first has ended, and with it what was deferred.
        return [f for _ in range(2) for f in self._fence() if of is None or of in f]

    def answer(self, *frames, of):
        """The same, for exactly one."""
        got = self.answers(*frames, of=of)
        assert len(got) == 1, [f.summary() for f in got]
        return got[0]


class Conversation:
    """A TCP connection whose client is played. `seq` and `ack` are what a segment has by default."""

    def __init__(self, peer, port=7, v6=False, options=(), sport=None):
        self.peer, self.port, self.v6, self.options = peer, port, v6, list(options)
        self.sport = sport or next(Peer.ports)
        self.seq, self.ack = 0x10000000, 0
        self.stamps = None  # (ours, theirs), once they are agreed upon

    def segment(self, flags, payload=b"", **kw):
        ip = self.peer.v6() if self.v6 else self.peer.v4()
        options = [("Timestamp", self.stamps)] if self.stamps else []
        fields = {"seq": self.seq, "ack": self.ack, "window": 8192, "options": options, **kw}
        return ip / TCP(sport=self.sport, dport=self.port, flags=flags, **fields) / payload

    def mine(self, frame):
        return TCP in frame and frame[TCP].dport == self.sport and frame[TCP].sport == self.port

    def answers(self, flags, payload=b"", **kw):
        """The segments that come back for this one."""
        return [f[TCP] for f in self.peer.answers(self.segment(flags, payload, **kw)) if self.mine(f)]

    def answer(self, flags, payload=b"", **kw):
        got = self.answers(flags, payload, **kw)
        assert len(got) == 1, got
        return got[0]

    def open(self):
        synack = self.answer("S", options=self.options)
        assert synack.flags == "SA" and synack.ack == self.seq + 1
        if (ours := dict(self.options).get("Timestamp")) and (theirs := dict(synack.options).get("Timestamp")):
            self.stamps = (ours[0], theirs[0])
        self.seq, self.ack = self.seq + 1, (synack.seq + 1) & 0xffffffff
        assert not self.answers("A")
        return synack

    def echo(self, data=b"hello", **kw):
        """Sends data and acknowledges what comes back. The segment that brought it."""
        self.peer.send(self.segment("PA", data, **kw))
        self.seq += len(data)
        got = self.peer.expect(lambda f: self.mine(f) and bytes(f[TCP].payload)[:len(data)] == data, what="echo")[TCP]
        assert got.ack == self.seq and got.seq == self.ack
        self.ack = (self.ack + len(data)) & 0xffffffff
        assert not [a for a in self.answers("A") if a.payload]
        return got

    def abort(self):
        self.peer.send(self.segment("R"))


class Lab:
    """A domain on a tap, with the agent."""

    def __init__(self, wire, **kw):
        self.ns = wire.namespace()
        command = ["/usr/bin/python3", "/agent.py"]
        image = wire.image(command, [f"{AGENT}:/agent.py", "/usr/sbin/ip"], PACKAGES)
        self.machine = wire.machine(self.ns, command, image=image, options=NO_OFFLOAD, **kw)
        self.machine.wait_port(1, seconds=60)
        self.agent = Agent(self.ns)
        self.numbers = itertools.count(1)


@pytest.fixture(scope="module")
def lab():
    wire = Wire(tempfile.mkdtemp(prefix="wire-"))
    try:
        yield Lab(wire)
    finally:
        wire.end()


@pytest.fixture
def agent(lab):
    return lab.agent


@pytest.fixture
def peer(lab):
    """A host that the domain has just met: it asks no more for its address."""
    it = Peer(lab.ns, next(lab.numbers))
    it.answers()
    yield it
    assert not it.answers(of=TCP), "the test left a connection that sends"
    it.close()
    lab.machine.check_alive()
