"""stress-ng in a domain of two processors, its classes one after the other, checking its own results.

Two stressors of each class for a second; all of them for a minute with LIBRETTOS_TEST_LONG=1, or as long as
LIBRETTOS_STRESS_SECONDS says. Left out are stressors of what the kernel does not have (ptrace, namespaces, ...):
docs/processes.md and docs/io.md name them. "resources" is left out, too: when it is stopped before it has all its
children it signals process numbers out of memory it never filled (stress-ng 0.15.06, on Linux as well), and may hit
any process.
"""
import json
import os
import re
import shutil

import pytest

from conftest import LONG, librettos  # noqa: F401

SECONDS = int(os.environ.get("LIBRETTOS_STRESS_SECONDS", "60" if LONG else "0"))
CLASSES = {
    "sockets": ["sock", "sockpair", "sockfd", "udp"],
    "cpu": ["cpu", "matrix", "atomic", "crypt", "qsort", "getrandom"],
    "memory": ["vm", "mmap", "mremap", "brk", "stack", "mprotect", "madvise", "memfd"],
    "processes": ["fork", "vfork", "clone", "daemon", "zombie", "wait", "session", "kill"],
    "threads": ["pthread", "futex", "mutex", "sem", "context", "switch"],
    "pipes": ["pipe", "pipeherd", "fifo", "splice", "tee", "sendfile", "poll", "epoll", "eventfd"],
    "timers": ["timer", "timerfd", "nanosleep", "clock", "alarm"],
    "signals": ["sigsegv", "sigfd", "sigpending", "sigq", "sigsuspend", "sigchld", "sigrt", "signest"],
    "files": ["hdd", "dentry", "dir", "rename", "link", "flock", "lockf", "seek", "fallocate", "getdent", "utime"],
    "shared memory": ["shm", "mmapfork"],
    "scheduling": ["schedpolicy", "affinity", "ioprio", "yield", "resched"],
}
SMALL = ["--vm-bytes", "32M", "--mmap-bytes", "16M", "--mremap-bytes", "8M", "--hdd-bytes", "16M",
         "--fallocate-bytes", "16M", "--shm-bytes", "1M", "--shm-objs", "8", "--memfd-bytes", "16M", "--pthread-max", "64",
         "--qsort-size", "4096"]
# What may stay: one empty slab in each of some sixty caches, pages in the lists of two processors, 8192 names
# that are remembered (each up to half a KiB with its vnode).
STAYS = 6 << 20


def free_memory(librettos):
    return json.loads(librettos("ps", "--stats", "stress").stdout)["memory"]["free"]


def stress(librettos, stressor, seconds):
    """Two of the stressor; whether they did anything: on a busy machine a second may be gone before they begin."""
    done = librettos("exec", "stress", "stress-ng", "--temp-path", "/tmp", "--verify", "--metrics-brief",
                     "--timeout", f"{seconds}s", *SMALL, f"--{stressor}", 2, timeout=60 + 3 * seconds, check=False)
    text = done.stdout + done.stderr
    assert done.returncode == 0, f"{stressor}: exit {done.returncode}\n{text}"
    return re.search(rf"\] {stressor} +[1-9]\d* ", text)


@pytest.mark.skipif(not shutil.which("stress-ng"), reason="no stress-ng")
def test_every_class_with_its_own_checks(librettos):
    librettos("run", "-d", "--name", "stress", "-c", 2, "-m", "384M", "--file", "/usr/bin/stress-ng", "sleep", 100000)
    each = max(1, SECONDS // sum(map(len, CLASSES.values())))
    before = None
    for name, stressors in CLASSES.items():
        for stressor in stressors if SECONDS else stressors[:2]:
            worked = stress(librettos, stressor, each) or stress(librettos, stressor, 10 * each)
            assert worked, f"{name}: {stressor} did nothing"
        before = before or free_memory(librettos)  # the program's pages are cached now
    after = free_memory(librettos)
    print(f"{before >> 10} KiB free after the first class, {after >> 10} after the last")
    assert before - after < STAYS
    log = librettos("logs", "--kernel", "stress").stdout
    assert "panic" not in log.lower() and "out of memory" not in log, log
