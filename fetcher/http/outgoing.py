"""Outgoing: what is to be written to a connection, gathered, and written at its reader's pace.

One write at a time: what comes while the reader has not taken the last one goes out together.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from tornado.http1connection import HTTP1Connection

from fetcher.client.body_budget import Budget

PIECE: Final = 262_144  # bytes of one write, or a little more


class Outgoing:
    """`sent` is called whenever all of it has gone, `late` if the reader has taken nothing of a
    write for `stall` seconds (0: he has for ever). What waits here counts in `budget`."""

    def __init__(
        self,
        connection: HTTP1Connection,
        budget: Budget,
        stall: float,
        *,
        sent: Callable[[], None],
        late: Callable[[], None],
    ) -> None:
        self.unsent = 0  # bytes
        self._connection = connection
        self._budget = budget
        self._stall = stall
        self._tell_sent = sent
        self._tell_late = late
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[bytes | tuple[Iterator[bytes], int]] = deque()
        self._is_due = False
        self._is_closed = False
        self._is_writing = False  # the reader has not taken the last piece
        self._size = 0  # of that, as it counts in `unsent`
        self._timer: asyncio.Handle | None = None

    def put(self, piece: bytes) -> None:
        """It is written in the next turn of the loop, with all that has come by then."""
        self._hold(len(piece))
        self._pieces.append(piece)
        self._flush_soon()

    def put_long(self, pieces: Iterator[bytes], size: int) -> None:
        """The same of something long that is made as it is written, one of `pieces` a turn; an
        empty one only takes time. It counts as `size` bytes."""
        self._hold(size)
        self._pieces.append((pieces, size))
        self._flush_soon()

    @property
    def is_empty(self) -> bool:
        """All of it has gone."""
        return not self._pieces and not self._is_writing

    def close(self) -> None:
        """Nobody reads any more: the rest is dropped."""
        self._is_closed = True
        self._pieces.clear()
        self._release(self.unsent)
        self._stop_timing()

    def _hold(self, size: int) -> None:
        self.unsent += size
        self._budget.hold(size)

    def _release(self, size: int) -> None:
        self.unsent -= size
        self._budget.release(size)

    def _flush_soon(self) -> None:
        if not self._is_due and not self._is_writing and not self._is_closed:
            self._is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_due = False
        if self._is_writing or self._is_closed or not self._pieces:
            return
        piece, is_long = self._next()
        if piece:
            self._size = 0 if is_long else len(piece)
            sent = self._connection.write(piece)
            if not sent.done():
                self._is_writing = True
                sent.add_done_callback(self._sent)
                if self._stall:
                    self._timer = self._loop.call_later(self._stall, self._tell_late)
                return
            sent.exception()  # the connection's end is told by itself
            self._release(self._size)
        if self._pieces:
            self._flush_soon()
        else:
            self._tell_sent()

    def _next(self) -> tuple[bytes, bool]:
        """What is written now, and whether it is some of a long one, which counts otherwise."""
        first = self._pieces[0]
        if isinstance(first, tuple):
            pieces, size = first
            some = next(pieces, None)
            if some is None:
                self._pieces.popleft()
                self._release(size)
            return some or b"", True
        gathered: list[bytes] = []
        size = 0
        while self._pieces and size < PIECE:
            piece = self._pieces[0]
            if isinstance(piece, tuple):
                break
            gathered.append(piece)
            size += len(piece)
            self._pieces.popleft()
        return b"".join(gathered), False

    def _sent(self, sent: "asyncio.Future[None]") -> None:
        if not sent.cancelled():
            sent.exception()
        self._stop_timing()
        if self._is_closed:
            return
        self._is_writing = False
        self._release(self._size)
        if self._pieces:
            self._flush_soon()
        else:
            self._tell_sent()

    def _stop_timing(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
