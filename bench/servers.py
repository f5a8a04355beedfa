"""What benchmarks need beside them: nginx, Redis, a slow origin; all of them our children."""

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from bench.measure import BESIDE, ROOT, Process, pin
from fetchpool.farm.certificate import Certificate, make_certificate
from tests.peers import WHERE
from tests.redis_server import find_binary, is_answering, poll

PAGE: Final = 1000  # bytes of /page
LARGE: Final = 10_000  # of /large
PER_PORT: Final = 20  # addresses of an origin at many places
PER_BLOCK: Final = 250  # addresses that differ in their last number only

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
    {listen}
    root {folder};
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
def nginx(files: Mapping[str, int] = {}) -> Iterator[Server]:
    """One worker: /page and /large, as fast as anything, and `files` of so many bytes."""
    place = f"127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for path, size in files.items():
            Path(name, path).write_bytes(b"x" * size)
        with _nginx(name, place, [f"listen {place} backlog=4096;"]) as server:
            yield server


class Places(NamedTuple):
    """An origin at many of them: each address with each port is a host of its own."""

    addresses: list[str]
    ports: list[int]
    certificates: str  # who trusts this file trusts it; empty without TLS

    @property
    def urls(self) -> list[str]:
        scheme = "https" if self.certificates else "http"
        return [f"{scheme}://{one}:{port}/page" for port in self.ports for one in self.addresses]


@contextlib.contextmanager
def nginx_of(count: int, *, tls: bool = False) -> Iterator[Places]:
    """One worker that serves /page at `count` places, a multiple of 20."""
    addresses, ports = loopback(PER_PORT), free_ports(count // PER_PORT)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        lines = [f"listen {one}:{port}{' ssl' if tls else ''};" for one in addresses
                 for port in ports]  # fmt: skip
        made = certificate(name, addresses) if tls else None
        if made is not None:
            lines += [f"ssl_certificate {made.file};", f"ssl_certificate_key {made.key_file};"]
        with _nginx(name, f"{addresses[0]}:{ports[0]}", lines):
            yield Places(addresses, ports, made.file if made is not None else "")


@contextlib.contextmanager
def _nginx(folder: str, place: str, lines: list[str]) -> Iterator[Server]:
    program = shutil.which("nginx", path=WHERE)
    if program is None:
        raise FileNotFoundError("no nginx here: apt-get install nginx-light")
    settings, large = Path(folder, "nginx.conf"), "$page" * (LARGE // PAGE)
    settings.write_text(
        _NGINX.format(folder=folder, listen="\n    ".join(lines), page="x" * PAGE, large=large)
    )
    words = [program, "-p", folder, "-e", f"{folder}/error.log", "-c", str(settings)]
    with running(words, place) as server:
        yield server


def certificate(folder: str, addresses: list[str]) -> Certificate:
    made = make_certificate(Path(folder), addresses)
    if made is None:
        raise FileNotFoundError("no openssl program to make a certificate")
    return made


def loopback(count: int) -> list[str]:
    """127.1.0.1, 127.1.0.2, ...: all of them are this machine on Linux."""
    return [f"127.1.{number // PER_BLOCK}.{number % PER_BLOCK + 1}" for number in range(count)]


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
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """All different, and free on all of loopback but for what others bind there."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
