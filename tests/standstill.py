"""How long the loop stood still: with Standstill() as standstill: ...; standstill.longest."""

import asyncio
import time
from typing import Final, Self

TICK: Final = 0.01  # seconds


class Standstill:
    """Seconds by which the loop was late at the most, while the block ran. To be entered on it."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._note()
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        self._due = time.monotonic() + TICK
        self._timer = self._loop.call_later(TICK, self._tick)

    def _tick(self) -> None:
        self._note()
        self._wait()

    def _note(self) -> None:
        self.longest = max(self.longest, time.monotonic() - self._due)
