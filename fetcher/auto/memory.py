"""Memory: what this process knows of renderings, before Redis, which all of them share.

A driver. Without Redis, or while it is away, what this process has learned itself has to do.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final, Protocol

import msgspec

from fetcher.auto.model import Need
from fetcher.auto.rule import NOTHING, Known, decide, shape_of
from fetcher.errors import RedisAway

logger = logging.getLogger(__name__)

MOST: Final = 10_000  # shapes and hosts that are remembered here
FRESH: Final = 30.0  # seconds for which Redis is not asked again


class Shared(Protocol):
    """What all processes know: see `store.Store`."""

    async def ask(self, names: Sequence[str]) -> list[Known]: ...

    async def learn(self, names: Sequence[str], *, changed: bool) -> None: ...


class _Entry(msgspec.Struct):
    known: Known = NOTHING
    heard: float = 0.0  # from Redis; 0: never
    passed: int = 0  # pages alike that were not rendered, in a row


class Asking:
    """Redis has been asked."""

    def __init__(self, task: "asyncio.Task[None]") -> None:
        self._task = task

    def cancel(self) -> None:
        """Stop; nobody is told. Harmless when it has been."""
        self._task.cancel()


class Memory:
    """One per process. `shared` None: there is no Redis."""

    def __init__(self, shared: Shared | None = None) -> None:
        self._shared = shared
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._learning: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def ask(self, url: str, need: Need, done: Callable[[bool], None]) -> "Asking | None":
        """Have `done` told whether to render the page at `url`: at once, or later, when Redis has
        answered; then what this returns can be cancelled."""
        names = _names_of(url)
        now = monotonic()
        entries = [self._entry(name) for name in names]
        if need is Need.NEVER or self._shared is None or _are_fresh(entries, now):
            done(self._decide(need, entries))
            return None
        return Asking(asyncio.get_running_loop().create_task(self._hear(names, need, done)))

    async def _hear(self, names: Sequence[str], need: Need, done: Callable[[bool], None]) -> None:
        assert self._shared is not None
        known: Sequence[Known | None] = [None] * len(names)
        try:
            known = await self._shared.ask(names)
        except RedisAway as error:
            logger.debug("what rendering has changed cannot be asked for: %s", error)
        entries = [self._entry(name) for name in names]
        now = monotonic()
        for entry, one in zip(entries, known, strict=True):
            entry.heard = now  # while Redis is away, it is not asked for each page either
            if one is not None:
                entry.known = one
        done(self._decide(need, entries))

    def _decide(self, need: Need, entries: Sequence[_Entry]) -> bool:
        shape, host = entries
        renders = decide(need, shape.known, host.known, shape.passed)
        if need is not Need.NEVER:
            shape.passed = 0 if renders else shape.passed + 1
        return renders

    def learn(self, url: str, *, changed: bool) -> None:
        """A rendering of the page at `url` has changed something, or nothing."""
        names = _names_of(url)
        for name in names:
            entry = self._entry(name)
            entry.known = entry.known.plus(changed=changed)
        if self._shared is not None:
            task = asyncio.get_running_loop().create_task(self._tell(names, changed))
            self._learning.add(task)
            task.add_done_callback(self._learning.discard)

    def fail(self, url: str) -> None:
        """The page at `url` could not be rendered: for some seconds, that is as good as nothing.
        Others may fare better, so they are not told."""
        for name in _names_of(url):
            entry = self._entry(name)
            entry.known = entry.known.plus(changed=False)
            entry.heard = monotonic()

    def close(self) -> None:
        """What has not been told yet, is not."""
        for task in list(self._learning):
            task.cancel()

    async def _tell(self, names: Sequence[str], changed: bool) -> None:
        assert self._shared is not None
        try:
            await self._shared.learn(names, changed=changed)
        except RedisAway as error:
            logger.debug("what a rendering has changed cannot be told: %s", error)

    def _entry(self, name: str) -> _Entry:
        entry = self._entries.setdefault(name, _Entry())
        self._entries.move_to_end(name)
        if len(self._entries) > MOST:
            self._entries.popitem(last=False)
        return entry


def _names_of(url: str) -> tuple[str, str]:
    host, shape = shape_of(url)
    return f"{host}{shape}", host


def _are_fresh(entries: Sequence[_Entry], now: float) -> bool:
    return all(entry.heard and now - entry.heard < FRESH for entry in entries)
