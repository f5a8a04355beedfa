"""One run of one crawler over the same linked pages, in a process of its own; prints a `Sample`.

python -m bench.crawl_peers PEER START-URL PAGES REDIS FOLDER
"""

import asyncio
import sys
import time
from pathlib import Path

import msgspec
import uvloop

from bench.measure import Sample, Spent
from fetcher.crawl.frontier.frontier import Frontier
from fetcher.crawl.machine import worker_name
from fetcher.crawl.model import Options
from fetchpool.config.settings import Settings
from fetchpool.redis.connect import connect
from fetchpool.serve.build_crawl import open_crawl
from fetchpool.serve.process import collect_rarely

AT_ONCE = 100


async def _fetchpool(start: str, pages: int, redis: str, folder: Path) -> Sample:
    client = connect(redis)
    await client.flushall()
    out = str(folder / "ours.jsonl")
    Path(out).unlink(missing_ok=True)  # noqa: ASYNC240 - nothing else runs yet
    frontier = Frontier(client, "bench", f"crawl-{time.time_ns()}", worker_name())
    options = Options(
        sources=(start,), scope="any", robots=False, delay=0.0, concurrency=AT_ONCE, out=(out,)
    )
    await frontier.create(options)
    info = await frontier.load()
    assert info is not None
    collect_rarely()
    async with open_crawl(Settings(), client, frontier, info) as crawl:
        spent = Spent()
        state = await crawl.run(asyncio.Event(), 10.0)
        sample = spent.sample(pages)
    counts = await frontier.counts()
    assert (state, counts.done) == ("finished", pages), (state, counts)
    await client.aclose()
    return sample


def _scrapy(start: str, pages: int, folder: Path) -> Sample:
    from bench.scrapy_crawl import crawl

    return crawl(start, pages, folder / "scrapy.jsonl", AT_ONCE)


def main() -> None:
    peer, start, pages, redis, folder = sys.argv[1:]
    if peer == "scrapy":
        sample = _scrapy(start, int(pages), Path(folder))
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            sample = runner.run(_fetchpool(start, int(pages), redis, Path(folder)))
    print(msgspec.json.encode(sample).decode())


if __name__ == "__main__":
    main()
