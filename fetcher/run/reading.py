"""Reading: an answer that is read as it comes, at its reader's pace.

    async with fetcher.stream("https://example.com/large") as reading:
        print(reading.result.status_code, reading.result.headers)
        async for chunk in reading:
            ...

A reader that is slow stops the origin: at most `MOST` bytes wait here, and some 256 kB more below.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from fetcher.errors import AnswerBroken, FetcherClosed
from fetcher.model import Result
from fetcher.run.path import Ending, Fetching

MOST: Final = 65536  # bytes that wait for their reader before the transfer is paused


class Reading:
    """One answer. `result` is set by `head`: of an answer that came whole with its content, else
    without. `fetching` tells how it went, `ending` what it came to once it `is_over`."""

    result: Result
    fetching: Fetching | None = None
    is_over = False  # no more will come
    is_left = False  # the reader has gone

    def __init__(self, on_leave: Callable[[], None] | None = None) -> None:
        self._on_leave = on_leave
        self._chunks: list[bytes] = []
        self._size = 0
        self._last: Result | None = None
        self._paused = False
        self._news: asyncio.Future[None] | None = None

    # -- told by the fetch -------------------------------------------------------------------------

    def begin(self, fetching: Fetching, result: Result) -> None:
        """The head is here: `result` without its content."""
        self.fetching, self.result = fetching, result
        self._wake()

    def chunk(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        if self._size >= MOST and not self._paused and self.fetching is not None:
            self._paused = True
            self.fetching.pause()
        self._wake()

    def done(self, fetching: Fetching, result: Result) -> None:
        """It has ended; without a `begin` before it, `result` is whole."""
        if self.fetching is None:
            self.fetching, self.result = fetching, result
            if result.content:
                self._chunks.append(result.content)
        self._last = result
        self.is_over = True
        self._wake()

    def close(self) -> None:
        """The fetcher has been closed: nothing more will come."""
        self.is_over = True
        self._wake()

    # -- asked by the reader -----------------------------------------------------------------------

    async def head(self) -> Result | None:
        """Wait for the head; None when the reader has left. Raises `FetcherClosed`."""
        while self.fetching is None and not self.is_left:
            if self.is_over:
                raise FetcherClosed
            await self._wait()
        return None if self.is_left else self.result

    @property
    def error(self) -> str | None:
        """Why an answer that has begun did not come to its end, in words; None if it did."""
        if self._last is None:
            return str(FetcherClosed()) if self.is_over else None
        if self.fetching is None or self.fetching.ending is Ending.ANSWERED:
            return None
        words = self._last.error or self._last.content.decode()  # a 501 says it there
        return str(words).removeprefix("HTTP 599: ")

    def take(self) -> bytes:
        """What is here, perhaps nothing; the transfer goes on if it was paused."""
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        if self._paused and self.fetching is not None:
            self._paused = False
            self.fetching.resume()
        return data

    async def read(self) -> bytes:
        """Some more, b"" at the end. Raises `AnswerBroken` when the answer ends too early."""
        while not self._chunks:
            if self.is_over or self.is_left:
                if self.error is not None:
                    raise AnswerBroken(self.error)
                return b""
            await self._wait()
        return self.take()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self.read():
            yield chunk

    def leave(self) -> None:
        """The reader has gone: stop the transfer; harmless when it has ended."""
        self.is_left = True
        on_leave, self._on_leave = self._on_leave, None
        if on_leave is not None:
            on_leave()
        self._wake()

    async def _wait(self) -> None:
        self._news = asyncio.get_running_loop().create_future()
        try:
            await self._news
        finally:
            self._news = None

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
