"""Debian's own tinyproxy, squid and nginx as a client of proxies and of HTTP/2 needs them.

All are our children on loopback with private settings; the test is skipped where one is missing.
"""

import contextlib
import os
import pwd
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.e2e import servers
from tests.e2e.servers import Server
from tests.farm.certificate import Certificate
from tests.redis_server import unavailable

SQUID_USERS = """\
auth_param basic program {program} {folder}/users
auth_param basic children 1
auth_param basic utf8 on
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
"""
NCSA = Path("/usr/lib/squid/basic_ncsa_auth")

NGINX_H2 = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate FILE;
    ssl_certificate_key KEY;
    location / {{ default_type text/plain; return 200 "$server_protocol $connection $http_host"; }}
  }}
}}
"""


@contextlib.contextmanager
def tinyproxy(folder: Path, users: Mapping[str, str] | None = None) -> Iterator[Server]:
    """`users` are names and passwords, in tinyproxy's letters and digits; none: open to all."""
    folder.mkdir()
    settings = servers.TINYPROXY
    for user, password in (users or {}).items():
        settings += f"BasicAuth {user} {password}\n"
    with servers._running("tinyproxy", folder, settings, ["-d", "-c"]) as server:
        yield server


@contextlib.contextmanager
def squid(
    users: Mapping[str, str] | None = None, *, trusted: str | None = None
) -> Iterator[Server]:
    """On [::1] as well. `trusted`: a PEM file to believe in when it speaks https itself."""
    settings = servers.SQUID + "http_port [::1]:{port}\n"
    with tempfile.TemporaryDirectory(prefix="squid-") as name:
        folder = Path(name)
        if users is not None:
            if not NCSA.exists():
                unavailable(f"no {NCSA} here")
            _write_users(folder / "users", users)
            named = SQUID_USERS.replace("{program}", str(NCSA))
            settings = settings.replace("http_access allow all\n", named)
        if trusted is not None:
            (folder / "trusted.pem").write_bytes(Path(trusted).read_bytes())
            # Built with GnuTLS, squid 5.7 takes the tickets of TLS 1.3 for a broken connection.
            settings += "tls_outgoing_options cafile={folder}/trusted.pem"
            settings += " options=NORMAL:-VERS-TLS1.3\n"
        if os.geteuid() == 0:
            user = next(one for one in ("proxy", "squid", "nobody") if servers._is_user(one))
            settings += f"cache_effective_user {user}\n"
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        with servers._running("squid", folder, settings, ["-N", "-f"]) as server:
            yield server


def _write_users(file: Path, users: Mapping[str, str]) -> None:
    """In the form of Apache's htpasswd."""
    lines = []
    for user, password in users.items():
        command = ["openssl", "passwd", "-apr1", "-stdin"]
        made = subprocess.run(
            command, input=password.encode() + b"\n", capture_output=True, check=True, timeout=30
        )
        lines.append(user.encode() + b":" + made.stdout)
    file.write_bytes(b"".join(lines))


@contextlib.contextmanager
def nginx_h2(folder: Path, certificate: Certificate) -> Iterator[Server]:
    """HTTP/2 over TLS; every page says ``PROTOCOL CONNECTION HOST``."""
    folder.mkdir()
    settings = NGINX_H2.replace("FILE", certificate.file).replace("KEY", certificate.key_file)
    words = ["-p", str(folder), "-e", str(folder / "error.log"), "-c"]
    with servers._running("nginx", folder, settings, words) as server:
        yield server


def has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
