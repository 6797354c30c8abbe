"""Directories of the host in domains: -v, as root and as an ordinary user."""
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import urllib.request

import pytest

from conftest import ROOT, Librettos, run, wait_for

REDIS = ("redis-server", "--protected-mode", "no", "--bind", "0.0.0.0", "--save", "")
ORDINARY = "nobody"  # who plays the ordinary user when root runs the tests


class Sharing(Librettos):
    """The command with a folder to share, run as the tests' own user or as an ordinary one."""

    def __init__(self, base, ordinary):
        os.chmod(base, 0o755)
        home = os.path.join(base, "home")
        os.mkdir(home)
        super().__init__(home)
        self.folder = os.path.join(home, "shared")
        os.mkdir(self.folder)
        self.env["HOME"] = home
        self.identity = {}
        if ordinary and os.geteuid() == 0:
            person = pwd.getpwnam(ORDINARY)
            self.identity = dict(user=person.pw_uid, group=person.pw_gid, extra_groups=[])
            self.env["XDG_CACHE_HOME"] = os.path.join(home, "cache")
            for path in (home, self.folder, self.env["XDG_RUNTIME_DIR"]):
                os.chown(path, person.pw_uid, person.pw_gid)
        self.owner = os.stat(self.folder).st_uid

    def __call__(self, *args, **kw):
        return super().__call__(*args, **self.identity, **kw)


@pytest.fixture(params=["own", "ordinary"])
def volume(request):
    base = tempfile.mkdtemp(prefix="librettos-test-")
    command = Sharing(base, request.param == "ordinary")
    yield command
    command.end()
    shutil.rmtree(base, ignore_errors=True)  # its supervisor may be tidying up there


def cli(port, *args):
    return run("redis-cli", "-p", port, *args).strip()


def save_and_check(volume, port):
    run("redis-benchmark", "-p", port, "-c", 10, "-n", 3000, "-r", 2000, "-t", "set", "-d", 300)
    keys = int(cli(port, "dbsize"))
    assert "started" in cli(port, "bgsave")
    wait_for(lambda: "rdb_bgsave_in_progress:0" in cli(port, "info", "persistence"), 30, "BGSAVE")
    assert "rdb_last_bgsave_status:ok" in cli(port, "info", "persistence")
    dump = os.path.join(volume.folder, "dump.rdb")
    text = run("redis-check-rdb", dump)
    assert "RDB looks OK" in text and f"{keys} keys read" in text
    assert os.stat(dump).st_uid == volume.owner
    assert os.listdir(volume.folder) == ["dump.rdb"]
    return keys


def test_redis_saves_to_the_host(volume):
    port = volume.start("kv", "-v", f"{volume.folder}:/data", *REDIS, "--dir", "/data", port=6379)
    keys = save_and_check(volume, port)
    save_and_check(volume, port)  # over the first
    volume("stop", "kv")
    port = volume.start("kv", "-v", f"{volume.folder}:/data", *REDIS, "--dir", "/data", port=6379)
    assert int(cli(port, "dbsize")) >= keys


def test_redis_as_its_own_user(volume):
    if volume.owner == 0:
        shutil.chown(volume.folder, "redis", "redis")
        volume.owner = os.stat(volume.folder).st_uid
    port = volume.start("kv", "-u", "redis", "-v", f"{volume.folder}:/data", *REDIS, "--dir", "/data",
                        port=6379)
    save_and_check(volume, port)


def test_nginx_serves_what_the_host_changes(volume):
    page = os.path.join(volume.folder, "page.txt")
    port = volume.start("web", "-v", f"{volume.folder}:/var/www/html:ro", "nginx", port=80)
    for text in ("first", "second, longer", "x" * 300000):
        with open(page, "w") as f:
            f.write(text)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/page.txt", timeout=10) as answer:
            assert answer.read().decode() == text


def test_read_only(volume):
    path = os.path.join(volume.folder, "file")
    with open(path, "w") as f:
        f.write("kept\n")
    done = volume("run", "--package", "coreutils", "-v", f"{volume.folder}:/v:ro", "/bin/sh", "-c",
                  "cat /v/file; echo changed >/v/file; touch /v/new; rm /v/file", check=False)
    assert done.stdout == "kept\n" and done.returncode != 0
    assert done.stderr.count("Read-only file system") == 3
    assert os.listdir(volume.folder) == ["file"] and open(path).read() == "kept\n"


