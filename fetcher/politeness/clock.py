"""Clock: whose turn it is at a host, exact over all processes; and who is told to stay away.

A driver: it asks Redis, where the time of each host's last start lies, and waits on the loop. One
call for 1, 10 or 100 slots takes 0.3, 0.5 and 2 ms, and of these Redis is busy for 40, 120 and
800 us; this process for 0.3, 0.4 and 1 ms.
"""

import asyncio
import logging
import math
import random
from collections.abc import Callable, Sequence
from typing import Final

from redis.asyncio import Redis

from fetcher.errors import RedisAway
from fetcher.politeness.backoff import DAY
from fetcher.politeness.slots import Slot, Turn
from fetcher.politeness.store import Store

logger = logging.getLogger(__name__)

# In one call: these slots take Redis some 5 ms, in which it serves nobody else.
BATCH: Final = 500

# Seconds for which `ask` reserves ahead. What is reserved starts even if its host is blocked
# meanwhile, and is lost if nobody wants it any more; so whoever has to wait longer asks again.
AHEAD: Final = 1.0

_PAUSE_FIRST: Final = 0.05  # seconds between two attempts while Redis is away
_PAUSE_MOST: Final = 2.0

# A start that is so many seconds late, since this process was busy or held up, is given up for
# another: the next at its host would come too soon behind it. Where there is no next, that other
# one may be at once. After so many times it goes out.
LATE: Final = 0.02
MOST_LATE: Final = 5

# For so many seconds, and once more, the shortest answer tells how far Redis' clock is from ours.
_WINDOW: Final = 60.0

# Seconds: no time that means anything is longer, and in microseconds a double still holds the sum
# of two of them and of the time since 1970.
_LONGEST: Final = 3e9


_NEVER: Final = Turn(granted=False, wait=0.0, at=0.0, blocked=False)


class Clock:
    """The politeness clock of one service, whose `prefix` all its processes share.

    Between two starts at one key lie at least the delay of either. A host that answers 429 or 503
    is blocked for `base` seconds, twice as long each further time, up to `most`; after `quiet`
    seconds behind the end of a block without another it begins anew. Methods raise `RedisAway`.
    """

    def __init__(
        self,
        redis: Redis,
        prefix: str,
        *,
        base: float = 60.0,
        most: float = DAY,
        quiet: float = 1800.0,
    ) -> None:
        self._store = Store(
            redis, prefix, base=_micro(base), most=_micro(most), quiet=_micro(quiet)
        )
        self._waiting: set[_Asking] = set()
        self._asking: list[_Asking] = []  # of those, who asks now
        self._job: asyncio.Task[None] | None = None
        self._blocking: set[asyncio.Task[None]] = set()
        self._shift = _Shift()

    async def reserve(self, slots: Sequence[Slot], horizon: float) -> list[Turn]:
        """Take these starts, in their order, if they can be within `horizon` seconds.

        One call; more than `BATCH` are cut into several. What cannot be reserves nothing: of
        several at one key each is told to ask again a delay after the one before.
        """
        return await self._reserve([(slot, horizon, 0.0) for slot in slots])

    async def _reserve(self, slots: Sequence[tuple[Slot, float, float]]) -> list[Turn]:
        """Each with its horizon and the start that it has missed, or 0."""
        turns: list[Turn] = []
        for first in range(0, len(slots), BATCH):
            part = slots[first : first + BATCH]
            now, *told = await self._store.reserve(
                [
                    (slot.key, _micro(slot.delay), _micro(horizon), _micro(missed))
                    for slot, horizon, missed in part
                ]
            )
            self._shift.learn(asyncio.get_running_loop().time(), now / 1e6)
            for code, at in zip(told[::2], told[1::2], strict=True):
                turns.append(Turn(code == 1, (at - now) / 1e6, at / 1e6, code == 2))
        return turns

    def ask(self, slot: Slot, done: Callable[[Turn], None], *, patience: float) -> "_Asking":
        """Have `done` called when the start has come, exactly once and never before this returns.

        With a turn that is not granted, at once if it could not be within `patience` seconds, or
        if Redis was away for so long. `cancel` what this returns, and it is not called.
        """
        asking = _Asking(self, slot, done, patience)
        self._waiting.add(asking)
        self.enter(asking)
        return asking

    def due_of(self, turn: Turn) -> float:
        """For `_Asking`: when it is by the loop's clock, as exactly as is known."""
        return self._shift.seconds + turn.at

    def leave(self, asking: "_Asking") -> None:
        """For `_Asking`: it waits no more."""
        self._waiting.discard(asking)

    def enter(self, asking: "_Asking") -> None:
        """For `_Asking`: its key is looked at with those of all that ask in this loop turn."""
        self._asking.append(asking)
        if self._job is None:
            self._job = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        pause = _PAUSE_FIRST
        try:
            while self._asking:
                batch = [one for one in self._asking if one.is_waiting]
                self._asking = []
                try:
                    turns = await self._reserve(
                        [(one.slot, max(0.0, min(AHEAD, one.left)), one.missed) for one in batch]
                    )
                except RedisAway as error:
                    logger.debug("the politeness clock waits: %s", error)
                    self._asking = batch + self._asking
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _PAUSE_MOST)
                    continue
                pause = _PAUSE_FIRST
                for one, turn in zip(batch, turns, strict=True):
                    one.hear(turn)
        finally:
            self._job = None

    async def block(
        self, key: str, *, retry_after: float | None, started: float, draw: float
    ) -> float:
        """A 429 or 503 has come to the request that started at `started` (Redis' clock, as in its
        turn): seconds for which `key` is blocked now.

        `retry_after` counts as it is, up to a day; without it the time gets up to a tenth longer
        by `draw`, from 0 to 1, so that not all hosts come back together. A request that started
        before the end of the block that there is lengthens none: a hundred 429 at once are one.
        """
        asked = None if retry_after is None else _micro(min(retry_after, DAY))
        jitter = 1 + 0.1 * draw
        blocked = await self._store.block(
            key, retry_after=asked, started=_micro(started), jitter=jitter
        )
        return blocked / 1e6

    def block_soon(self, key: str, *, retry_after: float | None, started: float) -> None:
        """As `block`, for who does not wait for it; what fails is logged."""

        async def work() -> None:
            try:
                seconds = await self.block(
                    key, retry_after=retry_after, started=started, draw=random.random()
                )
            except RedisAway as error:
                logger.warning("%s answered 429 or 503 and could not be blocked: %s", key, error)
            else:
                logger.debug("%s answered 429 or 503: blocked for %.0f s", key, seconds)

        job = asyncio.get_running_loop().create_task(work())
        self._blocking.add(job)
        job.add_done_callback(self._blocking.discard)

    async def blocked(self, most: int = 1000) -> list[tuple[str, float]]:
        """Which keys are blocked until when (Redis' clock), the last to end first."""
        _, found = await self._store.blocked(most)
        return [(key, till / 1e6) for key, till in found]

    async def now(self) -> float:
        """Seconds since 1970 by Redis' clock."""
        now, _ = await self._store.blocked(0)
        return now / 1e6

    def close(self) -> None:
        """Whoever waits hears nothing more, and what is not blocked yet will not be."""
        for one in list(self._waiting):
            one.cancel()
        self._asking = []
        if self._job is not None:
            self._job.cancel()
        for job in self._blocking:
            job.cancel()


