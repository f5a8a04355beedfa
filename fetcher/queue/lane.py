"""The queue as a lane of the loop: messages become fetches, and results become messages."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

from msgspec.structs import replace

from fetcher.errors import RedisAway, TaskError
from fetcher.model import Result, Task
from fetcher.queue.handover import HandOver
from fetcher.queue.starts import Starts
from fetcher.queue.transport import Finished, Lease, Transport
from fetcher.queue.turns import Turns
from fetcher.run.fetcher import Fetcher
from fetcher.run.path import Fetching
from fetcher.run.terms import NO_TERMS, Terms
from fetcher.task.result import Progress, from_refusal
from fetcher.task.wire import BadTask, Undecodable, encode_pair, parse_message
from fetcher.urls import fit_url, loggable, origin_of

logger = logging.getLogger(__name__)


# So many times the window may wait for their turn; what lies behind them stays in the queue. Who
# runs and may yet wait for the politeness clock counts as well: that he waits is known only later.
_WAITING: Final = 10

# Seconds that a task which has to run alone may wait for the politeness clock: for so long all the
# others wait as well.
_LONE_PATIENCE: Final = 30.0

_SHOWN: Final = 200  # characters of a URL in the log: a data: URL may be a whole page


class Job(NamedTuple):
    """A task that waits for its turn: where it came from, and who hears how it ends."""

    lease: Lease
    task: Task
    raw: bytes
    done: Callable[[Finished], None]


class _InLine:
    """A task as the politeness clock makes it wait: see `Line`."""

    __slots__ = ("done", "id", "is_told", "lane", "patience")

    def __init__(
        self, lane: "QueueLane", id_: bytes, done: Callable[[Finished], None], patience: float
    ) -> None:
        self.lane = lane
        self.id = id_
        self.done = done
        self.patience = patience
        self.is_told = False  # the queue has been, that it has not begun

    def wait(self) -> None:
        self.lane.let_wait(self)

    def begin(self, go: Callable[[], None]) -> None:
        self.lane.let_begin(self, go)


class QueueLane:
    """The queue as a lane: messages in, results out, nothing lost between.

    Of the tasks under way at most `window` are fetched, and at most `per_host` from one host
    (0: no limit). `delay`: seconds between two starts at a host, for those that name no other.
    """

    name = "queue"

    def __init__(
        self,
        queue: Transport,
        fetcher: Fetcher,
        window: int,
        *,
        per_host: int = 0,
        delay: float = 0.0,
    ) -> None:
        self.queue = queue
        self.fetcher = fetcher
        self.full = False  # the out list holds all that it may
        self.empty = asyncio.Event()
        self.finished = self.dead = self.lost = 0
        self._places = window
        self._delay = delay
        self._turns = Turns(per_host)
        self._limits_hosts = per_host > 0
        self._starts = Starts(queue)
        self._hand_over = HandOver(queue, self._smaller)
        self._stopping = False
        self._running: dict[bytes, Fetching | None] = {}  # None: it begins once the queue knows
        self._parked: dict[bytes, Job] = {}  # until they run
        self._delayed: set[bytes] = set()  # they run, and go by the politeness clock
        self._in_line: dict[bytes, _InLine] = {}  # of these, who waits for it
        self._held: dict[bytes, Lease] = {}  # until they are put away or given back
        self._unsure = False  # an answer was lost: more may be leased to us than we know

    @property
    def window(self) -> int:
        """What waits, for its turn or for the politeness clock, takes no place."""
        return self._places + self._waiting

    @property
    def _waiting(self) -> int:
        return self._turns.waiting + len(self._in_line)

    @property
    def oldest(self) -> float:
        """Seconds since the task began that has been under way for longest, 0 if there is none;
        what waits for its turn has not begun."""
        fetching = next((one for one in self._running.values() if one is not None), None)
        return time.monotonic() - fetching.started if fetching is not None else 0.0

    async def take(self, room: int) -> Sequence[Lease]:
        may_wait = self._turns.waiting + len(self._delayed)
        room = min(room, _WAITING * self._places - may_wait)
        if room <= 0 or self._turns.is_closed or self.fetcher.budget.is_tight:
            return []  # the next tick asks again
        try:
            if self._unsure:
                await self.queue.give_back_unknown(self._held)
                self._unsure = False
            leased = await self.queue.take(room)
        except RedisAway:
            self._unsure = True
            raise
        self._held.update({item.id: item for item in leased or ()})
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
            result = from_refusal(error.task, str(error), Progress())
            self.fetcher.count(error.task, result)
            done(self._hold(_finished(item.id, error.task, error.raw, result)))
            return
        if self._turns.is_open and not item.waits:  # nearly always
            self._run(item, task, raw, done)
        elif 0 < self.queue.settings.max_deliveries < item.deliveries:
            self._bury(Job(item, task, raw, done))
        else:
            self._ask_for_turn(Job(item, task, raw, done))

    def _run(self, item: Lease, task: Task, raw: bytes, done: Callable[[Finished], None]) -> None:
        id_ = item.id

        def ended(fetching: Fetching | None, result: Result) -> None:
            self._running.pop(id_, None)
            if self._delayed or self._in_line:
                self._forget_line(id_)
            done(self._hold(_finished(id_, task, raw, result)))
            if not self._turns.is_open and id_ != self._turns.lone:
                self._go_on(self._turns.end(id_, self._begun))

        terms = NO_TERMS
        if self._delay or (task.fetch is not None and task.fetch.delay):
            patience = _LONE_PATIENCE if id_ == self._turns.lone else math.inf
            terms = Terms(delay=self._delay, line=_InLine(self, id_, done, patience))
        try:
            fetching = self.fetcher.run(task, ended, terms=terms)
        except Exception as error:
            logger.exception("a task could not be started")
            ended(None, from_refusal(task, f"{type(error).__name__}: {error}", Progress()))
            return
        if fetching.done is not None:  # a data: URL has ended by now
            self._running[id_] = fetching
            if terms.line is not None:
                self._delayed.add(id_)

    def _bury(self, job: Job) -> None:
        """Another delivery would be one too many."""
        times = self.queue.settings.max_deliveries
        reason = f"given up after {times} deliveries: its lease ran out in the middle of each"
        url = loggable(job.task.url)[:_SHOWN]
        logger.warning("a task goes to the dead list: %s: %s", url, reason)
        result = from_refusal(job.task, reason, Progress())
        self.fetcher.count(job.task, result)
        finished = _finished(job.lease.id, job.task, job.raw, result)
        job.done(self._hold(replace(finished, reason=reason)))

    # -- turns -------------------------------------------------------------------------------------

    def _ask_for_turn(self, job: Job) -> None:
        lease = job.lease
        self._parked[lease.id] = job
        is_last = lease.deliveries == self.queue.settings.max_deliveries
        host = _host_of(job.task.url) if self._limits_hosts else ""
        begun = self._turns.ask(lease.id, host, alone=is_last, running=self._begun - 1)
        if is_last:
            self._hand_back_line()
        if lease.id not in begun:
            if self._stopping:
                self.hand_back_waiting()
            elif not lease.waits:
                self._starts.wait(lease.id)
        for id_ in begun:
            self._begin(id_)

    @property
    def _begun(self) -> int:
        """Whose outcomes are not stored yet, but for those that wait for their turn."""
        return len(self._held) - self._turns.waiting

    def _settle(self, batch: Sequence[Finished]) -> None:
        """Their outcomes are stored: one that has to run alone may have waited for that."""
        for item in batch:
            self._held.pop(item.id, None)
        if self._turns.is_closed:
            lone = self._turns.lone
            over = [item.id for item in batch if item.id == lone] or [b""]
            self._go_on(self._turns.end(over[0], self._begun))

    def _go_on(self, ids: Sequence[bytes]) -> None:
        """It is their turn. Not before the next: a thousand that end at once would be nested."""
        for id_ in ids:
            self._running[id_] = None
            asyncio.get_running_loop().call_soon(self._begin, id_)

    def _begin(self, id_: bytes) -> None:
        """If it has failed before, the queue has to know first."""
        job = self._parked.get(id_)
        if job is None:
            return  # handed back meanwhile
        self._running[id_] = None
        if job.lease.waits:
            self._starts.begin(id_, partial(self._run_parked, id_))
        else:
            self._starts.begin(id_)
            self._run_parked(id_)

    def _run_parked(self, id_: bytes) -> None:
        self._run(*self._parked.pop(id_))

    def hand_back_waiting(self) -> None:
        """Stopping: what waits for its turn goes back to the queue at once, now and later."""
        self._stopping = True
        waiting = self._turns.clear()
        self._hand_back_line()  # they came before
        for id_ in waiting:
            self._starts.forget([id_])
            self._parked.pop(id_).done(Finished(id_))

    # -- the politeness clock ----------------------------------------------------------------------

    def let_wait(self, line: _InLine) -> None:
        """A task that runs waits for its start: it takes no place, and unless it has been somewhere
        already, the queue hears that it has not begun."""
        fetching = self._running.get(line.id)
        if fetching is None:
            return  # it has just ended
        self._in_line[line.id] = line
        if self._stopping or (self._turns.is_closed and line.id != self._turns.lone):
            self._hand_back_line()
        elif not line.is_told and fetching.tries == 0:
            line.is_told = True
            self._starts.wait(line.id)

    def let_begin(self, line: _InLine, go: Callable[[], None]) -> None:
        """Its start has come."""
        self._in_line.pop(line.id, None)
        if line.is_told:
            line.is_told = False
            self._starts.begin(line.id, go)
        else:
            go()

    def _forget_line(self, id_: bytes) -> None:
        """It runs no more."""
        self._delayed.discard(id_)
        self._in_line.pop(id_, None)

    def _hand_back_line(self) -> None:
        """Whoever waits for the clock goes back to the queue at once, but for one that runs alone:
        we stop, or are to begin with that one, and the others would keep it from that for long."""
        for id_, line in list(self._in_line.items()):
            fetching = self._running.get(id_)
            if id_ != self._turns.lone and fetching is not None:
                fetching.cancel()
                del self._running[id_]
                self._forget_line(id_)
                self._starts.forget([id_])
                line.done(Finished(id_))
                self._go_on(self._turns.end(id_, self._begun))

    # -- outcomes ----------------------------------------------------------------------------------

    async def finish(self, batch: Sequence[Finished]) -> None:
        lost = await self._hand_over.finish(batch)
        self.fetcher.budget.release(sum([len(item.result or b"") for item in batch]))
        self._settle(batch)
        self.finished += len(batch) - len(lost)
        replaced = self._hand_over.replaced
        self.dead += len([item for item in (*batch, *replaced) if item.reason is not None])
        self.lost += len(lost)
        if lost:
            logger.warning("%d results dropped: their tasks had been taken over", len(lost))

    def _smaller(self, item: Finished, error: RedisAway) -> Iterator[Finished]:
        """Of an outcome that cannot be stored: without content, without `save`, the dead list."""
        lease = self._held.get(item.id)
        if lease is None or item.result is None:
            return
        size = len(item.result)
        reason = f"the result cannot be stored ({size} bytes with its task): {error}"
        try:
            task, raw = parse_message(lease.message)
        except BadTask as bad:
            task, raw = bad.task, bad.raw
        logger.warning("%s: %s", loggable(task.url)[:_SHOWN], reason)
        result = from_refusal(task, reason, Progress())
        for _ in range(2):
            yield replace(_finished(item.id, task, raw, result), reason=item.reason)
            result.save = None
        yield Finished(item.id, reason=item.reason or reason)

    async def give_back(self, items: Sequence[Lease]) -> None:
        self._turns.clear()
        self._starts.forget([item.id for item in items])
        for item in items:
            self._parked.pop(item.id, None)
            self._forget_line(item.id)
            fetching = self._running.pop(item.id, None)
            if fetching is not None:
                fetching.cancel()
        await self.queue.give_back([item.id for item in items])
        for item in items:
            self._held.pop(item.id, None)

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
        refusal = from_refusal(task, f"the result cannot be encoded: {error}", Progress())
        refusal.save = None
        return Finished(lease, encode_pair(raw, refusal))


def _host_of(url: str) -> str:
    """Whom a task asks first; "" if nobody, or if what it names is no host."""
    try:
        return origin_of(fit_url(url))[1]
    except (TaskError, ValueError):
        return ""
