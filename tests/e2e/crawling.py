"""Crawls as users run them: processes of `main.py crawl` on a web of their own."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from fetcher.crawl.frontier.frontier import Frontier
from fetcher.crawl.machine import worker_name
from fetcher.crawl.model import Options
from fetcher.politeness.clock import Clock
from fetcher.settings import Fetcher as FetcherSettings
from fetcher.settings import Redis as RedisSettings
from fetchpool.config.settings import Settings
from fetchpool.serve.build_crawl import open_crawl
from tests.fetchpool.command import MAIN, environment
from tests.wait import wait_until
from tests.web import Seen, Web, read_log


class WebProcess:
    """`tests.web` in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], web: Web, log: Path) -> None:
        self.process = process
        self.web = web
        self.log = log

    @property
    def seen(self) -> list[Seen]:
        """Whole lines only."""
        text = self.log.read_text()
        return read_log(text[: text.rfind("\n") + 1])

    @property
    def requests(self) -> int:
        return self.log.read_bytes().count(b"\n")


@contextlib.contextmanager
def serving_web(folder: Path, hosts: int, pages: int, *words: str) -> Iterator[WebProcess]:
    log = folder / "web.log"
    log.touch()
    options = ["--hosts", str(hosts), "--pages", str(pages), "--log", str(log), *words]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.web", *options],
        cwd=MAIN.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stdin is not None
    with process:
        try:
            port = int(process.stdout.readline())
            yield WebProcess(process, Web(hosts, pages, port, "--plain" in words), log)
        finally:
            process.stdin.close()
            process.wait(10)


class Crawler:
    """`python main.py ... crawl WORDS` in a folder. `most_written`: bytes of any file, 0: as many
    as there is room for."""

    def __init__(self, folder: Path, redis: str, *words: str, most_written: int = 0) -> None:
        self.log = folder / f"crawl-{len(list(folder.glob('crawl-*.log')))}.log"
        limits = ("prlimit", f"--fsize={most_written}") if most_written else ()
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [*limits, sys.executable, str(MAIN), "--redis", redis, "crawl", *words],
                cwd=folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait(self, seconds: float = 120.0) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(self.said) from None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")


def lines_of(*paths: Path) -> list[dict]:
    """The objects in JSONL files; each line has to be whole."""
    found = []
    for path in paths:
        data = path.read_bytes()
        assert not data or data.endswith(b"\n"), f"{path} is torn"
        found += [json.loads(line) for line in data.splitlines()]
    return found


# A request whose process, or the origin, had to wait for the machine comes late by so many seconds
# and too near to the next. Two clocks instead of one, or a clock that has forgotten, have starts at
# once; a delay that is too short has most of them too near.
LATE = 0.2


def check_delay(seen: Iterable[tuple[str, float]], delay: float) -> None:
    """Starts at a host (or whatever the delay is for) lie so far apart, as far as arrivals tell."""
    times: dict[str, list[float]] = {}
    for host, at in seen:
        times.setdefault(host, []).append(at)
    between = sorted(gap for ones in times.values() for gap in gaps(ones))
    assert between[0] >= delay - LATE > 0, between[:10]
    assert between[len(between) // 2] >= 0.75 * delay, between[:: max(1, len(between) // 20)]
    for host, ones in times.items():  # all together they are late but once
        assert max(ones) - min(ones) >= (len(ones) - 1) * delay - LATE, (host, sorted(ones))


async def crawl_here(
    redis: Redis,
    options: Options,
    *,
    name: str = "here",
    until: Callable[[], bool] | None = None,
    times: Mapping[str, float] | None = None,
    **fetcher: Any,
) -> tuple[Frontier, str]:
    """A crawl in this process, to its end or `until` something holds: its frontier, and its state.

    `times`: those of its `Clock`. `fetcher`: settings. Its Redis prefix is its name.
    """
    settings = Settings(
        redis=RedisSettings(prefix=name), fetcher=FetcherSettings(allow_private="all", **fetcher)
    )
    frontier = Frontier(redis, name, name, worker_name())
    assert await frontier.create(options)
    await frontier.join()
    info = await frontier.load()
    assert info is not None
    clock = Clock(redis, name, **(times or {}))
    stop = asyncio.Event()
    async with open_crawl(settings, redis, frontier, info, clock=clock) as crawl:
        running = asyncio.create_task(crawl.run(stop, 0.0))
        if until is not None:
            await wait_until(lambda: until() or running.done(), 1200, "what the crawl is for")
            stop.set()
        async with asyncio.timeout(1200):
            state = await running
    return frontier, state


def listed(folder: Path, *urls: str) -> str:
    """A file of URLs in this folder, as a source."""
    path = folder / f"list-{len(list(folder.glob('list-*')))}.txt"
    path.write_text("\n".join(urls))
    return str(path)


def gaps(times: Iterable[float]) -> list[float]:
    """Between each and the one before."""
    ordered = sorted(times)
    return [later - earlier for earlier, later in pairwise(ordered)]
