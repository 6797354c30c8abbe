"""Debian's services and languages, each started as its user would and asked one thing: docs/programs.md has the
table. Only with LIBRETTOS_TEST_LONG=1, and only what is installed here: `make test` has the programs that have
tests of their own.
"""
import os
import shutil
import socket
import subprocess
import time

import pytest

from conftest import LONG, free_port, run
from conftest import librettos  # noqa: F401

pytestmark = pytest.mark.skipif(not LONG, reason="only with LIBRETTOS_TEST_LONG=1")

# Programs that do a thing and end: arguments of `run`, a word of what they print.
ONCE = {
    "ruby": (["ruby", "-e", "puts 6 * 7; puts `echo in a $((1)) shell`"], "in a 1 shell"),
    "php": (["php", "-r", 'echo gethostbyname("localhost"), PHP_EOL;'], "127.0.0.1"),
    "java": (["-m", "512M", "java", "-version"], "OpenJDK"),
    "erl": (["-m", "512M", "erl", "-noshell", "-eval", 'io:format("hello~n"), halt().'], "hello"),
    "go": (["-m", "2G", "-c", "2", "--depends", "-e", "GOCACHE=/tmp/cache", "-e", "GO111MODULE=off", "go", "run",
            "{files}/hello.go"], "hello from another goroutine"),
    "git": (["/bin/sh", "-c", "cd /tmp && git init -q x && cd x && git -c user.name=x -c user.email=x commit -q "
             "--allow-empty -m first && git log --format=%s"], "first"),
    "lua5.4": (["lua5.4", "-e", "print(6 * 7)"], "42"),
    "tcc": (["--depends", "--package", "libc6-dev", "tcc", "-run", "{files}/hello.c"], "hello from C"),
    "gawk": (["gawk", 'BEGIN { "echo $((6 * 7))" | getline x; print x }'], "42"),
    "fio": (["fio", "--name=t", "--ioengine=libaio", "--rw=randrw", "--size=8M", "--iodepth=16", "--verify=crc32c",
             "--directory=/tmp"], "err= 0"),
}
OPTIONS = {"git": ["--package", "git"]}

FILES = {
    "hello.go": 'package main\nimport "fmt"\nfunc main() { c := make(chan string)\n'
                'go func() { c <- "hello from another goroutine" }()\nfmt.Println(<-c) }\n',
    "hello.c": '#include <stdio.h>\nint main(void) { puts("hello from C"); return 0; }\n',
    "app.py": 'def app(environ, start):\n    start("200 OK", [])\n    return [b"hello"]\n',
    "mosquitto.conf": "listener 1883 0.0.0.0\nallow_anonymous true\n",
    "rsyncd.conf": "[things]\npath = /etc\n",
    "zone": "$TTL 60\n@ IN SOA ns.test. x.test. 1 60 60 60 60\n@ IN NS ns.test.\nns IN A 192.0.2.1\n",
    "named.conf": 'options { directory "/tmp"; listen-on port 53 { any; }; recursion no; pid-file none;\n'
                  'session-keyfile "/tmp/key"; };\nzone "test" { type primary; file "{files}/zone"; };\n',
    "knot.conf": "server:\n  listen: 0.0.0.0@53\n  rundir: /tmp\ndatabase:\n  storage: /tmp\n"
                 "zone:\n  - domain: test\n    file: {files}/zone\n",
    "unbound.conf": 'server:\n interface: 0.0.0.0\n access-control: 0.0.0.0/0 allow\n do-daemonize: no\n'
                    ' chroot: ""\n username: ""\n local-data: "ns.test. A 192.0.2.1"\n',
    "apache.conf": "ServerName x\nServerRoot /etc/apache2\nPidFile /run/apache2.pid\nListen 80\n"
                   "LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so\n"
                   "LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so\n"
                   "User www-data\nGroup www-data\nErrorLog /dev/stderr\nDocumentRoot /etc\n"
                   "<Directory /etc>\nRequire all granted\n</Directory>\n",
    "mariadb.sql": "create user 'u'@'%' identified by 'p';\ngrant all on *.* to 'u'@'%';\ncreate database d;\n",
    "mariadb.sh": "#!/bin/sh\nmkdir -p /run/mysqld /tmp/db\n"
                  "mariadb-install-db --user=root --datadir=/tmp/db --auth-root-authentication-method=normal\n"
                  "exec mariadbd --user=root --datadir=/tmp/db --bind-address=0.0.0.0 --skip-name-resolve "
                  "--init-file={files}/mariadb.sql\n",
}


def http(path=""):
    return ["curl", "-s", "-o", "-", "-w", " status %{http_code}", "http://127.0.0.1:{port}/" + path]


def talk(send, expect):
    """Sends bytes, for who waits for some, and wants these among the answer."""
    def ask(port):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
            s.sendall(send)
            answer = s.recv(200)
            assert expect in answer, answer
    return ask


DIG = ["dig", "+short", "+tcp", "-p", "{port}", "@127.0.0.1", "ns.test"]
SQL = ["mariadb", "-h", "127.0.0.1", "-P", "{port}", "-u", "u", "-pp", "-e", "create table if not exists d.t(x int); "
       "insert into d.t values (20), (22); select sum(x) from d.t"]
