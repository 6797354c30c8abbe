"""IPv4, ARP, ICMP, UDP and IGMP against hosts that no stack would be. Each test begins with its RFC's section."""
import errno
import random
import time

import pytest

from outside import GUEST, MAC, Peer, agent, lab, peer  # noqa: F401 (fixtures)
from scapy.contrib.igmp import IGMP
from scapy.contrib.igmpv3 import IGMPv3, IGMPv3mq, IGMPv3mr
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw
from scapy.utils import checksum

CLOSED = 5000
EVERYBODY = "ff:ff:ff:ff:ff:ff"


def ping(peer, payload=b"abcd", mac=MAC, **ip):
    return Ether(src=peer.mac, dst=mac) / IP(**{"src": peer.ip, "dst": GUEST, **ip}) / ICMP(id=7, seq=1) / payload


def with_options(peer, options):
    """A ping with these bytes for IP options: scapy makes no malformed ones."""
    frame = ping(peer, ihl=5 + len(options) // 4, len=32 + len(options), chksum=0)
    raw = bytes(frame)
    head = bytearray(raw[14:34] + options)
    head[10:12] = checksum(bytes(head)).to_bytes(2, "big")
    return Raw(raw[:14] + bytes(head) + raw[34:])


def replies(peer, *frames):
    """The answers to pings of ours."""
    return [f for f in peer.answers(*frames, of=ICMP) if f[ICMP].type == 0]


def fragments(peer, datagram, cuts, ident, proto, **ip):
    """The bytes of a datagram cut at these places."""
    at = [0, *cuts, len(datagram)]
    return [peer.v4(id=ident, proto=proto, frag=a // 8, flags="MF" if b < len(datagram) else 0, **ip) /
            Raw(datagram[a:b]) for a, b in zip(at, at[1:])]


def whole_ping(size):
    return bytes(ICMP(id=9, seq=3) / random.randbytes(size))


def errors(peer, *frames):
    return [f[ICMP] for f in peer.answers(*frames, of=ICMP) if f[ICMP].type in (3, 4, 11, 12)]


# ---- IP ----

@pytest.mark.parametrize("order", ["forwards", "backwards", "shuffled"])
def test_791_3_2_reassembly(peer, order):
    datagram = whole_ping(4000)
    pieces = fragments(peer, datagram, range(504, 4008, 504), random.getrandbits(16), 1)
    if order == "backwards":
        pieces.reverse()
    elif order == "shuffled":
        random.shuffle(pieces)
    got = b""
    parts = sorted(peer.answers(*pieces, of=IP), key=lambda f: f.frag)
    for f in parts:
        assert f.frag * 8 == len(got)
        got += bytes(f[IP].payload)
    assert len(parts) == 3 and got[8:] == datagram[8:]


def test_815_fragments_of_several_datagrams_at_once(peer):
    """Told apart by source, destination, protocol and identification."""
    other = Peer.__new__(Peer)
    other.__dict__.update(peer.__dict__, ip="10.78.0.99")
    a, b = whole_ping(40), whole_ping(40)
    mixed = [f for pair in zip(fragments(peer, a, [16], 5, 1), fragments(other, b, [16], 5, 1),
                               fragments(peer, a, [16], 5, 17), fragments(peer, b, [16], 6, 1)) for f in pair]
    got = [bytes(f[IP].payload)[8:] for f in replies(peer, *mixed)]
    assert got == [a[8:], b[8:]]


def test_1858_3_tiny_fragments(peer):
    """Eight bytes each: put together, however small; no more than 64 of them."""
    datagram = whole_ping(192)
    got = replies(peer, *fragments(peer, datagram, range(8, 200, 8), 31, 1))
    assert [bytes(f[IP].payload)[8:] for f in got] == [datagram[8:]]
    datagram = whole_ping(792)
    assert not replies(peer, *fragments(peer, datagram, range(8, 800, 8), 32, 1))


def test_1858_4_overlap_that_rewrites_the_header(peer):
    """The second fragment would turn the first one's harmless flags into a SYN."""
    tcp = bytes(TCP(sport=next(Peer.ports), dport=7, flags="A", seq=5))
    evil = bytes(TCP(sport=next(Peer.ports), dport=7, flags="S", seq=5))
    pieces = [peer.v4(id=77, proto=6, flags="MF") / Raw(tcp[:16]), peer.v4(id=77, proto=6, frag=1) / Raw(evil[8:])]
    assert not peer.answers(*pieces, of=TCP)
    assert not peer.answers(*reversed(pieces), of=TCP)


@pytest.mark.parametrize("second", [(8, 24), (0, 32), (8, 16), (16, 32)])
def test_791_3_2_overlapping_fragments_drop_the_datagram(peer, second):
    datagram = whole_ping(56)
    ident = random.getrandbits(16)
    pieces = fragments(peer, datagram, [24], ident, 1)
    a, b = second
    pieces.insert(1, peer.v4(id=ident, proto=1, frag=a // 8, flags="MF") / Raw(datagram[a:b]))
    assert not replies(peer, *pieces)
    assert len(replies(peer, *fragments(peer, datagram, [24], ident, 1))) <= 1


def test_791_3_2_the_same_fragment_twice(peer):
    datagram = whole_ping(56)
    first, last = fragments(peer, datagram, [24], 41, 1)
    assert len(replies(peer, first, first, last)) == 1


def test_791_3_2_fragments_that_lie(peer):
    """Beyond 65,535 bytes, behind the end, of odd length, empty; and the next datagram is fine."""
    data = b"x" * 64
    lies = [
        [peer.v4(id=50, proto=1, frag=8189, flags="MF") / Raw(data)],
        [peer.v4(id=51, proto=1, frag=4) / Raw(data), peer.v4(id=51, proto=1, frag=20) / Raw(data)],
        [peer.v4(id=52, proto=1, frag=20, flags="MF") / Raw(data), peer.v4(id=52, proto=1, frag=4) / Raw(data)],
        [peer.v4(id=53, proto=1, flags="MF") / Raw(data[:61]), peer.v4(id=53, proto=1, frag=7) / Raw(data)],
        [peer.v4(id=54, proto=1, flags="MF"), peer.v4(id=54, proto=1, frag=0, flags="MF") / Raw(data)],
    ]
    for frames in lies:
        assert not peer.answers(*frames, of=ICMP)
    assert len(replies(peer, *fragments(peer, whole_ping(100), [48], 55, 1))) == 1


@pytest.mark.parametrize("field", [{"chksum": 0x1111}, {"version": 5}, {"ihl": 4}, {"ihl": 15}, {"len": 19},
                                   {"len": 2000}, {"len": 0}], ids=str)
def test_1122_3_2_1_header_checks(peer, field):
    assert not replies(peer, ping(peer, **field))


def test_894_padding_and_short_frames(peer):
    frame = bytes(ping(peer))
    got = replies(peer, Raw(frame + b"padding"))
    assert len(got) == 1 and got[0].len == 32
    for size in (14, 15, 20, 33):
        assert not peer.answers(Raw(frame[:size]), of=IP), size


@pytest.mark.parametrize("options,answered", [
    (b"\x07\x07\x04\0\0\0\0\0", True), (b"\x01\x01\x01\x00", True), (b"\x44\x08\x05\0\0\0\0\0", True),
    (b"\x94\x04\0\0", True), (b"\x99\x04\0\0", True), (b"\x83\x07\x04\x0a\x4e\0\x01\0", False),
    (b"\x89\x07\x04\x0a\x4e\0\x01\0", False), (b"\x07\x00\0\0", False), (b"\x07\x01\0\0", False),
    (b"\x07\x28\0\0", False), (b"\x01\x01\x01\x07", False)], ids=lambda o: o.hex() if isinstance(o, bytes) else "")
def test_7126_4_options(peer, options, answered):
    """Known and unknown ones are passed over, source routes and malformed ones are not."""
    assert len(replies(peer, with_options(peer, options))) == answered


@pytest.mark.parametrize("source", ["127.0.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0", GUEST, "10.78.0.255"])
def test_1122_3_2_1_3_sources_that_no_host_has(peer, agent, source):
    agent("u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    agent('u.bind(("0.0.0.0", 700))')
    agent("u.settimeout(0)")
    assert not [f for f in peer.answers(ping(peer, src=source), of=ICMP)]
    peer.answers(peer.v4(src=source) / UDP(sport=5, dport=700) / b"lie")
    if source == "0.0.0.0":  # what has no address yet may say something (DHCP)
        return
    with pytest.raises(BlockingIOError):
        agent("u.recv(10)")


def test_1122_3_2_2_no_error_to_many(peer):
    """Nothing comes back to what a broadcast or multicast, of either layer, brought."""
    for mac, ip in ((EVERYBODY, "10.78.0.255"), (EVERYBODY, "255.255.255.255"), ("01:00:5e:00:00:01", "224.0.0.1"),
                    (EVERYBODY, GUEST), ("01:00:5e:00:00:05", GUEST)):
        head = Ether(src=peer.mac, dst=mac) / IP(src=peer.ip, dst=ip)
        assert not peer.answers(head / UDP(sport=5, dport=CLOSED) / b"x", head.copy() / ICMP() / b"x",
                                Ether(src=peer.mac, dst=mac) / IP(src=peer.ip, dst=ip, proto=200) / b"x", of=ICMP), ip


def test_1122_3_2_1_7_ttl(peer):
    assert len(replies(peer, ping(peer, ttl=1))) == 1
    assert not peer.answers(ping(peer, dst="192.0.2.1"), of=ICMP)  # it forwards nothing, and is silent about it


def test_other_hosts_frames_are_left_alone(peer):
    assert not replies(peer, ping(peer, mac="02:00:00:00:07:07"))


# ---- ICMP ----

@pytest.mark.parametrize("size", [0, 1, 7, 63, 1471, 1472])
def test_1122_3_2_2_6_echo(peer, size):
    data = random.randbytes(size)
    (reply,) = replies(peer, ping(peer, data))
    assert reply[ICMP].id == 7 and bytes(reply[ICMP].payload)[:size] == data and reply.len == 28 + size


def test_1122_3_2_2_6_echo_to_many_is_not_answered(peer):
    for mac, ip in ((EVERYBODY, "10.78.0.255"), (EVERYBODY, "255.255.255.255"), ("01:00:5e:00:00:01", "224.0.0.1")):
        assert not replies(peer, ping(peer, mac=mac, dst=ip))


def test_792_damaged_messages(peer):
    bad = ping(peer)
    bad[ICMP].chksum = 0x4242
    assert not peer.answers(bad, of=ICMP)
    for size in (0, 1, 4, 7):
        assert not peer.answers(peer.v4(proto=1) / Raw(bytes(ICMP())[:size]), of=ICMP)


@pytest.mark.parametrize("kind", [4, 5, 9, 10, 13, 15, 17, 30, 42, 200])
def test_6918_obsolete_and_unknown_types(peer, kind):
    assert not peer.answers(peer.v4() / ICMP(type=kind) / b"12345678", of=ICMP)


def test_792_port_unreachable(peer):
    question = peer.v4(id=99) / UDP(sport=5, dport=CLOSED) / b"anybody?"
    (e,) = errors(peer, question)
    assert (e.type, e.code) == (3, 3)
    assert bytes(e.payload)[:28 + 8] == bytes(question)[14:14 + 28 + 8]


def test_1812_4_3_2_3_errors_quote_enough(peer):
    """All of it, or 576 bytes of error message."""
    for size in (100, 400, 1400):
        (e,) = errors(peer, peer.v4() / UDP(sport=5, dport=CLOSED) / (b"q" * size))
        assert len(bytes(e)) - 8 == min(28 + size, 576 - 28), size


def test_792_protocol_unreachable(peer):
    (e,) = errors(peer, peer.v4(proto=200) / b"12345678")
    assert (e.type, e.code) == (3, 2)


def test_1812_4_3_2_8_errors_are_limited(peer):
    question = Raw(bytes(peer.v4() / UDP(sport=5, dport=CLOSED) / b"?"))
    assert 30 < len(errors(peer, *[question] * 200)) < 150
    time.sleep(0.1)
    assert errors(peer, question)


def test_1122_3_2_2_no_error_about_errors(peer):
    inner = IP(src=GUEST, dst=peer.ip) / UDP(sport=5, dport=6) / b"x"
    time.sleep(0.1)
    for kind in (3, 4, 5, 11, 12):
        assert not peer.answers(peer.v4(proto=1) / ICMP(type=kind, code=0) / inner, of=ICMP)
    # Nor about a fragment but the first.
    assert not peer.answers(peer.v4(proto=200, frag=4) / b"12345678", of=ICMP)


def connected(agent, peer, port=4000):
    """A UDP socket of the domain, connected to us; its own port."""
    agent("u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    agent(f'u.connect(("{peer.ip}", {port}))')
    return agent("u.getsockname()[1]")


def about(peer, sport, dport=4000, src=GUEST, dst=None, length=1400, **icmp):
    quoted = IP(src=src, dst=dst or peer.ip, flags="DF", len=length) / UDP(sport=sport, dport=dport, len=length - 20)
    return peer.v4() / ICMP(**icmp) / quoted


def pending(agent):
    return agent("u.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)")


def test_1122_4_1_3_3_errors_reach_the_sender(peer, agent):
    port = connected(agent, peer)
    for code, number in ((3, errno.ECONNREFUSED), (2, errno.ENOPROTOOPT), (4, errno.EMSGSIZE), (1, 0)):
        peer.answers(about(peer, port, type=3, code=code, nexthopmtu=1500))
        assert pending(agent) == number, code
    peer.answers(about(peer, port, type=11, code=0))
    assert pending(agent) == 0


def test_5927_4_forged_errors_find_nobody(peer, agent):
    port = connected(agent, peer)
    good = {"type": 3, "code": 3}
    for wrong in ({"dport": 4001}, {"src": peer.ip}, {"dst": "10.78.0.9"}):
        peer.answers(about(peer, port, **good, **wrong))
        assert pending(agent) == 0, wrong
    damaged = about(peer, port, **good)
    damaged[ICMP].chksum = 1
    short = Raw(bytes(about(peer, port, **good))[:14 + 20 + 8 + 20 + 4])
    peer.answers(damaged, short)
    assert pending(agent) == 0
    peer.answers(about(peer, port, **good))
    assert pending(agent) == errno.ECONNREFUSED


def path_mtu(agent):
    return agent("u.getsockopt(socket.IPPROTO_IP, 14)")  # IP_MTU


def test_1191_6_3_path_mtu(peer, agent):
    port = connected(agent, peer)
    agent("u.setsockopt(socket.IPPROTO_IP, 10, 2)")  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
    assert path_mtu(agent) == 1500
    peer.answers(about(peer, port, type=3, code=4, nexthopmtu=1000))
    assert path_mtu(agent) == 1000
    # It does not grow again, and what it says is at least what every host takes (RFC 791).
    peer.answers(about(peer, port, type=3, code=4, nexthopmtu=1400))
    assert path_mtu(agent) == 1000
    assert pending(agent) == errno.EMSGSIZE
    with pytest.raises(OSError) as error:
        agent('u.send(b"m" * 1400)')
    assert error.value.errno == errno.EMSGSIZE
    peer.answers(about(peer, port, type=3, code=4, nexthopmtu=68))
    assert path_mtu(agent) == 576


def test_1191_5_router_that_does_not_say_the_size(peer, agent):
    port = connected(agent, peer)
    peer.answers(about(peer, port, type=3, code=4, nexthopmtu=0, length=1400))
    assert path_mtu(agent) == 1006  # the plateau below


def test_5927_7_path_mtu_is_not_shrunk_blindly(peer, agent):
    """Too big about what no socket of ours has sent is believed of nobody."""
    port = connected(agent, peer)
    peer.answers(about(peer, port ^ 1, type=3, code=4, nexthopmtu=600),
                 about(peer, port, dport=4001, type=3, code=4, nexthopmtu=600))
    tcp = IP(src=GUEST, dst=peer.ip, flags="DF") / TCP(sport=7, dport=1234, seq=1)
    peer.answers(peer.v4() / ICMP(type=3, code=4, nexthopmtu=600) / tcp)
    other = IP(src=GUEST, dst=peer.ip, flags="DF", proto=200) / b"12345678"
    peer.answers(peer.v4() / ICMP(type=3, code=4, nexthopmtu=600) / other)
    assert path_mtu(agent) == 1500


# ---- UDP ----

def test_768_lengths_and_checksums(peer):
    def echoed(**udp):
        return peer.answers(peer.v4() / UDP(sport=600, dport=7, **udp) / b"12345678", of=UDP)
    for wrong in ({"len": 7}, {"len": 0}, {"len": 17}, {"len": 65535}, {"chksum": 0x1111}):
        assert not echoed(**wrong), wrong
    for right in ({}, {"chksum": 0}, {"len": 12, "chksum": 0}):
        peer.send(peer.v4() / UDP(sport=600, dport=7, **right) / b"12345678")
        got = peer.expect(lambda f: UDP in f and f[UDP].sport == 7)
        assert got[UDP].len == right.get("len", 16)


def test_768_to_port_zero(peer):
    assert not peer.answers(peer.v4() / UDP(sport=600, dport=0) / b"x", of=UDP)


# ---- ARP ----

def arp(peer, op, psrc, pdst, hwdst="00:00:00:00:00:00", mac=EVERYBODY, hwsrc=None, **kw):
    return Ether(src=peer.mac, dst=mac) / ARP(op=op, hwsrc=hwsrc or peer.mac, psrc=psrc, hwdst=hwdst, pdst=pdst, **kw)


def known(agent, ip):
    """The MAC that the domain has for the address, or None."""
    words = agent(f'sh("ip", "neigh", "show", "{ip}")').split()
    return words[words.index("lladdr") + 1] if "lladdr" in words else None


def test_826_request_is_answered(peer):
    for mac in (EVERYBODY, MAC):
        a = peer.answer(arp(peer, 1, peer.ip, GUEST, mac=mac), of=ARP)[ARP]
        assert (a.op, a.hwsrc, a.psrc, a.hwdst, a.pdst) == (2, MAC, GUEST, peer.mac, peer.ip)
    assert not peer.answers(arp(peer, 1, peer.ip, "10.78.0.250"), of=ARP)


def test_5227_2_1_1_probe_is_answered(peer):
    a = peer.answer(arp(peer, 1, "0.0.0.0", GUEST), of=ARP)[ARP]
    assert (a.op, a.psrc, a.pdst, a.hwdst) == (2, GUEST, "0.0.0.0", peer.mac)


def test_5227_2_4_conflict_is_defended_once_in_ten_seconds(peer, lab):
    before = lab.machine.console.count("is also used by")
    got = peer.answers(arp(peer, 1, GUEST, GUEST), of=ARP)
    assert got and all(f[ARP].psrc == f[ARP].pdst == GUEST and f[ARP].hwsrc == MAC for f in got)
    assert not peer.answers(arp(peer, 2, GUEST, peer.ip, mac=MAC), arp(peer, 1, GUEST, GUEST), of=ARP)
    assert lab.machine.console.count("is also used by") == before + 1
    assert len(replies(peer, ping(peer))) == 1


def test_5227_3_announcement_updates_and_makes_nothing(peer, agent):
    stranger = "10.78.0.240"
    for op in (1, 2):
        assert not peer.answers(arp(peer, op, stranger, stranger), of=ARP)
        assert known(agent, stranger) is None
    peer.answers(arp(peer, 1, stranger, GUEST))  # it is about to talk to the domain
    assert known(agent, stranger) == peer.mac
    for op, moved in ((1, "02:00:00:00:05:05"), (2, "02:00:00:00:05:06")):
        peer.answers(arp(peer, op, stranger, stranger, hwsrc=moved))
        assert known(agent, stranger) == moved


def test_826_unasked_replies_make_nothing(peer, agent):
    peer.answers(arp(peer, 2, "10.78.0.241", GUEST, hwdst=MAC, mac=MAC))
    assert known(agent, "10.78.0.241") is None


@pytest.mark.parametrize("field", [{"hwtype": 6}, {"ptype": 0x86dd}, {"hwlen": 8}, {"plen": 16}, {"op": 3}, {"op": 0},
                                   {"hwsrc": EVERYBODY}, {"hwsrc": "01:00:5e:00:00:01"}], ids=str)
def test_826_damaged_packets(peer, agent, field):
    frame = arp(peer, 1, "10.78.0.242", GUEST)
    for name, value in field.items():
        frame[ARP].setfieldval(name, value)
    raw = bytes(frame)
    assert not peer.answers(Raw(raw), Raw(raw[:14 + 20]), of=ARP)
    assert known(agent, "10.78.0.242") is None


# ---- IGMP ----

GROUP, GROUP_MAC, V3_ROUTERS = "239.7.7.7", "01:00:5e:07:07:07", "224.0.0.22"
IS_INCLUDE, IS_EXCLUDE, TO_INCLUDE, TO_EXCLUDE, ALLOW, BLOCK = range(1, 7)


@pytest.fixture
def member(agent):
    """member(option, *addresses): sets a membership of a socket that is closed at the end."""
    agent("g = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    agent('g.bind(("0.0.0.0", 701))')

    def change(option, *addresses):
        agent(f'g.setsockopt(0, {option}, b"".join(map(socket.inet_aton, {addresses!r})))')
    yield change
    agent("g.close()")


def records(frames, group=GROUP):
    """(type, sources) of the IGMPv3 reports about the group among these frames."""
    found = []
    for f in frames:
        if IGMPv3mr in f:
            assert f.dst == "01:00:5e:00:00:16" and f[IP].dst == V3_ROUTERS and f[IP].ttl == 1 and f[IP].options
            found += [(r.rtype, sorted(r.srcaddrs)) for r in f[IGMPv3mr].records if r.maddr == group]
    return found


def reported(peer, wanted, seconds=3):
    return peer.expect(lambda f: wanted in records([f]), seconds, f"report {wanted}")


def test_3376_5_1_changes_are_reported(peer, member):
    for option, addresses, wanted in (
            (35, (GROUP, GUEST), (TO_EXCLUDE, [])), (38, (GROUP, GUEST, peer.ip), (BLOCK, [peer.ip])),
            (37, (GROUP, GUEST, peer.ip), (ALLOW, [peer.ip])), (36, (GROUP, GUEST), (TO_INCLUDE, [])),
            (39, (GROUP, GUEST, peer.ip), (ALLOW, [peer.ip])), (39, (GROUP, GUEST, "10.78.0.99"), (ALLOW, ["10.78.0.99"])),
            (40, (GROUP, GUEST, peer.ip), (BLOCK, [peer.ip])), (40, (GROUP, GUEST, "10.78.0.99"), (BLOCK, ["10.78.0.99"]))):
        member(option, *addresses)
        assert wanted in records(peer.answers()), wanted


def test_3376_5_1_report_comes_again(peer, member):
    member(35, GROUP, GUEST)
    reported(peer, (TO_EXCLUDE, []))
    reported(peer, (IS_EXCLUDE, []))


def query(peer, message, to="224.0.0.1"):
    mac = "01:00:5e:00:00:01" if to == "224.0.0.1" else GROUP_MAC
    return Ether(src=peer.mac, dst=mac) / IP(src=peer.ip, dst=to, ttl=1, tos=0xc0) / message


def v3_query(group="0.0.0.0"):
    return IGMPv3(type=0x11, mrcode=1) / IGMPv3mq(gaddr=group)


def test_3376_5_2_queries_are_answered(peer, member):
    member(39, GROUP, GUEST, peer.ip)
    reported(peer, (IS_INCLUDE, [peer.ip]))  # the second of the change
    for frame in (query(peer, v3_query()), query(peer, v3_query(GROUP), GROUP)):
        peer.send(frame)
        reported(peer, (IS_INCLUDE, [peer.ip]))
    damaged = query(peer, v3_query())
    damaged[IGMPv3].chksum = 1
    peer.send(damaged, query(peer, v3_query("239.7.7.8"), "239.7.7.8"))
    assert not records(peer.frames(0.5))


def test_3376_6_3_sources_are_filtered(peer, member, agent):
    member(39, GROUP, GUEST, peer.ip)
    agent("g.settimeout(3)")
    head = Ether(src=peer.mac, dst=GROUP_MAC)
    peer.send(head / IP(src="10.78.0.99", dst=GROUP) / UDP(sport=5, dport=701) / b"other",
              head / IP(src=peer.ip, dst=GROUP) / UDP(sport=5, dport=701) / b"wanted")
    assert agent("g.recv(10)") == b"wanted"


def test_3376_7_2_1_older_routers(peer, member, agent):
    """Last: from now on it speaks as they do, for minutes."""
    member(35, GROUP, GUEST)
    reported(peer, (IS_EXCLUDE, []))
    peer.send(query(peer, IGMP(type=0x11, mrcode=1)))
    report = peer.expect(lambda f: IGMP in f and f[IGMP].gaddr == GROUP, 3, "version 2 report")
    assert report[IGMP].type == 0x16 and report[IP].dst == GROUP and report.dst == GROUP_MAC
    member(36, GROUP, GUEST)
    leave = peer.expect(lambda f: IGMP in f and f[IGMP].type == 0x17, 3, "leave")
    assert leave[IP].dst == "224.0.0.2" and leave[IGMP].gaddr == GROUP
