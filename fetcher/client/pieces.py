"""Pieces: bodies that come in small pieces, taken over several turns of the loop.

libcurl calls back for each chunk of a body and each frame of HTTP/2. Of one byte each it has some
2,700 in a buffer, and reads ten buffers in a call: at 8 us each, half a second. Who brings too many
in a turn is told to wait: libcurl then collects the rest of its buffer, which costs a hundredth,
and hands it over in one in a later turn.

Whoever was told to wait goes on alone, with a call of libcurl of his own: many that go on together
are seen to in one, and what each of them brings adds up before it comes back.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Final, Generic, Protocol, TypeVar

# In a turn, of all transfers together: a millisecond.
PIECES: Final = 100


class Waiting(Protocol):
    """What is noted of who waits."""

    waits_for_turn: bool


T = TypeVar("T", bound=Waiting)


class Pieces(Generic[T]):
    """How many small pieces may be taken in this turn, and who waits for a later one.

    `left` is set to `PIECES` by whoever sees a turn begin. `go_on` is called in the turn behind one
    in which somebody was told to wait: it takes as many out of `turns` as it has time for, and says
    `end_turn` then.
    """

    __slots__ = ("_go_on", "_loop", "_next", "_waiting", "left")

    def __init__(self, loop: asyncio.AbstractEventLoop, go_on: Callable[[], None]) -> None:
        self.left = PIECES
        self._loop = loop
        self._go_on = go_on
        self._waiting: dict[T, None] = {}  # whose turn is next comes first
        self._next: asyncio.Handle | None = None

    def take(self, taker: T) -> bool:
        """Whether `taker` may take one more; else it waits for its turn."""
        self.left -= 1
        if self.left >= 0:
            return True
        self.wait(taker)
        return False

    def wait(self, taker: T) -> None:
        """`taker` goes on in a turn of its own."""
        taker.waits_for_turn = True
        self._waiting[taker] = None
        if self._next is None:
            self._next = self._loop.call_soon(self._go_on)

    def turns(self) -> Iterator[T]:
        """Those that have been waiting, each once, and they wait no more.

        Who has ended meanwhile does not wait, and is left out.
        """
        self.left = PIECES
        for _ in range(len(self._waiting)):
            if not self._waiting:  # closed
                return
            taker = next(iter(self._waiting))
            del self._waiting[taker]
            if taker.waits_for_turn:
                taker.waits_for_turn = False
                yield taker

    def end_turn(self) -> None:
        """The others have theirs in the next one."""
        self._next = self._loop.call_soon(self._go_on) if self._waiting else None

    def close(self) -> None:
        self._waiting.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None
