"""TCP against a peer that does what no stack does. Each test begins with the section of its RFC."""
import errno
import itertools
import time

import pytest

from outside import GUEST, Conversation, Peer, agent, lab, peer  # noqa: F401 (fixtures)
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

BOTH = pytest.mark.parametrize("v6", [False, True], ids=["IPv4", "IPv6"])
FLAGS = ["".join(f for f, on in zip("FSRPA", bits) if on) for bits in itertools.product([0, 1], repeat=5)]
CLOSED = 5000


@BOTH
def test_9293_3_5_handshake_data_and_close(peer, v6):
    c = Conversation(peer, v6=v6, options=[("MSS", 1460)])
    options = dict(c.open().options)
    assert options["MSS"] == (1440 if v6 else 1460) and "WScale" not in options and "SAckOK" not in options
    c.echo()
    fin = c.answers("FA")
    c.seq += 1
    # The program closes when it has read the end: with the ACK, or a moment later.
    if not any("F" in a.flags for a in fin):
        fin = [peer.expect(lambda f: c.mine(f) and "F" in f[TCP].flags)[TCP]]
    assert fin[-1].ack == c.seq and fin[-1].seq == c.ack
    c.ack += 1
    assert not c.answers("A")
    assert c.answer("A").flags == "R"  # LAST-ACK has ended: nobody is there


@BOTH
def test_9293_3_10_7_1_closed_port(peer, v6):
    for flags in FLAGS:
        c = Conversation(peer, CLOSED, v6=v6)
        c.ack = 0x77777777
        got = c.answers(flags, b"data")
        if "R" in flags:
            assert not got, flags
            continue
        (a,) = got
        if "A" in flags:
            assert a.flags == "R" and a.seq == c.ack, flags
        else:
            length = 4 + ("S" in flags) + ("F" in flags)
            assert a.flags == "RA" and a.seq == 0 and a.ack == c.seq + length, flags


@BOTH
def test_9293_3_10_7_2_listener(peer, v6):
    for flags in FLAGS:
        c = Conversation(peer, v6=v6)
        c.ack = 0x77777777
        got = c.answers(flags)
        if "R" in flags:
            assert not got, flags
        elif "A" in flags:
            (a,) = got
            assert a.flags == "R" and a.seq == c.ack, flags
        elif "S" in flags and "F" not in flags:
            (a,) = got
            assert a.flags == "SA" and a.ack == c.seq + 1, flags
            c.seq += 1
            c.abort()
        elif "S" in flags:  # as Linux: a SYN with a FIN is nobody's
            assert not got or got[0].flags == "SA", flags
            c.seq += 1
            c.abort()
        else:
            assert not got, flags


def connecting(peer, agent):
    """The domain's SYN of a connection to us: (conversation, the SYN)."""
    port = next(Peer.ports)
    agent("s = socket.socket()")
    agent("s.setblocking(False)")
    assert agent(f's.connect_ex(("{peer.ip}", {port}))') == errno.EINPROGRESS
    syn = peer.expect(lambda f: TCP in f and f[TCP].dport == port, what="SYN")[TCP]
    c = Conversation(peer, syn.sport, sport=port)
    c.ack = syn.seq + 1
    return c, syn


def so_error(agent):
    return agent("s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)")


def test_9293_3_10_7_3_syn_sent_wrong_ack(peer, agent):
    c, syn = connecting(peer, agent)
    a = c.answer("A", ack=syn.seq + 77)
    assert a.flags == "R" and a.seq == syn.seq + 77
    assert c.answer("SA", ack=syn.seq).flags == "R"
    assert so_error(agent) == 0
    assert c.answer("SA").flags == "A"
    c.seq += 1
    c.abort()
    assert so_error(agent) == errno.ECONNRESET


def test_9293_3_10_7_3_syn_sent_reset(peer, agent):
    c, syn = connecting(peer, agent)
    assert not c.answers("R")  # without an ACK
    assert not c.answers("RA", ack=syn.seq + 9)
    assert so_error(agent) == 0
    assert not c.answers("RA")
    assert so_error(agent) == errno.ECONNREFUSED


