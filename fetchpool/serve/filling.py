"""How the pool fills, told to the one who has just started the service and watches.

On a terminal by one line that lives until the pool is full, elsewhere by a line now and then.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final

import msgspec

from fetcher.errors import RedisAway
from fetchpool.terminal.live import LiveLine
from pool.harvest.accounts import count_read
from pool.model import SourceAccount, Status
from pool.snapshot.follower import Follower
from pool.snapshot.snapshot import Snapshot

logger = logging.getLogger(__name__)

Say = Callable[[str], None]

LIVE: Final = 1.0  # seconds between two live lines
FIRST: Final = 2.0  # seconds from the first plain line to the next, if the numbers have changed
MOST: Final = 300.0
_SPAN: Final = 5  # live lines that a rate is taken over


class Work(msgspec.Struct, frozen=True):
    """What this process has ended since its start."""

    fetches: int = 0
    checks: int = 0


class Read(msgspec.Struct, frozen=True):
    """Of `total` sources so many have been read, and so many asked in vain until now."""

    total: int = 0
    read: int = 0
    failed: int = 0

    @property
    def is_over(self) -> bool:
        return self.read + self.failed >= self.total

    def __str__(self) -> str:
        failed = f" ({self.failed} failed)" if self.failed else ""
        return f"{self.read} of {self.total} sources read{failed}"


def build_line(status: Status, read: Read, rates: tuple[float, float] | None = None) -> str:
    """`rates`: fetches and checks a second."""
    words = [str(status)]
    if read.total:
        words.append(str(read))
    if rates is not None:
        fetches, checks = rates
        words.append(f"{_round(fetches)} fetches/s, {_round(checks)} checks/s")
    return ", ".join(words)


def _round(rate: float) -> str:
    return f"{rate:.1f}" if 0 < rate < 10 else f"{rate:.0f}"


def is_full(status: Status, read: Read) -> bool:
    """All that was found has been checked, and nothing more is to be expected at once. A pool that
    stays empty although there are sources does not become full."""
    if status.checked < status.found:
        return False
    return read.is_over if status.found else not read.total


class Rates:
    """How much is ended in a second, over the last few looks."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, Work]] = deque(maxlen=_SPAN + 1)

    def add(self, now: float, work: Work) -> tuple[float, float]:
        """Fetches and checks a second; `now` in seconds that never go back."""
        self._looks.append((now, work))
        then, before = self._looks[0]
        span = now - then
        if span <= 0:
            return 0.0, 0.0
        return (work.fetches - before.fetches) / span, (work.checks - before.checks) / span


class Filling:
    """The pool of `snapshot` as it fills. `names` are those of the sources, `accounts` reads what
    they have yielded (it may raise RedisAway), `work` what this process has done.

    `live` is there if `say` writes to a terminal.
    """

    def __init__(
        self,
        follower: Follower,
        snapshot: Snapshot,
        *,
        names: Collection[str],
        accounts: Callable[[], Awaitable[Mapping[str, SourceAccount]]],
        work: Callable[[], Work],
        say: Say,
        live: LiveLine | None = None,
    ) -> None:
        self._follower = follower
        self._snapshot = snapshot
        self._names = names
        self._accounts = accounts
        self._work = work
        self._say = say
        self._live = live
        self._read = Read(total=len(names))

    async def run(self) -> None:
        """Until cancelled."""
        await self._follower.ready.wait()
        if self._live is not None:
            await self._show(self._live)
        await self._say_seldom()

    async def _show(self, live: LiveLine) -> None:
        """A live line until the pool is full."""
        rates = Rates()
        while True:
            status = await self._look()
            if is_full(status, self._read):
                live.close()
                return
            live.show(build_line(status, self._read, rates.add(time.monotonic(), self._work())))
            await asyncio.sleep(LIVE)

    async def _say_seldom(self) -> None:
        """A line when the numbers have changed, while there are proxies that nobody has checked:
        ever more seldom."""
        said, filling, pause = "", True, FIRST
        while True:
            status = await self._look()
            line = build_line(status, self._read)
            if filling and line != said:
                said = line
                self._say(line)
            filling = status.checked < status.found or status.found == 0
            await asyncio.sleep(pause)
            pause = min(pause * 1.2, MOST)

    async def _look(self) -> Status:
        if self._names and not self._read.is_over:
            try:
                read, failed = count_read(self._names, await self._accounts())
            except RedisAway as error:
                logger.debug("how much has been read cannot be told: %s", error)
            else:
                self._read = Read(len(self._names), read, failed)
        return self._snapshot.status()
