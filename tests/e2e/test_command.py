"""The librettos command itself: options, exit statuses, errors that say what to do."""
import json
import os
import signal
import socket
import subprocess
import time

import pytest

from conftest import LIBRETTOS, free_port, wait_for


def test_help_of_every_command(librettos):
    text = librettos("--help").stdout
    for command in ("run", "ps", "stop", "logs", "signal", "exec", "image"):
        assert command in text
        assert "usage" in librettos(command, "--help").stdout.lower()


@pytest.mark.parametrize("status", [0, 1, 42])
def test_exit_status_is_the_programs(librettos, status):
    done = librettos("run", "/bin/sh", "-c", f"exit {status}", check=False)
    assert done.returncode == status, done.stderr


def test_output_and_arguments(librettos):
    done = librettos("run", "-e", "COLOUR=blue", "/bin/sh", "-c", 'echo "$COLOUR $0 $1"; echo no >&2',
                     "a b", "c")
    assert done.stdout == "blue a b c\n"
    assert "no" in done.stderr


def test_standard_input(librettos):
    done = subprocess.run([LIBRETTOS, "run", "/bin/cat"], env=librettos.env, input="through\n",
                          stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.stdout == "through\n" and done.returncode == 0


def test_killed_by_a_signal(librettos):
    done = librettos("run", "/bin/sh", "-c", "kill -KILL $$", check=False)
    assert done.returncode == 128 + signal.SIGKILL


def test_port_taken(librettos):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        done = librettos("run", "-p", f"{port}:80", "nginx", check=False)
    assert done.returncode == 125
    assert str(port) in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert librettos.ps() == []


def test_program_not_there(librettos):
    done = librettos("run", "no-such-program-at-all", check=False)
    assert done.returncode == 127
    assert "no-such-program-at-all" in done.stderr and done.stderr.count("\n") == 1


def test_broken_configuration_shows_the_programs_error(librettos, tmp_path):
    config = tmp_path / "bad.conf"
    config.write_text("this is not nginx configuration;\n")
    done = librettos("run", "--file", f"{config}:/etc/nginx/bad.conf", "nginx", "-c",
                     "/etc/nginx/bad.conf", check=False)
    assert done.returncode == 1
    assert "unknown directive" in done.stderr


def test_too_little_memory(librettos):
    done = librettos("run", "-m", "4M", "nginx", check=False)
    assert done.returncode == 125 and "memory" in done.stderr


def test_no_qemu(librettos, tmp_path):
    env = dict(librettos.env, PATH=str(tmp_path))
    done = subprocess.run([LIBRETTOS, "run", "/usr/sbin/nginx"], env=env, stderr=subprocess.PIPE,
                          text=True, timeout=30)
    assert done.returncode == 125 and "qemu" in done.stderr.lower()


def test_interrupt_stops_the_domain(librettos):
    port = free_port()
    client = librettos.popen("run", "--name", "web", "-p", f"{port}:80", "nginx", "-g", "daemon off;",
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: any(d["name"] == "web" and d["state"] == "running" for d in librettos.ps()), 20,
             "the domain")
    time.sleep(0.5)
    client.send_signal(signal.SIGINT)
    client.wait(timeout=20)
    assert librettos.ps() == []


def test_ps_logs_signal_exec_stop(librettos):
    librettos.start("kv", "redis-server", "--protected-mode", "no", "--bind", "0.0.0.0", port=6379)
    (domain,) = librettos.ps()
    assert domain["name"] == "kv" and domain["state"] == "running"
    assert "kv" in librettos("ps").stdout
    # The port is published as soon as it is listened on; the program's log line follows.
    wait_for(lambda: "Ready to accept connections" in librettos("logs", "kv").stdout, 10, "the log line")
    assert librettos("exec", "kv", "redis-cli", "ping").stdout.strip() == "PONG"
    librettos("signal", "kv", "TERM")
    wait_for(lambda: not any(d["state"] == "running" for d in librettos.ps()), 20, "the end")
    assert librettos("stop", "nobody", check=False).returncode != 0


def test_name_in_use(librettos):
    librettos.start("kv", "redis-server", "--protected-mode", "no", port=6379)
    done = librettos("run", "-d", "--name", "kv", "redis-server", check=False)
    assert done.returncode == 125 and "kv" in done.stderr


def test_nothing_is_left_running(librettos):
    librettos.start("kv", "redis-server", port=None)
    (domain,) = librettos.ps()
    pid = domain["pid"]
    librettos("stop", "kv")
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), 10, "QEMU to end")