def test_9293_3_5_simultaneous_open(peer, agent):
    c, syn = connecting(peer, agent)
    a = c.answer("S")
    assert a.flags == "SA" and a.seq == syn.seq and a.ack == c.seq + 1
    c.seq += 1
    assert not c.answers("A")
    agent('s.send(b"both")')
    assert bytes(peer.expect(lambda f: c.mine(f) and f[TCP].payload)[TCP].payload) == b"both"
    c.abort()


def test_9293_3_10_7_4_syn_received_takes_the_syn_again(peer):
    c = Conversation(peer)
    first = c.answer("S")
    again = c.answer("S")
    assert first.flags == again.flags == "SA" and first.seq == again.seq
    c.seq += 1
    # An ACK of what was never sent: a reset, and the handshake goes on.
    a = c.answer("A", ack=first.seq + 1000)
    assert a.flags == "R" and a.seq == first.seq + 1000
    c.ack = first.seq + 1
    assert not c.answers("A")
    c.echo()
    c.abort()


def test_9293_3_10_7_4_segment_outside_the_window(peer):
    c = Conversation(peer)
    c.open()
    for seq in (c.seq - 100, c.seq + (1 << 30)):
        a = c.answer("PA", b"x" * 10, seq=seq)
        assert a.flags == "A" and a.seq == c.ack and a.ack == c.seq
        time.sleep(0.6)  # such ACKs are limited to one in half a second
    c.echo()
    c.abort()


def test_9293_3_10_7_4_without_ack_is_dropped(peer):
    c = Conversation(peer)
    c.open()
    for flags in ("", "F", "P", "U"):
        assert not c.answers(flags, b"data")
    c.echo()
    c.abort()


def test_9293_3_10_7_4_overlapping_and_disordered_data(peer):
    c = Conversation(peer)
    c.open()
    text = bytes(range(65, 91))
    order = [(10, 20), (5, 12), (18, 26), (3, 8)]
    for start, end in order:
        (a,) = c.answers("A", text[start:end], seq=c.seq + start)
        assert a.ack == c.seq
    peer.send(c.segment("PA", text[0:4]))
    c.seq += 26
    got = b""
    while len(got) < 26:
        got += bytes(peer.expect(lambda f: c.mine(f) and f[TCP].payload)[TCP].payload)
    assert got == text
    c.ack += 26
    c.abort()


def test_9293_3_5_3_half_open(peer):
    """The peer has lost its connection and begins anew on the same ports: RFC 9293 figure 9, RFC 5961 4.2."""
    c = Conversation(peer)
    c.open()
    a = c.answer("S", seq=c.seq + 77777777)
    assert a.flags == "A" and a.ack == c.seq and a.seq == c.ack
    assert not c.answers("R", seq=a.ack)
    fresh = Conversation(peer, sport=c.sport)
    fresh.seq = 0x40000000
    fresh.open()
    fresh.echo()
    fresh.abort()


@BOTH
def test_5961_3_2_reset(peer, v6):
    c = Conversation(peer, v6=v6)
    c.open()
    assert not c.answers("R", seq=c.seq - 1)
    assert not c.answers("R", seq=c.seq + (1 << 30))
    a = c.answer("R", seq=c.seq + 100)  # in the window
    assert a.flags == "A" and a.ack == c.seq and a.seq == c.ack
    c.echo()
    assert not c.answers("R")
    assert c.answer("A").flags == "R"


def test_5961_4_2_syn(peer):
    c = Conversation(peer)
    c.open()
    for flags, seq in (("S", c.seq + 100), ("S", c.seq - 1000), ("SA", c.seq)):
        a = c.answer(flags, seq=seq)
        assert a.flags == "A" and a.ack == c.seq and a.seq == c.ack
        time.sleep(0.6)
    c.echo()
    c.abort()


def test_5961_5_2_ack(peer):
    """Neither an ACK of what was not sent nor a very old one brings data in."""
    c = Conversation(peer)
    c.open()
    for ack in (c.ack + 1000, c.ack - (1 << 30)):
        a = c.answer("PA", b"evil", ack=ack & 0xffffffff)
        assert a.flags == "A" and a.ack == c.seq
        time.sleep(0.6)
    c.echo()
    c.abort()


def test_5961_7_challenge_acks_are_limited(peer):
    c = Conversation(peer)
    c.open()
    got = [f for f in peer.answers(*[c.segment("S", seq=c.seq + 100)] * 300) if c.mine(f)]
    assert 1 <= len(got) <= 3
    c.echo()
    c.abort()


