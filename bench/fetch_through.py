"""`/fetch` of a 10 kB page, beside a bare Tornado handler that writes the same body."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from bench import load
from bench.measure import MEASURED, Claim, Row, Sample, interleave
from bench.servers import LARGE, Server, free_port, nginx, redis, running

REQUESTS: Final = 20_000


def run(*, quick: bool = False) -> Row:
    count = REQUESTS // (10 if quick else 1)
    with nginx() as origin, api() as service, bare_handler(LARGE) as tornado:
        target = f"/fetch?url={origin.url}/large"
        load.put(service.port, target, 500)
        load.put(tornado.port, "/", 500)
        runs = {
            "/fetch": partial(put, service, target, count),
            "bare handler": partial(put, tornado, "/", count),
        }
        peers = interleave(runs, 1 if quick else 3)
    ratio = peers["bare handler"].cpu / peers["/fetch"].cpu
    return Row(
        title="/fetch of 10 kB against a bare Tornado handler writing it, per CPU second",
        claims=[Claim(what="of its answers", measured=ratio, limit=0.6, at_least=True)],
        peers=list(peers.values()),
    )


@contextmanager
def api(**fetcher: Any) -> Iterator[Server]:
    """`main.py api`, which fetches directly, with these settings of `fetcher`."""
    with redis() as url, tempfile.TemporaryDirectory(prefix="bench-") as name:
        port, settings = free_port(), Path(name, "bench.yaml")
        section = {"port": port, "allow_private": True, "proxy": "direct"}
        written = {
            "redis": {"url": url},
            "api": section,
            "fetcher": fetcher,
            "forward": {"enabled": False},
        }
        settings.write_text(yaml.safe_dump(written))
        words = [sys.executable, "main.py", "-c", str(settings), "--log-level", "error", "api"]
        with running(words, f"127.0.0.1:{port}", core=MEASURED) as server:
            yield server


@contextmanager
def bare_handler(size: int, origin: int = 0) -> Iterator[Server]:
    port = free_port()
    words = [sys.executable, "-m", "bench.bare_tornado", *map(str, (port, size, origin))]
    with running(words, f"127.0.0.1:{port}", core=MEASURED) as server:
        yield server


def put(server: Server, target: str, count: int, connections: int = 32) -> Sample:
    """Have `target` asked for `count` times; what that cost the server."""
    before = server.usage.cpu
    seconds = load.put(server.port, target, count, connections)
    return Sample(done=count, seconds=seconds, cpu=server.usage.cpu - before, rss=server.usage.rss)