class _Shift:
    """How far the loop's clock is ahead of Redis'. An answer takes its time, so it is never more
    than what one shows; and as clocks are put right, what was shown long ago does not count."""

    def __init__(self) -> None:
        self.seconds = math.inf
        self._least = math.inf  # of this window
        self._since = -math.inf

    def learn(self, here: float, there: float) -> None:
        """An answer that came now, `here`, told the time as `there`."""
        if here - self._since > _WINDOW:
            self.seconds, self._least, self._since = self._least, math.inf, here
        self._least = min(self._least, here - there)
        self.seconds = min(self.seconds, self._least)


class _Asking:
    """One who asks, until his turn has come."""

    __slots__ = (
        "_clock",
        "_deadline",
        "_done",
        "_due",
        "_last",
        "_late",
        "_loop",
        "_timer",
        "missed",
        "slot",
    )

    def __init__(
        self, clock: Clock, slot: Slot, done: Callable[[Turn], None], patience: float
    ) -> None:
        self.slot = slot
        self.missed = 0.0  # a start that was granted and given up, by Redis' clock
        self._clock = clock
        self._done: Callable[[Turn], None] | None = done
        self._last = _NEVER
        self._due = 0.0  # by the loop's clock
        self._late = 0  # times
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + patience
        self._timer: asyncio.Handle = self._loop.call_later(patience, self._end)

    @property
    def is_waiting(self) -> bool:
        """Whether anybody still wants to hear."""
        return self._done is not None

    @property
    def left(self) -> float:
        """Seconds of patience."""
        return self._deadline - self._loop.time()

    def hear(self, turn: Turn) -> None:
        """What the clock says: wait for the start, or until it is worth asking again, or end."""
        if self._done is None:
            return  # gone while the clock was asked
        self._timer.cancel()
        self._last = turn
        if turn.granted:
            self._due = self._clock.due_of(turn)
            self._timer = self._loop.call_at(self._due, self._start)
        elif turn.wait < self.left:
            self._timer = self._loop.call_later(turn.wait, self._ask_again)
        else:
            self._timer = self._loop.call_soon(self._end)

    def cancel(self) -> None:
        """Wait no more; harmless when it has ended."""
        self._done = None
        self._clock.leave(self)
        self._timer.cancel()

    def _ask_again(self) -> None:
        self._timer = self._loop.call_at(self._deadline, self._end)
        self._clock.enter(self)

    def _start(self) -> None:
        is_late = self._loop.time() - self._due > LATE
        if is_late and self._late < MOST_LATE and self.left > 0:
            self._late += 1
            self.missed = self._last.at
            self._ask_again()
        else:
            self._end()

    def _end(self) -> None:
        done, self._done = self._done, None
        self._clock.leave(self)
        if done is not None:
            done(self._last)


def _micro(seconds: float) -> int:
    return round(min(seconds, _LONGEST) * 1e6)
