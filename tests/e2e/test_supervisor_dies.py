"""A supervisor that is killed: domains, their connections and waiting commands go on with the next one."""
import os
import random
import re
import selectors
import signal
import socket
import subprocess
import threading
import time

from conftest import BUILD, LIBRETTOS, wait_for
from test_supervisor import gone, machines, processes, supervisor_pid

ECHO = os.path.join(BUILD, "netecho")
SLEEP = ("/bin/sleep", "1000")
CONNECTIONS = int(os.environ.get("LIBRETTOS_CONNECTIONS", "200"))


def keeper_pid(librettos):
    return next(iter(processes(librettos, "librettos-keep")), None)


def kill_supervisor(librettos):
    """Returns when the next one answers."""
    before = supervisor_pid(librettos)
    assert before, log_of(librettos)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: supervisor_pid(librettos) not in (None, before), 10, "the next supervisor")
    librettos("ps")
    return before


def log_of(librettos):
    with open(os.path.join(librettos.env["XDG_RUNTIME_DIR"], "librettos", "supervisor.log")) as f:
        return f.read()


def left_files(librettos):
    folder = os.path.join(librettos.env["XDG_RUNTIME_DIR"], "librettos")
    return [f for f in os.listdir(folder) if f.endswith((".state", ".network", ".tmp"))]


class Echo:
    """Many connections to echo servers: each sends blocks that nobody can guess and compares the answers."""

    def __init__(self, ports, connections):
        self.errors, self.blocks, self.longest = [], 0, 0
        self.stop = False
        self.sockets = []
        rng = random.Random(7)
        for i in range(connections):
            s = socket.create_connection(("127.0.0.1", ports[i % len(ports)]), timeout=20)
            s.setblocking(False)
            self.sockets.append([s, b"", b"", random.Random(rng.random()), 0.0])
        self.thread = threading.Thread(target=self.loop)
        self.thread.start()

    def send(self, c):
        c[1] = c[3].randbytes(c[3].randrange(1, 2000))
        c[2] = b""
        c[4] = time.monotonic()
        if c[0].send(c[1]) != len(c[1]):
            raise OSError("a short write")

    def receive(self, c):
        data = c[0].recv(65536)
        if not data:
            raise OSError("closed")
        c[2] += data
        if not c[1].startswith(c[2]):
            raise OSError("wrong bytes")
        if c[2] == c[1]:
            self.blocks += 1
            self.longest = max(self.longest, time.monotonic() - c[4])
            self.send(c)

    def loop(self):
        poll = selectors.DefaultSelector()
        for c in self.sockets:
            poll.register(c[0], selectors.EVENT_READ, c)
            self.send(c)
        while not self.stop:
            for key, _ in poll.select(0.1):
                try:
                    self.receive(key.data)
                except OSError as e:
                    self.errors.append(str(e))
                    poll.unregister(key.fileobj)

    def end(self):
        self.stop = True
        self.thread.join(timeout=10)
        late = [c for c in self.sockets if time.monotonic() - c[4] > 20]
        for c in self.sockets:
            c[0].close()
        return self.errors + ["no answer for 20 s"] * len(late)


