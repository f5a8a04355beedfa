"""A client of `POST /tasks` that reads results while it still sends."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from tests.fetcher.entrance import Message
from tests.serving import Streams, ending

NDJSON = b"Content-Type: application/x-ndjson"
CHUNKED = b"Transfer-Encoding: chunked"


class TaskStream:
    """One request whose body is sent in chunks."""

    def __init__(self, streams: Streams) -> None:
        self.reader, self.writer = streams
        self._came = b""  # of results that are not whole yet
        self.is_whole = False  # the last chunk has come

    async def send(self, *tasks: dict[str, Any] | bytes) -> None:
        """These, as they stand if they are bytes."""
        body = b"".join(
            task if isinstance(task, bytes) else json.dumps(task).encode() + b"\n" for task in tasks
        )
        self.writer.write(b"%x\r\n%b\r\n" % (len(body), body))
        await self.writer.drain()

    async def end(self) -> None:
        """That was all."""
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def head(self) -> Message:
        return Message.parse(await self.reader.readuntil(b"\r\n\r\n"))

    async def next(self) -> dict[str, Any]:
        """The next line; {} when there are no more."""
        while b"\n" not in self._came:
            chunk = await self._chunk()
            if not chunk:
                return {}
            self._came += chunk
        line, _, self._came = self._came.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    async def rest(self) -> list[dict[str, Any]]:
        """All the other lines."""
        lines = []
        while line := await self.next():
            lines.append(line)
        return lines

    async def _chunk(self) -> bytes:
        """b"" at the last, or where the connection ends without."""
        try:
            size = int((await self.reader.readuntil(b"\r\n")), 16)
            data = await self.reader.readexactly(size + 2)
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        self.is_whole = not size
        return data[:-2]


@contextlib.asynccontextmanager
async def streaming(
    port: int, *lines: bytes, limit: int = 1 << 20, version: str = "1.1"
) -> AsyncIterator[TaskStream]:
    """A stream whose head has been sent; `limit`: bytes that this end reads ahead."""
    lines = lines or (NDJSON, CHUNKED)
    head = [f"POST /tasks HTTP/{version}".encode(), b"Host: localhost", *lines]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    async with ending(writer):
        writer.write(b"\r\n".join(head) + b"\r\n\r\n")
        yield TaskStream((reader, writer))
