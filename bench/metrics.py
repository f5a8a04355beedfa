"""/metrics over a large pool, told by one of four workers: how long it takes, and for how long at
most it holds up the loop."""

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import yaml

from bench import load, watched
from bench.check_farm import address_of
from bench.measure import Claim, Row
from bench.servers import Server, free_port, nginx, redis, running
from fetcher.proxy import Proxy
from fetchpool.redis.connect import connect
from pool.model import Candidate, Record, SourceAccount
from pool.settings import Pool
from pool.store import Store
from pool.store.sources import Sources
from tests.redis_server import poll

SIZE: Final = 50_000  # proxies
WORKERS: Final = 4
SCRAPES: Final = 200
FETCHES: Final = 2_000  # before, so that all have something to tell
NAMES: Final = [f"source{number}" for number in range(20)]
COUNTRIES: Final = [f"{first}{second}" for first in "ABCDEFG" for second in "ABCDEFG"]
KINDS: Final = ("elite", "anonymous", "transparent", None)


class Watched(NamedTuple):
    """The service, and the file in which its answers are measured."""

    server: Server
    file: Path


def run(*, quick: bool = False) -> Row:
    size, count = (SIZE // 10, SCRAPES // 10) if quick else (SIZE, SCRAPES)
    with nginx() as origin, watched_pool(size) as service:
        load.put(service.server.port, f"/fetch?proxy=direct&url={origin.url}/page", FETCHES)
        took = [scrape(service.server.port) for _ in range(count)]
        page = load.get(service.server.port, "/metrics")
        answered = watched.read(service.file)[-count:]
    steps = sorted(one.step for one in answered)
    busy = max(one.busy for one in answered)
    return Row(
        title=f"/metrics, {size:,} proxies and {WORKERS} workers",
        claims=[
            Claim(what="the slowest answer", measured=1000 * max(took), limit=100, unit=" ms"),
            Claim(what="its longest step", measured=1000 * busy, limit=5, unit=" ms CPU"),
        ],
        notes=[
            f"{count} answers of {len(page) // 1000} kB, the median one in"
            f" {1000 * median(took):.1f} ms",
            f"longest steps by the clock on the wall: {1000 * median(steps):.1f} ms in the median"
            f" answer, {1000 * steps[-1]:.1f} ms in the worst, whatever else the machine did",
        ],
    )


def scrape(port: int) -> float:
    """Seconds until all of a page has come, on a connection of its own."""
    began = time.perf_counter()
    load.get(port, "/metrics")
    return time.perf_counter() - began


@contextmanager
def watched_pool(size: int) -> Iterator[Watched]:
    """The API of four workers over a pool of so many good proxies."""
    with redis() as url, tempfile.TemporaryDirectory(prefix="bench-") as name:
        asyncio.run(fill(url, size))
        port, settings, file = free_port(), Path(name, "bench.yaml"), Path(name, "answers")
        sources = [{"name": one, "url": "http://127.0.0.1:9/"} for one in NAMES]
        written = {
            "redis": {"url": url},
            "api": {"port": port, "allow_private": True},
            "forward": {"enabled": False},
            "pool": {"max_size": size, "sources": sources},
        }
        settings.write_text(yaml.safe_dump(written))
        words = [sys.executable, "-m", "bench.watched", str(file), "-c", str(settings)]
        words += ["--log-level", "error", "api", "--workers", str(WORKERS)]
        with running(words, f"127.0.0.1:{port}") as server:
            poll(lambda: all(knows(port, size) for _ in range(8 * WORKERS)), "the pool", 60)
            yield Watched(server, file)


def knows(port: int, size: int) -> bool:
    return load.get(port, "/count") == str(size).encode()


async def fill(url: str, size: int) -> None:
    """With good proxies of all kinds, and the accounts of those who have found them."""
    client = connect(url)
    store = Store(client, Pool(max_size=size))
    for start in range(0, size, 1000):
        some = [build(number) for number in range(start, min(start + 1000, size))]
        await store.add(some)
        await client.zadd("proxies:universal", {one.proxy.member: 100 for one in some}, xx=True)
    sources = Sources(client)
    for name in NAMES:
        await sources.save(name, SourceAccount(found=1000, last_success=time.time()))
    await client.aclose()


def build(number: int) -> Candidate:
    record = Record(
        source=NAMES[number % len(NAMES)],
        country=COUNTRIES[number % len(COUNTRIES)],
        anonymity=KINDS[number % len(KINDS)],
        connect=number % 3 > 0,
        tls=number % 5 > 0,
        checked=1.0,
        latency=0.1,
    )
    return Candidate(Proxy("http", address_of(number), 8080), record)