def test_connections_survive_five_kills(librettos):
    web = librettos.start("web", "nginx", port=80)
    kv = librettos.start("kv", "redis-server", "--protected-mode", "no", "--bind", "0.0.0.0", "--save", "",
                         "--dir", "/tmp", port=6379)
    echoes = [librettos.start("one", ECHO, 7, port=7),
              librettos.start("two", "--address", "shared", ECHO, 9, port=9),
              librettos.start("three", "--path", "direct", ECHO, 7, port=7)]
    pids = {d["name"]: d["pid"] for d in librettos.ps()}
    load = Echo(echoes, CONNECTIONS)
    wrk = subprocess.Popen(["wrk", "-t1", "-c10", "-d14s", "--timeout", "10s", f"http://127.0.0.1:{web}/"],
                           stdout=subprocess.PIPE, text=True)
    redis = subprocess.Popen(["sh", "-c", "end=$(($(date +%s) + 13)); while [ $(date +%s) -lt $end ]; do "
                              f"redis-benchmark -p {kv} -c 10 -n 1000 -q -t set,get || exit 1; done"],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for _ in range(5):
        time.sleep(1.5)
        kill_supervisor(librettos)
    text, _ = wrk.communicate(timeout=60)
    words, _ = redis.communicate(timeout=60)
    errors = load.end()
    assert errors == [] and load.blocks > CONNECTIONS
    print(f"{load.blocks} blocks, the longest answer took {load.longest * 1000:.0f} ms")
    assert "Socket errors" not in text and "Non-2xx" not in text, text
    assert int(re.search(r"(\d+) requests in", text).group(1)) > 100
    assert redis.returncode == 0 and "rror" not in words, words
    assert {d["name"]: d["pid"] for d in librettos.ps()} == pids
    assert "supervisor: restarts: 5" in librettos("ps").stdout


def echoed(port, word=b"hello"):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        s.sendall(word)
        return s.recv(64) == word


def test_everything_works_afterwards(librettos):
    librettos.env["LIBRETTOS_SERVER_IDLE_MS"] = "300"
    port = librettos.start("echo", ECHO, 7, port=7)
    shared = librettos.start("shared", "--address", "shared", ECHO, 9, port=9)
    librettos("run", "-d", "--name", "talk", "/bin/sh", "-c", "echo before; sleep 1000")
    kill_supervisor(librettos)
    # What was granted still is: the same addresses, the same ports.
    done = librettos("run", "--address", "shared", ECHO, 9, check=False)
    assert done.returncode not in (0, 125) and "in use" in done.stdout + done.stderr
    done = librettos("run", "-p", f"{port}:7", ECHO, 7, check=False)
    assert done.returncode == 125 and "already taken" in done.stderr
    assert echoed(librettos.start("new", ECHO, 7, port=7))
    assert librettos("exec", "talk", "/bin/sh", "-c", "echo $((6 * 7)); exit 3", check=False).stdout == "42\n"
    assert librettos("logs", "talk").stdout == "before\n"
    assert len({d["address"] for d in librettos.ps()}) == 4
    # The network server dies, and the supervisor that did not start it sees to it.
    before = librettos.server()["pid"]
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: (librettos.server() or {}).get("pid", before) != before, 10, "the next server")
    assert wait_for(lambda: echoed(port) and echoed(shared), 10, "the echoes")
    assert librettos("restart", "net").returncode == 0
    assert echoed(port) and echoed(shared)
    librettos("switch", "echo", "direct")
    kill_supervisor(librettos)
    assert echoed(port)
    librettos("switch", "echo", "server")
    assert echoed(port)
    for name in ("echo", "shared", "talk", "new"):
        assert librettos("stop", "-t", 1, name).returncode == 0
    wait_for(lambda: not machines(librettos), 10, "all machines to end")
    wait_for(lambda: left_files(librettos) == [], 5, "what was written down to go")


