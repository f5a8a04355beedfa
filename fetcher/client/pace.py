"""Pace: transfers leave all else on the loop as much time as they take themselves.

Each step of theirs is bounded, but some take 10 ms or 50: libcurl goes on with all that it has left
in the middle in each call, a brotli window is filled at once, a head has 5,000 lines. An answer of
ours takes eight turns of the loop, and with such a step in each of them, half a second.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

# Seconds by which transfers may be ahead. Then others have as much, if they need it within so many
# turns, which take no time where nobody has anything to do.
AHEAD: Final = 0.02
REST: Final = 20

# Seconds that need not be counted, where that would cost each fetch something.
LITTLE: Final = 0.001


class Pace:
    """While `rest` is not 0, nothing is done for transfers; `go_on` is called behind it.

    Of one client; read it from where it stands, as that costs nothing.
    """

    __slots__ = (
        "_ahead",
        "_go_on",
        "_is_closed",
        "_loop",
        "_next",
        "_ran_until",
        "rest",
        "rests_until",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, go_on: Callable[[], None]) -> None:
        self.rest = 0  # turns, at the most
        self.rests_until = 0.0
        self._loop = loop
        self._go_on = go_on
        self._ahead = 0.0  # seconds
        self._ran_until = 0.0  # what was counted last
        self._next: asyncio.Handle | None = None
        self._is_closed = False

    def count(self, began: float, now: float) -> None:
        """Transfers had this time, by the clock `time.monotonic`."""
        self._ahead = max(self._ahead - (began - self._ran_until), 0.0) + now - began
        self._ran_until = now
        if self._ahead > AHEAD and not self._is_closed:
            self.rest = REST
            self.rests_until = now + self._ahead
            if self._next is None:
                self._next = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self.rest -= 1
        if self.rest and time.monotonic() < self.rests_until:
            self._next = self._loop.call_soon(self._turn)
        else:
            self._next = None
            self.rest = 0
            self._ahead = 0.0
            self._go_on()

    def close(self) -> None:
        """Nothing goes on any more, whatever is counted still."""
        self._is_closed = True
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self.rest = 0
