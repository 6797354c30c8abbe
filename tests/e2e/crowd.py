"""Many HTTP connections at once, from one process: python3 crowd.py ADDRESS PORT COUNT

Opens COUNT connections and has each of them answered once; prints "open". Then, for every line on its
standard input, has each connection answered once more and prints "answered". Ends when its input ends. An
answer that is missing, wrong or late ends it with an error.
"""
import asyncio
import os
import resource
import subprocess
import sys

# nginx that admits them.
CONFIGURATION = """
error_log stderr; pid /run/nginx.pid; worker_processes 1;
events { worker_connections 20000; }
http { access_log off; keepalive_timeout 3600; keepalive_requests 1000000000;
       server { listen 80 backlog=1024; location / { return 200 "here\\n"; } } }
"""
AT_ONCE = 100  # requests under way, and connections being opened
LIMIT = 60  # seconds for one answer
REQUEST = b"GET / HTTP/1.1\r\nHost: crowd\r\n\r\n"


class Crowd:
    """The process, for tests: `popen` starts it in the right network namespace. Once made, all are open."""

    def __init__(self, popen, address, count, port=80):
        self.process = popen(sys.executable, os.path.abspath(__file__), address, port, count,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._expect("open")

    def _expect(self, word):
        if self.process.stdout.readline() != word + "\n":
            raise RuntimeError(f"the crowd ended: {self.process.wait()}")

    def ask(self):
        """Has each connection answered once more."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self._expect("answered")

    def leave(self):
        self.process.stdin.close()
        if self.process.wait(timeout=60):
            raise RuntimeError(f"the crowd ended: {self.process.wait()}")


async def ask(connection):
    reader, writer = connection
    writer.write(REQUEST)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"answer: {head[:100]}")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n")
                  if line.lower().startswith(b"content-length:"))
    await reader.readexactly(length)


async def for_all(things, act):
    """act(thing) for each, a bounded number of them at a time; the results in order."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(thing):
        async with turn:
            return await asyncio.wait_for(act(thing), LIMIT)
    return await asyncio.gather(*map(one, things))


async def main(address, port, count):
    async def join(_):
        connection = await asyncio.open_connection(address, port, limit=4096)
        await ask(connection)
        return connection
    connections = await for_all(range(count), join)
    print("open", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        await for_all(connections, ask)
        print("answered", flush=True)


if __name__ == "__main__":
    wanted = int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted + 50, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), wanted))
