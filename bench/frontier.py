"""A list of a million sites queued: how fast beside a bare RPUSH, and what it takes of memory."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Final

import uvloop

from bench.measure import Claim, Row
from bench.servers import redis
from fetcher.crawl.frontier.frontier import Frontier
from fetcher.crawl.machine import worker_name
from fetcher.crawl.model import Options
from fetcher.crawl.seeding import Seeding
from fetchpool.redis.connect import Redis, connect

ROWS: Final = 1_000_000
BATCH: Final = 1000


def run(*, quick: bool = False) -> Row:
    count = ROWS // (50 if quick else 1)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, redis() as url:
        source = Path(folder, "top-1m.csv")
        with source.open("w") as file:
            file.writelines(f"{n},site-{n}.example.com\n" for n in range(1, count + 1))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            bare = runner.run(_push(url, source, count))
            ours, queued, seen, grown = runner.run(_queue(url, source, count))
    return Row(
        title=f"{count:,} rows of rank,domain queued for a crawl",
        claims=[
            Claim(what="rate of a bare RPUSH, pipelined", measured=bare / ours, limit=0.25,
                  at_least=True, unit=" times"),
            Claim(what="Redis, a queued URL (seen-set included)", measured=queued, limit=200,
                  unit=" B"),
            Claim(what="Redis, a seen URL", measured=seen, limit=20, unit=" B"),
            Claim(what="this process grows by", measured=grown / 1e6, limit=50, unit=" MB"),
        ],
        notes=[f"{count / ours:,.0f} rows/s, RPUSH {count / bare:,.0f}"],
    )  # fmt: skip


async def _push(url: str, source: Path, count: int) -> float:
    client = connect(url)
    began = time.perf_counter()
    pipe = client.pipeline(transaction=False)
    with source.open("rb") as file:
        for number, line in enumerate(file, 1):
            pipe.rpush("bare", line.rstrip())
            if number % BATCH == 0:
                await pipe.execute()
    await pipe.execute()
    took = time.perf_counter() - began
    assert await client.llen("bare") == count
    await client.aclose()
    return took


async def _queue(url: str, source: Path, count: int) -> tuple[float, float, float, float]:
    client = connect(url)
    await client.flushall()
    frontier = Frontier(client, "bench", "list", worker_name())
    options = Options(sources=(str(source),))
    await frontier.create(options)
    before, held = await _used(client), _resident()
    began = time.perf_counter()
    await Seeding(frontier, options).run(lambda: None)
    took = time.perf_counter() - began
    grown = _resident() - held
    queued = (await _used(client) - before) / count
    sizes = [
        await client.memory_usage(frontier.key(f"seen:{bucket}")) or 0
        for bucket in range(int(await client.hget(frontier.key("counts"), "seen_buckets") or 0))
    ]
    assert (await frontier.counts()).queued == count
    await client.aclose()
    return took, queued, sum(sizes) / count, grown


async def _used(client: Redis) -> int:
    return int((await client.info("memory"))["used_memory"])


def _resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
