"""The queue as a lane of the loop, with the two duties that keep it alive beside it.

`QueueLane` turns messages into fetches and results into messages; `Arrivals` wakes the loop when
a message comes to an empty list; `Heartbeat` renews our leases and takes over dead workers'.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from fetcher.errors import RedisAway
from fetcher.model import Result, Task
from fetcher.queue.lists import Finished, Leased, TaskQueue
from fetcher.run.fetcher import Fetcher
from fetcher.run.path import Fetching
from fetcher.task.result import Account, from_refusal
from fetcher.task.wire import BadTask, Undecodable, encode_pair, parse_message

logger = logging.getLogger(__name__)

# Seconds one blocking wait lasts, so that a dead connection is noticed.
_WAIT: Final = 5.0


class QueueLane:
    """The queue as a lane: messages in, results out, nothing lost between."""

    name = "queue"

    def __init__(self, queue: TaskQueue, fetcher: Fetcher, window: int) -> None:
        self.queue = queue
        self.fetcher = fetcher
        self.window = window
        self.full = False  # the out list holds all that it may
        self.empty = asyncio.Event()
        self.finished = self.dead = self.lost = 0
        self._running: dict[int, Fetching] = {}
        self._held: set[int] = set()  # leases, until they are put away or given back
        self._unsure = False  # an answer was lost: more may be leased to us than we know

    async def take(self, room: int) -> Sequence[Leased]:
        if self.fetcher.budget.is_tight:
            return []  # the next tick asks again
        try:
            if self._unsure:
                await self.queue.give_back_unknown(self._held)
                self._unsure = False
            leased = await self.queue.take(room)
        except RedisAway:
            self._unsure = True
            raise
        self._held.update(item.lease for item in leased or ())
        self._say_when_full(leased is None)
        if leased is not None and len(leased) < room:
            # More will come later, or has been left for a next batch: `Arrivals` knows when.
            self.empty.set()
        return leased or []

    def start(self, item: Leased, done: Callable[[Finished], None]) -> None:
        try:
            task, raw = parse_message(item.message)
        except Undecodable as error:
            logger.warning("a message goes to the dead list: %s", error)
            done(self._hold(Finished(item.lease, item.message, dead=True)))
            return
        except BadTask as error:
            result = from_refusal(error.task, str(error), Account())
            self.fetcher.count(error.task, result)
            done(self._hold(_finished(item.lease, error.task, error.raw, result)))
            return

        def ended(fetching: Fetching, result: Result) -> None:
            self._running.pop(item.lease, None)
            done(self._hold(_finished(item.lease, task, raw, result)))

        fetching = self.fetcher.run(task, ended)
        if fetching.done is not None:  # a data: URL has ended by now
            self._running[item.lease] = fetching

    async def finish(self, batch: Sequence[Finished]) -> None:
        lost = await self.queue.finish(batch)
        self.fetcher.budget.release(sum(len(item.payload) for item in batch))
        self._held.difference_update(item.lease for item in batch)
        self.finished += len(batch) - len(lost)
        self.dead += sum(item.dead for item in batch)
        self.lost += len(lost)
        if lost:
            logger.warning("%d results dropped: their tasks had been taken over", len(lost))

    async def give_back(self, items: Sequence[Leased]) -> None:
        for item in items:
            fetching = self._running.pop(item.lease, None)
            if fetching is not None:
                fetching.cancel()
        await self.queue.give_back(items)
        self._held.difference_update(item.lease for item in items)

    def _hold(self, finished: Finished) -> Finished:
        """Its bytes count for the budget of bodies until Redis has them."""
        self.fetcher.budget.hold(len(finished.payload))
        return finished

    def _say_when_full(self, full: bool) -> None:
        if full and not self.full:
            out = self.queue.settings.out
            logger.warning("%s is full: taking no more tasks until it is read", out)
        self.full = full


class Arrivals:
    """Wakes the loop when a message arrives on an empty list, within a millisecond."""

    def __init__(self, lane: QueueLane, wake: Callable[[], None]) -> None:
        self._lane = lane
        self._wake = wake

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._lane.empty.wait()
            try:
                arrived = await self._lane.queue.wait_for_arrival(_WAIT)
            except RedisAway:  # the lane itself says so, and when it is over
                await asyncio.sleep(1)
                continue
            if arrived:
                self._lane.empty.clear()
                self._wake()


class Heartbeat:
    """Renews this worker's leases, and takes over those of workers that have died."""

    def __init__(self, queue: TaskQueue) -> None:
        self._queue = queue
        self._server: tuple[str, float] | None = None  # run id, since when we know it

    async def run(self) -> None:
        """Until cancelled."""
        every = self._queue.settings.lease / 4
        while True:
            try:
                await self.beat(asyncio.get_running_loop().time())
            except RedisAway as error:
                logger.debug("no heartbeat: %s", error)
            await asyncio.sleep(every)

    async def beat(self, now: float) -> None:
        """Renew, then recover; `now` in seconds of any steady clock.

        After a start or fail-over of Redis nobody has been able to renew, so nothing is taken
        over until one lease has passed since we first saw this server.
        """
        await self._queue.renew()
        run_id = await self._queue.run_id()
        if self._server is None or self._server[0] != run_id:
            self._server = (run_id, now)
        if now - self._server[1] < self._queue.settings.lease:
            return
        while taken_over := await self._queue.recover():
            logger.warning("took over from %s: %d tasks go back to the head", *taken_over)


def _finished(lease: int, task: Task, raw: bytes, result: Result) -> Finished:
    try:
        return Finished(lease, encode_pair(raw, result))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        refusal = from_refusal(task, f"the result cannot be encoded: {error}", Account())
        refusal.save = None
        return Finished(lease, encode_pair(raw, refusal))
