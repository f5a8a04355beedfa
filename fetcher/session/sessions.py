"""Which exit a session keeps, the same for all workers.

A driver: it carries what callers ask in one turn of the loop to Redis, in one call, and back.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from fetcher.errors import RedisAway
from fetcher.proxy import Proxy
from fetcher.session.model import NoExit, Session, Sessions, Sticky
from fetcher.session.store import Failing, Finding, Kept, SessionStore

logger = logging.getLogger(__name__)

BATCH: Final = 100  # records in one call: Redis serves nobody else for a millisecond
DOUBTFUL: Final = 10_000  # records of which it is remembered that they are not certain


class KeptSessions(Sessions):
    """Sessions in Redis, one call there for each that is found, whoever else asks.

    An exit that was reached once is given up when it was not reached twice in a row, which is a
    move; one that never was, at once and uncounted.
    """

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._finding: list[_Asking] = []
        self._failing: list[_Asking] = []
        self._reached: dict[str, Proxy] = {}
        self._doubtful: dict[str, None] = {}  # the oldest go first
        self._job: asyncio.Task[None] | None = None
        self._is_away = False

    def find(
        self,
        session: Session,
        propose: Callable[[], Proxy | None],
        done: Callable[[Sticky | NoExit], None],
    ) -> "_Asking":
        finding = Finding(session.record, propose(), session.lifetime)
        asking = _Asking(finding, done)
        self._finding.append(asking)
        self._begin()
        return asking

    def confirm(self, session: Session, proxy: Proxy) -> None:
        record = session.record
        if record in self._doubtful:
            del self._doubtful[record]
            self._reached[record] = proxy
            self._begin()

    def fail(
        self,
        session: Session,
        proxy: Proxy,
        propose: Callable[[], Proxy | None],
        done: Callable[[Sticky | NoExit], None],
    ) -> "_Asking":
        failing = Failing(session.record, proxy, propose(), session.lifetime, session.is_strict)
        asking = _Asking(failing, done)
        self._failing.append(asking)
        self._begin()
        return asking

    def close(self) -> None:
        """Whoever waits hears nothing more."""
        for asking in (*self._finding, *self._failing):
            asking.cancel()
        if self._job is not None:
            self._job.cancel()

    def _begin(self) -> None:
        if self._job is None:
            self._job = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._reached or self._failing or self._finding:
                await self._tell_reached()
                self._failing, batch = _cut(self._failing)
                await self._answer(batch, self._store.fail)
                self._finding, found = _cut(self._finding)
                await self._answer(found, self._store.find)
        finally:
            self._job = None

    async def _tell_reached(self) -> None:
        reached, self._reached = self._reached, {}
        if reached:
            try:
                await self._store.confirm(reached)
            except RedisAway as error:  # then one failure more counts, or a move less
                logger.debug("sessions: %s", error)

    async def _answer(
        self, batch: list["_Asking"], ask: Callable[[list[Any]], Awaitable[list[Kept]]]
    ) -> None:
        """Ask for all of a batch, and have each hear of it in a later turn of the loop."""
        if not batch:
            return
        call_soon = asyncio.get_running_loop().call_soon
        try:
            answers = await ask([asking.asked for asking in batch])
        except RedisAway as error:
            level = logging.DEBUG if self._is_away or error.is_gone else logging.WARNING
            logger.log(level, "sessions are refused: %s", error)
            self._is_away = True
            for asking in batch:
                call_soon(asking.hear, NoExit.AWAY)
            return
        self._is_away = False
        for asking, kept in zip(batch, answers, strict=True):
            self._remember(asking.asked.record, kept)
            sticky = Sticky(kept.proxy, kept.moves, kept.is_new)
            call_soon(asking.hear, NoExit.STRICT if kept.is_over else sticky)

    def _remember(self, record: str, kept: Kept) -> None:
        self._doubtful.pop(record, None)
        if not kept.is_certain:
            self._doubtful[record] = None
            if len(self._doubtful) > DOUBTFUL:
                del self._doubtful[next(iter(self._doubtful))]


class _Asking:
    """One who asks, until he has heard or gone."""

    __slots__ = ("_done", "asked")

    def __init__(self, asked: Finding | Failing, done: Callable[[Sticky | NoExit], None]) -> None:
        self.asked = asked
        self._done: Callable[[Sticky | NoExit], None] | None = done

    @property
    def is_waiting(self) -> bool:
        """Whether anybody still wants to hear."""
        return self._done is not None

    def hear(self, answer: Sticky | NoExit) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(answer)

    def cancel(self) -> None:
        self._done = None


def _cut(asking: list[_Asking]) -> tuple[list[_Asking], list[_Asking]]:
    """What is left, and those of a batch who still wait."""
    return asking[BATCH:], [one for one in asking[:BATCH] if one.is_waiting]
