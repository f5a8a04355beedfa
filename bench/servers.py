"""What benchmarks need beside them: nginx, Redis, a slow origin; all of them our children."""

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from bench.measure import BESIDE, ROOT, Process, pin
from tests.peers import WHERE
from tests.redis_server import find_binary, is_answering, poll

PAGE: Final = 1000  # bytes of /page
LARGE: Final = 10_000  # of /large

_NGINX: Final = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_rlimit_nofile 16384;
events {{ worker_connections 12000; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  default_type text/html;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /page {{ return 200 "{page}"; }}
    set $page "{page}";
    location = /large {{ return 200 "{large}"; }}
  }}
}}
"""


class Server(NamedTuple):
    """A running one; `url` has no slash at its end."""

    url: str
    process: subprocess.Popen[bytes]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def usage(self) -> Process:
        return Process(self.process.pid)


@contextlib.contextmanager
def nginx() -> Iterator[Server]:
    """One worker: /page and /large, as fast as anything."""
    program = shutil.which("nginx", path=WHERE)
    if program is None:
        raise FileNotFoundError("no nginx here: apt-get install nginx-light")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        settings = Path(name, "nginx.conf")
        settings.write_text(
            _NGINX.format(folder=name, port=port, page="x" * PAGE, large="$page" * (LARGE // PAGE))
        )
        words = [program, "-p", name, "-e", f"{name}/error.log", "-c", str(settings)]
        with running(words, f"127.0.0.1:{port}") as server:
            yield server


@contextlib.contextmanager
def slow_origin(latency: float, *, hosts: int = 1, tls: bool = False) -> Iterator[Server]:
    """Answers each request after `latency` seconds, on `hosts` addresses 127.1.x.y; see
    `bench.slow_origin`."""
    port = free_port()
    words = [sys.executable, "-m", "bench.slow_origin", str(port), str(latency), str(hosts)]
    with running([*words, *(["tls"] if tls else [])], f"127.1.0.1:{port}") as server:
        yield server._replace(url=server.url.replace("http", "https") if tls else server.url)


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """The URL of an empty Redis that keeps nothing."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        address = f"{name}/r.sock"
        words = [str(find_binary("newest")), "--port", "0", "--unixsocket", address]
        process = _spawn([*words, "--save", "", "--dir", name])
        try:
            poll(lambda: is_answering(address), "redis-server to answer")
            yield f"unix://{address}"
        finally:
            _end(process)


@contextlib.contextmanager
def running(words: list[str], place: str, *, core: int = BESIDE) -> Iterator[Server]:
    """A child that listens on `place`, once it does."""
    host, _, port = place.rpartition(":")
    process = _spawn(words, core=core)

    def listens() -> bool:
        if process.poll() is not None:
            raise ChildProcessError(f"{Path(words[0]).name} ended with {process.returncode}")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    try:
        poll(listens, f"{Path(words[0]).name} to listen", 30)
        yield Server(f"http://{place}", process)
    finally:
        _end(process)


def _spawn(words: list[str], *, core: int = BESIDE) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        words,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=pin(core),
    )


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
