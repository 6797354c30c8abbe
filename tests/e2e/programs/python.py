"""python3: processes in all ways, shared memory, threads, asyncio, terminals, its own web server."""
import asyncio
import concurrent.futures
import http.server
import mmap
import multiprocessing
import os
import pty
import signal
import socket
import sqlite3
import subprocess
import tempfile
import threading
import urllib.request
from multiprocessing import shared_memory


def square(x):
    return x * x


def fill(name):
    block = shared_memory.SharedMemory(name=name)
    block.buf[:100] = bytes(range(100))
    block.close()


def increment(value):
    for _ in range(500):
        with value.get_lock():
            value.value += 1


def pool(method):
    with multiprocessing.get_context(method).Pool(3) as p:
        return sum(p.map(square, range(100)))


def shared():
    block = shared_memory.SharedMemory(create=True, size=4096)
    child = multiprocessing.Process(target=fill, args=(block.name,))
    child.start()
    child.join()
    total = sum(block.buf[:100])
    block.close()
    block.unlink()
    return total, child.exitcode


def counted():
    value = multiprocessing.Value("i", 0)
    children = [multiprocessing.Process(target=increment, args=(value,)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    return value.value


def queued():
    queue = multiprocessing.Queue()
    child = multiprocessing.Process(target=lambda: [queue.put(i) for i in range(1000)])
    child.start()
    total = sum(queue.get() for _ in range(1000))
    child.join()
    return total


def threads():
    with concurrent.futures.ThreadPoolExecutor(8) as executor:
        return sum(executor.map(square, range(1000)))


def programs():
    done = subprocess.run(["sh", "-c", "cat; exit 3"], input=b"x" * 200000, capture_output=True)
    other = subprocess.run(["sh", "-c", "echo $0 $A; umask"], stdout=subprocess.PIPE, env={"A": "1"},
                           start_new_session=True, umask=0o77, cwd="/")
    try:
        subprocess.run(["sleep", "100"], timeout=0.3)
    except subprocess.TimeoutExpired:
        return done.returncode, len(done.stdout), other.stdout


async def echo(reader, writer):
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()


async def ask(port, i):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"%d\n" % i)
    answer = int(await reader.read())
    writer.close()
    return answer


async def coroutines():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    total = sum(await asyncio.gather(*[ask(port, i) for i in range(50)]))
    child = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, _ = await child.communicate(b"through cat")
    signalled = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, signalled.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    await asyncio.wait_for(signalled.wait(), 10)
    return total, out, await asyncio.to_thread(square, 3)


def terminal():
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp("sh", ["sh", "-c", "[ -t 0 ] && echo terminal"])
    out = b""
    try:
        while data := os.read(fd, 1000):
            out += data
    except OSError:  # EIO: nobody has the other end any more
        pass
    return out, os.waitpid(pid, 0)[1]


def database():
    with tempfile.TemporaryDirectory() as folder:
        with sqlite3.connect(folder + "/db") as db:
            db.execute("pragma journal_mode=wal")
            db.execute("create table t(a)")
            db.executemany("insert into t values(?)", [(i,) for i in range(10000)])
        return db.execute("select sum(a) from t").fetchone(), sorted(os.listdir(folder))


def mapping():
    with tempfile.TemporaryFile() as f:
        f.truncate(mmap.PAGESIZE)
        with mmap.mmap(f.fileno(), 0) as m:
            if os.fork() == 0:
                m[:5] = b"child"
                os._exit(0)
            os.wait()
            return m[:5], os.pread(f.fileno(), 5, 0)


def web():
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/python.py"
        with concurrent.futures.ThreadPoolExecutor(5) as executor:
            sizes = set(executor.map(lambda _: len(urllib.request.urlopen(url).read()), range(20)))
        server.shutdown()
        return sizes == {os.path.getsize("python.py")}


def descriptors():
    here, there = socket.socketpair()
    read, write = os.pipe()
    socket.send_fds(here, [b"x"], [read])
    _, (copy,), _, _ = socket.recv_fds(there, 10, 1)
    os.write(write, b"sent")
    return os.read(copy, 10), os.path.samefile(f"/proc/self/fd/{read}", f"/dev/fd/{copy}")


if __name__ == "__main__":
    for method in "fork", "spawn", "forkserver":
        print(method, pool(method))
    for step in (shared, counted, queued, threads, programs, terminal, database, mapping, web, descriptors):
        print(step.__name__, step(), flush=True)
    print("asyncio", asyncio.run(coroutines()))
