"""Debian's tools that read /proc, in a domain: what they print is what runs there."""
import re
import threading

import pytest

from conftest import LIBRETTOS, wait_for
from keyboard import Keyboard

MEMORY = 256


@pytest.fixture
def domain(librettos):
    """A domain where a shell waits for a `sleep`, named "busy"."""
    librettos.start("busy", "-m", f"{MEMORY}M", "--package", "procps", "--package", "coreutils",
                    "--package", "lsof", "--package", "psmisc", "--package", "htop",
                    "/bin/sh", "-c", "sleep 1000 >/tmp/out & wait")
    wait_for(lambda: librettos("exec", "busy", "pgrep", "-x", "sleep", check=False).stdout, 30,
             "the shell to start its sleep")
    return lambda *command, **kw: librettos("exec", "busy", *command, **kw).stdout


def rows(text):
    return [line.split() for line in text.splitlines()]


def test_ps_lists_processes_and_threads(domain):
    table = rows(domain("ps", "aux"))
    assert table[0][:4] == ["USER", "PID", "%CPU", "%MEM"]
    sleep = next(r for r in table if r[10:12] == ["sleep", "1000"])
    assert sleep[0] == "root" and sleep[7].startswith("S") and int(sleep[5]) > 100  # KiB resident
    tree = rows(domain("ps", "-eo", "pid,ppid,args"))
    parent = next(r for r in tree if r[0] == sleep[1])[1]
    assert next(r for r in tree if r[0] == parent)[2].endswith("sh")
    threads = rows(domain("ps", "-eLf"))
    assert threads[0][3] == "LWP" and any(r[3] == sleep[1] for r in threads)
    numbers = rows(domain("ps", "-o", "vsz=,rss=,nlwp=,stat=", "-p", sleep[1]))[0]
    assert int(numbers[0]) > int(numbers[1]) > 0 and numbers[2] == "1"


def test_top_shows_processes_and_memory(domain):
    text = domain("top", "-bn1")
    assert re.search(r"^top - \S+ up .*load average: \d+\.\d\d, \d+\.\d\d, \d+\.\d\d$", text, re.M)
    total = int(re.search(r"^Tasks:\s+(\d+) total", text, re.M).group(1))
    assert total >= 3 and re.search(r"\bsleep$", text, re.M)
    memory = re.search(r"^MiB Mem :\s+([\d.]+) total,\s+([\d.]+) free", text, re.M)
    assert MEMORY * 0.8 < float(memory.group(1)) <= MEMORY
    assert 0 < float(memory.group(2)) < float(memory.group(1))


def test_nothing_waits_uninterruptibly(domain):
    assert not [r for r in rows(domain("ps", "-eo", "stat=,args=")) if r[0][0] not in "RS"]


def test_htop_on_a_terminal(librettos, domain):
    user = Keyboard([LIBRETTOS, "exec", "-t", "-e", "LANG=C.UTF-8", "-e", "TERM=xterm", "busy", "htop"], librettos.env)
    screen = user.read_until("sleep 1000")
    assert "init" in screen and "Load average" in screen
    user.type("q")
    assert user.wait() == 0
    user.end()


def test_ps_lists_what_is_on_its_terminal(librettos, domain):
    user = Keyboard([LIBRETTOS, "exec", "-t", "busy", "/bin/sh"], librettos.env)
    user.read_until("# ")
    user.type("sleep 500 & ps -o stat=,args=; echo done\n")
    table = [r.split(None, 1) for r in user.read_until("\r\ndone").splitlines()]
    assert ["Ss", "/bin/sh"] in table and ["R+", "ps -o stat=,args="] in table and ["S", "sleep 500"] in table
    assert not [r for r in table if r[1:] == ["sleep 1000"]]
    user.type("exit\n")
    user.end()


def test_who_is_there(domain):
    head, *users = domain("w").splitlines()
    assert " up " in head and "load average" in head and users[0].split()[:2] == ["USER", "TTY"] and len(users) == 1


def test_pstree_draws_the_tree(domain):
    assert re.search(r"(^init\(1\)-\+-|[|`]-)(sh|dash)\(\d+\)---sleep\(\d+\)$", domain("pstree", "-p"), re.M)


def test_fuser_and_killall_find_users_of_files(domain):
    pid = domain("pgrep", "-x", "sleep").split()
    assert domain("fuser", "/tmp/out").split() == pid
    assert domain("lsof", "-t", "/tmp/out").split() == pid
    assert domain("killall", "-0", "sleep") == ""


def test_free_adds_up(domain):
    table = rows(domain("free", "-k"))
    total, used, free, shared, cache, available = map(int, table[1][1:])
    assert MEMORY * 1024 * 0.8 < total <= MEMORY * 1024
    assert used > 0 and free > 0 and cache > 0 and available >= free
    assert abs(used + available - total) < 1024 or abs(used + free + cache - total) < 1024
    assert table[2][:2] == ["Swap:", "0"]


def test_vmstat_counts(domain):
    table = rows(domain("vmstat", "1", "2"))
    assert table[1][:4] == ["r", "b", "swpd", "free"]
    last = dict(zip(table[1], map(int, table[-1])))
    assert last["free"] > 0 and last["cs"] > 0
    assert 98 <= last["us"] + last["sy"] + last["id"] + last["wa"] + last["st"] <= 102
    assert "K total memory" in domain("vmstat", "-s")


def test_pgrep_finds(domain):
    pid = domain("pgrep", "-x", "sleep").split()
    assert len(pid) == 1 and pid == domain("pidof", "sleep").split()
    assert domain("pgrep", "-fa", "^sleep 1000").split()[:2] == [pid[0], "sleep"]
    assert domain("ps", "-o", "comm=", "-p", pid[0]).strip() == "sleep"


def test_uptime_and_load(librettos, domain):
    assert re.search(r"up .*load average: ", domain("uptime"))
    # A program that computes for as long as two steps of the load average must be seen in it.
    busy = threading.Thread(target=domain, args=("timeout", "12", "sh", "-c", "while :; do :; done"),
                            kwargs={"check": False})
    busy.start()
    busy.join()
    load = float(domain("cat", "/proc/loadavg").split()[0])
    assert 0.05 < load < 4


def test_pmap_shows_the_regions(domain):
    pid = domain("pgrep", "-x", "sleep").strip()
    text = domain("pmap", "-x", pid)
    assert re.search(r"^Address\s+Kbytes\s+RSS\s+Dirty Mode\s+Mapping$", text, re.M)
    assert re.search(r"r-x-- (sleep|coreutils)$", text, re.M) and "[ stack ]" in text
    total = re.search(r"^total kB\s+(\d+)\s+(\d+)\s+(\d+)$", text, re.M)
    assert int(total.group(1)) > int(total.group(2)) > int(total.group(3)) > 0


def test_lsof_names_open_files(domain):
    pid = domain("pgrep", "-x", "sleep").strip()
    text = domain("lsof", "-n", "-p", pid, check=False)
    table = rows(text)
    assert any(r[3] == "cwd" and r[-1] == "/" for r in table)
    assert any(r[3] == "txt" and "sleep" in r[-1] for r in table)
