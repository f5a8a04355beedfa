"""Seeding: one process of a crawl reads its sources and queues what they name.

A driver. Which process that is, and how far it has come, is known to Redis: when it dies, another
one goes on behind the rows that are queued.
"""

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Final, Literal

from fetcher.crawl.canonical import canonical, host_of
from fetcher.crawl.frontier.frontier import LEASE, Arrival, Frontier
from fetcher.crawl.model import Flag, Item, Options, origin_part, url_id
from fetcher.crawl.scope import Rules, prefix_of
from fetcher.crawl.seeds.files import STDIN, read_source
from fetcher.crawl.seeds.rows import Account, Row
from fetcher.errors import RedisAway, TaskError
from fetcher.urls import loggable

logger = logging.getLogger(__name__)

_BEAT: Final = LEASE / 3  # seconds
_AHEAD: Final = 4  # batches that are read before they are queued

_LOOK: Final = 1.0  # seconds between two looks whether the loop is still there

_ROBOTS: Final = Flag.SEED | Flag.ROBOTS


class _Displaced(Exception):
    """Another process has become the one that reads."""


class Seeding:
    """`problems` are sources that could not be read, in sentences. Every `beat` seconds it says
    that it lives, or looks whether another process does. `has_input`: standard input is this
    process's to read, if it is a source."""

    def __init__(
        self, frontier: Frontier, options: Options, beat: float = _BEAT, *, has_input: bool = True
    ) -> None:
        self.refused = 0  # rows that name no URL, or one that --exclude keeps out
        self.problems: list[str] = []
        self._frontier = frontier
        self._options = options
        self._rules = Rules(options)
        self._beat = beat
        self._may_read = has_input or STDIN not in options.sources
        self._wake: Callable[[], None] = lambda: None
        self._number = -1  # of the source that is open
        self._reader: _Reader | None = None

    async def run(self, wake: Callable[[], None]) -> None:
        """Read all sources, unless another process does; then watch whether that one lives.
        `wake` is called when there is something to fetch."""
        self._wake = wake
        while self._may_read:
            try:
                info = await self._frontier.load()
                if info is None or info.seeded:
                    return
                if await self._frontier.become_seeder():
                    self._options, self._rules = info.options, Rules(info.options)
                    await self._read_all()
                    await self._frontier.say_seeded()
                    wake()
                    return
            except RedisAway as error:
                logger.warning("reading the sources: %s; trying again", error)
            except _Displaced:
                logger.info("another process has taken over the reading of the sources")
            await asyncio.sleep(self._beat)

    async def _read_all(self) -> None:
        first, row = await self._frontier.read_position()
        for number, source in enumerate(self._options.sources):
            if number < first:
                continue
            try:
                await self._read(number, source, row if number == first else 0)
            except TaskError as error:
                if str(error) not in self.problems:
                    logger.error("%s", error)
                    self.problems.append(str(error))
            await self._frontier.save_position(number + 1, 0)

    async def _read(self, number: int, source: str, skip: int) -> None:
        if is_url(source):
            await self._queue_source(source)
            return
        reader = self._open(number, source, skip)
        flags = Flag.SEED if self._options.follows_lists else Flag.SEED | Flag.LEAF
        while (batch := await self._next(reader)) is not None:
            items = [
                Item(url=row.url, flags=flags | (Flag.SITEMAP if row.is_sitemap else Flag.PAGE))
                for row in batch
                if row.is_sitemap or self._is_wanted(row.url)
            ]
            self.refused += len(batch) - len(items)
            await self._queue(items)
            await self._frontier.save_position(number, batch[-1].number)
            reader.done()
        account, reader.account = reader.account, Account()
        self.refused += account.refused
        for problem in account.problems:
            logger.warning("%s: %s", source, problem)

    def _open(self, number: int, source: str, skip: int) -> "_Reader":
        """The reader that was under way when Redis went, else a new one: what has come from
        standard input comes once."""
        if self._reader is not None and self._number == number:
            return self._reader
        if source == STDIN and skip and sys.stdin.isatty():
            raise TaskError(
                f"standard input was read up to line {skip} by a process that is gone: what is left"
                " of it is not asked for"
            )
        self._number, self._reader = number, _Reader(source, skip)
        return self._reader

    async def _next(self, reader: "_Reader") -> list[Row] | None:
        """The next rows, however long they take: meanwhile nobody is to take us for dead."""
        task = asyncio.current_task()
        while True:
            if not await self._frontier.become_seeder():
                raise _Displaced
            if task is not None and task.cancelling():
                # What redis-py sends goes through `wait_for`, which in Python 3.11 takes a
                # cancellation for itself when it comes at the wrong moment.
                raise asyncio.CancelledError
            try:
                async with asyncio.timeout(self._beat):
                    return await reader.read()
            except TimeoutError:
                continue

    async def _queue_source(self, source: str) -> None:
        options = self._options
        url = canonical(source)
        if not self._is_wanted(url):
            raise TaskError(f"{url}: {self._rules.explain(url, depth=0, parent='')}")
        flags = Flag.SEED | Flag.LIST if options.as_ == "list" else Flag.SEED
        await self._queue([Item(url=url, flags=flags)])
        if options.sitemaps:
            robots = Item(url=f"{origin_part(url)}/robots.txt", parent=url, flags=_ROBOTS)
            await self._add([robots])

    def _is_wanted(self, url: str) -> bool:
        return self._rules.judge(url, depth=0, parent="") is None

    async def _queue(self, items: list[Item]) -> None:
        pages = [item.url for item in items if not item.flags & Flag.SITEMAP]
        if pages and self._options.scope == "prefix":
            await self._frontier.add_scopes({prefix_of(url) for url in pages})
        await self._add(items)

    async def _add(self, items: list[Item]) -> None:
        arrivals = [Arrival(url_id(item.url), host_of(item.url), 0, item) for item in items]
        if await self._frontier.add(arrivals):
            self._wake()


