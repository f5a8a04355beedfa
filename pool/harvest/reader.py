"""Reads the bodies of lists in a process of their own, with limits of time and memory.

A thread would not do: what parses is C code that holds the interpreter, for seconds on a body that
was written for that, and nothing ends a thread. The process is started for the first body that
needs it, serves one after the other, and is replaced when it had to be ended.
"""

import asyncio
from typing import Final

import msgspec

from fetcher.child import Child, Workman
from fetcher.child_process import pack
from fetcher.errors import FetchpoolError
from pool.harvest.reading_process import Job, Part
from pool.source import Source
from pool.sources.found import Found

MOST: Final = 4_194_304  # bytes of a frame; a thousand proxies with the longest passwords fit

_decode: Final = msgspec.msgpack.Decoder(Part).decode


class ReadingError(FetchpoolError):
    """A body could not be read within its limits; the text says which."""


class Reader:
    """`seconds`: how long one body may take. `close` ends its process; it may be used again."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._workman = Workman("pool.harvest.reading_process", most=MOST, seconds=seconds)
        self.close = self._workman.close

    @property
    def pid(self) -> int | None:
        """Of its process, if there is one."""
        return self._workman.pid

    async def read(self, source: Source, body: bytes, content_type: str, limit: int) -> list[Found]:
        """As `pool.sources.read.read`, but bad bodies may raise ReadingError."""
        job = pack(Job(source, body, content_type, limit, self._seconds))
        try:
            found, error = await self._workman.do(job, lambda child: _receive(child, limit))
        except TimeoutError:
            raise ReadingError(f"not read within {self._seconds:g} s") from None
        except (OSError, EOFError, msgspec.DecodeError):
            raise ReadingError("the process that read it has died") from None
        if error is not None:
            raise ReadingError(error)
        return found


async def _receive(child: Child, limit: int) -> tuple[tuple[list[Found], str | None], bool]:
    """What was found and what failed; and whether the process is spent."""
    found: list[Found] = []
    while True:
        part = _decode(await child.receive())
        found += part.found
        if len(found) > limit:
            raise EOFError
        if part.is_last:
            return (found, part.error), part.is_spent
        await asyncio.sleep(0)
