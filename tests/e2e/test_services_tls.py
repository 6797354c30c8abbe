"""TLS by Debian's openssl, nginx and curl, each as server or client in a domain, with the test's own certificate."""
import os
import socket
import ssl

import pytest

from conftest import run
from conftest import librettos_on_each_path_if_long as librettos  # noqa: F401

NAME = "service.test"
NGINX = """user root; daemon off; error_log stderr;
events {{ }}
http {{ access_log off; client_max_body_size 16m;
  server {{ listen 443 ssl http2; listen [::]:443 ssl http2; server_name service.test;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {certificate};
    ssl_certificate_key {key};
    location /store/ {{ root /tmp; client_body_temp_path /tmp/body; dav_methods PUT DELETE;
      create_full_put_path on; }}
    location / {{ return 200 "$ssl_protocol $server_protocol\\n"; }} }} }}
"""


class Certificate:
    """One for NAME, signed by itself."""

    def __init__(self, folder):
        self.path, self.key = str(folder / "certificate.pem"), str(folder / "key.pem")
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", 2, "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-out", self.path,
            "-keyout", self.key)


@pytest.fixture
def certificate(tmp_path):
    return Certificate(tmp_path)


def address_of(librettos, name):  # noqa: F811
    return next(d["address"] for d in librettos.ps() if d["name"] == name)


def s_server(librettos, certificate, *options):  # noqa: F811
    return librettos.start("tls", "openssl", "s_server", "-accept", 4433, "-cert", certificate.path, "-key",
                           certificate.key, *options, port=4433)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_s_server_answers_the_host(librettos, certificate, version):  # noqa: F811
    port = s_server(librettos, certificate, "-quiet", "-rev")
    context = ssl.create_default_context(cafile=certificate.path)
    context.minimum_version = context.maximum_version = version
    for connection in range(3):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain, \
                context.wrap_socket(plain, server_hostname=NAME) as secure:
            for line in ("abc", f"connection {connection}", "x" * 10000):
                secure.sendall(line.encode() + b"\n")
                answer = b""
                while not answer.endswith(b"\n"):
                    answer += secure.recv(65536)
                assert answer.decode() == line[::-1] + "\n"


def test_s_client_in_a_domain_checks_the_certificate(librettos, certificate):  # noqa: F811
    s_server(librettos, certificate, "-quiet", "-www")
    client = ("run", "--name", "client", "openssl", "s_client", "-connect",
              f"{address_of(librettos, 'tls')}:4433", "-CAfile", certificate.path, "-verify_return_error",
              "-servername", NAME, "-ign_eof", "-verify_hostname")
    with open(os.path.join(librettos.folder, "request"), "w+") as request:
        request.write("GET / HTTP/1.0\r\n\r\n")
        request.seek(0)
        good = librettos(*client, NAME, stdin=request)
    assert "Verify return code: 0 (ok)" in good.stdout and "HTTP/1.0 200 ok" in good.stdout
    bad = librettos(*client, "another.test", check=False)
    assert bad.returncode == 1 and "hostname mismatch" in bad.stderr


@pytest.fixture
def site(librettos, certificate, tmp_path):  # noqa: F811
    """nginx with TLS in one domain; runs a shell script with curl in another, returns what it prints."""
    config = tmp_path / "site.conf"
    config.write_text(NGINX.format(certificate=certificate.path, key=certificate.key))
    librettos.start("web", "--file", certificate.path, "--file",
                    certificate.key, "nginx", "-c", config, port=443)
    curl = (f"set -e; curl() {{ command curl -sS --fail --cacert {certificate.path} "
            f"--connect-to ::{address_of(librettos, 'web')}:443 \"$@\"; }}\n")

    def script(text, *options, check=True):
        return librettos("run", "--name", "client", "--package", "curl", "--package", "coreutils", "--file",
                         certificate.path, *options, "/bin/bash", "-c", curl + text, check=check)

    return script


def test_curl_speaks_https(site):
    done = site(f"curl https://{NAME}/ --http1.1; curl https://{NAME}/ --tls-max 1.2; curl https://{NAME}/")
    assert done.stdout.splitlines() == ["TLSv1.3 HTTP/1.1", "TLSv1.2 HTTP/2.0", "TLSv1.3 HTTP/2.0"]
    refused = site("curl https://another.test/", check=False)
    assert refused.returncode == 60 and "another.test" in refused.stderr


def test_curl_moves_files_both_ways(site):
    """A file of 4 MiB up and down again; ten small ones at once."""
    done = site(f"""dd if=/dev/urandom of=/tmp/big bs=1M count=4 status=none
        curl -T /tmp/big https://{NAME}/store/big
        sha256sum </tmp/big; curl https://{NAME}/store/big | sha256sum
        for i in 0 1 2 3 4 5 6 7 8 9; do echo small $i | curl -T - https://{NAME}/store/small$i; done
        curl -Z --parallel-immediate https://{NAME}/store/small[0-9] -o '/tmp/out#1'
        cat /tmp/out?; curl https://{NAME}/nothing/../store/none || echo exit $?""")
    lines = done.stdout.splitlines()
    assert lines[0] == lines[1]
    assert lines[2:] == [f"small {i}" for i in range(10)] + ["exit 22"]
