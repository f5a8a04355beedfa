"""The queue as a lane of the loop: messages become fetches, and results become messages."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from fetcher.errors import RedisAway
from fetcher.model import Result, Task
from fetcher.queue.transport import Finished, Lease, Transport
from fetcher.run.fetcher import Fetcher
from fetcher.run.path import Fetching
from fetcher.task.result import Account, from_refusal
from fetcher.task.wire import BadTask, Undecodable, encode_pair, parse_message

logger = logging.getLogger(__name__)


class QueueLane:
    """The queue as a lane: messages in, results out, nothing lost between."""

    name = "queue"

    def __init__(self, queue: Transport, fetcher: Fetcher, window: int) -> None:
        self.queue = queue
        self.fetcher = fetcher
        self.window = window
        self.full = False  # the out list holds all that it may
        self.empty = asyncio.Event()
        self.finished = self.dead = self.lost = 0
        self._running: dict[bytes, Fetching] = {}
        self._held: set[bytes] = set()  # leases, until they are put away or given back
        self._unsure = False  # an answer was lost: more may be leased to us than we know

    async def take(self, room: int) -> Sequence[Lease]:
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
        self._held.update(item.id for item in leased or ())
        self._say_when_full(leased is None)
        if leased is not None and len(leased) < room:
            # More will come later, or has been left for a next batch: `Arrivals` knows when.
            self.empty.set()
        return leased or []

    def start(self, item: Lease, done: Callable[[Finished], None]) -> None:
        try:
            task, raw = parse_message(item.message)
        except Undecodable as error:
            logger.warning("a message goes to the dead list: %s", error)
            done(self._hold(Finished(item.id, reason=str(error))))
            return
        except BadTask as error:
            result = from_refusal(error.task, str(error), Account())
            self.fetcher.count(error.task, result)
            done(self._hold(_finished(item.id, error.task, error.raw, result)))
            return

        def ended(fetching: Fetching, result: Result) -> None:
            self._running.pop(item.id, None)
            done(self._hold(_finished(item.id, task, raw, result)))

        fetching = self.fetcher.run(task, ended)
        if fetching.done is not None:  # a data: URL has ended by now
            self._running[item.id] = fetching

    async def finish(self, batch: Sequence[Finished]) -> None:
        lost = await self.queue.finish(batch)
        self.fetcher.budget.release(sum(len(item.result or b"") for item in batch))
        self._held.difference_update(item.id for item in batch)
        self.finished += len(batch) - len(lost)
        self.dead += sum(item.reason is not None for item in batch)
        self.lost += len(lost)
        if lost:
            logger.warning("%d results dropped: their tasks had been taken over", len(lost))

    async def give_back(self, items: Sequence[Lease]) -> None:
        for item in items:
            fetching = self._running.pop(item.id, None)
            if fetching is not None:
                fetching.cancel()
        await self.queue.give_back([item.id for item in items])
        self._held.difference_update(item.id for item in items)

    def _hold(self, finished: Finished) -> Finished:
        """Its bytes count for the budget of bodies until Redis has them."""
        self.fetcher.budget.hold(len(finished.result or b""))
        return finished

    def _say_when_full(self, full: bool) -> None:
        if full and not self.full:
            out = self.queue.settings.out
            logger.warning("%s is full: taking no more tasks until it is read", out)
        self.full = full


def _finished(lease: bytes, task: Task, raw: bytes, result: Result) -> Finished:
    try:
        return Finished(lease, encode_pair(raw, result))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        refusal = from_refusal(task, f"the result cannot be encoded: {error}", Account())
        refusal.save = None
        return Finished(lease, encode_pair(raw, refusal))
