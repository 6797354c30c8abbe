"""Debian's sshd in a domain, used by the host's ssh, scp and sftp with a key of the test's."""
import hashlib
import os
import shutil
import subprocess

import pytest

from conftest import run
from conftest import librettos_on_each_path_if_long as librettos  # noqa: F401

HOME = "/srv/sshd"  # its own files in the domain
CONFIG = f"""Port 22
HostKey {HOME}/host
AuthorizedKeysFile {HOME}/user.pub
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
Subsystem sftp /usr/lib/openssh/sftp-server
"""


class Login:
    """sshd in a domain, and the host's commands that know its key."""

    def __init__(self, librettos, folder):  # noqa: F811
        self.folder = folder
        for key in ("host", "user"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", folder / key)
        (folder / "config").write_text(CONFIG)
        files = [option for name in ("host", "user.pub", "config")
                 for option in ("--file", f"{folder}/{name}:{HOME}/{name}")]
        self.port = librettos.start("ssh", "--package", "openssh-server", "--package", "openssh-sftp-server",
                                    "--package", "openssh-client", "--package", "bash", "--package",
                                    "coreutils", *files,
                                    "/usr/sbin/sshd", "-D", "-e", "-f", f"{HOME}/config", "-o", "LogLevel=ERROR",
                                    port=22)
        known = folder / "known"
        known.write_text(f"[127.0.0.1]:{self.port} {(folder / 'host.pub').read_text()}")
        self.options = ["-F", "none", "-i", str(folder / "user"), "-o", f"UserKnownHostsFile={known}",
                        "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"]

    def command(self, *args):
        return ["ssh", *self.options, "-p", str(self.port), "root@127.0.0.1", *args]

    def __call__(self, *args, check=True, **kw):
        done = subprocess.run(self.command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                              **kw)
        assert not check or done.returncode == 0, done.stderr
        return done


@pytest.fixture
def login(librettos, tmp_path):  # noqa: F811
    return Login(librettos, tmp_path)


def test_commands(login):
    assert login("echo $HOSTNAME; id -un").stdout == b"ssh\nroot\n"
    done = login("echo out; echo err >&2; exit 7", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
    assert login("kill -TERM $$", check=False).returncode == 255
    data = os.urandom(1 << 20)
    assert login("sha256sum", input=data).stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_a_stranger_is_refused(login):
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", login.folder / "stranger")
    login.options[login.options.index("-i") + 1] = str(login.folder / "stranger")
    done = login("true", check=False)
    assert done.returncode == 255 and b"Permission denied (publickey)" in done.stderr


def test_scp_and_sftp(login):
    tree = login.folder / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "big").write_bytes(os.urandom(1 << 20))
    (tree / "run").write_text("#!/bin/bash\necho it ran\n")
    (tree / "run").chmod(0o750)
    for number, options in enumerate(([], ["-O"])):  # by sftp, by scp's old protocol
        scp = ["scp", "-q", "-rp", *options, *login.options, "-P", login.port]
        back = login.folder / f"back{number}"
        run(*scp, tree, f"root@127.0.0.1:/tmp/tree{number}")
        assert login(f"/tmp/tree{number}/run").stdout == b"it ran\n"
        run(*scp, f"root@127.0.0.1:/tmp/tree{number}", back)
        run("diff", "-r", tree, back)
        assert (back / "run").stat().st_mode & 0o7777 == 0o750
        assert int((back / "run").stat().st_mtime) == int((tree / "run").stat().st_mtime)
        shutil.rmtree(back)


def test_many_sessions_at_once(login):
    sessions = [subprocess.Popen(login.command(f"sleep 1; echo {i}"), stdout=subprocess.PIPE, text=True)
                for i in range(5)]
    assert [s.communicate(timeout=60)[0] for s in sessions] == [f"{i}\n" for i in range(5)]