def test_7323_5_3_paws(peer):
    c = Conversation(peer, options=[("Timestamp", (1000, 0))])
    assert dict(c.open().options)["Timestamp"][1] == 1000
    theirs = c.stamps[1]
    a = c.answer("PA", b"old", options=[("Timestamp", (500, theirs))])
    assert a.flags == "A" and a.ack == c.seq
    c.stamps = (1001, theirs)
    c.echo()
    assert not c.answers("R", options=[("Timestamp", (1, theirs))])
    assert c.answer("A").flags == "R"


def test_7323_2_2_window_scale(peer):
    c = Conversation(peer, options=[("MSS", 1460), ("WScale", 3), ("SAckOK", b"")])
    options = dict(c.open().options)
    assert "WScale" in options and "SAckOK" in options
    # Ours is 8 * 4 bytes: so much comes and no more.
    peer.send(c.segment("PA", b"y" * 100, window=4))
    c.seq += 100
    got = peer.expect(lambda f: c.mine(f) and f[TCP].payload)[TCP]
    assert len(got.payload) == 32
    c.abort()


def test_2018_sack(peer):
    c = Conversation(peer, options=[("MSS", 1460), ("SAckOK", b"")])
    c.open()
    (a,) = c.answers("A", b"later", seq=c.seq + 10)
    assert a.ack == c.seq and dict(a.options)["SAck"] == (c.seq + 10, c.seq + 15)
    (a,) = c.answers("A", b"later", seq=c.seq + 10)  # RFC 2883: again
    assert dict(a.options)["SAck"][:2] == (c.seq + 10, c.seq + 15)
    c.abort()


def test_9293_3_1_malformed_headers(peer):
    c = Conversation(peer, CLOSED)
    assert c.answer("S").flags == "RA"
    for field in ({"chksum": 0x1234}, {"dataofs": 4}, {"dataofs": 15}):
        assert not c.answers("S", **field), field
    whole = bytes(c.segment("S")[TCP])
    for size in (0, 1, 8, 19):
        assert not peer.answers(peer.v4(proto=6) / whole[:size], of=TCP), size
        assert not peer.answers(peer.v6(nh=6) / whole[:size], of=TCP), size


@pytest.mark.parametrize("options", [b"\x02", b"\x02\x00\x00\x00", b"\x02\x01\x00\x00", b"\x02\x28\x05\xb4",
                                     b"\x03\x03\xff\x00", b"\x05\x0b" + b"\xff" * 10, b"\x08\x0a\0\0",
                                     b"\xfe\x03\x00\x00", b"\x01" * 40])
