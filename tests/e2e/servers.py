"""Debian's own nginx, tinyproxy and squid on loopback, with private settings, as our children."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

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
def tinyproxy(folder: Path) -> Iterator[Server]:
    folder.mkdir()
    with _running("tinyproxy", folder, TINYPROXY, ["-d", "-c"]) as server:
        yield server


@contextlib.contextmanager
def squid() -> Iterator[Server]:
    """In a folder of its own: started by root it becomes another user, who may not see ours."""
    settings = SQUID
    with tempfile.TemporaryDirectory(prefix="squid-") as folder:
        if os.geteuid() == 0:
            user = next(name for name in ("proxy", "squid", "nobody") if _is_user(name))
            settings += f"cache_effective_user {user}\n"
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        with _running("squid", Path(folder), settings, ["-N", "-f"]) as server:
            yield server


def _is_user(name: str) -> bool:
    return any(user.pw_name == name for user in pwd.getpwall())


@contextlib.contextmanager
def _running(name: str, folder: Path, settings: str, words: list[str]) -> Iterator[Server]:
    """`words` end with the option that takes the settings' file."""
    program = shutil.which(name, path=WHERE)
    if program is None:
        unavailable(f"no {name} here")
    port = _free_port()
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
