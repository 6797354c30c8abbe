"""The supervisor: its beginning and end, commands and supervisors that die, what is left behind."""
import glob
import os
import shutil
import socket
import subprocess
import time

import pytest

from conftest import LIBRETTOS, wait_for

SLEEP = ("/bin/sleep", "1000")


def processes(librettos, name):
    """The pids of all processes of this name that belong to the test's run-time folder."""
    mark = f"XDG_RUNTIME_DIR={librettos.env['XDG_RUNTIME_DIR']}\0".encode()
    found = []
    for path in glob.glob("/proc/[0-9]*/comm"):
        try:
            with open(path) as comm, open(path[:-4] + "environ", "rb") as environ:
                if comm.read().startswith(name) and mark in environ.read():
                    found.append(int(path.split("/")[2]))
        except OSError:
            pass
    return found


def machines(librettos):
    return processes(librettos, "qemu-system")


def supervisor_pid(librettos):
    return next(iter(processes(librettos, "librettos-super")), None)


def gone(pid):
    return not os.path.exists(f"/proc/{pid}")


def test_a_killed_command_leaves_its_domain(librettos):
    client = librettos.popen("run", "--name", "cat", "/bin/cat", stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
    client.stdin.write(b"hello\n")
    client.stdin.flush()
    assert client.stdout.readline() == b"hello\n"
    client.kill()
    client.wait()
    # cat reads the end of its input, so the domain ends by itself; one that does not read goes on.
    wait_for(lambda: librettos.ps() == [], 10, "cat to end")
    client = librettos.popen("run", "--name", "sleep", *SLEEP)
    wait_for(lambda: any(d["state"] == "running" for d in librettos.ps()), 20, "the domain")
    client.kill()
    client.wait()
    time.sleep(3)
    assert [d["state"] for d in librettos.ps()] == ["running"]
    librettos("stop", "sleep")


def test_output_that_nobody_reads(librettos):
    done = subprocess.run(["sh", "-c", f"'{LIBRETTOS}' run /usr/bin/yes | head -1; echo end"],
                          env=librettos.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          text=True, timeout=60)
    assert done.stdout == "y\nend\n"
    assert librettos.ps() == []


def test_many_first_commands_at_once(librettos):
    clients = [librettos.popen("run", "/bin/echo", str(i), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
               for i in range(4)]
    for i, client in enumerate(clients):
        out, err = client.communicate(timeout=60)
        assert (client.returncode, out) == (0, f"{i}\n"), err


def test_commands_while_supervisors_end(librettos):
    librettos.env["LIBRETTOS_LINGER_MS"] = "0"
    librettos("run", "/bin/true")
    for _ in range(60):
        done = librettos("exec", "nobody", "/bin/true", check=False)
        assert done.returncode == 125 and "no domain" in done.stderr, done.stderr
    for _ in range(5):
        librettos("run", "/bin/true")


def test_thirty_domains_leave_nothing(librettos):
    librettos.env["LIBRETTOS_SERVER_IDLE_MS"] = "500"
    librettos("run", "--name", "first", "/bin/true")
    pid = supervisor_pid(librettos)
    count = lambda: len(os.listdir(f"/proc/{pid}/fd"))
    wait_for(lambda: not machines(librettos), 5, "the first to end")
    before = count()
    for i in range(30):
        assert librettos("run", "--name", f"d{i % 7}", "-m", "64M", "/bin/echo", i).stdout == f"{i}\n"
    wait_for(lambda: not machines(librettos), 5, "the network server to end")
    wait_for(lambda: count() <= before, 5, "descriptors to be closed")
    files = set(os.listdir(os.path.join(librettos.env["XDG_RUNTIME_DIR"], "librettos")))
    assert files == ({"supervisor.sock", "supervisor.lock", "supervisor.log", "first.domain", "net.domain"} |
                     {f"d{i}.domain" for i in range(7)})


def test_stale_files_do_not_disturb(librettos):
    folder = os.path.join(librettos.env["XDG_RUNTIME_DIR"], "librettos")
    os.mkdir(folder, 0o700)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(os.path.join(folder, "supervisor.sock"))
    os.mkdir(os.path.join(folder, "web.domain"))
    with open(os.path.join(folder, "web.domain", "output.log"), "w") as f:
        f.write("old words\n")
    assert librettos("run", "--name", "web", "/bin/echo", "new words").stdout == "new words\n"
    assert librettos("logs", "web").stdout == "new words\n"


def test_names(librettos):
    longest = "n" * 63
    assert librettos("run", "--name", longest, "/bin/hostname").stdout.strip() == longest
    for name in ("n" * 64, "a/b", "..", "", "-x", "a b"):
        done = librettos("run", f"--name={name}", "/bin/true", check=False)
        assert done.returncode == 125 and done.stderr.count("\n") == 1


def test_run_time_folder_of_a_long_path(librettos, tmp_path):
    librettos.env["XDG_RUNTIME_DIR"] = str(tmp_path / ("long" * 30))
    os.makedirs(librettos.env["XDG_RUNTIME_DIR"])
    done = librettos("run", "/bin/true", check=False)
    assert done.returncode == 125 and "too long" in done.stderr and done.stderr.count("\n") == 1
    librettos.env["XDG_RUNTIME_DIR"] = librettos.folder


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="mounts a small disk")
def test_full_disk_in_the_cache(librettos):
    cache = librettos.env["XDG_CACHE_HOME"] = os.path.join(librettos.folder, "small")
    os.mkdir(cache)
    done = subprocess.run(["unshare", "--mount", "sh", "-c",
                           f"mount -t tmpfs -o size=1m none '{cache}' && '{LIBRETTOS}' run redis-server;"
                           f"echo $?; ls '{cache}/librettos'"], env=librettos.env, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=60)
    assert "No space left" in done.stderr and done.stderr.count("\n") == 1
    assert done.stdout == "125\n"  # and no half of an image