def test_an_attached_program_goes_on(librettos):
    client = librettos.popen("run", "--name", "count", "/bin/sh", "-c",
                             "i=0; while [ $i -lt 60 ]; do echo $i; i=$((i + 1)); sleep 0.1; done; exit 7",
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert client.stdout.readline() == "0\n"
    for _ in range(3):
        time.sleep(0.7)
        kill_supervisor(librettos)
    out, err = client.communicate(timeout=60)
    assert (out, client.returncode) == ("".join(f"{i}\n" for i in range(1, 60)), 7), err
    assert librettos("logs", "count").stdout == "".join(f"{i}\n" for i in range(60))


def test_a_stream_loses_no_byte(librettos):
    """Standard input to standard output, as fast as it goes, while supervisors die."""
    data = random.Random(3).randbytes(int(os.environ.get("LIBRETTOS_STREAM_MIB", "24")) << 20)
    client = librettos.popen("run", "--name", "cat", "/bin/cat", stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    result = []
    threads = [threading.Thread(target=lambda: (client.stdin.write(data), client.stdin.close())),
               threading.Thread(target=lambda: result.append(client.stdout.read()))]
    for t in threads:
        t.start()
    kills = 0
    while threads[0].is_alive() and kills < 100:
        time.sleep(1.2 if kills % 8 == 7 else 0.3)  # too many early deaths are a crash loop
        kill_supervisor(librettos)
        kills += 1
    for t in threads:
        t.join(timeout=120)
    assert client.wait(timeout=20) == 0, client.stderr.read() + log_of(librettos).encode()
    assert result[0] == data and kills > 1


def test_commands_that_wait_go_on(librettos):
    librettos("run", "-d", "--name", "deaf", "/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done")
    librettos("run", "-d", "--name", "other", "/bin/sh", "-c", "sleep 1000")
    inside = librettos.popen("exec", "other", "/bin/sh", "-c", "sleep 3; echo done; exit 4",
                             stdout=subprocess.PIPE, text=True)
    stop = librettos.popen("stop", "-t", 3, "deaf", stderr=subprocess.PIPE)
    time.sleep(1)
    kill_supervisor(librettos)
    assert stop.wait(timeout=20) == 0, stop.stderr.read()
    out, _ = inside.communicate(timeout=20)
    assert (out, inside.returncode) == ("done\n", 4)
    assert [d["name"] for d in librettos.ps()] == ["other"]


def test_restart_by_hand(librettos, tmp_path):
    port = librettos.start("echo", ECHO, 7, port=7)
    before = supervisor_pid(librettos)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        s.sendall(b"one")
        assert s.recv(64) == b"one"
        librettos("supervisor", "restart")
        assert supervisor_pid(librettos) != before and gone(before)
        s.sendall(b"two")
        assert s.recv(64) == b"two"
    # Another file of the program: what the command is, the supervisor becomes.
    copy = tmp_path / "librettos-next"
    copy.write_bytes(open(LIBRETTOS, "rb").read())
    copy.chmod(0o755)
    assert subprocess.run([copy, "supervisor", "restart"], env=librettos.env, timeout=20).returncode == 0
    assert os.readlink(f"/proc/{supervisor_pid(librettos)}/exe") == str(copy)
    assert echoed(port)
    assert "status" not in log_of(librettos) and "killed" not in log_of(librettos)


def test_a_killed_keeper_ends_everything(librettos):
    librettos.start("echo", ECHO, 7, port=7)
    client = librettos.popen("run", "--name", "two", *SLEEP, stderr=subprocess.PIPE)
    wait_for(lambda: len([d for d in librettos.ps() if d["state"] == "running"]) == 2, 20, "both")
    os.kill(keeper_pid(librettos), signal.SIGKILL)
    assert b"supervisor" in client.communicate(timeout=10)[1] and client.returncode == 125
    wait_for(lambda: not processes(librettos, ("qemu-system", "librettos-")), 10, "everything to end")
    assert librettos.ps() == []
    assert librettos("run", "--name", "two", "/bin/echo", "again").stdout == "again\n"
    wait_for(lambda: left_files(librettos) == [] or librettos.server(), 5, "files of the dead to go")


def test_the_network_process_dies(librettos):
    """What hangs on it ends with a word, the rest gets another."""
    port = librettos.start("server", ECHO, 7, port=7)
    librettos.start("direct", "--path", "direct", ECHO, 7, port=7)
    both = librettos.start("both", ECHO, 8, port=8)
    librettos("switch", "both", "direct")
    os.kill(processes(librettos, "librettos-vnet")[0], signal.SIGKILL)
    wait_for(lambda: {d["name"] for d in librettos.ps()} == {"server", "both"}, 10, "the direct one to end")
    assert "virtual network died" in librettos("ps", "-a").stdout

    def again():
        try:
            return echoed(port) and echoed(both)
        except OSError:
            return False
    wait_for(again, 20, "the others to be reached again")
    assert [d["path"] for d in librettos.ps()] == ["server", "server"]


def test_supervisors_that_all_die(librettos):
    librettos("run", "-d", "--name", "one", *SLEEP)
    deadline = time.monotonic() + 60
    while keeper_pid(librettos) and time.monotonic() < deadline:
        pid = supervisor_pid(librettos)
        if pid:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)
    wait_for(lambda: not processes(librettos, ("qemu-system", "librettos-")), 10, "everything to end")
    assert "giving up" in log_of(librettos)
    assert librettos("run", "--name", "one", "/bin/echo", "again").stdout == "again\n"


def test_killed_at_any_moment(librettos):
    """Commands while supervisors die at random: each does what it says, or says that it did not."""
    librettos.env["LIBRETTOS_SERVER_IDLE_MS"] = "300"
    librettos("run", "-d", "--name", "stays", *SLEEP)
    rng = random.Random(5)
    over = threading.Event()

    def killer():
        while not over.wait(rng.uniform(0.2, 1.5)):
            pid = supervisor_pid(librettos)
            if pid:
                os.kill(pid, signal.SIGKILL)
    thread = threading.Thread(target=killer)
    thread.start()
    failed = 0
    try:
        for i in range(12):
            path = rng.choice(("server", "direct"))
            done = librettos("run", "--name", f"d{i}", "--path", path, "-m", "64M", "/bin/sh", "-c",
                             f"echo {i}; exit 5", check=False)
            failed += (done.stdout, done.returncode) != (f"{i}\n", 5)
            librettos("run", "-d", "--name", f"e{i}", "--path", path, "-m", "64M", *SLEEP, check=False)
            librettos("stop", "-t", 1, f"e{i}", check=False)
    finally:
        over.set()
        thread.join()
    assert failed <= 1, failed
    time.sleep(1.2)
    for d in librettos.ps():
        if d["name"] != "stays":
            librettos("stop", "-t", 0, d["name"])
    assert [d["name"] for d in librettos.ps()] == ["stays"]
    librettos("stop", "-t", 1, "stays")
    wait_for(lambda: not machines(librettos), 20, "all machines to end")
    wait_for(lambda: left_files(librettos) == [], 5, "what was written down to go")
