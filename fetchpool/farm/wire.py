"""HTTP/1.1 on the wire, as little of it as a test proxy needs: heads, body framing, copying.

Bodies are copied as they stand, chunk framing included, so that a good proxy alters nothing.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

MAX_HEAD = 512 * 1024  # above the 256 kB that a fetcher must refuse, so that the refusal is its own
PIECE = 64 * 1024

Fields = Iterable[tuple[str, str]]
Framing = int | Literal["chunked", "until close"]
"""Where a body ends: after this many bytes (0: there is none), or as the word says."""

# RFC 9110 §7.6.1. Transfer-Encoding is missing because the framing is passed on as it stands.
HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "upgrade"}
)


@dataclass(frozen=True, slots=True)
class Head:
    """A start line and its fields, in the order, spelling and number in which they came."""

    start: str
    fields: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, raw: bytes) -> "Head":
        """Raises ValueError for anything that is not a head."""
        start, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        if len(start.split(" ", 2)) < 2 or "HTTP/1." not in start:
            raise ValueError("not an HTTP/1 head")
        fields = []
        for line in lines:
            name, colon, text = line.partition(":")
            if not colon:
                raise ValueError("a field without a colon")
            fields.append((name, text.strip(" \t")))
        return cls(start, tuple(fields))

    def encode(self) -> bytes:
        lines = [self.start, *(f"{name}: {text}" for name, text in self.fields), "", ""]
        return "\r\n".join(lines).encode("latin-1")

    @property
    def words(self) -> list[str]:
        """Method, target, version of a request; version, status, reason of a response."""
        return self.start.split(" ", 2)

    def get(self, name: str) -> str | None:
        """All fields of that name joined by comma, None if there is none."""
        found = [text for key, text in self.fields if key.lower() == name.lower()]
        return ", ".join(found) if found else None

    def end_to_end(self, *dropped: str) -> tuple[tuple[str, str], ...]:
        """The fields that a proxy passes on: none of one hop, none named in `dropped`."""
        named = {name.strip().lower() for name in (self.get("Connection") or "").split(",")}
        gone = HOP_BY_HOP | named | {name.lower() for name in dropped}
        return tuple(pair for pair in self.fields if pair[0].lower() not in gone)

    @property
    def keeps_alive(self) -> bool:
        words = f"{self.get('Connection') or ''},{self.get('Proxy-Connection') or ''}".lower()
        return "HTTP/1.1" in self.start and "close" not in words

    @property
    def basic_credentials(self) -> tuple[str, str] | None:
        """User and password of Proxy-Authorization: Basic (RFC 7617), None if not there."""
        scheme, _, token = (self.get("Proxy-Authorization") or "").partition(" ")
        if scheme.lower() != "basic":
            return None
        user, _, password = base64.b64decode(token).decode().partition(":")
        return user, password


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next head, None at the end of the stream; ValueError for what is not one."""
    try:
        return Head.parse(await reader.readuntil(b"\r\n\r\n"))
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise ValueError("the stream ends within a head") from error
        return None
    except asyncio.LimitOverrunError as error:
        raise ValueError("the head is too long") from error


def response_head(status: int, fields: Fields) -> Head:
    return Head(f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", tuple(fields))


def request_framing(head: Head) -> Framing:
    if "chunked" in (head.get("Transfer-Encoding") or "").lower():
        return "chunked"
    return int(head.get("Content-Length") or 0)


def response_framing(head: Head, method: str) -> Framing:
    """RFC 9112 §6.3: some answers have no body whatever their fields say."""
    status = int(head.words[1])
    if method == "HEAD" or status < 200 or status in (204, 304):
        return 0
    if head.get("Content-Length") is None and head.get("Transfer-Encoding") is None:
        return "until close"
    return request_framing(head)


async def pieces(reader: asyncio.StreamReader, framing: Framing) -> AsyncIterator[bytes]:
    """A body in pieces as they stand on the wire.

    Raises asyncio.IncompleteReadError (an EOFError) if the stream ends before the body does.
    """
    if framing == "until close":
        while piece := await reader.read(PIECE):
            yield piece
    elif framing == "chunked":
        async for piece in _chunks(reader):
            yield piece
    else:
        async for piece in _exactly(reader, int(framing)):
            yield piece


async def _exactly(reader: asyncio.StreamReader, size: int) -> AsyncIterator[bytes]:
    while size:
        piece = await reader.read(min(size, PIECE))
        if not piece:
            raise asyncio.IncompleteReadError(b"", size)
        size -= len(piece)
        yield piece


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        line = await reader.readuntil(b"\r\n")
        yield line
        size = int(line.split(b";")[0], 16)
        if size == 0:
            break
        async for piece in _exactly(reader, size + 2):
            yield piece
    while line != b"\r\n":  # trailer fields
        line = await reader.readuntil(b"\r\n")
        yield line


async def copy_body(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, framing: Framing
) -> None:
    """Copy one body; reads no faster than `writer` takes it."""
    async for piece in pieces(reader, framing):
        writer.write(piece)
        await writer.drain()


async def read_rest(reader: asyncio.StreamReader, limit: int) -> bytes:
    """All that comes until the stream ends, at most `limit` bytes."""
    try:
        return await reader.readexactly(limit)
    except asyncio.IncompleteReadError as error:
        return error.partial


async def relay(
    one: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    other: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    """Copy both ways until both sides have ended; each end is passed on when it comes."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_copy_all(one[0], other[1]))
            group.create_task(_copy_all(other[0], one[1]))
    except* OSError:
        pass  # one side was reset: the other is closed by whoever opened it


async def _copy_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await copy_body(reader, writer, "until close")
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()  # TLS has no half-closed state