# Services: arguments of `run`, port, how to ask: a command and a word of its answer, or talk().
SERVICES = {
    "apache2": (["--file", "{files}/apache.conf:/etc/apache2/a.conf", "apache2", "-D", "FOREGROUND", "-f",
                 "/etc/apache2/a.conf"], 80, http("hostname"), "librettos"),
    "lighttpd": (["lighttpd", "-D", "-f", "/etc/lighttpd/lighttpd.conf"], 80, http("none"), "status 404"),
    "caddy": (["caddy", "respond", "--listen", ":80", "hello"], 80, http(), "hello"),
    "varnishd": (["-m", "512M", "--package", "coreutils", "--package", "dash", "--depends", "varnishd", "-F", "-a",
                  ":80", "-b", "127.0.0.1:81", "-s", "malloc,32m"], 80, http(), "status 503"),
    "squid": (["-m", "512M", "squid", "-N", "-d", "1"], 3128, http("x"), "status 400"),
    "gunicorn": (["--file", "{files}/app.py:/app/app.py", "gunicorn", "-b", "0.0.0.0:80", "--chdir", "/app", "-w", "3",
                  "app:app"], 80, http(), "hello"),
    "etcd": (["etcd", "--listen-client-urls", "http://0.0.0.0:2379", "--advertise-client-urls", "http://0.0.0.0:2379",
              "--data-dir", "/tmp/etcd"], 2379, http("health"), '"true"'),
    "prometheus": (["-m", "512M", "prometheus", "--config.file=/etc/prometheus/prometheus.yml",
                    "--storage.tsdb.path=/tmp/p"], 9090, http("-/ready"), "Ready"),
    "docker-registry": (["docker-registry", "serve", "/etc/docker/registry/config.yml"], 5000, http("v2/"),
                        "status 401"),
    "nats-server": (["nats-server"], 4222, talk(b"", b"INFO"), None),
    "mosquitto": (["mosquitto", "-c", "{files}/mosquitto.conf"], 1883,
                  talk(b"\x10\x0c\0\4MQTT\4\2\0\x3c\0\0", b"\x20\2\0\0"), None),
    "beanstalkd": (["beanstalkd", "-l", "0.0.0.0"], 11300, talk(b"stats\r\n", b"OK"), None),
    "rabbitmq-server": (["-m", "1G", "-c", "2", "-e", "HOME=/tmp", "-e", "RABBITMQ_NODENAME=r@localhost",
                         "rabbitmq-server"], 5672, talk(b"AMQP\0\0\x09\1", b"capabilities"), None),
    "mariadbd": (["-m", "1G", "-c", "2", "--package", "mariadb-server-core", "--package", "mariadb-client-core",
                  "--package", "mariadb-common", "--package", "gawk", "--file", "{files}/mariadb.sql",
                  "{files}/mariadb.sh"], 3306, SQL, "42"),
    "named": (["--file", "{files}/zone", "named", "-g", "-c", "{files}/named.conf"], 53, DIG, "192.0.2.1"),
    "knotd": (["--file", "{files}/zone", "knotd", "-c", "{files}/knot.conf"], 53, DIG, "192.0.2.1"),
    "unbound": (["unbound", "-d", "-c", "{files}/unbound.conf"], 53, DIG, "192.0.2.1"),
    "rsync": (["rsync", "--daemon", "--no-detach", "--config={files}/rsyncd.conf"], 873,
              ["rsync", "rsync://127.0.0.1:{port}/"], "things"),
    "vsftpd": (["vsftpd", "-olisten=YES", "-olisten_ipv6=NO"], 21, talk(b"", b"220 "), None),
    "dropbear": (["dropbear", "-F", "-R", "-E"], 22, talk(b"", b"SSH-2.0"), None),
    "tor": (["tor", "--SocksPort", "0.0.0.0:9050", "--DataDirectory", "/tmp/tor"], 9050,
            talk(b"\5\1\0", b"\5\0"), None),
}


def installed(program):
    return shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")


@pytest.fixture
def files(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text.replace("{files}", str(tmp_path)))
    (tmp_path / "mariadb.sh").chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("program", ONCE)
def test_program(librettos, files, program):
    if not installed(program):
        pytest.skip(f"no {program}")
    arguments, word = ONCE[program]
    done = librettos("run", *OPTIONS.get(program, []), *(a.replace("{files}", str(files)) for a in arguments),
                     timeout=180)
    assert word in done.stdout + done.stderr


def asked(ask, word, port):
    """Why the answer is not the right one; None if it is."""
    try:
        if callable(ask):
            ask(port)
            return None
        answer = run(*(a.replace("{port}", str(port)) for a in ask), timeout=30, check=False)
        return None if word in answer else answer
    except (OSError, AssertionError, subprocess.TimeoutExpired) as e:
        return repr(e)


@pytest.mark.parametrize("program", SERVICES)
def test_service(librettos, files, program):
    if not installed(program):
        pytest.skip(f"no {program}")
    arguments, guest, ask, word = SERVICES[program]
    port = free_port()
    librettos("run", "-d", "--name", "it", "-p", f"{port}:{guest}",
              *(a.replace("{files}", str(files)) for a in arguments), timeout=120)
    until = time.monotonic() + 120
    while (why := asked(ask, word, port)) and time.monotonic() < until:
        time.sleep(0.5)
    assert not why, f"{why}\n{librettos('logs', 'it').stdout[-3000:]}"
