"""Browsers: the one that runs, started when the first page wants it, and replaced in time.

A driver. A browser that has served its pages, or has grown too large, gets no more of them, and
ends with the last that it has open; the next page starts another one. What dies is replaced alike.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final, Literal

import msgspec

from fetcher.client.chromium.browser import Browser, BrowserFailed, Cause
from fetcher.client.chromium.folder import clear_leftovers
from fetcher.client.chromium.processes import Measured

logger = logging.getLogger(__name__)

LOOK: Final = 1.0  # seconds between two looks at what a browser has
FAR: Final = 2  # times the memory that ends it with all that is open in it
# Processes of a browser without pages, and for each page: its own and those of other sites' frames.
_BASE: Final = 10
_EACH: Final = 10

Start = Callable[[], Awaitable[Browser]]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """`pages` open at once; after `recycle` pages (0: never) or above `memory` bytes (0: whatever
    it has) another browser follows."""

    pages: int = 4
    recycle: int = 200
    memory: int = 1 << 30


class Tally(msgspec.Struct):
    """What has been counted. `lost`: pages whose browser ended, that were ``repeated`` or
    ``failed``, and those that ``crashed`` for themselves."""

    started: int = 0
    ended: dict[Cause, int] = {}
    lost: dict[str, int] = {}

    def end(self, cause: Cause) -> None:
        self.ended[cause] = self.ended.get(cause, 0) + 1

    def lose(self, outcome: Literal["repeated", "failed", "crashed"]) -> None:
        self.lost[outcome] = self.lost.get(outcome, 0) + 1


def find_spent(rules: Rules, served: int, measured: Measured) -> Cause | None:
    """Why a browser should get no more pages, None as long as it may."""
    if 0 < rules.recycle <= served:
        return "age"
    if 0 < rules.memory < measured.memory:
        return "memory"
    return "processes" if measured.processes > _BASE + _EACH * rules.pages else None


class Browsers:
    """`start` starts one. `lend` and `give_back` belong together."""

    def __init__(self, start: Start, rules: Rules) -> None:
        self.rules = rules
        self.tally = Tally()
        self.failure = ""  # why the last start has failed, if it has
        self._start = start
        self._places = asyncio.Semaphore(rules.pages)
        self._current: Browser | None = None
        self._starting: asyncio.Task[Browser] | None = None
        self._all: set[Browser] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def started(self) -> int:
        return self.tally.started

    @property
    def pages(self) -> int:
        """That are open, or about to be."""
        return sum(browser.pages for browser in self._all)

    @property
    def works(self) -> bool | None:
        """Whether the last start was one; None before the first."""
        return False if self.failure else (True if self.started else None)

    @property
    def current(self) -> Browser | None:
        """The one that gets pages now, if there is one."""
        return self._current

    @property
    def running(self) -> int:
        """Browsers that have not ended yet."""
        return len(self._all)

    async def lend(self) -> Browser:
        """A browser for one page, when there is a place. Raises `BrowserFailed`."""
        await self._places.acquire()
        try:
            browser = await self._find()
        except BaseException:
            self._places.release()
            raise
        browser.pages += 1
        browser.served += 1
        if self._watch is None:
            self._watch = asyncio.get_running_loop().create_task(self._look())
        return browser

    def give_back(self, browser: Browser) -> None:
        """Its page is closed."""
        browser.pages -= 1
        cause = find_spent(self.rules, browser.served, Measured(0, 0))
        if not browser.is_alive:
            browser.retire("crash")
        elif cause is not None:
            browser.retire(cause)
        self._end_if_unused(browser)
        self._places.release()

    def kill(self) -> None:
        """End all of them at once."""
        self._is_closed = True
        for job in (self._watch, self._starting):
            if job is not None:
                job.cancel()
        for browser in self._all:
            browser.end()
        self._all.clear()
        self._current = None

    async def close(self) -> None:
        """End all of them, whatever they do."""
        self._is_closed = True
        if self._watch is not None:
            self._watch.cancel()
        starting = self._starting
        if starting is not None and not starting.done():
            starting.cancel()
            with contextlib.suppress(BaseException):
                await starting
        for browser in list(self._all):
            if browser.pages:
                browser.kill("stop", "the service is stopping")
            self._end(browser)
        if self._ending:
            await asyncio.wait(self._ending)

    async def _find(self) -> Browser:
        """The current one, or a new one, for which all who come meanwhile wait."""
        current = self._current
        if current is not None and current.is_alive and not current.is_retired:
            return current
        if current is not None:
            current.retire("crash")
            self._end_if_unused(current)
            self._current = None
        if self._is_closed:
            raise BrowserFailed("the service is stopping")
        if self._starting is None or self._starting.done():
            self._starting = asyncio.get_running_loop().create_task(self._launch())
        # Whoever gives up waiting leaves it to the others.
        return await asyncio.shield(self._starting)

    async def _launch(self) -> Browser:
        if not self.started:
            await asyncio.to_thread(clear_leftovers)
        began = monotonic()
        try:
            browser = await self._start()
        except Exception as error:
            self.failure = str(error)
            raise
        self.failure = ""
        self.tally.started += 1
        logger.info("a browser was started in %.1f s", monotonic() - began)
        self._all.add(browser)
        self._current = browser
        return browser

    # -- the end of a browser ----------------------------------------------------------------------

    def _end_if_unused(self, browser: Browser) -> None:
        if browser.is_retired and not browser.pages:
            self._end(browser)

    def _end(self, browser: Browser) -> None:
        if browser not in self._all:
            return
        self._all.discard(browser)
        self.tally.end(browser.find_end())
        if browser is self._current:
            self._current = None
        ending = asyncio.get_running_loop().create_task(browser.close())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _look(self) -> None:
        """While there are browsers: what do they have?"""
        while True:
            await asyncio.sleep(LOOK)
            rules = self.rules
            for browser in list(self._all):
                if not browser.pages and browser.seen_at == browser.served:
                    continue  # nothing has changed
                browser.seen_at = browser.served if not browser.pages else -1
                measured = await browser.measure()
                if 0 < rules.memory * FAR < measured.memory:
                    browser.shrink(measured, rules.memory)
                else:
                    cause = find_spent(rules, browser.served, measured)
                    if cause is not None:
                        browser.retire(cause)
                self._end_if_unused(browser)
