"""tests/tools/hold notices what it is there to notice, seen with a peer that misbehaves on purpose."""
import json
import os
import signal
import socket
import struct
import subprocess

import pytest

from conftest import BUILD, answers, free_port, wait_for


@pytest.fixture
def peer():
    """Starts holdpeer on this host, perhaps with a fault; returns its port."""
    started = []

    def start(*fault):
        port = free_port()
        started.append(subprocess.Popen([os.path.join(BUILD, "holdpeer"), str(port), *fault]))
        wait_for(lambda: answers(port), 5, "holdpeer")
        return port
    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def measure(peer, tmp_path):
    """Runs hold against holdpeer; returns its exit status and its record."""
    def measure(*options, fault=()):
        out = str(tmp_path / "record.json")
        done = subprocess.run([os.path.join(BUILD, "hold"), "-c", "20", "-i", "2-4", "-b", "1", "-s",
                               "1", "-t", "2", "-o", out, *options, "127.0.0.1", str(peer(*fault))],
                              stdout=subprocess.PIPE, text=True, timeout=30)
        with open(out) as f:
            return done.returncode, json.load(f)
    return measure


def test_a_peer_without_fault(measure):
    status, record = measure()
    assert status == 0 and record["errors"] == []
    assert record["requests"] == record["responses"] > 1000
    assert record["up"]["bytes"] == record["down"]["bytes"] == 1 << 20
    assert sum(s[0] for s in record["slices"]) == record["responses"]


def test_told_to_end_it_completes_its_transfers(peer, tmp_path):
    out = tmp_path / "record.json"
    with subprocess.Popen([os.path.join(BUILD, "hold"), "-c", "2", "-b", "10", "-r", "1", "-o",
                           str(out), "127.0.0.1", str(peer())], stdout=subprocess.PIPE) as hold:
        assert json.loads(hold.stdout.readline()) == {"ready": True}
        hold.send_signal(signal.SIGUSR1)
        assert json.loads(hold.stdout.readline())["errors"] == 0
        hold.send_signal(signal.SIGTERM)
        assert hold.wait(5) == 0
    record = json.loads(out.read_text())
    assert record["up"]["bytes"] == record["down"]["bytes"] == 10 << 20
    assert record["requests"] == record["responses"] > 0


@pytest.mark.parametrize("fault,kind", [
    ("reset", "reset"), ("eof", "eof"), ("byte", "wrong byte"), ("duplicate", "duplicate"),
    ("missing", "missing"), ("silence", "timeout")])
def test_a_fault_is_an_error_of_that_connection_alone(measure, fault, kind):
    status, record = measure(fault=[fault])
    assert status == 1
    assert [(e["connection"], e["kind"]) for e in record["errors"]] == [(3, kind)]


def test_a_stall_is_recorded_with_its_begin_and_end(measure):
    """All connections wait 300 ms for the one that is served with a delay: one outage."""
    status, record = measure("-l", "200", "-g", "200", fault=["stall"])
    assert status == 0
    ((_, begin, end),) = record["outages"]
    assert 300e6 <= end - begin <= 1000e6 and 0 < begin < record["length_ns"]
    assert record["longest_outage_ns"] == end - begin
    assert {s[0] for s in record["slow"]} == set(range(20))
    assert all(s[1] <= begin + 10e6 and end <= s[2] for s in record["slow"])
    assert min(record["greatest_gap_ns"]) > 250e6


@pytest.mark.parametrize("sequence,body,result", [
    (0, b"\0" * 8, 6), (1, b"", 8), (None, b"\xff" * 32, 5)])
def test_a_faulty_client_is_seen_by_the_peer(peer, sequence, body, result):
    """holdpeer complains of what hold would: a wrong byte, a sequence number that is not the next, what is
    no request at all."""
    request = b"" if sequence is None else struct.pack("<4sIQIIII", b"Hreq", 9, sequence, len(body), 1, 0, 0)
    with socket.create_connection(("127.0.0.1", peer()), timeout=5) as s:
        s.sendall(request + body)
        answer = s.recv(32, socket.MSG_WAITALL)
    kind, _, _, request_body, response_body, got, zero = struct.unpack("<4sIQIIII", answer)
    assert (kind, got) == (b"Hcom", result)
    assert (request_body, response_body, zero) == (0, 0, 0)
