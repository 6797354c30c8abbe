"""Runs in the domain that scapy looks at: echoes on port 7, and on port 1 does what the test says.

A line on port 1 is an expression or a statement of Python; the answer is the repr of its value, or of the
exception. Port 9 has a listener that accepts nobody.
"""
import socket
import subprocess
import threading

socket.setdefaulttimeout(5)


def sh(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


def listener(port, backlog):
    s = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=backlog)
    s.settimeout(None)
    return s


def echo_stream(connection):
    try:
        while data := connection.recv(65536):
            connection.sendall(data)
        connection.close()
    except OSError:
        connection.close()


def echo_streams(server):
    while True:
        connection = server.accept()[0]
        connection.settimeout(None)
        threading.Thread(target=echo_stream, args=(connection,), daemon=True).start()


def echo_datagrams():
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.settimeout(None)
    s.bind(("::", 7))
    while True:
        data, client = s.recvfrom(65536)
        try:
            s.sendto(data, client)
        except OSError:
            pass


def control(connection, names):
    connection.settimeout(None)
    for line in connection.makefile():
        try:
            try:
                value = eval(line, names)
            except SyntaxError:
                value = exec(line, names)
            answer = ("ok", value)
        except OSError as error:
            answer = ("error", error.errno)
        connection.sendall(repr(answer).encode() + b"\n")


threading.Thread(target=echo_streams, args=(listener(7, 64),), daemon=True).start()
threading.Thread(target=echo_datagrams, daemon=True).start()
quiet = listener(9, 4)
with listener(1, 4) as server:
    while True:
        control(server.accept()[0], globals())
