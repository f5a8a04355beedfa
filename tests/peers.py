"""Debian's own nginx, tinyproxy and squid on loopback, with private settings, as our children."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from fetchpool.farm.certificate import Certificate
from tests.ports import find_port
from tests.redis_server import DEADLINE, poll, unavailable

# Debian keeps servers where an ordinary user's PATH does not lead.
WHERE = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])

NGINX = """\
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
  default_type application/octet-stream;
  absolute_redirect off;
  server {{
    listen 127.0.0.1:{port};
    root {folder}/www;
    location = /home {{ default_type text/html; return 200 "this is the home page\\n"; }}
    location = /cookie {{ add_header Set-Cookie "seen=yes; Path=/"; return 302 /who; }}
    location = /who {{ default_type text/plain; return 200 "$http_cookie"; }}
    location = /post {{
      default_type text/plain;
      return 200 "$request_method $content_type $content_length";
    }}
  }}
}}
"""
TINYPROXY = """\
Port {port}
Listen 127.0.0.1
Timeout 30
MaxClients 100
Allow 127.0.0.1
PidFile "{folder}/tinyproxy.pid"
LogFile "{folder}/tinyproxy.log"
LogLevel Warning
"""
SQUID = """\
http_port 127.0.0.1:{port}
http_access allow all
cache deny all
cache_mem 8 MB
memory_pools off
max_filedescriptors 1024
pid_filename {folder}/squid.pid
cache_log {folder}/cache.log
access_log none
netdb_filename none
pinger_enable off
coredump_dir {folder}
visible_hostname squid.test
shutdown_lifetime 0 seconds
"""
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


class Server(NamedTuple):
    """A running one, and what belongs to it."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE)


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[Server]:
    """Serves the files in `folder/www`, and the pages above."""
    (folder / "www").mkdir(parents=True)
    words = ["-p", str(folder), "-e", str(folder / "error.log"), "-c"]
    with _running("nginx", folder, NGINX, words) as server:
        yield server


@contextlib.contextmanager
def tinyproxy(folder: Path, users: Mapping[str, str] | None = None) -> Iterator[Server]:
    """`users` are names and passwords, in tinyproxy's letters and digits; none: open to all."""
    folder.mkdir()
    settings = TINYPROXY
    for user, password in (users or {}).items():
        settings += f"BasicAuth {user} {password}\n"
    with _running("tinyproxy", folder, settings, ["-d", "-c"]) as server:
        yield server


@contextlib.contextmanager
def squid(
    users: Mapping[str, str] | None = None, *, trusted: str | None = None
) -> Iterator[Server]:
    """On [::1] as well, where there is one, and in a folder of its own: started by root it becomes
    another user, who may not see ours. `trusted`: a PEM file for when it speaks https itself."""
    settings = SQUID
    if has_ipv6_loopback():
        settings += "http_port [::1]:{port}\n"
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
            user = next(one for one in ("proxy", "squid", "nobody") if _is_user(one))
            settings += f"cache_effective_user {user}\n"
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        with _running("squid", folder, settings, ["-N", "-f"]) as server:
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
    with _running("nginx", folder, settings, words) as server:
        yield server


def has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _is_user(name: str) -> bool:
    return any(user.pw_name == name for user in pwd.getpwall())


@contextlib.contextmanager
def _running(name: str, folder: Path, settings: str, words: list[str]) -> Iterator[Server]:
    """`words` end with the option that takes the settings' file."""
    program = shutil.which(name, path=WHERE)
    if program is None:
        unavailable(f"no {name} here")
    port = find_port()
    config = folder / f"{name}.conf"
    config.write_text(settings.format(folder=folder, port=port))
    log = folder / f"{name}.out"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, *words, str(config)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    server = Server(process, port, folder)

    def is_listening() -> bool:
        assert process.poll() is None, f"{name} ended: {log.read_text(errors='replace')}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        poll(is_listening, f"{name} to listen; see {folder}")
        yield server
    finally:
        server.kill()
