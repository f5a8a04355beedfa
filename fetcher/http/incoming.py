"""IncomingBody: a caller's request body on its way to the target, at the target's pace."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

# Bytes that wait for the target; then the caller is read no further.
MOST: Final = 262_144


class IncomingBody:
    """The `Upload` that a handler fills. `size` is what the caller declared, None if nothing."""

    wake: Callable[[], None] | None = None
    failed = False
    on_room: Callable[[], None] | None = None  # there is, perhaps again
    on_read: Callable[[], None] | None = None  # the target wants the first of it

    def __init__(self, size: int | None) -> None:
        self.size = size
        self._chunks: deque[bytes] = deque()
        self._waiting = 0
        self._is_whole = False
        self._is_wanted = True
        self._room: asyncio.Future[None] | None = None

    async def put(self, chunk: bytes) -> None:
        """Some more of it; returns when there is room for the next, or nobody wants it."""
        has_room = self.add(chunk)
        while not has_room:
            self._room = asyncio.get_running_loop().create_future()
            await self._room
            has_room = self.has_room

    def add(self, chunk: bytes) -> bool:
        """Some more of it; False: there is no room for the next, and `on_room` will be called."""
        if self._is_wanted:
            self._chunks.append(chunk)
            self._waiting += len(chunk)
            self._call_client()
        return self.has_room

    @property
    def has_room(self) -> bool:
        return self._waiting < MOST or not self._is_wanted

    def end(self) -> None:
        """That was all."""
        self._is_whole = True
        self._call_client()

    def fail(self) -> None:
        """The caller has broken off; harmless when all of it was here."""
        if not self._is_whole:
            self.failed = True
            self._call_client()
            self.drop()

    def drop(self) -> None:
        """Nobody wants the rest: what still comes is thrown away."""
        self._is_wanted = False
        self._chunks.clear()
        self._waiting = 0
        self._make_room()

    def read(self, n: int) -> bytes | None:
        """See `Upload`."""
        if self.on_read is not None:
            wanted, self.on_read = self.on_read, None
            wanted()
        if not self._chunks:
            return b"" if self._is_whole else None
        chunk = self._chunks.popleft()
        if len(chunk) > n:
            self._chunks.appendleft(chunk[n:])
            chunk = chunk[:n]
        self._waiting -= len(chunk)
        if self._waiting < MOST:
            self._make_room()
        return chunk

    def _call_client(self) -> None:
        if self.wake is not None:
            self.wake()

    def _make_room(self) -> None:
        if self.on_room is not None:
            self.on_room()
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
