"""The seed's benchmark: 500 pages that take 1 to 10 s and some that never come, scaled by 1/10.

A serial crawler takes the sum of all delays, which nobody needs to sit out. Beside ours run what
people write next: threads, then processes.
"""

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from typing import Final

import pycurl
import uvloop

from bench.measure import Claim, Row, Sample, interleave
from bench.servers import slow_origin
from fetcher.run.fetcher import Fetcher

PAGES: Final = 500
SHORTEST, LONGEST = 0.1, 1.0  # seconds
NEVER: Final = 0.05  # of the pages
TIMEOUT: Final = 1.2
THREADS: Final = 50
PROCESSES: Final = 20
SEED: Final = 1


def draw_paths() -> list[str]:
    draw = random.Random(SEED)
    return [
        "/never" if draw.random() < NEVER else f"/wait/{draw.uniform(SHORTEST, LONGEST):.3f}"
        for _ in range(PAGES)
    ]


def delay_of(path: str) -> float:
    """Seconds that a crawler which waits for this page alone takes."""
    return TIMEOUT if path == "/never" else float(path.removeprefix("/wait/"))


def run(*, quick: bool = False) -> Row:
    paths = draw_paths()
    delays = [delay_of(path) for path in paths]
    with slow_origin(0.0) as origin:
        urls = [f"{origin.url}{path}" for path in paths]
        runs: dict[str, Callable[[], Sample]] = {"fetchpool": partial(_ours, urls)}
        if not quick:
            runs["threads"] = partial(_executor, partial(ThreadPoolExecutor, THREADS), urls)
            runs["processes"] = partial(_executor, partial(ProcessPoolExecutor, PROCESSES), urls)
        peers = interleave(runs, 1 if quick else 3)
    seconds = {name: PAGES / peer.rate for name, peer in peers.items()}
    ours = seconds["fetchpool"]
    said = ", ".join(f"{name} {sum(delays) / took:.0f}x" for name, took in seconds.items())
    return Row(
        title=f"{PAGES} pages of {SHORTEST} to {LONGEST} s, some that never come",
        claims=[
            Claim(
                what="sum of all delays (a serial crawler)", measured=sum(delays) / ours,
                limit=200, at_least=True, unit="x",
            ),
            Claim(
                what="the slowest page (its time-out)", measured=ours / max(delays), limit=1.15,
                unit=" times",
            ),
        ],
        notes=[f"sum {sum(delays):.0f} s; {said}; {THREADS} threads, {PROCESSES} processes"],
    )  # fmt: skip


def _ours(urls: list[str]) -> Sample:
    began, spent = time.perf_counter(), time.process_time()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        failed = runner.run(_count_failed(urls))
    assert failed == sum(url.endswith("/never") for url in urls)
    return _sample(began, spent)


async def _count_failed(urls: list[str]) -> int:
    async with Fetcher.from_settings(timeout=TIMEOUT, poolsize=PAGES) as fetcher:
        results = fetcher.fetch_many(urls, concurrency=PAGES)
        return sum([result.status_code != 200 async for _, result in results])


def _executor(make: Callable[[], Executor], urls: list[str]) -> Sample:
    began, spent = time.perf_counter(), time.process_time()
    with make() as executor:
        statuses = list(executor.map(_fetch, urls))
    assert statuses.count(200) == sum(not url.endswith("/never") for url in urls)
    return _sample(began, spent)


def _fetch(url: str) -> int:
    curl = pycurl.Curl()
    curl.setopt(pycurl.NOSIGNAL, 1)
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.TIMEOUT_MS, int(TIMEOUT * 1000))
    curl.setopt(pycurl.WRITEFUNCTION, lambda chunk: None)
    try:
        curl.perform()
        return int(curl.getinfo(pycurl.RESPONSE_CODE))
    except pycurl.error:
        return 0
    finally:
        curl.close()


def _sample(began: float, spent: float) -> Sample:
    seconds = time.perf_counter() - began
    return Sample(done=PAGES, seconds=seconds, cpu=time.process_time() - spent)
