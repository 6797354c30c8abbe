"""IPv6, ICMPv6, neighbour discovery against hosts that no stack would be. Each test begins with its RFC's section."""
import errno
import random
import re
import time

import pytest

from conftest import wait_for
from outside import GUEST6, GUEST_LINK6, MAC, agent, lab, peer  # noqa: F401 (fixtures)
from scapy.layers.inet import UDP
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6MLDone,
                                ICMPv6MLQuery, ICMPv6MLQuery2, ICMPv6MLReport, ICMPv6MLReport2, ICMPv6ND_NA, ICMPv6ND_NS,
                                ICMPv6ND_RA, ICMPv6ND_Redirect, ICMPv6NDOptDstLLAddr, ICMPv6NDOptMTU,
                                ICMPv6NDOptPrefixInfo, ICMPv6NDOptSrcLLAddr, ICMPv6PacketTooBig, ICMPv6ParamProblem,
                                IPv6, IPv6ExtHdrFragment, in6_chksum)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

CLOSED = 5000
ALL_NODES, ALL_NODES_MAC = "ff02::1", "33:33:00:00:00:01"


def ping(data=b"abcd"):
    return ICMPv6EchoRequest(id=7, seq=1, data=data)


def replies(peer, *frames):
    return peer.answers(*frames, of=ICMPv6EchoReply)


def chained(peer, *headers, payload=None, **ip):
    """The headers, and a ping with its checksum: scapy makes none behind headers that it does not know."""
    frame = peer.v6(**ip)
    message = bytearray(bytes(payload if payload is not None else ping()))
    message[2:4] = in6_chksum(58, IPv6(src=frame[IPv6].src, dst=frame[IPv6].dst), bytes(message)).to_bytes(2, "big")
    for header in headers:
        frame = frame / header
    return frame / Raw(bytes(message))


def problem(peer, frame):
    """(code, pointer) of the parameter problem that comes back, or None."""
    got = peer.answers(frame, of=ICMPv6ParamProblem)
    assert len(got) <= 1
    return (got[0][ICMPv6ParamProblem].code, got[0][ICMPv6ParamProblem].ptr) if got else None


def option(kind, size=4):
    """A destination options header with one option of this type, and a ping behind it."""
    return Raw(bytes([58, 0, kind, size]) + bytes(4))


# ---- headers ----

@pytest.mark.parametrize("field", [{"version": 5}, {"plen": 2000}, {"plen": 7}, {"plen": 0}], ids=str)
def test_8200_3_header_checks(peer, field):
    assert not replies(peer, peer.v6(**field) / ping())


def test_8200_3_short_frames_and_padding(peer):
    frame = bytes(peer.v6() / ping())
    for size in (14, 15, 40, 53):
        assert not peer.answers(Raw(frame[:size]), of=IPv6), size
    (reply,) = replies(peer, Raw(frame + b"padding"))
    assert reply.plen == 12


@pytest.mark.parametrize("source", ["::1", "ff02::1", "::ffff:10.78.0.9", GUEST6, GUEST_LINK6])
def test_4291_2_sources_that_no_host_has(peer, agent, source):
    agent("u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)")
    agent('u.bind(("::", 700))')
    agent("u.settimeout(0)")
    assert not peer.answers(peer.v6(src=source) / ping(), of=ICMPv6EchoReply)
    peer.answers(peer.v6(src=source) / UDP(sport=5, dport=700) / b"lie")
    with pytest.raises(BlockingIOError):
        agent("u.recv(10)")
    agent("u.close()")


@pytest.mark.parametrize("number", [99, 253, 4, 41, 132])
def test_8200_4_unknown_next_header(peer, number):
    assert problem(peer, peer.v6(nh=number) / Raw(bytes(16))) == (1, 6)  # the field of the IPv6 header
    frame = peer.v6(nh=60) / Raw(bytes([number, 0, 1, 4]) + bytes(4 + 16))
    assert problem(peer, frame) == (1, 40)  # of the options header
    assert not peer.answers(peer.v6(nh=59) / Raw(b"nothing"), of=IPv6)  # "no next header" is none


def test_8200_4_1_order(peer):
    hop, dest = Raw(bytes([60, 0, 1, 4]) + bytes(4)), Raw(bytes([58, 0, 1, 4]) + bytes(4))
    assert len(replies(peer, chained(peer, hop, dest, nh=0))) == 1
    # Hop-by-hop options anywhere but first are an unknown header there.
    frame = chained(peer, Raw(bytes([0, 0, 1, 4]) + bytes(4)), Raw(bytes([58, 0, 1, 4]) + bytes(4)), nh=60)
    assert problem(peer, frame) == (1, 40)


