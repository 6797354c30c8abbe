"""How much of its throughput a redis domain keeps while another domain of the same server sends UDP as fast
as it can."""
import subprocess
import time

from guests import GUEST_IP, HOST_IP, Supervised
from pairs import SERVER, rate_of

FLOODER_IP = "10.77.0.3"


def redis_rate():
    done = subprocess.run(["redis-benchmark", "-h", GUEST_IP, "-c", "50", "-n", "40000", "-t", "get",
                           "--csv"], stdout=subprocess.PIPE, text=True, timeout=120, check=True)
    return rate_of("GET", done.stdout)


def run(build, conf):
    """(requests per second alone, beside the flooder, datagrams that the flooder got through)."""
    guest = Supervised(build)
    sink = subprocess.Popen(["iperf3", "-s"], stdout=subprocess.DEVNULL)
    try:
        guest.run(SERVER, ["-m", "512M", "--file", conf], name="kv")
        guest.first_answer(6379, 30, b"PING\r\n")
        alone = redis_rate()
        guest.run(["/usr/bin/iperf3", "-c", HOST_IP, "-u", "-b", "0", "-l", "1400", "-t", "30"], [],
                  name="flooder", address=FLOODER_IP)
        time.sleep(1)
        beside = redis_rate()
        channel = next(d.get("channel") or {} for d in guest.ps() if d["name"] == "flooder")
        return alone, beside, channel.get("tx_frames", 0)
    finally:
        guest.stop()
        sink.kill()
        sink.wait()
