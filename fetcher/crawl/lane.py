"""The crawl as a lane of the loop: leases become visits, and their ends become marks in Redis.

What was written counts from the moment in which Redis holds its mark, together with what became of
the URLs; see `output`. So each batch goes the same way: append, fsync, mark. When the mark is
refused, since others have taken us for dead or Redis has lost its last second, the files are cut
back to what it knows.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from fetcher.crawl.frontier.frontier import (
    MOST_ARRIVALS,
    Applied,
    Batch,
    Frontier,
    Lease,
    Taken,
)
from fetcher.crawl.means import Means
from fetcher.crawl.model import Mark
from fetcher.crawl.output.outputs import Outputs
from fetcher.crawl.visit import Ended, Visit
from fetcher.errors import RedisAway

logger = logging.getLogger(__name__)

_WAITING = 4  # times the window may wait for its turn


class CrawlLane:
    """`heard`, if it is set, is told how the crawl stands, at every take."""

    name = "crawl"

    def __init__(
        self,
        frontier: Frontier,
        means: Means,
        outputs: Outputs,
    ) -> None:
        self._frontier = frontier
        self._means = means
        self._outputs = outputs
        self.heard: Callable[[Taken], None] = lambda _: None
        self._running: dict[bytes, asyncio.Task[Ended]] = {}
        self._held: dict[bytes, Lease] = {}
        self._unsure = False  # an answer was lost: more may be leased to us than we know
        self._unmarked: tuple[Batch, list[Ended]] | None = None  # written, and not known to Redis

    @property
    def window(self) -> int:
        """What waits for its turn takes no place."""
        return self._means.options.concurrency + self._means.waiting

    @property
    def is_idle(self) -> bool:
        return not self._held

    async def take(self, room: int) -> Sequence[Lease]:
        means, frontier = self._means, self._frontier
        most = _WAITING * means.options.concurrency
        room = max(0, min(room, most - means.waiting))
        if means.fetcher.budget.is_tight or means.is_full:
            room = 0
        try:
            if self._unsure:
                await frontier.give_back_unknown(self._held)
                self._unsure = False
            taken = await frontier.take(room, delay=means.options.delay, limit=means.options.limit)
        except RedisAway:
            self._unsure = True
            raise
        self._held.update((lease.id, lease) for lease in taken.leases)
        if means.options.scope == "prefix":
            await self._learn_prefixes(taken.leases)
        self.heard(taken)
        return taken.leases

    async def _learn_prefixes(self, leases: Sequence[Lease]) -> None:
        """What is leased lies below a source, which another process may have read."""
        rules, prefixes = self._means.reader.rules, self._means.reader.prefixes
        if any(rules.judge(one.item.url, depth=0, parent=one.item.url) for one in leases):
            prefixes |= await self._frontier.scopes()

    def start(self, item: Lease, done: Callable[[Ended], None]) -> None:
        visit = Visit(self._means, item)
        task = asyncio.get_running_loop().create_task(visit.run())
        self._running[item.id] = task
        task.add_done_callback(partial(self._ended, item, done))

    def _ended(
        self, lease: Lease, done: Callable[[Ended], None], task: "asyncio.Task[Ended]"
    ) -> None:
        self._running.pop(lease.id, None)
        if not task.cancelled():
            done(task.result())

    async def finish(self, batch: Sequence[Ended]) -> None:
        """Write, fsync, mark. After an error it is called with the same batch, and what has ended
        since behind it."""
        if self._unmarked is not None:
            await self._mark(*self._unmarked)
        # After an error some of them are stored already.
        rest = [one for one in batch if one.outcome.lease.id in self._held]
        while rest:
            part, rest = _cut(rest)
            await self._store(part)

    async def _store(self, part: list[Ended]) -> None:
        arrivals = [one for ended in part for one in ended.arrivals]
        if len(arrivals) > MOST_ARRIVALS:
            # Before their page is done: if we die between, it is fetched again, and they are known.
            await self._frontier.add(arrivals)
            arrivals = []
        pages = [ended.page for ended in part if ended.page is not None]
        marks = await asyncio.to_thread(self._outputs.write, pages) if pages else {}
        written = _gather(part, marks)
        written.arrivals = arrivals
        for name, by in self._means.tally.fields_of(pages, time.time()).items():
            written.tally[name] = written.tally.get(name, 0) + by
        await self._mark(written, part)

    async def _mark(self, batch: Batch, part: list[Ended]) -> None:
        self._unmarked = batch, part
        applied = await self._frontier.finish(batch)
        self._unmarked = None
        if applied.is_applied:
            for ended in part:
                self._held.pop(ended.outcome.lease.id, None)
            self._means.reader.remember(one.item.url for one in batch.arrivals)
            return
        await self._take_back(applied, batch, part)

    async def _take_back(self, applied: Applied, batch: Batch, part: list[Ended]) -> None:
        """Redis took nothing of it: the files go back, and what is still ours is stored anew."""
        if applied.marks:
            logger.warning(
                "Redis has lost its last second: the output is cut back to what it knows"
            )
        before = {key: mark for key, (mark, _) in batch.marks.items()}
        await asyncio.to_thread(self._outputs.cut, {**before, **applied.marks})
        lost = [one for one in part if one.outcome.lease.id in applied.lost]
        for ended in lost:
            self._held.pop(ended.outcome.lease.id, None)
        if lost:
            logger.warning("%d pages are others' by now: what was fetched is dropped", len(lost))
        left = [one for one in part if one.outcome.lease.id not in applied.lost]
        if left:
            await self._store(left)

    async def give_back(self, items: Sequence[Lease]) -> None:
        for item in items:
            task = self._running.pop(item.id, None)
            if task is not None:
                task.cancel()
        await self._frontier.give_back(items)
        for item in items:
            self._held.pop(item.id, None)


_BATCH_BYTES = 16_777_216
_BATCH_COUNT = 500


def _cut(ended: list[Ended]) -> tuple[list[Ended], list[Ended]]:
    """A batch, and the rest."""
    size = count = 0
    for one in ended:
        size += len(one.page.body) if one.page is not None else 0
        if count and (size > _BATCH_BYTES or count >= _BATCH_COUNT):
            break
        count += 1
    return ended[:count], ended[count:]


def _gather(part: Sequence[Ended], marks: dict[str, tuple[Mark, Mark]]) -> Batch:
    batch = Batch(outcomes=[one.outcome for one in part], marks=marks)
    for ended in part:
        for name, by in ended.counts.items():
            batch.counts[name] = batch.counts.get(name, 0) + by
        for name, by in ended.tally.items():
            batch.tally[name] = batch.tally.get(name, 0) + by
        batch.lives += ended.lives
    return batch
