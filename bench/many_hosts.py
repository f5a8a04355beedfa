"""Fetching from ever more hosts, as a crawl does: what one costs when thousands are known.

`python -m bench.many_hosts KNOWN MEASURED` fetches once from each of KNOWN hosts, then measures
MEASURED more, each a host of its own that refuses the connection, so that nobody else's work shows.
"""

import asyncio
import resource
import socket
import sys
import time
from typing import Final

import msgspec
import uvloop

from bench.check_farm import address_of
from bench.measure import Claim, Row, Sample, interleave, run_module
from fetchpool import Fetcher

KNOWN: Final = 25_000
MEASURED: Final = 5_000
SIDE_BY_SIDE: Final = 100


def run(*, quick: bool = False) -> Row:
    known, measured = (2_000, 500) if quick else (KNOWN, MEASURED)
    peers = interleave(
        {
            "no host known": lambda: run_module("bench.many_hosts", 0, measured),
            f"{known} known": lambda: run_module("bench.many_hosts", known, measured),
        },
        rounds=1 if quick else 3,
    )
    first, last = peers.values()
    return Row(
        title="A fetch from a new host when thousands are known",
        claims=[
            Claim(what="CPU of the first ones", measured=last.cpu / first.cpu, limit=1.2,
                  unit=" times"),
        ],
        peers=[first, last],
        notes=[
            "addresses on loopback where nothing listens;"
            " with libcurl's own cache of them: 8 times at 30,000"
        ],
    )  # fmt: skip


async def measure(known: int, measured: int) -> Sample:
    with socket.socket() as nobody:  # bound, and not listening
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        urls = [f"http://{address_of(number)}:{port}/" for number in range(known + measured)]
        async with Fetcher.from_settings(timeout=5) as fetcher:
            await fetch_all(fetcher, urls[:known])
            began, used = time.perf_counter(), time.process_time()
            await fetch_all(fetcher, urls[known:])
            seconds = time.perf_counter() - began
            cpu = time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Sample(done=measured, seconds=seconds, cpu=cpu, rss=peak)


async def fetch_all(fetcher: Fetcher, urls: list[str]) -> None:
    async for url, result in fetcher.fetch_many(urls, concurrency=SIDE_BY_SIDE):
        if result.status_code != 599:
            raise ConnectionError(f"somebody answers at {url}")


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sample = runner.run(measure(*map(int, sys.argv[1:])))
    sys.stdout.write(msgspec.json.encode(sample).decode())
