"""Reads the bodies of lists in a process of their own, with limits of time and memory.

A thread would not do: what parses is C code that holds the interpreter, for seconds on a body that
was written for that, and nothing ends a thread. The process is a fresh interpreter, as a fork would
copy threads' locks and libcurl's state. It is started for the first body that needs it, serves one
after the other, and is replaced when it had to be ended.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Final

import msgspec

from fetcher.errors import FetchpoolError
from pool.harvest.reading_process import LENGTH, Job, Part, pack
from pool.source import Source
from pool.sources.found import Found

START: Final = 30.0  # seconds that a new interpreter may take
MOST: Final = 4_194_304  # bytes of a frame; a thousand proxies with the longest passwords fit
PIECE: Final = 262_144  # bytes written at once

_ROOT: Final = str(Path(__file__).resolve().parents[2])
# Not -m: the service may have been started from anywhere, and what lies there is not ours.
_PROGRAM: Final = (
    f"import sys; sys.path.insert(0, {_ROOT!r});"
    " from pool.harvest.reading_process import main; main()"
)


class ReadingError(FetchpoolError):
    """A body could not be read within its limits; the text says which."""


class Reader:
    """`seconds`: how long one body may take. `close` ends its process; it may be used again."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._decoder = msgspec.msgpack.Decoder(Part)

    @property
    def pid(self) -> int | None:
        """Of its process, if there is one."""
        return None if self._process is None else self._process.pid

    async def read(self, source: Source, body: bytes, content_type: str, limit: int) -> list[Found]:
        """As `pool.sources.read.read`, but bad bodies may raise ReadingError."""
        job = Job(source, body, content_type, limit, self._seconds)
        async with self._turn:
            is_well = False
            try:
                process = await self._start()
                async with asyncio.timeout(self._seconds):
                    await _send(process, pack(job))
                    found, last = await self._receive(process, limit)
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

    async def _start(self) -> Process:
        """The running process, or a new one."""
        if self._process is not None and self._process.returncode is None:
            return self._process
        await self._end()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", _PROGRAM,
            stdin=PIPE, stdout=PIPE,
            start_new_session=True,  # so that Ctrl-C reaches us alone
        )  # fmt: skip
        async with asyncio.timeout(START):
            await self._receive_part(self._process)
        return self._process

    async def _receive(self, process: Process, limit: int) -> tuple[list[Found], Part]:
        found: list[Found] = []
        while True:
            part = await self._receive_part(process)
            found += part.found
            if len(found) > limit:
                raise EOFError
            if part.is_last:
                return found, part
            await asyncio.sleep(0)

    async def _receive_part(self, process: Process) -> Part:
        assert process.stdout is not None
        size = int.from_bytes(await process.stdout.readexactly(LENGTH), "big")
        if size > MOST:
            raise EOFError
        return self._decoder.decode(await process.stdout.readexactly(size))

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _send(process: Process, frame: bytes) -> None:
    assert process.stdin is not None
    view = memoryview(frame)
    for start in range(0, len(view), PIECE):
        process.stdin.write(view[start : start + PIECE])
        await process.stdin.drain()
