"""Starts that are asked for, and when they may be.

A decision module: types, and the protocol by which tasks see the clock, so that who runs tasks
without one need not know Redis.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from fetcher.model import Cancellable


class Slot(msgspec.Struct, frozen=True):
    """A start that somebody wants: at whose clock, and seconds from start to start."""

    key: str
    delay: float


class Turn(msgspec.Struct, frozen=True):
    """When it may be. `at` in seconds since 1970 by Redis' clock, `wait` seconds from now.

    Granted: the start is reserved for then. Not granted: ask again then; `blocked` says that a 429
    or 503 is why. `at` 0: Redis could not be asked in time.
    """

    granted: bool
    wait: float
    at: float
    blocked: bool


class Starts(Protocol):
    """Who gives starts: see `clock.Clock`."""

    def ask(self, slot: Slot, done: Callable[[Turn], None], *, patience: float) -> Cancellable:
        """Have `done` called when the start has come."""

    def block_soon(self, key: str, *, retry_after: float | None, started: float) -> None:
        """A 429 or 503 has come to the request that started at `started`."""