def test_9293_3_2_malformed_options(peer, options):
    """Of a SYN whose options are wrong the rest holds."""
    c = Conversation(peer)
    options = options.ljust((len(options) + 3) // 4 * 4, b"\0")
    syn = TCP(sport=c.sport, dport=c.port, flags="S", seq=c.seq, dataofs=5 + len(options) // 4) / options
    a = [f[TCP] for f in peer.answers(peer.v4() / syn) if c.mine(f)]
    assert len(a) == 1 and a[0].flags == "SA"
    c.seq += 1
    c.abort()


def test_1122_4_2_3_10_syn_to_many(peer):
    """A SYN to a broadcast or multicast address, of either layer, is nobody's."""
    syn = TCP(sport=next(Peer.ports), dport=7, flags="S")
    for mac, ip in (("ff:ff:ff:ff:ff:ff", "10.78.0.255"), ("ff:ff:ff:ff:ff:ff", "255.255.255.255"),
                    ("01:00:5e:00:00:01", "224.0.0.1"), ("ff:ff:ff:ff:ff:ff", GUEST)):
        for port in (7, CLOSED):
            syn.dport = port
            assert not peer.answers(Ether(src=peer.mac, dst=mac) / IP(src=peer.ip, dst=ip) / syn, of=TCP), ip
    frame = Ether(src=peer.mac, dst="33:33:00:00:00:01") / IPv6(src=peer.ip6, dst="ff02::1") / syn
    assert not peer.answers(frame, of=TCP)


def test_1122_3_2_1_3_from_ourselves(peer, agent):
    """From our own address, or one that no host has ("land")."""
    for source in (GUEST, "127.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1"):
        before = agent('open("/proc/net/tcp").read() + open("/proc/net/tcp6").read()').count("\n")
        assert not peer.answers(peer.v4(src=source) / TCP(sport=7, dport=7, flags="S"), of=TCP)
        after = agent('open("/proc/net/tcp").read() + open("/proc/net/tcp6").read()').count("\n")
        assert after == before, source


def test_4987_3_6_syn_flood_and_cookies(peer):
    """More SYNs than the listener keeps: each is answered, and one that was forgotten connects all the same."""
    begun = [Conversation(peer, options=[("MSS", 1460)]) for _ in range(200)]
    got = peer.answers(*[c.segment("S", options=c.options) for c in begun], of=TCP)
    synacks = {f[TCP].dport: f[TCP] for f in got if f[TCP].flags == "SA"}
    assert len(synacks) == 200
    for c in (begun[-1], begun[0]):
        c.seq += 1
        c.ack = synacks[c.sport].seq + 1
        assert not c.answers("A")
        c.echo()
    guess = Conversation(peer)
    guess.ack = c.ack ^ 0x555
    assert guess.answer("A").flags == "R"
    for c in begun:
        if c.ack == 0:
            c.seq += 1
        c.abort()


def test_9293_3_8_1_synack_comes_again(peer):
    c = Conversation(peer)
    first = c.answer("S")
    again = peer.expect(lambda f: c.mine(f), seconds=4, what="second SYN-ACK")[TCP]
    assert again.flags == "SA" and again.seq == first.seq
    c.seq += 1
    c.abort()


def test_9293_3_10_7_4_time_wait(peer, agent):
    """TIME-WAIT answers a FIN that comes again, takes no reset, and lets a new SYN in (RFC 1122 4.2.2.13)."""
    c, syn = connecting(peer, agent)
    assert c.answer("SA").flags == "A"
    c.seq += 1
    agent("s.close()")
    fin = peer.expect(lambda f: c.mine(f) and "F" in f[TCP].flags)[TCP]
    c.ack = fin.seq + 1
    assert c.answer("FA").flags == "A"
    a = c.answer("FA")
    assert a.flags == "A" and a.ack == c.seq + 1 and a.seq == c.ack
    c.seq += 1
    assert not c.answers("R")  # RFC 1337
    time.sleep(0.6)
    assert c.answer("FA", seq=c.seq - 1).flags == "A"


# ---- ICMP errors about TCP ----

def error_about(c, seq, **icmp):
    """An ICMP error that quotes a segment of the domain's."""
    quoted = IP(src=GUEST, dst=c.peer.ip, flags="DF", ttl=64) / TCP(sport=c.port, dport=c.sport, seq=seq, flags="A")
    return c.peer.v4() / ICMP(**icmp) / quoted


def test_5927_4_1_forged_errors_are_not_believed(peer, agent):
    c, syn = connecting(peer, agent)
    for code in (1, 2, 3):
        peer.answers(error_about(c, syn.seq + 1000, type=3, code=code))
    assert so_error(agent) == 0
    peer.answers(error_about(c, syn.seq, type=3, code=3))
    assert so_error(agent) == errno.ECONNREFUSED


def test_5927_5_2_hard_errors_are_soft_once_connected(peer):
    c = Conversation(peer)
    c.open()
    for code in (1, 2, 3):
        peer.answers(error_about(c, c.ack, type=3, code=code))
    c.echo()
    c.abort()


def test_5927_7_2_path_mtu(peer):
    """Too big is believed of what is in flight, and never below 576 bytes."""
    c = Conversation(peer, options=[("MSS", 1460)])
    c.open()
    peer.send(c.segment("PA", b"z" * 1400))
    c.seq += 1400
    assert len(peer.expect(lambda f: c.mine(f) and f[TCP].payload)[TCP].payload) == 1400
    assert not [f for f in peer.answers(error_about(c, c.ack - 100000, type=3, code=4, nexthopmtu=600)) if c.mine(f)]
    got = [f[TCP] for f in peer.answers(error_about(c, c.ack, type=3, code=4, nexthopmtu=68)) if c.mine(f)]
    assert got and max(len(f.payload) for f in got) == 576 - 40
    c.abort()
