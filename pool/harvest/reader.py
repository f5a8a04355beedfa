"""Reads the bodies of lists in a process of their own, with limits of time and memory.

A thread would not do: what parses is C code that holds the interpreter, for seconds on a body that
was written for that, and nothing ends a thread. The process is started for the first body that
needs it, serves one after the other, and is replaced when it had to be ended.
"""

import asyncio
from typing import Final

import msgspec

from fetcher.child import Child
from fetcher.child_process import pack
from fetcher.errors import FetchpoolError
from pool.harvest.reading_process import Job, Part
from pool.source import Source
from pool.sources.found import Found

START: Final = 30.0  # seconds that a new interpreter may take
MOST: Final = 4_194_304  # bytes of a frame; a thousand proxies with the longest passwords fit


class ReadingError(FetchpoolError):
    """A body could not be read within its limits; the text says which."""


class Reader:
    """`seconds`: how long one body may take. `close` ends its process; it may be used again."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._child: Child | None = None
        self._turn = asyncio.Lock()
        self._decoder = msgspec.msgpack.Decoder(Part)

    @property
    def pid(self) -> int | None:
        """Of its process, if there is one."""
        return None if self._child is None else self._child.pid

    async def read(self, source: Source, body: bytes, content_type: str, limit: int) -> list[Found]:
        """As `pool.sources.read.read`, but bad bodies may raise ReadingError."""
        job = Job(source, body, content_type, limit, self._seconds)
        async with self._turn:
            is_well = False
            try:
                child = await self._start()
                async with asyncio.timeout(self._seconds):
                    await child.send(pack(job))
                    found, last = await self._receive(child, limit)
                is_well = not last.is_spent
            except TimeoutError:
                raise ReadingError(f"not read within {self._seconds:g} s") from None
            except (OSError, EOFError, msgspec.DecodeError):
                raise ReadingError("the process that read it has died") from None
            finally:
                if not is_well:
                    await self._end()
            if last.error is not None:
                raise ReadingError(last.error)
            return found

    async def close(self) -> None:
        async with self._turn:
            await self._end()

    async def _start(self) -> Child:
        """The running process, or a new one."""
        if self._child is not None and self._child.returncode is None:
            return self._child
        await self._end()
        self._child = await Child.start("pool.harvest.reading_process", most=MOST)
        async with asyncio.timeout(START):
            await self._receive_part(self._child)
        return self._child

    async def _receive(self, child: Child, limit: int) -> tuple[list[Found], Part]:
        found: list[Found] = []
        while True:
            part = await self._receive_part(child)
            found += part.found
            if len(found) > limit:
                raise EOFError
            if part.is_last:
                return found, part
            await asyncio.sleep(0)

    async def _receive_part(self, child: Child) -> Part:
        return self._decoder.decode(await child.receive())

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.end()