def test_mount_flags_are_told(volume):
    show = "grep ' /v ' /proc/mounts /proc/self/mountinfo"
    done = volume("run", "--file", "/bin/grep", "-v", f"{volume.folder}:/v:ro", "/bin/sh", "-c", show)
    mounts, info = [line.split(":", 1)[1] for line in done.stdout.splitlines()]
    assert mounts.split()[2:4] == ["9p", "ro,nosuid,nodev,relatime"]
    assert info.split()[5] == "ro,nosuid,nodev,relatime" and info.split()[-1] == "ro"


def test_changes_in_the_domain_are_told_to_watches(volume):
    """The guest tests of inotify, in a directory of a volume; three of them need what a volume does not have."""
    program = os.path.join(volume.folder, "inotify_events")
    subprocess.run(["gcc", "-pthread", os.path.join(ROOT, "tests/guest/inotify_events.c"), "-o", program], check=True)
    os.chmod(program, 0o755)
    done = volume("run", "-v", f"{volume.folder}:/tmp", "--file", f"{program}:/srv/inotify_events",
                  "/bin/sh", "-c", "/srv/inotify_events", check=False)
    results = dict(re.findall(r"^(?:ok|not ok) (\w+)(.*)$", done.stdout, re.M))
    failed = {name for name, why in results.items() if why}
    assert len(results) > 20 and failed == {
        "making_and_removing_in_a_directory",  # mkfifo
        "exchanging_tells_both",  # RENAME_EXCHANGE
        "copies_inside_the_kernel_are_told",  # fallocate
    }, done.stdout


def test_owners_and_modes(volume):
    done = volume("run", "--package", "coreutils", "-v", f"{volume.folder}:/v", "/bin/sh", "-c",
                  "umask 022; echo a >/v/a; mkdir /v/d; chmod 640 /v/a; ln -s a /v/l; mv /v/a /v/b;"
                  "chown 0:0 /v/b; ls -nl /v | cut -d' ' -f1,3,4; chown 1234 /v/b", check=False)
    if volume.owner:  # only the host's root can give files away
        assert done.returncode == 1 and "Operation not permitted" in done.stderr
    else:
        assert done.returncode == 0 and os.stat(os.path.join(volume.folder, "b")).st_uid == 1234
    lines = done.stdout.split("\n")
    assert "-rw-r----- 0 0" in lines and "drwxr-xr-x 0 0" in lines
    made = os.lstat(os.path.join(volume.folder, "b"))
    assert made.st_mode & 0o7777 == 0o640
    assert os.readlink(os.path.join(volume.folder, "l")) == "a"


def test_the_name_is_not_written_to_a_volume(volume):
    """A domain's /etc/hosts and resolv.conf are made at its start, but not if /etc is this machine's."""
    shutil.copy("/etc/passwd", volume.folder)
    for name in ("hosts", "resolv.conf"):
        with open(os.path.join(volume.folder, name), "w") as f:
            f.write("mine\n")
    show = ("/bin/sh", "-c", "cat /etc/hosts /etc/resolv.conf")
    own = volume("run", "--name", "itself", "--package", "coreutils", *show).stdout
    assert "127.0.1.1\titself\n" in own and "nameserver 10.0.2.3\n" in own
    shared = volume("run", "--package", "coreutils", "-v", f"{volume.folder}:/etc", *show).stdout
    assert shared == "mine\nmine\n"
    assert sorted(os.listdir(volume.folder)) == ["hosts", "passwd", "resolv.conf"]


def test_what_cannot_be_shared(librettos):
    for arg, why in (("/no/such:/v", "No such file"), ("/etc/passwd:/v", "Not a directory"),
                     ("/tmp", "expected"), ("/tmp:v", "expected")):
        done = librettos("run", "-v", arg, "/bin/true", check=False)
        assert done.returncode == 125 and why in done.stderr and done.stderr.count("\n") == 1