@pytest.mark.parametrize("header", [0, 60], ids=["hop-by-hop", "destination"])
@pytest.mark.parametrize("kind,to_us,to_all", [(0x1e, "answer", "answer"), (0x5e, None, None),
                                               (0x9e, (2, 42), (2, 42)), (0xde, (2, 42), None)],
                         ids=["skip", "discard", "problem", "problem unless multicast"])
def test_8200_4_2_unknown_options(peer, header, kind, to_us, to_all):
    for frame, want in ((chained(peer, option(kind), nh=header), to_us),
                        (chained(peer, option(kind), nh=header, dst=ALL_NODES), to_all)):
        if frame[IPv6].dst == ALL_NODES:
            frame.dst = ALL_NODES_MAC
        got = peer.answers(frame)
        echoes = [f for f in got if ICMPv6EchoReply in f]
        problems = [(f[ICMPv6ParamProblem].code, f[ICMPv6ParamProblem].ptr) for f in got if ICMPv6ParamProblem in f]
        assert len(echoes) == (want == "answer")
        assert problems == ([want] if isinstance(want, tuple) else [])


def test_8200_4_2_padding_and_malformed_options(peer):
    for good in (bytes(6), b"\x01\x04\0\0\0\0", b"\x01\x00\x01\x02\0\0", b"\x05\x02\0\0\x01\0"):
        assert len(replies(peer, chained(peer, Raw(b"\x3a\x00" + good), nh=60))) == 1, good
    assert problem(peer, chained(peer, Raw(b"\x3a\x00\x01\x20\0\0\0\0"), nh=60)) == (0, 42)
    assert not peer.answers(peer.v6(nh=60) / Raw(b"\x3a\x20" + bytes(30)), of=IPv6)  # longer than the packet
    assert not peer.answers(peer.v6(nh=60) / Raw(b"\x3a"), of=IPv6)


def test_8200_4_4_routing(peer):
    for kind in (0, 3, 77):
        done = Raw(bytes([58, 0, kind, 0]) + bytes(4))
        assert len(replies(peer, chained(peer, done, nh=43))) == 1, kind
        left = Raw(bytes([58, 2, kind, 1]) + bytes(20))
        assert problem(peer, chained(peer, left, nh=43)) == (0, 42), kind  # RFC 5095 for type 0


def test_8504_5_3_many_headers(peer):
    """A chain without end is dropped; a long one is not the end of the world."""
    def chain(n):
        return [Raw(bytes([60 if i < n - 1 else 58, 0, 1, 4]) + bytes(4)) for i in range(n)]
    assert len(replies(peer, chained(peer, *chain(6), nh=60))) == 1
    assert not replies(peer, chained(peer, *chain(100), nh=60))


# ---- fragments ----

def whole_ping(peer, size, dst=GUEST6):
    """A ping's bytes with its checksum."""
    message = bytearray(bytes(ping(random.randbytes(size))))
    message[2:4] = bytes(2)
    message[2:4] = in6_chksum(58, IPv6(src=peer.ip6, dst=dst), bytes(message)).to_bytes(2, "big")
    return bytes(message)