def test_image(librettos, tmp_path):
    (tmp_path / "page").write_text("packed\n")
    out = tmp_path / "nginx.cpio"
    librettos("image", "-o", out, "--file", f"{tmp_path}/page:/srv/page", "--", "/usr/sbin/nginx")
    with open(out, "rb") as archive:
        names = subprocess.run(["cpio", "-t", "--quiet"], stdin=archive, stdout=subprocess.PIPE,
                               text=True, check=True).stdout.split("\n")
    assert {"usr/sbin/nginx", "etc/nginx/nginx.conf", "srv/page", "etc/passwd"} <= set(names)
    assert sorted(os.listdir(tmp_path)) == ["nginx.cpio", "page"]
    for args, status in ((["-o", "/no/such/folder/x", "nginx"], 125), (["-o", out, "no-such"], 127),
                         (["nginx"], 125), (["-o", out], 125)):
        done = librettos("image", *args, check=False)
        assert done.returncode == status and done.stderr.count("\n") == 1, done.stderr


def test_arguments_for_qemu(librettos):
    done = librettos("run", "--qemu-arg", "-name", "--qemu-arg", "other", "/bin/echo", "fine")
    assert done.stdout == "fine\n"
    done = librettos("run", "--qemu-arg", "-nonsense", "/bin/true", check=False)
    assert done.returncode == 125 and "nonsense" in done.stderr and done.stderr.count("\n") == 1


def test_shell_has_the_essential_commands(librettos):
    done = librettos("run", "/bin/bash", "-c", "ls / | sort | head -n 3 | tr '\\n' ' '")
    assert done.stdout == "bin dev etc "


def test_a_directory_among_the_arguments_comes_empty(librettos, tmp_path):
    (tmp_path / "secret").write_text("of this machine")
    assert librettos("run", "ls", tmp_path).stdout == ""


def test_a_script_has_its_interpreters_modules(librettos, tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/usr/bin/env python3\nimport json, subprocess\n"
                      "print(json.dumps({'out': subprocess.getoutput('echo here')}))\n")
    script.chmod(0o755)
    assert json.loads(librettos("run", script).stdout) == {"out": "here"}


def test_what_a_package_depends_on(librettos):
    import_json = ("/bin/sh", "-c", "python3 -c 'import json; print(json.dumps(1))'")
    assert librettos("run", "--package", "python3", *import_json, check=False).returncode
    assert librettos("run", "--depends", "--package", "python3", *import_json).stdout == "1\n"


def test_programs_find_a_shell(librettos):
    assert librettos("run", "mawk", 'BEGIN { system("echo $((6 * 7))") }').stdout == "42\n"


def test_root_becomes_another_user(librettos):
    done = librettos("run", "/bin/sh", "-c", "su nobody -s /bin/sh -c 'id -un; cat /etc/shadow'", check=False)
    assert done.stdout == "nobody\n" and "cat: /etc/shadow: Permission denied" in done.stderr


def test_terminals_are_described(librettos):
    assert librettos("run", "top", "-b", "-n", "1").stdout.startswith("top - ")


def test_settings_below_proc_sys(librettos):
    text = librettos("run", "--sysctl", "net.core.somaxconn=77", "--sysctl", "net.ipv4.tcp_rmem=4096 65536 1000000",
                     "--sysctl", "net.ipv4.tcp_congestion_control=reno", "/bin/sh", "-c",
                     "cd /proc/sys/net; cat core/somaxconn ipv4/tcp_rmem ipv4/tcp_congestion_control").stdout
    assert text == "77\n4096\t65536\t1000000\nreno\n"


@pytest.mark.parametrize("setting, why", [("net.none=1", "no such setting"), ("net.core.somaxconn=x", "does not fit"),
                                          ("net.core.somaxconn", "expected NAME=VALUE"),
                                          ("net.core.somaxconn=1\n2", "expected NAME=VALUE")])
def test_bad_settings(librettos, setting, why):
    done = librettos("run", "--sysctl", setting, "/bin/true", check=False)
    assert done.returncode == 125 and why in done.stderr and done.stderr.count("\n") <= 3, done.stderr
