"""The rate of fifty busy connections to nginx alone, and beside ten thousand idle ones, in one boot of 256 MiB."""
import os
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/e2e"))
from crowd import CONFIGURATION, Crowd  # noqa: E402
from guests import GUEST_IP  # noqa: E402
import workloads  # noqa: E402

COUNT = 10000
COMMAND = ["/usr/sbin/nginx", "-c", "/etc/nginx/crowd.conf"]


def run(images, system, options):
    """(requests per second alone, beside the idle ones): medians of three."""
    conf = os.path.join(options.work, "crowd.conf")
    with open(conf, "w") as f:
        f.write(CONFIGURATION)
    guest = images.start(system, "crowd", COMMAND, [f"{conf}:/etc/nginx/crowd.conf"], memory=256)
    try:
        guest.first_answer(80, 60, b"HEAD / HTTP/1.0\r\n\r\n")
        busy = workloads.wrk("/")
        busy(options)  # QEMU translates
        alone = [busy(options)[0] for _ in range(3)]
        crowd = Crowd(lambda *c, **kw: subprocess.Popen([str(word) for word in c], **kw), GUEST_IP, COUNT)
        beside = [busy(options)[0] for _ in range(3)]
        crowd.ask()
        crowd.leave()
        return statistics.median(alone), statistics.median(beside)
    finally:
        guest.stop()
