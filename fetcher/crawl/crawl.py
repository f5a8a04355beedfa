"""Crawl: one process's part in a crawl, from its first lease to its goodbye.

A driver. What it is made of is handed in; it keeps the lane going, says that this process lives,
takes over from others that do not, and ends when the crawl does.
"""

import asyncio
import logging
from typing import Final

from fetcher.crawl.frontier.frontier import LEASE, Frontier, Info, Taken
from fetcher.crawl.lane import CrawlLane
from fetcher.crawl.machine import is_gone
from fetcher.crawl.means import Means
from fetcher.crawl.model import Options
from fetcher.crawl.seeding import Seeding
from fetcher.errors import RedisAway
from fetcher.queue_loop import QueueLoop
from fetcher.redis.duties import end_all

logger = logging.getLogger(__name__)

_BEAT: Final = LEASE / 4  # seconds
_BEAT_LIMITED: Final = 1.0  # where a limit of time or size is to be kept
_SOON: Final = 0.02  # seconds; hosts that are due within it are taken in one call

ENDED: Final = ("finished", "limited", "stopped", "gone")


class Crawl:
    """`info` is the crawl as it was when this process joined it."""

    def __init__(
        self, frontier: Frontier, info: Info, means: Means, lane: CrawlLane, seeding: Seeding
    ) -> None:
        self.state = info.state
        self._frontier = frontier
        self._means = means
        self._seeding = seeding
        self._loop = QueueLoop([lane])
        lane.heard = self.heard
        self._over = asyncio.Event()
        self._timer: asyncio.Handle | None = None
        self._changing: asyncio.Task[None] | None = None
        self._revision = info.revision
        self._frontier.limit_host = info.options.limit_host

    @property
    def problems(self) -> list[str]:
        """Sources that this process could not read, in sentences."""
        return self._seeding.problems

    @property
    def in_flight(self) -> int:
        """Pages that this process has under way."""
        return self._loop.in_flight

    async def run(self, stop: asyncio.Event, drain: float) -> str:
        """Work until the crawl has ended or `stop` is set: the state in which it is left.

        What is under way then is finished within `drain` seconds, and the rest given back.
        """
        loop = asyncio.get_running_loop()
        duties = [
            loop.create_task(self._keep_alive()),
            loop.create_task(self._seeding.run(self.wake)),
        ]
        for duty in duties:
            duty.add_done_callback(self._duty_ended)
        waits = [loop.create_task(stop.wait()), loop.create_task(self._over.wait())]
        self._loop.start()
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._means.halt(True)
            await self._loop.stop(drain)
            await end_all([*duties, *waits, *filter(None, [self._changing])])
            await self.retire()
        return self.state

    def _duty_ended(self, duty: "asyncio.Task[None]") -> None:
        """Without it the crawl would wait for ever: other processes, or the next, may do better."""
        if not duty.cancelled() and (error := duty.exception()) is not None:
            logger.error("the crawl cannot go on here", exc_info=error)
            self.state = "failed"
            self._over.set()

    def wake(self) -> None:
        """There is something to take."""
        if not self._over.is_set():
            self._loop.turn()

    def heard(self, taken: Taken) -> None:
        """How the crawl stands, at every take."""
        if self._over.is_set():
            return
        self.state = taken.state
        if self._means.is_halted != (taken.state != "running"):
            self._means.halt(not self._means.is_halted)
        if taken.state in ENDED:
            self._over.set()
            return
        if taken.revision != self._revision and (self._changing is None or self._changing.done()):
            self._changing = asyncio.get_running_loop().create_task(self._change())
        if taken.due is not None and taken.state == "running":
            self._wake_in(max(_SOON, taken.due))

    def _wake_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.wake)

    async def _change(self) -> None:
        try:
            info = await self._frontier.load()
        except RedisAway as error:
            logger.warning("%s; the options are read anew at the next take", error)
            return
        if info is not None:
            logger.info("the options were changed")
            self._revision = info.revision
            self._frontier.limit_host = info.options.limit_host
            self._means.change(info.options)

    # -- who lives ---------------------------------------------------------------------------------

    async def _keep_alive(self) -> None:
        while True:
            try:
                await self._beat()
            except RedisAway as error:
                logger.warning("%s; trying again", error)
            options = self._means.options
            is_limited = options.time_limit or options.size_limit
            await asyncio.sleep(_BEAT_LIMITED if is_limited else _BEAT)

    async def _beat(self) -> None:
        frontier = self._frontier
        await frontier.renew()
        for worker in await frontier.workers():
            if worker != frontier.worker and is_gone(worker):
                await self._recover(worker)
        while await self._recover(None):
            pass
        await self._keep_limits(self._means.options)

    async def _recover(self, worker: str | None) -> bool:
        found = await self._frontier.recover(worker)
        if found is not None and found[1]:
            logger.warning("%s has died: its %d URLs are queued again", *found)
            self.wake()
        return found is not None

    async def _keep_limits(self, options: Options) -> None:
        if not options.time_limit and not options.size_limit:
            return
        info = await self._frontier.load()
        if info is None or info.state != "running":
            return
        if options.time_limit and info.used >= options.time_limit:
            await self._frontier.set_state("limited", f"--time-limit {options.time_limit:g}")
        elif options.size_limit and (await self._frontier.counts()).bytes >= options.size_limit:
            await self._frontier.set_state("limited", f"--size-limit {options.size_limit}")

    async def retire(self) -> None:
        """Say goodbye, and return what this process still holds."""
        try:
            await self._frontier.recover(self._frontier.worker)
        except RedisAway as error:
            logger.warning("%s: what this process held comes back after %g s", error, LEASE)
