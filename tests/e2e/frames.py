"""Both ends of a bad link, inside its network namespace: python3 frames.py DEVICE NEAR FAR

Plays the guest on the socket FAR (impair's is NEAR) and the host on the tap DEVICE. For each line of
conditions on its standard input it sends numbered frames in both directions and prints, as a line of
JSON, what came for each direction: [number, bytes as they were sent, ms under way, ms since the first one
was sent] of each frame in order.
"""
import json
import os
import select
import socket
import sys
import time

ETHERTYPE = b"\x88\xb5"  # for experiments: nobody else sends it
SIZE, HEADER = 1000, 14
BODY = bytes(i * 7 & 255 for i in range(SIZE - HEADER - 8))


def frame(number):
    return bytes(12) + ETHERTYPE + number.to_bytes(8, "big") + BODY


class Ends:
    def __init__(self, device, near, far):
        self.host = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88b5))
        self.host.bind((device, 0x88b5))
        self.host.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.guest = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.guest.bind(far)
        self.near = near

    def send(self, to, number):
        if to == "to_guest":
            self.host.send(frame(number))
        else:
            self.guest.sendto(frame(number), self.near)

    def take(self, wait):
        """(direction, frame) of what arrives within `wait` seconds."""
        for ready in select.select([self.host, self.guest], [], [], wait)[0]:
            if ready is self.host:
                data, address = ready.recvfrom(65536)
                if address[2] != socket.PACKET_OUTGOING:
                    yield "to_host", data
            else:
                data = ready.recv(65536)
                if data[12:14] == ETHERTYPE:
                    yield "to_guest", data

    def run(self, count, gap, settle):
        """Sends `count` frames each way, one each `gap` seconds; those that come until `settle` after."""
        sent = {"to_host": [], "to_guest": []}
        came = {"to_host": [], "to_guest": []}
        start, last = time.monotonic(), None
        while len(sent["to_host"]) < count or time.monotonic() < last + settle:
            t = time.monotonic()
            number = len(sent["to_host"])
            if number < count and t >= start + number * gap:
                for to in sent:
                    sent[to].append(time.monotonic())
                    self.send(to, number)
                last = t
            for to, data in self.take(min(gap, 0.001)):
                t, number = time.monotonic(), int.from_bytes(data[14:22], "big")
                whole = number < len(sent[to]) and data == frame(number)
                came[to].append([number, whole, (t - sent[to][number]) * 1000 if whole else None,
                                 (t - sent[to][0]) * 1000])
        return came


def main():
    ends = Ends(*sys.argv[1:4])
    os.write(1, b"ready\n")
    for line in sys.stdin:
        count, gap, settle = line.split()
        print(json.dumps(ends.run(int(count), float(gap), float(settle))), flush=True)


if __name__ == "__main__":
    main()
