"""Short bodies that become long ones: by queue, by /fetch, and through a proxy that is checked."""

import asyncio
import gzip
from functools import cache
from typing import Any, Final

import brotli
from backports import zstd

from tests.hostile.arena import TIMEOUT, Arena
from tests.hostile.clients import post, talk
from tests.hostile.origins import OK
from tests.hostile.small import stream
from tests.raw_origin import RawOrigin
from tests.wait import wait_until

SIZE: Final = 200_000_000
EMPTY_FRAME: Final = b"\x28\xb5\x2f\xfd\x20\0\1\0\0"  # of zstd (RFC 8878)

# Content-Encoding, what is coded so, and by what.
BOMBS: Final[dict[str, tuple[bytes, Any]]] = {
    "200 MB of zeros as br": (b"br", lambda: _br(bytes(SIZE))),
    "200 MB of zeros as zstd": (b"zstd", lambda: zstd.compress(bytes(SIZE))),
    "200 MB of zeros as gzip": (b"gzip", lambda: _gzip(bytes(SIZE))),
    "200 MB of zeros as gzip, then br": (b"gzip, br", lambda: _br(_gzip(bytes(SIZE)))),
    "200 MB of zeros as br twice": (b"br, br", lambda: _br(_br(bytes(SIZE), 1))),
    "200 MB of zeros as zstd twice": (
        b"zstd, zstd", lambda: zstd.compress(zstd.compress(bytes(SIZE))),
    ),
    "500,000 empty frames of zstd": (b"zstd", lambda: EMPTY_FRAME * 500_000),
    "500,000 empty frames of zstd, gzipped": (
        b"zstd, gzip", lambda: _gzip(EMPTY_FRAME * 500_000),
    ),
}  # fmt: skip


def _br(body: bytes, quality: int = 5) -> bytes:
    packed: bytes = brotli.compress(body, quality=quality, lgwin=24)  # 16 MB, the most there is
    return packed


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, 9, mtime=0)


@cache
def _script(name: str) -> tuple[bytes, ...]:
    coding, build = BOMBS[name]
    body = build()
    return (OK + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (coding, len(body)), body)


def build_cases() -> dict[str, Any]:
    def by_queue(name: str, count: int) -> Any:
        async def play(arena: Arena) -> None:
            async with arena.peer(*_script(name)) as origin:
                urls = [f"{origin.url}/{number}" for number in range(count)]
                await asyncio.gather(*map(arena.fetch, urls))

        return play

    def by_fetch(name: str, count: int) -> Any:
        async def play(arena: Arena) -> None:
            async with arena.peer(*_script(name)) as origin:
                urls = [f"{origin.url}/{number}" for number in range(count)]
                await asyncio.gather(*(stream(arena, url) for url in urls))

        return play

    cases = {}
    for name in BOMBS:
        for count in (1, 20):
            cases[f"bomb: {name}, {count} at once by queue"] = by_queue(name, count)
            cases[f"bomb: {name}, {count} at once by /fetch"] = by_fetch(name, count)
    return cases


def build_checks() -> dict[str, Any]:
    """Cases for a service that checks proxies."""

    def check(name: str) -> Any:
        async def play(arena: Arena) -> None:
            async with arena.peer(*_script(name)) as proxy:
                await _check(arena, proxy)

        return play

    return {f"check: {name}": check(name) for name in BOMBS}


async def _check(arena: Arena, proxy: RawOrigin) -> None:
    """Until it has been seen, and as long as a look may take."""
    await talk(arena.port, post(b"/api/proxies", proxy.netloc.encode(), b"text/plain"))
    await wait_until(lambda: proxy.connections, what="the proxy to be checked")
    await asyncio.sleep(TIMEOUT)
