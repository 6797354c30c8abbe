"""The bad network itself (tests/tools/impair): each condition does what it says, in both directions."""
import json
import os
import statistics
import subprocess
import sys
import time

import pytest

from conftest import BUILD, wait_for
from machines import Namespace

DIRECTIONS = ("to_host", "to_guest")
FRAMES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "frames.py")


class Link:
    def __init__(self, folder):
        self.ns = Namespace()
        self.ns.tap()
        self.ns("sh", "-c", "echo 4000 > /proc/sys/net/unix/max_dgram_qlen")
        near, far = os.path.join(folder, "near"), os.path.join(folder, "far")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.impair = self.ns.popen(os.path.join(BUILD, "impair"), "tap0", near, far, **pipes)
        wait_for(lambda: os.path.exists(near), 5, "impair")
        self.ends = self.ns.popen(sys.executable, FRAMES, "tap0", near, far, **pipes)
        assert self.ends.stdout.readline() == "ready\n"

    def _ask(self, process, line):
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    def counts(self, conditions=""):
        """What was done since the last time; from now on these are the conditions."""
        return self._ask(self.impair, conditions or "seed=1")

    def send(self, conditions, count=1000, gap=0.0002, settle=0.2):
        """(what came, what impair says it did), by direction."""
        self.counts(conditions)
        came = self._ask(self.ends, f"{count} {gap} {settle}")
        return came, self.counts()


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    made = Link(str(tmp_path_factory.mktemp("link")))
    yield made
    made.ns.end()


def numbers(frames):
    return [number for number, *_ in frames]


def test_a_good_link_changes_nothing(link):
    came, did = link.send("seed=7")
    for to in DIRECTIONS:
        assert numbers(came[to]) == list(range(1000))
        assert all(whole for _, whole, *_ in came[to])
        # Others (neighbour discovery) use the tap too.
        assert did[to]["forwarded"] >= 1000 and did[to]["lost"] + did[to]["failed"] == 0


def test_loss(link):
    came, did = link.send("loss=10 seed=3")
    for to in DIRECTIONS:
        assert 60 <= did[to]["lost"] <= 150
        assert abs(1000 - len(came[to]) - did[to]["lost"]) <= 5
        assert numbers(came[to]) == sorted(numbers(came[to]))


def test_the_same_seed_loses_the_same_frames(link):
    link.ns("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/tap0/disable_ipv6")
    first, again, other = (link.send(f"loss=10 seed={seed}", 300)[0] for seed in (5, 5, 6))
    assert first["to_host"] != [] and numbers(first["to_host"]) == numbers(again["to_host"])
    assert numbers(first["to_guest"]) == numbers(again["to_guest"])
    assert numbers(first["to_host"]) != numbers(other["to_host"])
    assert numbers(first["to_host"]) != numbers(first["to_guest"])


def test_duplication(link):
    came, did = link.send("duplicate=5 seed=3")
    for to in DIRECTIONS:
        twice = len(came[to]) - 1000
        assert set(numbers(came[to])) == set(range(1000))
        assert 25 <= twice <= 80 and abs(twice - did[to]["duplicated"]) <= 2


def test_corruption_is_one_bit_behind_the_header(link):
    came, did = link.send("corrupt=5 seed=3")
    for to in DIRECTIONS:
        damaged = sum(not whole for _, whole, *_ in came[to])
        assert len(came[to]) == 1000
        assert 25 <= damaged <= 80 and abs(damaged - did[to]["corrupted"]) <= 2


def test_delay_of_a_millisecond(link):
    came, did = link.send("delay=1", gap=0.001)
    for to in DIRECTIONS:
        times = [ms for _, _, ms, _ in came[to]]
        assert min(times) >= 1
        assert 1 <= statistics.median(times) < 5  # a busy machine adds to it
        assert did[to]["behind_us"] < 5000


def test_jitter_keeps_the_order(link):
    came, _ = link.send("delay=10 jitter=5", gap=0.001)
    for to in DIRECTIONS:
        times = [ms for _, _, ms, _ in came[to]]
        assert numbers(came[to]) == list(range(1000))
        assert 5 <= min(times) < 9
        assert 12 < statistics.quantiles(times, n=20)[-1] < 20


def overtaken(frames):
    """How many came after one that was sent later."""
    highest, count = -1, 0
    for number in numbers(frames):
        count += number < highest
        highest = max(highest, number)
    return count


def test_reordering(link):
    came, did = link.send("reorder=5 seed=3", gap=0.001)
    for to in DIRECTIONS:
        assert sorted(numbers(came[to])) == list(range(1000))
        assert 25 <= did[to]["reordered"] <= 80
        assert 20 <= overtaken(came[to]) <= 85


def test_overtaking(link):
    came, did = link.send("overtake=5 delay=10 seed=3", gap=0.001)
    for to in DIRECTIONS:
        assert sorted(numbers(came[to])) == list(range(1000))
        early = sum(ms < 5 for _, _, ms, _ in came[to])
        assert 25 <= did[to]["overtook"] <= 80 and abs(early - did[to]["overtook"]) <= 5


def test_rate(link):
    # 1000 bytes at 8 Mbit/s take 1 ms; they are sent up to ten times as fast.
    came, did = link.send("rate=8 limit=1000", 500, 0.0001, 0.8)
    for to in DIRECTIONS:
        assert numbers(came[to]) == list(range(500))
        assert 495 < came[to][-1][3] < 750
        assert did[to]["dropped"] == 0


def test_a_short_queue_drops(link):
    came, did = link.send("rate=8 limit=20", 500, 0, 0.8)
    for to in DIRECTIONS:
        times = [ms for _, _, ms, _ in came[to]]
        # 20 frames of 1514 bytes, and the last one itself; some come late on a busy machine.
        assert 20 < statistics.quantiles(times, n=10)[-1] < 40
        assert abs(500 - len(came[to]) - did[to]["dropped"]) <= 2
        assert did[to]["dropped"] > 100


def test_what_was_in_flight_is_gone_with_its_conditions(link):
    link.counts("delay=300")
    came = link._ask(link.ends, "10 0.001 0.05")
    assert came == {"to_host": [], "to_guest": []}
    came, _ = link.send("seed=1", 10, 0.001, 0.4)
    assert numbers(came["to_host"]) == numbers(came["to_guest"]) == list(range(10))


def test_a_wrong_condition_is_refused(link):
    done = subprocess.run([os.path.join(BUILD, "impair"), "tap0", "a", "b", "lost=1"], timeout=10,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 2 and "usage" in done.stdout


def test_ceiling(link):
    """Prints how many frames a second go through, sent as fast as one can."""
    start = time.monotonic()
    came, did = link.send("seed=1", 20000, 0, 0.2)
    seconds = time.monotonic() - start
    print(f"{sum(map(len, came.values())) / seconds:.0f} frames/s, {json.dumps(did)}")
    assert all(len(came[to]) > 1000 for to in DIRECTIONS)
