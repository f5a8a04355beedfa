"""What a crawl costs in Redis: `python -m bench.crawl_costs`, explained in docs/how-crawls-work.md.

The real scripts on a private redis-server, in batches as a crawl makes them. Microseconds are of
one URL or page: Redis' CPU, and this process's. Bytes: by how much `used_memory` has grown.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import uvloop
from redis.asyncio import Redis

from bench.measure import Row
from fetcher.crawl.frontier.frontier import Arrival, Batch, Frontier, Lease, Outcome
from fetcher.crawl.life import Life, encode_life, life_field
from fetcher.crawl.model import Item, Mark, Options, Try, url_id
from fetcher.politeness.store import Store
from fetchpool.redis.connect import connect
from tests.redis_server import RedisServer

URLS: Final = 100_000
HOSTS: Final = 10_000
BATCH: Final = 100  # pages that end together
LINKS: Final = 5  # new ones of a page
SECOND: Final = 1_000_000  # microseconds


def arrival(host: int, number: int, depth: int = 1) -> Arrival:
    """A URL of some 55 characters, found on a page of its own host."""
    name = f"www.host-{host}.example"
    url = f"https://{name}/articles/2026/11/{number:07}.html"
    return Arrival(url_id(url), name, depth, Item(url=url, parent="/articles/2026/11/"))


def arrivals(first: int, count: int, hosts: int) -> Iterator[Arrival]:
    for number in range(first, first + count):
        yield arrival(number % hosts, number)


def life_of(lease: Lease) -> tuple[bytes, bytes]:
    item = lease.item
    life = Life(item.url, item.parent_url, lease.depth, tries=[Try(1796024217.25, "200", 0.125)])
    return life_field(url_id(item.url)), encode_life(life)


class Meter:
    """Notes, and what has been spent since the last one."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.notes: list[str] = []
        self._began = (0.0, 0.0, 0)

    async def begin(self) -> None:
        self._began = await self._look()

    async def end(self, what: str, count: int, *, memory: bool = False) -> None:
        """What `count` of something have taken, each; with `memory` what they leave, too."""
        before, now = self._began, await self._look()
        theirs, ours = ((now[at] - before[at]) / count * 1e6 for at in (0, 1))
        size = f"{(now[2] - before[2]) / count:7.1f}" if memory else " " * 7
        self.notes.append(f"{theirs:7.1f} {ours:7.1f} {size}  {what}")

    async def _look(self) -> tuple[float, float, int]:
        found = await self._redis.info()
        cpu = found["used_cpu_user"] + found["used_cpu_sys"]
        return cpu, time.process_time(), found["used_memory"]


async def measure_queue(redis: Redis, meter: Meter, urls: int, hosts: int) -> None:
    """What arrives: for hosts that are not open, seen ones, and for those that are."""
    one = Frontier(redis, "bench", "queue", "w")
    await one.create(Options(sources=("x",)))
    rows = list(arrivals(0, urls, hosts))
    await meter.begin()
    await one.add(rows)
    await meter.end("a new URL queued, its host waits in the backlog", urls, memory=True)
    await meter.begin()
    await one.add(rows)
    await meter.end("a URL that has been seen", urls, memory=True)
    await one.remove()

    await one.create(Options(sources=("x",)))
    few = [arrival(host, host) for host in range(1000)]
    await one.add(few)
    taken = await one.take(1000, delay=3600.0)  # opens them
    more = list(arrivals(hosts, urls, 1000))
    await meter.begin()
    await one.add(more)
    await meter.end("a new URL queued at one of 1,000 open hosts", urls, memory=True)
    assert len(taken.leases) == 1000
    await one.remove()


async def measure_pages(redis: Redis, meter: Meter, urls: int, hosts: int, lives: int) -> None:
    """Pages taken and finished, each with `LINKS` new URLs."""
    one = Frontier(redis, "bench", f"pages-{lives}", "w", lives=lives)
    await one.create(Options(sources=("x",)))
    pages = urls // LINKS // 2
    await one.add(list(arrivals(0, pages, hosts)))
    words = "with" if lives else "without"
    first, mark = pages, Mark()
    batches = []
    await meter.begin()
    while leases := (await one.take(BATCH, delay=0.0)).leases:
        batches.append(leases)
        if len(batches) * BATCH >= pages:
            break
    await meter.end(f"a page taken, {BATCH} at once", len(batches) * BATCH)
    given = []
    for leases in batches:
        new = [arrival(hosts + at % hosts, at) for at in range(first, first + LINKS * len(leases))]
        first += len(new)
        after = Mark(mark.bytes + 5000 * len(leases), mark.records + len(leases))
        ended = [Outcome(lease=lease, what="d", reached=True) for lease in leases]
        told = [("lives", *life_of(lease)) for lease in leases]
        batch = Batch(
            outcomes=ended,
            arrivals=new,
            marks={"machine:/pages.jsonl": (mark, after)},
            counts={"bytes": 5000},
            lives=told,
        )
        mark = after
        given.append(batch)
    await meter.begin()
    for batch in given:
        assert (await one.finish(batch)).is_applied
    what = f"a page finished, {BATCH} at once, each with {LINKS} new URLs, {words} its life kept"
    await meter.end(what, len(given) * BATCH, memory=True)
    await one.remove()


async def measure_clock(redis: Redis, meter: Meter, hosts: int) -> None:
    store = Store(redis, "bench", base=60 * SECOND, most=3600 * SECOND, quiet=1800 * SECOND)
    names = [f"www.host-{number}.example" for number in range(hosts)]
    await meter.begin()
    for at in range(0, hosts, BATCH):
        await store.reserve([(name, SECOND, SECOND, 0) for name in names[at : at + BATCH]])
    await meter.end(f"a start reserved, {BATCH} at once, each at a host of its own", hosts,
                    memory=True)  # fmt: skip


async def measure(urls: int) -> list[str]:
    hosts = min(HOSTS, urls // 10)
    with tempfile.TemporaryDirectory(prefix="bench-") as name, RedisServer.start(Path(name)) as own:
        redis = connect(own.url)
        try:
            meter = Meter(redis)
            await measure_queue(redis, meter, urls, hosts)
            await measure_pages(redis, meter, urls, hosts, 1_000_000)
            await measure_pages(redis, meter, urls, hosts, 0)
            await measure_clock(redis, meter, hosts)
        finally:
            await redis.aclose()
    return ["us of Redis, us of the process, bytes in Redis", *meter.notes]


def run(*, quick: bool = False) -> Row:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        notes = runner.run(measure(URLS // 10 if quick else URLS))
    return Row(title="What a crawl costs in Redis, a URL", notes=notes)


if __name__ == "__main__":
    print("\n".join(run().notes))
