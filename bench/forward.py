"""The forward proxy beside squid: plain requests, new tunnels, and bytes through tunnels.

Both send everything through the same eight proxies, in turn. Squid caches nothing and writes no
log, and is one process; ours looks into a pool. What lies behind costs neither of them anything.
"""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import yaml
from redis import Redis

from bench import load, tunnel_load
from bench.measure import MEASURED, Claim, Row, Sample, interleave
from bench.servers import Server, free_port, free_ports, redis, running
from tests.peers import WHERE
from tests.redis_server import poll

MISSING: Final = "no squid here: apt-get install squid"
PARENTS: Final = 8
REQUESTS: Final = 8_000
TUNNELS: Final = 3_000
AT_ONCE: Final = 50
MEGABYTES: Final = 1_000  # of one run, through FAT tunnels at once
FAT: Final = 4

_SQUID: Final = """\
http_port 127.0.0.1:{port}
http_access allow all
cache deny all
cache_mem 8 MB
max_filedescriptors 16384
pid_filename {folder}/squid.pid
cache_log {folder}/cache.log
access_log none
netdb_filename none
pinger_enable off
coredump_dir {folder}
visible_hostname squid.test
shutdown_lifetime 0 seconds
never_direct allow all
{parents}
{user}
"""


def run(*, quick: bool = False) -> Row:
    title = "forward proxy against squid with the same proxies behind it, per CPU second"
    program = shutil.which("squid", path=WHERE)
    if program is None:
        return Row(title=title, notes=[MISSING])
    scale, rounds = (20, 1) if quick else (1, 3)
    with parents() as ports, forward(ports) as ours, squid(program, ports) as peer:
        servers = {"fetchpool": ours, "squid": peer}
        for server in servers.values():  # both have met all their proxies
            load.put(server.port, PAGE, 500)
            tunnel_load.put(server.port, 200, AT_ONCE)
        kinds: dict[str, tuple[Callable[[Server, int], Sample], int, float]] = {
            "plain requests": (_plain, REQUESTS, 0.5),
            "new tunnels": (_tunnels, TUNNELS, 0.5),
            "tunnelled megabytes": (_bytes, MEGABYTES, 0.7),
        }
        claims, peers = [], []
        for what, (put, count, limit) in kinds.items():
            runs = {
                f"{name}: {what}": partial(put, server, count // scale)
                for name, server in servers.items()
            }
            own, other = interleave(runs, rounds).values()
            ratio = other.cpu / own.cpu
            claims.append(Claim(what=what, measured=ratio, limit=limit, at_least=True))
            peers += [own, other]
    return Row(title=title, claims=claims, peers=peers, notes=[_version(program)])


# Nobody is there: the proxies answer for it. An address, so that no name is looked up.
PAGE: Final = "http://127.0.0.1:9/page"


def _plain(server: Server, count: int) -> Sample:
    return _measure(server, count, lambda: load.put(server.port, PAGE, count))


def _tunnels(server: Server, count: int) -> Sample:
    return _measure(server, count, lambda: tunnel_load.put(server.port, count, AT_ONCE))


def _bytes(server: Server, megabytes: int) -> Sample:
    size = megabytes * 1_000_000 // FAT
    words = b"GET %d" % size
    return _measure(
        server, megabytes, lambda: tunnel_load.put(server.port, FAT, FAT, words=words, size=size)
    )


def _measure(server: Server, count: int, put: Callable[[], float]) -> Sample:
    before = server.usage.cpu
    seconds = put()
    return Sample(done=count, seconds=seconds, cpu=server.usage.cpu - before, rss=server.usage.rss)


@contextlib.contextmanager
def parents() -> Iterator[list[int]]:
    """The ports of the proxies that both have behind them."""
    ports = free_ports(PARENTS)
    words = [sys.executable, "-m", "bench.forward_parent", *map(str, ports)]
    with running(words, f"127.0.0.1:{ports[-1]}"):
        yield ports


@contextlib.contextmanager
def forward(parents: list[int]) -> Iterator[Server]:
    """`main.py api` with a pool of these, all of them good."""
    with redis() as url, tempfile.TemporaryDirectory(prefix="bench-") as name:
        client = Redis.from_url(url)
        client.zadd("proxies:universal", {f"127.0.0.1:{port}": 100 for port in parents})
        client.close()
        port, settings = free_port(), Path(name, "bench.yaml")
        settings.write_text(
            yaml.safe_dump(
                {
                    "redis": {"url": url},
                    "api": {"enabled": False},
                    "forward": {
                        "port": port,
                        "max_connections": 0,
                        "allow_private": True,
                        "connect_ports": [],
                    },
                    "pool": {
                        "allow_private": True,
                        "harvest": {"enabled": False},
                        "sites": {"universal": {"url": [f"http://127.0.0.1:{parents[0]}/"]}},
                    },
                }
            )
        )
        words = [sys.executable, "main.py", "-c", str(settings), "--log-level", "error", "api"]
        with running(words, f"127.0.0.1:{port}", core=MEASURED) as server:
            poll(lambda: _answers(port), "the pool to be read", 30)
            yield server


def _answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(f"GET {PAGE} HTTP/1.0\r\n\r\n".encode())
        return client.recv(20).startswith(b"HTTP/1.1 200 ")


@contextlib.contextmanager
def squid(program: str, parents: list[int]) -> Iterator[Server]:
    """Started by root it becomes another user, who may not see ours."""
    with tempfile.TemporaryDirectory(prefix="squid-") as name:
        port, folder = free_port(), Path(name)
        lines = [
            f"cache_peer 127.0.0.1 parent {one} 0 no-query no-digest round-robin name=p{one}"
            for one in parents
        ]
        user = ""
        if os.geteuid() == 0:
            user = "cache_effective_user proxy"
            os.chown(folder, pwd.getpwnam("proxy").pw_uid, -1)
        settings = folder / "squid.conf"
        settings.write_text(
            _SQUID.format(port=port, folder=folder, parents="\n".join(lines), user=user)
        )
        words = [program, "-N", "-f", str(settings)]
        with running(words, f"127.0.0.1:{port}", core=MEASURED) as server:
            yield server


def _version(program: str) -> str:
    said = subprocess.run([program, "-v"], capture_output=True, text=True, timeout=10, check=True)
    return said.stdout.splitlines()[0]
