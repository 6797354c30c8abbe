"""What people debug with: traces, captures, cores, gdb, the kernel's log. docs/debugging.md."""
import json
import os
import re
import resource
import shlex
import signal
import struct
import subprocess
import time
import urllib.request

import pytest

from conftest import wait_for
from test_supervisor_dies import kill_supervisor

PYTHON = "/usr/bin/python3"


def compile_c(folder, name, source, *flags):
    path = os.path.join(folder, name)
    subprocess.run(["gcc", "-g", "-O0", *flags, "-x", "c", "-", "-o", path], input=source, text=True,
                   check=True)
    return path


def get(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
        return answer.read()


def stats(librettos, name):
    return json.loads(librettos("ps", "--stats", name).stdout)


# ---- trace ----


def test_trace_of_a_running_server(librettos):
    port = librettos.start("web", "nginx", port=80)
    out = os.path.join(librettos.folder, "trace")
    tracer = librettos.popen("trace", "-f", "-t", "-T", "-o", out, "web", stderr=subprocess.PIPE,
                             text=True)
    wait_traced(out, port)
    unfinished = r"(?m)^\d+ +[\d:.]+ epoll_wait\(\d+, .* <unfinished \.\.\.>$"
    wait_for(lambda: re.search(unfinished, open(out).read()), 20, "a call that waits")
    second = librettos("trace", "-c", "web", check=False)
    assert second.returncode == 125 and "traced already" in second.stderr
    tracer.send_signal(signal.SIGINT)
    assert tracer.wait(20) == 0, tracer.stderr.read()
    text = open(out).read()
    line = r"(?m)^\d+ +\d\d:\d\d:\d\d\.\d{6} "
    assert re.search(line + r'recvfrom\(\d+, "GET / HTTP/1\.1\\r\\n.*"\.\.\., 1024, 0, NULL, NULL\) '
                     r'= \d+ <0\.\d{6}>$', text)
    assert re.search(line + r'openat\(AT_FDCWD, "/var/www/html/index[^"]*", O_RDONLY\|O_NONBLOCK\) '
                     r'= \d+ <', text)
    assert re.search(line + r"accept4\(\d+, \{AF_INET, 10\.0\.2\.2:\d+\}, 0x\w+, SOCK_NONBLOCK\) = ",
                     text)
    assert get(port)  # and it goes on


def wait_traced(out, port):
    """Requests until the tracer has seen one."""
    return wait_for(lambda: get(port) and os.path.exists(out) and "GET / HTTP" in open(out).read(),
                    20, "a request in the trace")


def test_trace_from_the_start(librettos):
    out = os.path.join(librettos.folder, "trace")
    done = librettos("run", "--trace", out, PYTHON, "-c",
                     "import os\n"
                     "try: open('/no/such')\n"
                     "except OSError: pass\n"
                     "pid = os.fork()\n"
                     "if not pid: os.kill(os.getpid(), 11)\n"
                     "os.waitpid(pid, 0)\n"
                     "os._exit(3)", check=False)
    assert done.returncode == 3
    text = open(out).read()
    assert re.match(r"2 +brk\(NULL\) = 0x", text), text[:200]
    assert re.search(r'2 +openat\(AT_FDCWD, "/no/such", O_RDONLY\|O_CLOEXEC\) = -1 ENOENT \(No such '
                     r'file or directory\)', text)
    assert re.search(r"(\d+) +kill\(\1, SIGSEGV\) = 0\n\1 +--- SIGSEGV \{si_signo=11, si_code=0, "
                     r"si_pid=\1, si_uid=0\} ---\n\1 +\+\+\+ killed by SIGSEGV", text)
    assert re.search(r"2 +wait4\(\d+, \[killed by SIGSEGV.*\], 0, NULL\) = \d+", text) or \
        re.search(r"2 +<\.\.\. wait4 resumed>\d+, \[killed by SIGSEGV.*\], 0, NULL\) = \d+", text)
    assert text.endswith("+++ exited with 3 +++\n")
    assert "lost" not in text


def test_trace_of_one_process_and_some_calls(librettos):
    librettos("run", "-d", "--name", "two", PYTHON, "-c",
              "import os, time\n"
              "os.fork()\n"
              "while True: time.sleep(0.01); os.getppid(); os.getcwd()")
    pids = wait_for(lambda: (lambda p: p if len(p) == 2 else None)(
        [p["pid"] for p in stats(librettos, "two")["processes"]]), 20, "two processes")
    tracer = librettos.popen("trace", "-p", pids[1], "-e", "getppid,getcwd", "-e", "%network", "two",
                             stdout=subprocess.PIPE, text=True)
    lines = [tracer.stdout.readline() for _ in range(20)]
    tracer.send_signal(signal.SIGINT)
    assert tracer.wait(20) == 0
    for line in lines:
        assert re.match(rf'{pids[1]} +(getppid\(\) = {pids[0]}|getcwd\("/", 1024\) = 2)\n', line), line
    counting = librettos.popen("trace", "-c", "two", stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    librettos("stop", "-t", "0", "two")
    summary = counting.communicate(timeout=20)[0]
    calls = int(re.search(r"(\d+) +0 getppid\n", summary).group(1))
    assert calls > 20 and re.search(rf"{calls} +0 getcwd\n", summary)


def test_a_slow_reader_of_a_trace_loses_records_and_stops_nothing(librettos):
    program = compile_c(librettos.folder, "calls", """
        #include <sys/syscall.h>
        #include <unistd.h>
        int main(void)
        {
            sleep(2);
            for (int i = 0; i < 50000; i++)
                syscall(SYS_getppid);
            write(1, "done", 4);
            sleep(60);
        }""")
    librettos("run", "-d", "--name", "calls", program)
    tracer = librettos.popen("trace", "calls", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True)
    wait_for(lambda: "done" in librettos("logs", "calls").stdout, 30, "the program to go on")
    tracer.send_signal(signal.SIGINT)
    out, err = tracer.communicate(timeout=30)
    assert tracer.returncode == 0
    lost = sum(map(int, re.findall(r"(?m)^\.\.\. (\d+) records lost \.\.\.$", out)))
    seen = out.count("getppid() = ")
    assert seen > 1000 and lost > 1000
    assert 2 * seen + lost >= 100000  # each call has two records: all are accounted for
    assert f"{lost} records lost" in err


def test_trace_goes_on_across_the_death_of_the_supervisor(librettos):
    port = librettos.start("web", "nginx", port=80)
    out = os.path.join(librettos.folder, "trace")
    tracer = librettos.popen("trace", "-f", "-e", "recvfrom", "-o", out, "web")
    wait_traced(out, port)
    kill_supervisor(librettos)
    seen = open(out).read().count("GET / HTTP")
    wait_for(lambda: get(port) and open(out).read().count("GET / HTTP") > seen, 20, "more")
    tracer.send_signal(signal.SIGINT)
    assert tracer.wait(20) == 0


def test_trace_shows_what_a_program_waits_in(librettos):
    librettos("run", "-d", "--name", "waits", "sleep", "1000")
    wait_for(lambda: " S " in librettos("exec", "waits", "cat", "/proc/2/stat").stdout, 20, "sleep to sleep")
    tracer = librettos.popen("trace", "waits", stdout=subprocess.PIPE, text=True)
    assert re.fullmatch(r"2 +clock_nanosleep\(CLOCK_REALTIME, 0, 0x\w+, 0x\w+ <unfinished \.\.\.>\n",
                        tracer.stdout.readline())
    tracer.send_signal(signal.SIGINT)
    assert tracer.wait(20) == 0


def test_trace_of_busy_programs_ends_at_once(librettos):
    program = compile_c(librettos.folder, "busy", """
        #include <sys/syscall.h>
        #include <unistd.h>
        int main(void)
        {
            fork();
            fork();
            for (;;)
                syscall(SYS_getppid);
        }""")
    librettos("run", "-d", "-c", "2", "--name", "busy", program)
    for _ in range(3):
        tracer = librettos.popen("trace", "-f", "busy", stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL)
        tracer.stdout.read(100000)
        tracer.send_signal(signal.SIGINT)
        begin = time.monotonic()
        tracer.communicate(timeout=20)
        assert tracer.returncode == 0 and time.monotonic() - begin < 5


def test_trace_of_nothing(librettos):
    for args, words in (("nosuch",), "no domain"), (("-e", "opne", "x"), "no system call"), \
            (("-p", "x", "y"), "not a process"), ((), "usage"):
        done = librettos("trace", *args, check=False)
        assert done.returncode == 125 and words in done.stderr, done.stderr
    librettos("run", "-d", "--name", "waits", "sleep", "1000")
    for args, words in (("net",), "domain net runs no program"), \
            (("-p", "77", "waits"), "domain waits has no process or thread 77"):
        wait_for(lambda: words in librettos("trace", *args, check=False).stderr, 20, words)
    assert "--follow" in librettos("trace", "--help").stdout


# ---- pcap ----


def tcpdump(path, *filters):
    done = subprocess.run(["tcpdump", "-n", "-r", path, *filters], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, check=True)
    return done.stdout.splitlines()


def packets_by_path(path):
    """How many packets each interface of a pcapng file has."""
    data, at, count = open(path, "rb").read(), 0, {}
    while at < len(data):
        kind, length, interface = struct.unpack_from("<III", data, at)
        if kind == 6:
            count[interface] = count.get(interface, 0) + 1
        at += length
    assert at == len(data)
    return count


@pytest.mark.parametrize("first", ["server", "direct"])
def test_capture_across_a_switch(librettos, first):
    other = "direct" if first == "server" else "server"
    librettos.run_options = ["--path", first]
    port = librettos.start("web", "nginx", port=80)
    path = os.path.join(librettos.folder, "web.pcapng")
    capture = librettos.popen("pcap", "-w", path, "web", stderr=subprocess.PIPE, text=True)
    wait_for(lambda: get(port) and os.path.exists(path) and os.path.getsize(path) > 500, 20, "frames")
    requests = 0
    for to in (other, first):
        get(port)
        librettos("switch", "web", to)
        get(port)
        requests += 2
    librettos("stop", "web")
    err = capture.communicate(timeout=20)[1]
    assert capture.returncode == 0
    frames, lost = map(int, re.match(r"(\d+) frames captured, (\d+) lost", err).groups())
    lines = tcpdump(path)
    assert len(lines) == frames and lost == 0
    gets = [line for line in lines if "HTTP: GET / " in line]
    assert len(gets) >= requests
    # The capture may have begun between a request and its answer.
    assert len([line for line in lines if "HTTP: HTTP/1.1 200" in line]) - len(gets) in (0, 1)
    assert packets_by_path(path).keys() == {0, 1}  # it went both ways


def test_capture_of_the_network_server_and_limits(librettos):
    port = librettos.start("web", "nginx", port=80)
    assert get(port)  # the server is there: while it starts it cannot be watched
    path = os.path.join(librettos.folder, "net.pcapng")
    capture = librettos.popen("pcap", "-w", path, "-c", "5", "-s", "60", "net",
                              stderr=subprocess.PIPE, text=True)
    wait_for(lambda: get(port) and capture.poll() is not None, 20, "five frames")
    said = capture.stderr.read()
    assert capture.returncode == 0 and "5 frames captured" in said, said
    lines = tcpdump(path)
    assert len(lines) == 5
    done = librettos("pcap", "nosuch", check=False)
    assert done.returncode == 125 and "no domain named nosuch" in done.stderr


# ---- cores ----

CRASH = """
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static double factor = 2.5, wide[4] = {1, 2, 3, 4.5};
static int inner(int *where)
{
    register double kept asm("xmm5") = factor * 3;
    asm volatile("vmovupd %1, %%ymm7" : "+x"(kept) : "m"(wide) : "xmm7");
    *where = 7;
    return (int)kept;
}
static int outer(int *where) { return inner(where) + 1; }
static void *waits(void *arg) { for (;;) pause(); return arg; }
int main(int argc, char **argv)
{
    pthread_t t;
    char *text = malloc(100);
    sprintf(text, "on the heap %d", argc);
    pthread_create(&t, NULL, waits, NULL);
    usleep(100000);
    if (argc > 1)
        abort();
    return outer((int *)0x1234) + text[0] + (argv == NULL);
}
"""


def core_limit(n):
    return lambda: resource.setrlimit(resource.RLIMIT_CORE,
                                      (n, resource.getrlimit(resource.RLIMIT_CORE)[1]))


UNLIMITED = core_limit(resource.RLIM_INFINITY)


def gdb(program, core, *commands):
    args = [word for c in commands for word in ("-ex", c)]
    return subprocess.run(["gdb", "-nx", "-batch", *args, program, core], text=True, timeout=120,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True).stdout


def test_core_of_a_program_with_threads(librettos):
    program = compile_c(librettos.folder, "crash", CRASH, "-pthread")
    done = librettos("run", "--name", "crash", program, check=False, preexec_fn=UNLIMITED)
    assert done.returncode == 128 + signal.SIGSEGV and "`librettos core crash`" in done.stderr
    core = os.path.join(librettos.folder, "core")
    assert librettos("core", "-o", core, "crash").stdout == core + "\n"
    text = gdb(program, core, "thread apply all bt", "p/x $_siginfo._sifields._sigfault.si_addr",
               "p $xmm5.v2_double[0]", "p $ymm7.v4_double[3]", "frame 2", "p text", "info auxv")
    assert "terminated with signal SIGSEGV" in text
    assert re.search(r"#0 .* in inner \(where=0x1234\).*\n#1 .* in outer \(where=0x1234\).*\n"
                     r"#2 .* in main \(argc=1,", text)
    assert re.search(r"#\d .* in waits \(arg=0x0\)", text)
    assert "$1 = 0x1234\n" in text and "$2 = 7.5\n" in text and "$3 = 4.5\n" in text
    assert 'on the heap 1"' in text and "AT_SYSINFO_EHDR" in text


def test_cores_of_children(librettos):
    """abort(3) of python3, the bit that wait(2) has, and who must not leave one."""
    source = """if True:
        import ctypes, os, resource, sys
        def child(limit, dumpable=1):
            pid = os.fork()
            if not pid:
                resource.setrlimit(resource.RLIMIT_CORE, (limit, -1))
                ctypes.CDLL(None).prctl(4, dumpable)
                os.abort()
            status = os.waitpid(pid, 0)[1]
            print(os.WTERMSIG(status), os.WCOREDUMP(status))
        child(0)
        child(resource.RLIM_INFINITY, 0)
        child(resource.RLIM_INFINITY)
        """
    done = librettos("run", "--name", "py", PYTHON, "-c", source, preexec_fn=core_limit(0))
    assert done.stdout == "6 False\n6 False\n6 True\n", done
    core = os.path.join(librettos.folder, "core")
    librettos("core", "-o", core, "py")
    text = gdb(PYTHON, core, "bt")
    assert "terminated with signal SIGABRT" in text
    assert re.search(r"#\d+ .* in (__GI_)?abort ", text) and "py_" in text.lower()


def test_size_of_a_core(librettos):
    program = compile_c(librettos.folder, "crash", CRASH, "-pthread")
    core = os.path.join(librettos.folder, "core")
    librettos("run", "--name", "crash", program, "x", check=False, preexec_fn=core_limit(100000))
    librettos("core", "-o", core, "crash")
    assert os.path.getsize(core) == 100000
    done = librettos("run", "--name", "crash", program, "x", check=False, preexec_fn=core_limit(0))
    assert done.returncode == 128 + signal.SIGABRT and "core" not in done.stderr
    done = librettos("core", "crash", check=False)
    assert done.returncode == 125 and "no core of a domain named crash" in done.stderr


# ---- gdb ----

SPIN = """
#include <stdio.h>
volatile unsigned long counter = 1000;
volatile int go;
__attribute__((noinline)) void step(unsigned long by) { counter += by; }
int main(void)
{
    while (!go)
        step(3);
    printf("went %d\\n", go);
    return 5;
}
"""


def gdb_args(*commands):
    return ["-nx", "-batch", *[word for c in commands for word in ("-ex", c)]]


def test_gdb_on_a_program_and_the_kernel(librettos):
    librettos("run", "-d", "--name", "spin", compile_c(librettos.folder, "spin", SPIN))
    text = librettos("gdb", "spin", *gdb_args(
        "hbreak step", "continue", "bt", "p counter > 1000", "p by", "delete",
        "info symbol personality_syscall")).stdout
    assert re.search(r"#0  step \(by=3\) at .*\n#1  0x\w+ in main \(\)", text), text
    assert "$1 = 1\n$2 = 3\n" in text and "personality_syscall in section .text" in text
    assert librettos.ps()[0]["state"] == "running"
    librettos("gdb", "spin", *gdb_args("hbreak step", "continue", "set var go = 42", "delete"))
    ended = wait_for(lambda: [d for d in json.loads(librettos("ps", "-a", "--json").stdout)
                              if d["name"] == "spin" and d.get("status") == 5], 20, "its end")
    assert ended and librettos("logs", "spin").stdout == "went 42\n"


def test_a_debugger_that_is_killed_leaves_the_domain_running(librettos):
    port = librettos.start("web", "nginx", port=80)
    stub = librettos.popen("gdb", "--print", "web", stdout=subprocess.PIPE, text=True)
    command = shlex.split(stub.stdout.readline())
    assert command[0] == "gdb" and "kernel.debug.elf" in command[2] and "-ex" in command
    second = librettos("gdb", "web", check=False)
    assert second.returncode == 125 and "debugged already" in second.stderr
    gdb_itself = subprocess.Popen([*command, "-nx"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True)
    gdb_itself.stdin.write("p 6*7\n")
    gdb_itself.stdin.flush()
    for line in gdb_itself.stdout:
        if "= 42" in line:
            break
    with pytest.raises(OSError):  # all of the domain stands still
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1)
    gdb_itself.kill()
    stub.kill()
    gdb_itself.wait()
    stub.wait()
    assert wait_for(lambda: answers_http(port), 20, "the domain to go on")
    assert "$1 = 54" in librettos("gdb", "web", *gdb_args("p 6*9")).stdout  # and again


def answers_http(port):
    try:
        return get(port)
    except OSError:
        return None


def test_gdb_of_nothing(librettos):
    done = librettos("gdb", "nosuch", check=False)
    assert done.returncode == 125 and "no domain" in done.stderr
    librettos.start("web", "nginx", port=80)
    done = librettos("gdb", "net", check=False)
    assert done.returncode == 125 and "network server" in done.stderr
    librettos.env["PATH"] = librettos.folder
    done = librettos("gdb", "web", check=False)
    assert done.returncode == 125 and "gdb is not installed" in done.stderr


# ---- the kernel's log ----


def test_dmesg(librettos):
    done = librettos("run", "--name", "log", "--package", "util-linux", "bash", "-c",
                     "for p in '<3>an error' '<2>grave' '<6>plain' '<15>detail' none; do "
                     "echo \"$p\" >/dev/kmsg; done; dmesg -r; echo --; dmesg -S -l err,crit; "
                     "echo --; dmesg -C; dmesg; dmesg -S; echo '<1>after' >/dev/kmsg; dmesg")
    raw, errors, rest = done.stdout.split("--\n")
    for level, text in (3, "an error"), (2, "grave"), (6, "plain"), (7, "detail"), (5, "none"):
        assert re.search(rf"(?m)^<{level}>\[ +\d+\.\d{{6}}\] {text}$", raw), raw
    assert re.fullmatch(r"\[ +\d+\.\d{6}\] an error\n\[ +\d+\.\d{6}\] grave\n", errors)
    assert re.fullmatch(r"\[ +\d+\.\d{6}\] after\n", rest)
    # The threshold is "warn": the console has what is as severe.
    console = librettos("logs", "--kernel", "log").stdout
    assert "error: an error" in console and "crit: grave" in console and "plain" not in console
    assert re.fullmatch(r"\[\d+\.\d{6}\] crit: grave\r?\n\[\d+\.\d{6}\] alert: after\r?\n",
                        librettos("logs", "--level", "crit", "log").stdout)


def test_loglevel(librettos):
    for level, there in ("debug", True), ("crit", False):
        librettos("run", "--name", "log", "--loglevel", level, "bash", "-c",
                  "echo '<3>an error' >/dev/kmsg; echo '<7>detail' >/dev/kmsg")
        console = librettos("logs", "--kernel", "log").stdout
        assert ("debug: detail" in console) == ("error: an error" in console) == there
    for command in ("run", "--loglevel", "loud", "bash"), ("logs", "--level", "loud", "log"):
        done = librettos(*command, check=False)
        assert done.returncode == 125 and "no log level" in done.stderr