def fragment(peer, data, offset, more, ident, nh=58, **ip):
    return peer.v6(**ip) / IPv6ExtHdrFragment(nh=nh, offset=offset // 8, m=more, id=ident) / Raw(data)


def fragments(peer, datagram, cuts, ident):
    at = [0, *cuts, len(datagram)]
    return [fragment(peer, datagram[a:b], a, b < len(datagram), ident) for a, b in zip(at, at[1:])]


@pytest.mark.parametrize("order", ["forwards", "backwards", "shuffled"])
def test_8200_4_5_reassembly(peer, order):
    datagram = whole_ping(peer, 4000)
    pieces = fragments(peer, datagram, range(504, 4008, 504), random.getrandbits(32))
    if order == "backwards":
        pieces.reverse()
    elif order == "shuffled":
        random.shuffle(pieces)
    got = b""
    parts = sorted(peer.answers(*pieces, of=IPv6ExtHdrFragment), key=lambda f: f[IPv6ExtHdrFragment].offset)
    for f in parts:
        assert f[IPv6ExtHdrFragment].offset * 8 == len(got)
        got += bytes(f[IPv6ExtHdrFragment].payload)
    assert len(parts) == 3 and got[8:] == datagram[8:]


@pytest.mark.parametrize("second", [(8, 24), (0, 32), (8, 16), (16, 32)])
def test_5722_4_overlapping_fragments(peer, second):
    datagram = whole_ping(peer, 56)
    ident = random.getrandbits(32)
    pieces = fragments(peer, datagram, [24], ident)
    a, b = second
    pieces.insert(1, fragment(peer, datagram[a:b], a, 1, ident))
    assert not replies(peer, *pieces)


def test_8200_4_5_the_same_fragment_twice(peer):
    first, last = fragments(peer, whole_ping(peer, 56), [24], 41)
    assert len(replies(peer, first, first, last)) == 1


def test_6946_4_atomic_fragments_are_their_own(peer):
    """They neither wait for, nor disturb, fragments with the same identification."""
    datagram = whole_ping(peer, 56)
    first, last = fragments(peer, datagram, [24], 99)
    alone = fragment(peer, whole_ping(peer, 8), 0, 0, 99)
    got = replies(peer, first, alone, last)
    assert sorted(f.plen for f in got) == [16, 64]


def test_8200_4_5_lengths(peer):
    assert problem(peer, fragment(peer, bytes(61), 0, 1, 1)) == (0, 4)  # not a multiple of eight: the payload length
    assert problem(peer, fragment(peer, bytes(64), 65528, 0, 2)) == (0, 42)  # too long: the offset
    assert not peer.answers(fragment(peer, b"", 8, 1, 3), fragment(peer, b"", 16, 0, 3), of=IPv6)


def test_8200_4_5_first_fragment_without_the_header(peer):
    """The first fragment has all headers (RFC 7112 5)."""
    frame = fragment(peer, bytes([58, 1, 1, 4]) + bytes(4), 0, 1, 71, nh=60)
    assert problem(peer, frame) == (3, 0)
    datagram = whole_ping(peer, 56)
    assert problem(peer, fragment(peer, bytes(8), 0, 1, 72, nh=6)) == (3, 0)
    assert len(replies(peer, *fragments(peer, datagram, [8], 73))) == 1


def test_6980_5_neighbour_discovery_in_fragments(peer, agent):
    message = bytes(peer.v6(hlim=255) / ICMPv6ND_NS(tgt=GUEST6) / ICMPv6NDOptSrcLLAddr(lladdr=peer.mac))[54:]
    assert not peer.answers(fragment(peer, message, 0, 0, 5, hlim=255), of=ICMPv6ND_NA)
    assert not peer.answers(fragment(peer, message[:24], 0, 1, 6, hlim=255),
                            fragment(peer, message[24:], 24, 0, 6, hlim=255), of=ICMPv6ND_NA)
    assert peer.answers(peer.v6(hlim=255) / Raw(message), of=IPv6) is not None


# ---- ICMPv6 ----

@pytest.mark.parametrize("size", [0, 1, 7, 1451, 1452])
def test_4443_4_echo(peer, size):
    data = random.randbytes(size)
    (reply,) = replies(peer, peer.v6() / ping(data))
    assert reply[ICMPv6EchoReply].data == data and reply.src == MAC and reply[IPv6].src == GUEST6


def test_4443_4_2_echo_to_all_nodes(peer):
    frame = Ether(src=peer.mac, dst=ALL_NODES_MAC) / IPv6(src=peer.link6, dst=ALL_NODES) / ping()
    (reply,) = replies(peer, frame)
    assert reply[IPv6].src == GUEST_LINK6


def test_4443_2_3_checksums(peer):
    bad = peer.v6() / ping()
    bad[ICMPv6EchoRequest].cksum = 0x4242
    assert not replies(peer, bad)
    for size in (0, 1, 4, 7):
        assert not peer.answers(peer.v6(nh=58) / Raw(bytes(size)), of=IPv6)


def test_4443_3_1_port_unreachable(peer):
    question = peer.v6() / UDP(sport=5, dport=CLOSED) / b"anybody?"
    e = peer.answer(question, of=ICMPv6DestUnreach)[ICMPv6DestUnreach]
    assert e.code == 4 and bytes(e.payload) == bytes(question)[14:]


def test_4443_2_4_c_errors_quote_as_much_as_fits(peer):
    for size in (100, 1000, 1400):
        e = peer.answer(peer.v6() / UDP(sport=5, dport=CLOSED) / (b"q" * size), of=ICMPv6DestUnreach)
        assert e.plen == min(8 + 48 + size, 1280 - 40), size


def test_4443_2_4_e_no_error_to_many_or_about_errors(peer):
    to_all = Ether(src=peer.mac, dst=ALL_NODES_MAC) / IPv6(src=peer.ip6, dst=ALL_NODES)
    nobody = peer.v6(src="::") / UDP(sport=5, dport=CLOSED) / b"x"
    about = peer.v6() / ICMPv6DestUnreach(code=4) / IPv6(src=GUEST6, dst=peer.ip6) / UDP(sport=1, dport=2)
    unknown = peer.v6(nh=58) / Raw(bytes([100, 0, 0, 0]) + bytes(8))
    assert not peer.answers(to_all / UDP(sport=5, dport=CLOSED) / b"x", to_all / Raw(bytes(8)), nobody, about, unknown,
                            of=IPv6)


def test_4443_2_4_f_errors_are_limited(peer):
    question = Raw(bytes(peer.v6() / UDP(sport=5, dport=CLOSED) / b"?"))
    assert 30 < len(peer.answers(*[question] * 200, of=ICMPv6DestUnreach)) < 150
    time.sleep(0.1)
    assert peer.answers(question, of=ICMPv6DestUnreach)


def connected(agent, peer, port=4000):
    agent("u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)")
    agent(f'u.connect(("{peer.ip6}", {port}))')
    return agent("u.getsockname()[1]")


def about(peer, sport, error, dport=4000, **ip):
    return peer.v6() / error / IPv6(src=GUEST6, dst=peer.ip6, **ip) / UDP(sport=sport, dport=dport) / (b"m" * 100)


def pending(agent):
    return agent("u.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)")


def test_5927_4_errors_true_and_forged(peer, agent):
    port = connected(agent, peer)
    unreachable = ICMPv6DestUnreach(code=4)
    peer.answers(about(peer, port, unreachable, dport=4001), about(peer, port ^ 1, unreachable),
                 peer.v6() / unreachable / Raw(bytes(IPv6(src=GUEST6, dst=peer.ip6, nh=17))))
    assert pending(agent) == 0
    peer.answers(about(peer, port, unreachable))
    assert pending(agent) == errno.ECONNREFUSED
    peer.answers(about(peer, port, ICMPv6ParamProblem(code=1)))
    assert pending(agent) == errno.EPROTO


def path_mtu(agent):
    return agent("u.getsockopt(socket.IPPROTO_IPV6, 24)")  # IPV6_MTU


def test_8201_4_path_mtu(peer, agent):
    port = connected(agent, peer)
    peer.answers(about(peer, port ^ 1, ICMPv6PacketTooBig(mtu=1300)))
    assert path_mtu(agent) == 1500  # RFC 5927: nobody sent that
    peer.answers(about(peer, port, ICMPv6PacketTooBig(mtu=1400)))
    assert path_mtu(agent) == 1400
    # Below 1280 it is ignored (RFC 8201 4), nor are atomic fragments sent (RFC 8021).
    for mtu in (1279, 68, 0):
        peer.answers(about(peer, port, ICMPv6PacketTooBig(mtu=mtu)))
        assert path_mtu(agent) == 1400
    assert pending(agent) == errno.EMSGSIZE  # told once, as on Linux
    agent('u.send(b"m" * 100)')
    assert IPv6ExtHdrFragment not in peer.expect(lambda f: UDP in f and f[UDP].dport == 4000)
    agent('u.send(b"m" * 1380)')
    assert peer.expect(lambda f: IPv6ExtHdrFragment in f).plen <= 1400 - 40


def test_8200_8_1_udp_checksum_is_not_optional(peer):
    assert not peer.answers(peer.v6() / UDP(sport=600, dport=7, chksum=0) / b"12345678", of=UDP)
    peer.send(peer.v6() / UDP(sport=600, dport=7) / b"12345678")
    peer.expect(lambda f: UDP in f and f[UDP].sport == 7)


# ---- neighbour discovery ----

def solicited(target):
    tail = target.rsplit(":", 1)[1].rjust(4, "0")
    return "ff02::1:ff00:" + tail, "33:33:ff:00:" + tail[:2] + ":" + tail[2:]


def solicit(peer, target=GUEST6, options=True, src=None, hlim=255, dst=None, **ns):
    group, mac = solicited(target)
    frame = Ether(src=peer.mac, dst=mac) / IPv6(src=src or peer.ip6, dst=dst or group, hlim=hlim) / ICMPv6ND_NS(
        tgt=target, **ns)
    return frame / ICMPv6NDOptSrcLLAddr(lladdr=peer.mac) if options else frame


def test_4861_7_2_4_solicitation_is_answered(peer):
    a = peer.answer(solicit(peer), of=ICMPv6ND_NA)
    na = a[ICMPv6ND_NA]
    assert (na.tgt, na.S, na.O, na.R) == (GUEST6, 1, 1, 0) and a[IPv6].hlim == 255 and a[IPv6].dst == peer.ip6
    assert a[ICMPv6NDOptDstLLAddr].lladdr == MAC
    assert not peer.answers(solicit(peer, "fd00:78::777"), of=ICMPv6ND_NA)


def test_4862_5_4_3_duplicate_detection_is_answered(peer):
    a = peer.answer(solicit(peer, src="::", options=False), of=ICMPv6ND_NA)
    assert (a[ICMPv6ND_NA].S, a[ICMPv6ND_NA].O) == (0, 1) and a[IPv6].dst == ALL_NODES


def test_4861_7_1_1_damaged_solicitations(peer):
    good = solicit(peer)
    wrong = [solicit(peer, hlim=254), solicit(peer, code=1), solicit(peer, src="::"),
             solicit(peer, src="::", options=False, dst=GUEST6),
             solicit(peer, options=False) / Raw(b"\x01\x00" + bytes(6)),
             solicit(peer, options=False) / Raw(b"\x01\x02" + bytes(6)),
             solicit(peer, options=False) / Raw(b"\x01\x01\0"),
             Ether(src=peer.mac, dst=MAC) / IPv6(src=peer.ip6, dst=GUEST6, hlim=255) / ICMPv6ND_NS(tgt=ALL_NODES)]
    for frame in wrong:
        assert not peer.answers(frame, of=ICMPv6ND_NA), frame.summary()
    assert peer.answers(good, of=ICMPv6ND_NA)


def advert(peer, target=None, lladdr=None, dst=GUEST6, src=None, hlim=255, options=True, **na):
    flags = {"R": 0, "S": 0, "O": 0, **na}
    frame = Ether(src=peer.mac, dst=MAC if dst == GUEST6 else ALL_NODES_MAC) / IPv6(
        src=src or peer.ip6, dst=dst, hlim=hlim) / ICMPv6ND_NA(tgt=target or peer.ip6, **flags)
    return frame / ICMPv6NDOptDstLLAddr(lladdr=lladdr or peer.mac) if options else frame


def neighbour(agent, address):
    """(MAC, state, router) of what the domain knows, or None."""
    text = agent(f'sh("ip", "-6", "neigh", "show", "{address}")')
    m = re.search(r"lladdr (\S+) (router )?(\w+)", text)
    return (m[1], m[3], bool(m[2])) if m else None


def meet(peer, agent):
    """The domain asks for us, and knows us."""
    replies(peer, peer.v6() / ping())
    assert neighbour(agent, peer.ip6)[:2] == (peer.mac, "REACHABLE")


def test_4861_7_2_5_advertisements(peer, agent):
    other = "02:00:00:00:05:06"
    assert not peer.answers(advert(peer, "fd00:78::999", S=1, O=1), of=ICMPv6ND_NA)
    assert neighbour(agent, "fd00:78::999") is None  # none is made
    meet(peer, agent)
    for frame in (advert(peer, lladdr=other, O=1, hlim=254), advert(peer, lladdr=other, O=1, code=1),
                  advert(peer, lladdr=other, O=1, S=1, dst=ALL_NODES),
                  advert(peer, lladdr="33:33:00:00:00:01", O=1)):
        peer.answers(frame)
        assert neighbour(agent, peer.ip6)[:2] == (peer.mac, "REACHABLE"), frame.summary()
    # Without the override flag another address only raises a doubt ...
    peer.answers(advert(peer, lladdr=other))
    assert neighbour(agent, peer.ip6)[:2] == (peer.mac, "STALE")
    # ... which a solicited one without an address settles.
    peer.answers(advert(peer, S=1, options=False))
    assert neighbour(agent, peer.ip6)[:2] == (peer.mac, "REACHABLE")
    peer.answers(advert(peer, lladdr=other, O=1, dst=ALL_NODES))
    assert neighbour(agent, peer.ip6)[:2] == (other, "STALE")
    peer.answers(advert(peer, S=1, O=1))
    assert neighbour(agent, peer.ip6)[:2] == (peer.mac, "REACHABLE")


def test_4861_7_2_3_solicitation_teaches(peer, agent):
    peer.mute = True
    peer.answers(solicit(peer))
    assert neighbour(agent, peer.ip6)[0] == peer.mac


def test_4861_7_2_2_unreachable_neighbour(peer, agent):
    """Three solicitations a second apart, then the socket is told."""
    peer.mute = True
    agent("u = socket.socket(socket.AF_INET6)")
    agent("u.setblocking(False)")
    begin = time.monotonic()
    assert agent(f'u.connect_ex(("{peer.ip6}", 9))') == errno.EINPROGRESS
    asked = [f for f in peer.frames(3.5) if ICMPv6ND_NS in f and f[ICMPv6ND_NS].tgt == peer.ip6]
    assert len(asked) == 3 and asked[0][IPv6].hlim == 255
    assert asked[0][ICMPv6NDOptSrcLLAddr].lladdr == MAC
    wait_for(lambda: pending(agent) == errno.EHOSTUNREACH, 3, "EHOSTUNREACH")
    assert time.monotonic() - begin > 2.5


# ---- routers ----

def router_advert(peer, *options, src=None, hlim=255, lifetime=0, **kw):
    frame = Ether(src=peer.mac, dst=ALL_NODES_MAC) / IPv6(src=src or peer.link6, dst=ALL_NODES, hlim=hlim) / \
        ICMPv6ND_RA(routerlifetime=lifetime, chlim=64, M=0, O=0, **kw) / ICMPv6NDOptSrcLLAddr(lladdr=peer.mac)
    for o in options:
        frame = frame / o
    return frame


def prefix(number, valid=86400, preferred=14400, L=1, A=1, length=64):
    return ICMPv6NDOptPrefixInfo(prefix=f"fd00:79:{number:x}::", prefixlen=length, validlifetime=valid,
                                 preferredlifetime=preferred, L=L, A=A)


def addresses(agent):
    """{address: the line of `ip addr` and the next}"""
    text = agent('sh("ip", "-6", "addr", "show", "dev", "eth0")')
    return {m[1]: m[0] for m in re.finditer(r"inet6 (\S+)/\d+ .*\n.*", text)}


def slaac(number):
    return f"fd00:79:{number:x}:0:5054:ff:fe78:2"


def lifetimes(agent, number):
    m = re.search(r"valid_lft (\w+?)(?:sec)? preferred_lft (\w+?)(?:sec)?$", addresses(agent)[slaac(number)], re.M)
    return int(m[1]), int(m[2])


def routes(agent):
    return agent('sh("ip", "-6", "route")')


def test_4862_5_5_3_prefix_makes_an_address(peer, agent):
    peer.answers(router_advert(peer, prefix(1)))
    valid, preferred = lifetimes(agent, 1)
    assert 86395 <= valid <= 86400 and 14395 <= preferred <= 14400
    assert "fd00:79:1::/64 dev eth0" in routes(agent)
    assert len(replies(peer, peer.v6(dst=slaac(1)) / ping())) == 1


@pytest.mark.parametrize("wrong", [{"hlim": 254}, {"src": "fd00:78::5"}, {"code": 1}], ids=str)
def test_4861_6_1_2_damaged_advertisements(peer, agent, wrong):
    peer.answers(router_advert(peer, prefix(2), lifetime=1800, **wrong))
    assert slaac(2) not in addresses(agent)
    assert f"default via {peer.link6}" not in routes(agent)


def test_4862_5_5_3_prefixes_that_make_none(peer, agent):
    before = addresses(agent).keys()
    peer.answers(router_advert(peer, prefix(3, A=0), prefix(4, valid=100, preferred=200), prefix(5, length=63),
                               prefix(6, valid=0, preferred=0), ICMPv6NDOptPrefixInfo(prefix="fe80::", A=1, L=1),
                               ICMPv6NDOptPrefixInfo(prefix="ff05::", A=1, L=1), prefix(8, length=200)))
    assert addresses(agent).keys() == before
    assert "fd00:79:3::/64 dev eth0" in routes(agent)


def test_4862_5_5_3_e_two_hours(peer, agent):
    """A forged advertisement does not end an address before two hours have passed."""
    peer.answers(router_advert(peer, prefix(7)))
    peer.answers(router_advert(peer, prefix(7, valid=10, preferred=5)))
    valid, preferred = lifetimes(agent, 7)
    assert 7190 <= valid <= 7200 and preferred <= 5
    peer.answers(router_advert(peer, prefix(7, valid=7300, preferred=0)))
    assert 7290 <= lifetimes(agent, 7)[0] <= 7300
    wait_for(lambda: "deprecated" in addresses(agent)[slaac(7)], 5, "the address to be deprecated")
    peer.answers(router_advert(peer, prefix(7, valid=5, preferred=5)))
    assert lifetimes(agent, 7)[0] > 7190


def test_4862_5_5_4_address_ends(peer, agent):
    peer.answers(router_advert(peer, prefix(9, valid=2, preferred=1)))
    assert slaac(9) in addresses(agent)
    wait_for(lambda: slaac(9) not in addresses(agent), 6, "the address to end")
    assert "fd00:79:9::/64" not in routes(agent)


def test_5942_4_prefix_that_is_not_on_the_link(peer, agent):
    peer.answers(router_advert(peer, prefix(10, L=0)))
    assert slaac(10) in addresses(agent)
    assert "fd00:79:a::/64" not in routes(agent)
    peer.answers(router_advert(peer, prefix(10)))
    assert "fd00:79:a::/64 dev eth0" in routes(agent)


def test_4861_6_3_4_default_router(peer, agent):
    peer.answers(router_advert(peer, lifetime=1800))
    assert f"default via {peer.link6} dev eth0 proto ra" in routes(agent)
    assert neighbour(agent, peer.link6)[2]
    peer.answers(router_advert(peer, lifetime=0))
    assert f"default via {peer.link6}" not in routes(agent)
    peer.answers(router_advert(peer, lifetime=2))
    assert f"default via {peer.link6}" in routes(agent)
    wait_for(lambda: f"default via {peer.link6}" not in routes(agent), 5, "the route to end")


def test_4861_7_2_5_router_that_is_a_host_now(peer, agent):
    peer.answers(router_advert(peer, lifetime=1800))
    assert f"default via {peer.link6}" in routes(agent)
    frame = Ether(src=peer.mac, dst=MAC) / IPv6(src=peer.link6, dst=GUEST_LINK6, hlim=255) / ICMPv6ND_NA(
        tgt=peer.link6, R=0, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=peer.mac)
    peer.answers(frame)
    assert f"default via {peer.link6}" not in routes(agent)


def test_4861_6_3_4_mtu(peer, agent):
    def mtu():
        return int(re.search(r"mtu (\d+)", agent('sh("ip", "link", "show", "eth0")'))[1])
    for wrong in (1279, 0, 9000):
        peer.answers(router_advert(peer, ICMPv6NDOptMTU(mtu=wrong)))
        assert mtu() == 1500


def test_4861_8_1_redirects_are_not_believed(peer, agent):
    meet(peer, agent)
    before = routes(agent)
    frame = Ether(src=peer.mac, dst=MAC) / IPv6(src=peer.link6, dst=GUEST6, hlim=255) / ICMPv6ND_Redirect(
        tgt="fe80::bad", dst=peer.ip6) / ICMPv6NDOptDstLLAddr(lladdr="02:00:00:00:0b:ad")
    assert not peer.answers(frame, of=IPv6)
    assert routes(agent) == before and neighbour(agent, peer.ip6)[0] == peer.mac


def test_6104_many_prefixes_and_routers_are_bounded(peer, agent):
    """A flood of advertisements makes 16 addresses and 4 routers at most."""
    before = len(addresses(agent))
    for n in range(100, 140):
        peer.answers(router_advert(peer, prefix(n, valid=3, preferred=3), src=f"fe80::{n}", lifetime=3))
    assert len(addresses(agent)) - before <= 16
    assert routes(agent).count("proto ra") < 60 and routes(agent).count("default via fe80::1") <= 4
    wait_for(lambda: len(addresses(agent)) <= before, 8, "the addresses to end")


# ---- duplicate addresses ----

@pytest.mark.parametrize("by", ["advertisement", "solicitation"])
def test_4862_5_4_duplicate_address_is_given_up(peer, agent, by):
    number = 200 if by == "advertisement" else 201
    address = slaac(number)
    peer.send(router_advert(peer, prefix(number)))
    asks = peer.expect(lambda f: ICMPv6ND_NS in f and f[ICMPv6ND_NS].tgt == address, what="duplicate detection")
    assert asks[IPv6].src == "::" and ICMPv6NDOptSrcLLAddr not in asks
    if by == "advertisement":
        peer.answers(advert(peer, address, src=address, dst=ALL_NODES, O=1))
    else:
        peer.answers(Ether(src=peer.mac, dst=asks.dst) / IPv6(src="::", dst=asks[IPv6].dst, hlim=255) /
                     ICMPv6ND_NS(tgt=address))
    assert address not in addresses(agent)


def test_4862_5_4_duplicate_of_an_address_that_was_set(peer, agent):
    address = "fd00:78::d0b"
    agent(f'sh("ip", "addr", "add", "{address}/64", "dev", "eth0")')
    peer.expect(lambda f: ICMPv6ND_NS in f and f[ICMPv6ND_NS].tgt == address and f[IPv6].src == "::")
    peer.answers(advert(peer, address, src=address, dst=ALL_NODES, O=1))
    assert address not in addresses(agent)


def test_4862_5_4_later_claims_are_not_believed(peer, agent):
    """An address that was in use already stays, whoever claims it."""
    peer.answers(advert(peer, GUEST6, dst=ALL_NODES, O=1), advert(peer, GUEST6, src=GUEST6, dst=ALL_NODES, O=1))
    assert GUEST6 in addresses(agent)
    assert len(replies(peer, peer.v6() / ping())) == 1


# ---- MLD ----

GROUP, GROUP_MAC = "ff05::7:7", "33:33:00:07:00:07"
IS_INCLUDE, IS_EXCLUDE, TO_INCLUDE, TO_EXCLUDE, ALLOW, BLOCK = range(1, 7)


@pytest.fixture
def member(agent):
    """member(option, source): MCAST_JOIN_GROUP and its kin, of a socket that is closed at the end."""
    agent("import struct")
    agent("g = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)")
    agent('six = lambda a: struct.pack("=HHI16s104x", 10, 0, 0, socket.inet_pton(10, a))')

    def change(option, *addresses):
        agent(f'g.setsockopt(41, {option}, struct.pack("=I4x", 2) + b"".join(map(six, {addresses!r})))')
    yield change
    agent("g.close()")


def records(frames):
    found = []
    for f in frames:
        if ICMPv6MLReport2 in f:
            assert f[IPv6].dst == "ff02::16" and f[IPv6].hlim == 1 and f[IPv6].nh == 0 and f[IPv6].src == GUEST_LINK6
            found += [(r.rtype, sorted(r.sources)) for r in f[ICMPv6MLReport2].records if r.dst == GROUP]
    return found


def reported(peer, wanted, seconds=3):
    return peer.expect(lambda f: wanted in records([f]), seconds, f"report {wanted}")


def query(peer, message, hlim=1, src=None):
    return Ether(src=peer.mac, dst=ALL_NODES_MAC) / IPv6(src=src or peer.link6, dst=ALL_NODES, hlim=hlim) / message


def test_3810_6_1_changes_are_reported(peer, member):
    for option, addresses, wanted in (
            (42, (GROUP,), (TO_EXCLUDE, [])), (43, (GROUP, peer.ip6), (BLOCK, [peer.ip6])),
            (44, (GROUP, peer.ip6), (ALLOW, [peer.ip6])), (45, (GROUP,), (TO_INCLUDE, [])),
            (46, (GROUP, peer.ip6), (ALLOW, [peer.ip6])), (47, (GROUP, peer.ip6), (BLOCK, [peer.ip6]))):
        member(option, *addresses)
        assert wanted in records(peer.answers()), wanted


def test_3810_6_2_queries_are_answered(peer, member):
    member(42, GROUP)
    reported(peer, (IS_EXCLUDE, []))  # the second of the change
    peer.send(query(peer, ICMPv6MLQuery2(mladdr="::", mrd=100)))
    reported(peer, (IS_EXCLUDE, []))
    for wrong in (query(peer, ICMPv6MLQuery2(mladdr="::", mrd=100), hlim=2),
                  query(peer, ICMPv6MLQuery2(mladdr="::", mrd=100), src=peer.ip6),
                  query(peer, ICMPv6MLQuery2(mladdr="ff05::7:8", mrd=100))):
        peer.send(wrong)
    assert not records(peer.frames(0.5))


def test_3810_8_2_1_older_routers(peer, member):
    """Last: from now on it speaks as they do, for minutes."""
    member(42, GROUP)
    reported(peer, (IS_EXCLUDE, []))
    peer.send(query(peer, ICMPv6MLQuery(mladdr="::", mrd=100)))
    report = peer.expect(lambda f: ICMPv6MLReport in f and f[ICMPv6MLReport].mladdr == GROUP, 3, "version 1 report")
    assert report[IPv6].dst == GROUP and report.dst == GROUP_MAC
    member(45, GROUP)
    done = peer.expect(lambda f: ICMPv6MLDone in f, 3, "done")
    assert done[IPv6].dst == "ff02::2" and done[ICMPv6MLDone].mladdr == GROUP
