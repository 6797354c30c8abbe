"""What runs on the other end of the wire, inside the test's network namespace: python3 peer.py COMMAND ...

  echo ADDRESS PORT SIZE...       UDP datagrams of these sizes, each must come back
  idle ADDRESS PORT N             opens N connections, says "open", holds them until its stdin ends
  dhcp DEVICE SERVER ADDRESS      gives ADDRESS to whoever asks
  dns ADDRESS NAME ANSWER         a name server that knows one name
  flood DEVICE MAC GUEST PORT S   SYNs from random addresses for S seconds
  noise DEVICE MAC GUEST GUEST6 S SEED   random and nearly correct frames for S seconds
"""
import os
import random
import socket
import struct
import sys
import time


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff


def mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


def ip4(source, target, proto, payload, ident=0):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), ident, 0, 64, proto, 0, source,
                       target)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def tcp(source, target, sport, dport, seq, ack, flags, options=b"", payload=b""):
    head = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, (20 + len(options)) // 4 << 4, flags,
                       65535, 0, 0) + options + payload
    pseudo = source + target + struct.pack("!HH", 6, len(head))
    return head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:]


def raw_device(device):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    s.bind((device, 0))
    return s


def echo(address, port, *sizes):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        for size in map(int, sizes):
            data = random.randbytes(size)
            s.sendto(data, (address, int(port)))
            got = s.recv(65536)
            assert got == data, f"{size} bytes sent, {len(got)} came back"


def idle(address, port, count):
    connections = []
    for _ in range(int(count)):
        s = socket.create_connection((address, int(port)), timeout=10)
        connections.append(s)
    print("open", flush=True)
    sys.stdin.read()


def dhcp(device, server, address):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    s.bind(("0.0.0.0", 67))
    print("ready", flush=True)
    while True:
        asked = s.recv(2048)
        kind, i = 0, 240
        while i < len(asked) and asked[i] != 255:
            if asked[i] == 0:
                i += 1
                continue
            if asked[i] == 53:
                kind = asked[i + 2]
            i += 2 + asked[i + 1]
        if kind not in (1, 3):
            continue
        me = socket.inet_aton(server)
        options = b"".join([b"\x63\x82\x53\x63", bytes([53, 1, 2 if kind == 1 else 5]),
                            bytes([54, 4]) + me, bytes([51, 4]) + struct.pack("!I", 3600),
                            bytes([1, 4, 255, 255, 255, 0]), bytes([3, 4]) + me,
                            bytes([6, 4]) + me, b"\xff"])
        head = struct.pack("!BBBB4sHH4s4s4s4s", 2, 1, 6, 0, asked[4:8], 0, 0, bytes(4),
                           socket.inet_aton(address), me, bytes(4))
        s.sendto(head + asked[28:44] + bytes(192) + options, ("255.255.255.255", 68))


def dns(address, name, answer):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((address, 53))
    print("ready", flush=True)
    wanted = b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0"
    while True:
        asked, client = s.recvfrom(2048)
        end = asked.index(b"\0", 12) + 5
        known = asked[12:end - 4].lower() == wanted
        kind = struct.unpack("!H", asked[end - 4:end - 2])[0]
        record = b""
        if known and kind == 1:
            record = struct.pack("!HHHIH", 0xc00c, 1, 1, 60, 4) + socket.inet_aton(answer)
        head = asked[:2] + struct.pack("!HHHHH", 0x8180 if known else 0x8183, 1, bool(record), 0, 0)
        s.sendto(head + asked[12:end] + record, client)


def flood(device, mac, guest, port, seconds):
    s = raw_device(device)
    ether = mac_bytes(mac) + bytes.fromhex("020000000001") + b"\x08\x00"
    target = socket.inet_aton(guest)
    end, sent = time.monotonic() + float(seconds), 0
    while time.monotonic() < end:
        source = bytes([100]) + os.urandom(3)
        segment = tcp(source, target, random.randint(1024, 65535), int(port),
                      random.getrandbits(32), 0, 2, b"\x02\x04\x05\xb4")
        s.send(ether + ip4(source, target, 6, segment))
        sent += 1
        if sent % 20 == 0:
            time.sleep(0.0002)
    print(sent)


def noise(device, mac, guest, guest6, seconds, seed):
    r = random.Random(int(seed))
    s = raw_device(device)
    to, me = mac_bytes(mac), bytes.fromhex("020000000001")
    target, target6 = socket.inet_aton(guest), socket.inet_pton(socket.AF_INET6, guest6)
    source6 = target6[:15] + b"\x01"
    end, sent = time.monotonic() + float(seconds), 0

    def good():
        source = target[:3] + bytes([r.randint(1, 254)])
        proto = r.choice([1, 2, 6, 17, r.randint(0, 255)])
        body = r.randbytes(r.choice([0, 4, 8, 20, 40, 600, 1400]))
        if proto == 6:
            body = tcp(source, target, r.randint(1, 65535), r.choice([80, r.randint(1, 65535)]),
                       r.getrandbits(32), r.getrandbits(32), r.randint(0, 255),
                       r.randbytes(4 * r.randint(0, 10)), body)
        if r.random() < 0.3:
            arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, r.randint(0, 3))
            return b"\x08\x06" + arp + me + source + to + target
        if r.random() < 0.5:
            kind = r.choice([0, 6, 17, 43, 44, 58, 60, r.randint(0, 255)])
            if kind == 58:
                body = bytes([r.choice([1, 2, 3, 4, 128, 130, 134, 135, 136, 137])]) + body
            head = struct.pack("!IHBB", 0x60000000, len(body), kind, r.choice([1, 64, 255]))
            return b"\x86\xdd" + head + source6 + r.choice([target6, b"\xff\x02" + bytes(13) + b"\1"]) + body
        return b"\x08\x00" + ip4(source, target, proto, body, r.randint(0, 65535))

    while time.monotonic() < end:
        frame = bytearray(r.choice([to, to, to, b"\xff" * 6, b"\x33\x33\0\0\0\1"]) + me)
        frame += good() if r.random() < 0.9 else r.randbytes(r.randint(2, 1400))
        for _ in range(r.choice([0, 0, 1, 2, 8])):
            frame[r.randrange(6, len(frame))] = r.getrandbits(8)
        if r.random() < 0.1:
            frame = frame[:r.randint(14, len(frame))]
        s.send(frame[:1514])
        sent += 1
        if sent % 10 == 0:
            time.sleep(0.0002)
    print(sent)


if __name__ == "__main__":
    {f.__name__: f for f in (echo, idle, dhcp, dns, flood, noise)}[sys.argv[1]](*sys.argv[2:])
