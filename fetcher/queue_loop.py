"""QueueLoop: keeps lanes of work flowing, each within its own window.

A driver. It looks at every lane on a PeriodicCallback, and at once when something was completed
or somebody says that work has arrived; so throughput is not tied to the tick, and an idle
process answers within milliseconds.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Final

from tornado.ioloop import PeriodicCallback

from fetcher.errors import RedisAway
from fetcher.model import Lane

logger = logging.getLogger(__name__)

TICK_MS: Final = 100.0

# A take for every single free place would be a Redis command a task; a fiftieth of the window
# costs 1 % of the places on average. Fewer results than that wait a little, if others were put away
# just now: they hold no place, and each call costs 200 us.
_SHARE: Final = 50
_GATHER: Final = 0.003  # seconds

_BACKOFF_FIRST: Final = 0.2  # seconds
_BACKOFF_MOST: Final = 10.0

# To start what a take has brought costs 30 us each, but long messages cost 100 ms. When it has been
# much, others have as much time before the next take, if they need it within so many turns.
_LONG: Final = 0.02  # seconds
_REST: Final = 20

# When nothing is under way any more, a stop waits so long for an answer of who may be gone.
_LAST_TAKE: Final = 0.5  # seconds
_HAND_BACK: Final = 1.0


class QueueLoop:
    """Serves lanes until it is stopped."""

    def __init__(self, lanes: Sequence[Lane[Any, Any]]) -> None:
        self._served = [_Served(lane) for lane in lanes]
        self._ticker = PeriodicCallback(self.turn, TICK_MS)
        self.stopping = False

    def start(self) -> None:
        self._ticker.start()
        self.turn()

    def turn(self) -> None:
        """Look at every lane once."""
        for served in self._served:
            served.look(arrived=True)

    @property
    def in_flight(self) -> int:
        return sum(len(served.under_way) for served in self._served)

    @property
    def lanes(self) -> list[Lane[Any, Any]]:
        return [served.lane for served in self._served]

    def under_way(self) -> dict[str, int]:
        """Lane -> how much of it is under way."""
        return {served.lane.name: len(served.under_way) for served in self._served}

    def count_ended(self, prefix: str) -> int:
        """How much of the lanes whose names begin so has been completed since the start."""
        return sum(served.ended for served in self._served if served.lane.name.startswith(prefix))

    def problems(self) -> list[str]:
        """What stands in the way of a lane right now, in words; empty when all is well."""
        return [f"{s.lane.name}: {s.problem}" for s in self._served if s.problem]

    async def stop(self, drain: float) -> None:
        """Take no more, finish what is under way within `drain` seconds, hand back the rest."""
        self.stopping = True
        self._ticker.stop()
        await asyncio.gather(*(served.stop(drain) for served in self._served))


class _Served:
    """One lane as the loop sees it: what is under way, and what waits to be put away."""

    def __init__(self, lane: Lane[Any, Any]) -> None:
        self.lane = lane
        self.under_way: dict[int, Any] = {}
        self.problem: str | None = None
        self.ended = 0
        self._finished: list[Any] = []
        self._dry = False  # the last take brought less than asked for: wait for a tick
        self._taking = False
        self._finishing = False
        self._look_due = False
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()
        self._level = logging.INFO  # of the line that says that it works again
        self._jobs: set[asyncio.Task[None]] = set()

    def look(self, *, arrived: bool = False) -> None:
        """Take what there is room for, unless a take is under way or nothing is expected."""
        self._look_due = False
        self._dry = self._dry and not arrived
        if self._taking or self._dry or self._stopping.is_set():
            return
        window = self.lane.window
        # Results that cannot be put away hold places too, else an outage fills the memory.
        room = window - len(self.under_way) - max(0, len(self._finished) - window)
        if room >= max(1, window // _SHARE) or (room > 0 and arrived):
            self._taking = True
            self._spawn(self._take(room))

    async def _take(self, room: int) -> None:
        items: Sequence[Any] = ()
        delay = _BACKOFF_FIRST
        while not self._stopping.is_set():
            try:
                items = await self.lane.take(room)
                break
            except Exception as error:  # noqa: BLE001 - the top of a driver's step
                self._report(error, delay)
                await self._pause(delay)
                delay = min(2 * delay, _BACKOFF_MOST)
        else:
            self._taking = False
            return
        self._recovered()
        self._dry = len(items) < room
        self.under_way.update({id(item): item for item in items})
        began = time.monotonic()
        for item in items:
            try:
                self.lane.start(item, partial(self._done, item))
            except Exception:
                # It stays under way, to be handed back in the end; the others go on.
                logger.exception("%s: an item could not be started", self.lane.name)
        now = time.monotonic()
        if now - began > _LONG:
            await _rest(2 * now - began)
        self._taking = False
        self.look()  # some may have taken no place

    def _done(self, item: Any, outcome: Any) -> None:
        if self.under_way.pop(id(item), None) is None:
            return  # handed back meanwhile
        self.ended += 1
        self._finished.append(outcome)
        self._changed.set()
        if not self._finishing:
            self._finishing = True
            self._spawn(self._finish())
        # Once a loop turn is enough, however many were completed in it.
        if not self._look_due:
            self._look_due = True
            asyncio.get_running_loop().call_soon(self.look)

    async def _finish(self) -> None:
        """Put away what has gathered, until nothing has; a failed batch is tried again whole."""
        delay = _BACKOFF_FIRST
        while self._finished:
            batch, self._finished = self._finished, []
            try:
                await self.lane.finish(batch)
                delay = _BACKOFF_FIRST
                self._recovered()
                self.look()  # they may have held places
                if 0 < len(self._finished) < self.lane.window // _SHARE:
                    await asyncio.sleep(_GATHER)
            except Exception as error:  # noqa: BLE001 - the top of a driver's step
                self._finished = batch + self._finished
                self._report(error, delay)
                await self._pause(delay)
                delay = min(2 * delay, _BACKOFF_MOST)
        self._finishing = False
        self._changed.set()

    async def stop(self, drain: float) -> None:
        self._stopping.set()
        self._changed.set()
        try:
            async with asyncio.timeout(drain) as limit:
                while self.under_way or self._finished or self._finishing or self._taking:
                    if not (self.under_way or self._finished or self._finishing):
                        # A take that does not come back: what it brings has not begun.
                        soon = asyncio.get_running_loop().time() + _LAST_TAKE
                        limit.reschedule(min(soon, limit.when() or soon))
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            if self.under_way or self._finished:
                logger.warning(
                    "%s: %d under way and %d results not put away after %g s: handed back",
                    self.lane.name, len(self.under_way), len(self._finished), drain,
                )  # fmt: skip
        left = list(self.under_way.values())
        self.under_way.clear()
        if left:
            try:
                async with asyncio.timeout(_HAND_BACK):
                    await self.lane.give_back(left)
            except Exception as error:  # noqa: BLE001 - the process is going
                words = str(error) or "no answer in time"
                logger.error("%s: could not hand back %d: %s", self.lane.name, len(left), words)
        for job in self._jobs:
            job.cancel()

    async def _pause(self, delay: float) -> None:
        """`delay` seconds, or until the stop begins: then it is tried once more at once."""
        if self._stopping.is_set():
            await asyncio.sleep(delay)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._stopping.wait()

    def _report(self, error: Exception, delay: float) -> None:
        text = f"{type(error).__name__}: {error}"
        if self.problem is None:
            is_told = isinstance(error, RedisAway) and error.is_gone
            self._level = logging.DEBUG if is_told else logging.INFO
            level = logging.DEBUG if is_told else logging.ERROR
            logger.log(level, "%s: %s; trying again in %g s and on", self.lane.name, text, delay)
        self.problem = text

    def _recovered(self) -> None:
        if self.problem is not None:
            logger.log(self._level, "%s: works again", self.lane.name)
            self.problem = None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        job = asyncio.get_running_loop().create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._ended)

    def _ended(self, job: asyncio.Task[None]) -> None:
        self._jobs.discard(job)
        self._changed.set()
        if not job.cancelled() and job.exception() is not None:
            logger.error("%s: a step failed", self.lane.name, exc_info=job.exception())


async def _rest(until: float) -> None:
    for _ in range(_REST):
        await asyncio.sleep(0)
        if time.monotonic() > until:
            break