def is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


_Batch = list[Row] | TaskError | None


class _Reader:
    """Reads a source in a thread that nobody waits for at the end: standard input may stay silent
    for ever."""

    def __init__(self, source: str, skip: int) -> None:
        self.account = Account()
        self._given: _Batch | Literal[False] = False  # False: nothing
        self._loop = asyncio.get_running_loop()
        self._batches: asyncio.Queue[_Batch] = asyncio.Queue(_AHEAD)
        self._source, self._skip = source, skip
        thread = threading.Thread(target=self._work, name=f"source {loggable(source)}", daemon=True)
        thread.start()

    async def read(self) -> list[Row] | None:
        """The next rows, None at the end; the same again until they are `done`. Raises
        `TaskError`."""
        if self._given is False:
            self._given = await self._batches.get()
        if isinstance(self._given, TaskError):
            raise self._given
        return self._given

    def done(self) -> None:
        """Those rows are queued."""
        self._given = False

    def _work(self) -> None:
        try:
            for batch in read_source(self._source, self.account, self._skip):
                if not self._put(batch):
                    return
            end: _Batch = None
        except TaskError as error:
            end = error
        except Exception as error:
            logger.exception("reading %s failed", loggable(self._source))
            end = TaskError(f"{loggable(self._source)} cannot be read: {error}")
        self._put(end)

    def _put(self, batch: _Batch) -> bool:
        """Whether somebody wants more; not, when the loop has gone."""
        putting = self._batches.put(batch)
        try:
            put = asyncio.run_coroutine_threadsafe(putting, self._loop)
            while True:
                try:
                    put.result(_LOOK)
                    return True
                except TimeoutError:
                    if self._loop.is_closed():  # in the moment before it would have begun
                        putting.close()
                        return False
        except (RuntimeError, CancelledError):
            putting.close()
            return False
