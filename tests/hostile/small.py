"""Origins that send much in small pieces: to one, four and twenty at once, or a hundred."""

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator
from typing import Any, Final

from tests.hostile.arena import Arena
from tests.hostile.clients import talk
from tests.hostile.h2 import DATA, GOAWAYS, HEAD, HELLO, frame
from tests.hostile.origins import CHUNKS, OK
from tests.raw_origin import READ, Endless, Pause


def _chunks(body: bytes) -> bytes:
    """Each byte in a chunk of its own."""
    return b"".join(b"1\r\n%c\r\n" % byte for byte in body)


def _stored(body: bytes) -> bytes:
    """A block of deflate (RFC 1951 3.2.4) that is not the last."""
    size = len(body).to_bytes(2, "little")
    return b"\0" + size + bytes(255 - byte for byte in size) + body


_GZIP_HEAD: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\x03"
_DEEP: Final = zlib.compressobj(9, zlib.DEFLATED, -15)
_PACKED: Final = _DEEP.compress(bytes(1_000_000)) + _DEEP.flush(zlib.Z_FULL_FLUSH)
_CODED: Final = OK + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"

# name -> what is said after the request
PIECES: Final[dict[str, tuple[Any, ...]]] = {
    "chunks of one byte": (CHUNKS, Endless(_chunks(b"x") * 10_000)),
    "chunks of one byte in chunks of 1 kB": (
        CHUNKS, Endless((_chunks(b"x" * 100) + b"3e8\r\n" + b"x" * 1000 + b"\r\n") * 40),
    ),
    "gzip in chunks of one byte": (
        _CODED, _chunks(_GZIP_HEAD), Endless(_chunks(_stored(b"x")) * 2000),
    ),
    "a gzip bomb in chunks of one byte": (
        _CODED, _chunks(_GZIP_HEAD), Endless(_chunks(_PACKED) * 10),
    ),
    "chunks of one byte and a trailer of small lines": (
        CHUNKS, _chunks(b"x" * 5000) + b"0\r\n", Endless(b"a:\r\n" * 5000),
    ),
    "header lines of three bytes": (OK, Endless(b"a:\n" * 5000)),
}  # fmt: skip
FRAMES: Final[dict[str, tuple[Any, ...]]] = {
    "frames of one byte": (HEAD, Endless(frame(DATA, b"x") * 1500)),
    "frames of one byte, then GOAWAYs": (
        HEAD, *[frame(DATA, b"x") * 1500] * 20, Endless(GOAWAYS),
    ),
}  # fmt: skip
CROWDS: Final = (1, 4, 20, 100)


def build_cases() -> dict[str, Any]:
    cases: dict[str, Any] = {}
    for count in CROWDS:
        for name, script in PIECES.items() if count < 100 else ():
            cases |= _crowd(f"{name}, {count} at once", count, *script)
        for name, script in FRAMES.items():
            greeting = (READ, HELLO, *script, Pause(0.2))
            cases |= _crowd(
                f"{name}, {count} at once", count, greeting=greeting, tls=True, alpn="h2"
            )
    for name, script in FRAMES.items():
        greeting = (READ, HELLO, *script, Pause(0.2))
        cases |= _crowd(
            f"{name}, of 20 origins", 20, origins=20, greeting=greeting, tls=True, alpn="h2"
        )
    return cases


def _crowd(name: str, count: int, *script: Any, origins: int = 1, **peer: Any) -> dict[str, Any]:
    @contextlib.asynccontextmanager
    async def crowd(arena: Arena) -> AsyncIterator[list[str]]:
        async with contextlib.AsyncExitStack() as stack:
            peers = [arena.peer(*script, **peer) for _ in range(origins)]
            started = [await stack.enter_async_context(one) for one in peers]
            yield [f"{started[number % origins].url}/{number}" for number in range(count)]

    async def by_queue(arena: Arena) -> None:
        async with crowd(arena) as urls:
            await asyncio.gather(*map(arena.fetch, urls))

    async def by_fetch(arena: Arena) -> None:
        async with crowd(arena) as urls:
            await asyncio.gather(*(stream(arena, url) for url in urls))

    return {f"small: {name} by queue": by_queue, f"small: {name} by /fetch": by_fetch}


async def stream(arena: Arena, url: str, seconds: float = 1.0) -> None:
    """By /fetch, for somebody who reads on."""
    line = f"GET /fetch?timeout={seconds:g}&url={url} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    await talk(arena.port, line.encode(), read=True, seconds=seconds + 0.5)
