"""Supply: whether a pool has a proxy for a request now, soon, or only such as nobody has checked.

A driver: it looks again from time to time. A pool that has just been filled knows nothing of its
proxies yet; clients then wait for the first that passes its check, and only when none does in time
go out through those that are unknown.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from fetcher.model import Cancellable, ProxyChooser, Target, Wishes

LOOK: Final = 0.1  # seconds between two looks into memory


class Supply:
    """`patience`: seconds that a request waits for a proxy that has passed a check."""

    def __init__(self, chooser: ProxyChooser | None, patience: float) -> None:
        self._chooser = chooser
        self._patience = patience

    def wait(self, target: Target, done: Callable[[Wishes], None]) -> Cancellable | None:
        """Call `done` with what to wish for `target`: at once, which is told by None, or later."""
        chooser = self._chooser
        if chooser is None or chooser.has_other(target, ()):
            done(target.wishes)
            return None
        if not chooser.expects(target):
            done(replace(target.wishes, unchecked=True))
            return None
        return _Wait(chooser, target, done, self._patience)


class _Wait:
    def __init__(
        self,
        chooser: ProxyChooser,
        target: Target,
        done: Callable[[Wishes], None],
        patience: float,
    ) -> None:
        self._chooser = chooser
        self._target = target
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + patience
        self._timer: asyncio.Handle = self._loop.call_later(LOOK, self._look)

    def _look(self) -> None:
        chooser, target = self._chooser, self._target
        if chooser.has_other(target, ()):
            self._done(target.wishes)
        elif self._loop.time() >= self._end or not chooser.expects(target):
            self._done(replace(target.wishes, unchecked=True))
        else:
            self._timer = self._loop.call_later(LOOK, self._look)

    def cancel(self) -> None:
        self._timer.cancel()
