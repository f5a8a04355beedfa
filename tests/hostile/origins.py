"""Origins that mean harm: what they answer to a request, byte for byte."""

import gzip
import itertools
import zlib
from typing import Any, Final

from tests.hostile.arena import Arena
from tests.raw_origin import HALF_CLOSE, HANG, KEEP, READ, RESET, Endless, Pause

OK: Final = b"HTTP/1.1 200 OK\r\n"
CHUNKS: Final = OK + b"Transfer-Encoding: chunked\r\n\r\n"
FOUND: Final = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n"
ZEROS: Final = bytes(100_000_000)


def _coded(coding: bytes, body: bytes) -> tuple[bytes, ...]:
    head = b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (coding, len(body))
    return (OK + head, body)


def _gzip(body: bytes, times: int = 1) -> bytes:
    for _ in range(times):
        body = gzip.compress(body, 9, mtime=0)
    return body


_BOMB = gzip.compress(ZEROS, 9, mtime=0)
# Hollow: a gzip member with no content but a name without an end, and members without content.
_NAMELESS = bytes([0x1F, 0x8B, 8, 8, 0, 0, 0, 0, 0, 3])
_EMPTY = gzip.compress(b"", mtime=0)
_STORED_NOTHING = b"\0\0\0\xff\xff"


def _lines(line: bytes, count: int) -> bytes:
    return b"".join(line % n for n in range(count))


# name -> the script of an answer
ANSWERS: Final[dict[str, tuple[Any, ...]]] = {
    # heads
    "header lines without end": (OK, Endless(b"X-A: b\r\n" * 1000)),
    "one header line without end": (OK + b"X: ", Endless(b"y" * 16384)),
    "header lines without a name": (OK, Endless(b": b\r\n" * 2000)),
    "folded lines without end": (OK + b"X: a\r\n", Endless(b" folded\r\n" * 1000)),
    "30,000 header fields": (OK + _lines(b"%x: b\r\n", 25_000) + b"\r\nok",),
    "cookies without end": (OK, Endless(_lines(b"Set-Cookie: a%d=b\r\n", 1000))),
    "10,000 cookies": (OK + _lines(b"Set-Cookie: a%d=b\r\n", 10_000) + b"\r\nok",),
    "10,000 cookies of one name": (OK + b"Set-Cookie: a=b\r\n" * 10_000 + b"\r\nok",),
    "a cookie of 200 kB": (OK + b"Set-Cookie: a=" + b"b" * 200_000 + b"\r\n\r\nok",),
    "cookies with 20,000 attributes": (OK + b"Set-Cookie: a=b" + b";x=y" * 20_000 + b"\r\n\r\nok",),
    "a status line without end": (b"HTTP/1.1 200 ", Endless(b"x" * 16384)),
    "interim answers without end": (Endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 500),),
    "early hints without end": (Endless(b"HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n" * 500),),
    "one interim answer of 10 MB": (b"HTTP/1.1 103 H\r\n", b"X: y\r\n" * 1_600_000, b"\r\n"),
    "a content type of 200 kB": (
        OK + b"Content-Type: text/html; charset=" + b"x" * 200_000 + b"\r\n\r\nok",
    ),
    "5,000 challenges": (
        b"HTTP/1.1 401 No\r\n" + b"WWW-Authenticate: Digest nonce=1\r\n" * 5000 + b"\r\n",
    ),
    "NULs in a head": (OK + b"X: " + b"\0" * 100_000 + b"\r\n\r\nok",),
    "a head in single bytes": (*(OK + b"X: y",), Endless(b"z", 0.005)),
    "a head that never comes": (HANG,),
    "a reset instead of a head": (RESET,),
    "noise": (Endless(bytes(range(256)) * 64),),
    "HTTP/0.9 without end": (Endless(b"<html>" * 3000),),
    "TLS where none was asked": (b"\x16\x03\x03\x40\x00", Endless(b"\x16" * 16384)),
    "a switch of protocols": (
        b"HTTP/1.1 101 S\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", Endless(b"\0" * 16384),
    ),
    "two lengths": (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok!",),
    "a length of 40 digits": (OK + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", HANG),
    "5,000 transfer codings": (OK + b"Transfer-Encoding: " + b"gzip," * 5000 + b"x\r\n\r\nok",),
    # bodies
    "a body without end": (OK + b"\r\n", Endless(b"x" * 65536)),
    "a body of lines without end": (OK + b"\r\n", Endless(b"x\n" * 32768)),
    "more than was announced": (
        OK + b"Content-Length: 2\r\n\r\n", Endless(b"HTTP/1.1 200 OK\r\n\r\n" * 900),
    ),
    "a body in single bytes": (OK + b"Content-Length: 99999\r\n\r\n", Endless(b"x", 0.005)),
    "a body that stands still": (OK + b"Content-Length: 99999\r\n\r\nx", HANG),
    "a body that is cut off": (OK + b"Content-Length: 99999\r\n\r\nx", RESET),
    "a body that is half closed": (OK + b"Content-Length: 99999\r\n\r\nx", HALF_CLOSE),
    "a chunk of 2**64 bytes": (CHUNKS, b"FFFFFFFFFFFFFFFF\r\n", Endless(b"x" * 16384)),
    "a chunk whose size overflows": (CHUNKS, b"1" + b"0" * 17 + b"\r\nok"),
    "a chunk size without end": (CHUNKS, Endless(b"0" * 16384)),
    "a chunk of negative size": (CHUNKS, b"-1\r\nok\r\n"),
    "a chunk extension without end": (CHUNKS, b"1;", Endless(b"a=b;" * 4000)),
    "chunks of one byte without end": (CHUNKS, Endless(b"1\r\nx\r\n" * 10_000)),
    "chunks of one byte, slowly": (CHUNKS, Endless(b"1\r\nx\r\n", 0.005)),
    "trailers without end": (CHUNKS, b"1\r\nx\r\n0\r\n", Endless(b"X-T: v\r\n" * 1000)),
    "one trailer without end": (CHUNKS, b"0\r\nX: ", Endless(b"y" * 16384)),
    "an answer to the next request": (OK + b"Content-Length: 2\r\n\r\nok" * 2, KEEP),
    # content codings
    "a gzip bomb": _coded(b"gzip", _BOMB),
    "a deflate bomb": _coded(b"deflate", zlib.compress(ZEROS, 9)),
    "a bare deflate bomb": _coded(b"deflate", zlib.compress(ZEROS, 9)[2:-4]),
    "gzip twice": _coded(b"gzip, gzip", _gzip(_BOMB)),
    "gzip four times": _coded(b"gzip, gzip, gzip, gzip", _gzip(_BOMB, 3)),
    "gzip twice, in two lines": (
        OK + b"Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n\r\n", _gzip(_BOMB),
    ),
    "a gzip name that inflates": _coded(b"gzip, gzip", _gzip(_NAMELESS + b"x" * 100_000_000)),
    "a gzip name that inflates twice": _coded(
        b"gzip, gzip, gzip", _gzip(_NAMELESS + b"x" * 100_000_000, 2)
    ),
    "a gzip name without end": (
        OK + b"Content-Encoding: gzip\r\n\r\n" + _NAMELESS, Endless(b"x" * 65536),
    ),
    "empty gzip members without end": (
        OK + b"Content-Encoding: gzip\r\n\r\n", Endless(_EMPTY * 3000),
    ),
    "empty deflate blocks without end": (
        OK + b"Content-Encoding: deflate\r\n\r\n", Endless(_STORED_NOTHING * 10_000),
    ),
    "empty members, gzipped": _coded(b"gzip, gzip", _gzip(_EMPTY * 1_000_000)),
    "200 codings": _coded(b"gzip," * 200 + b"gzip", _BOMB),
    "40,000 codings": _coded(b"gzip," * 40_000 + b"gzip", _BOMB),
    "brotli that is none": _coded(b"br", b"\xff" * 100_000),
    "zstd that is none": _coded(b"zstd", b"\x28\xb5\x2f\xfd" + b"\xff" * 100_000),
    # A frame of zstd (RFC 8878) whose window has 2 GB, and blocks that repeat a byte 128 kB long.
    "a zstd window of 2 GB": _coded(b"zstd", b"\x28\xb5\x2f\xfd\0\xa8" + b"\2\0\x10x" * 8000),
    "a zstd bomb": _coded(b"zstd", b"\x28\xb5\x2f\xfd\0\x58" + b"\2\0\x10x" * 8000),
    "empty zstd frames": _coded(b"zstd", b"\x28\xb5\x2f\xfd\x20\0\1\0\0" * 100_000),
    "zstd frames to be skipped": _coded(b"zstd", b"\x50\x2a\x4d\x18\0\0\0\0" * 100_000),
    # places
    "a redirect to itself": (FOUND + b"Location: ?\r\n\r\n", KEEP),
    "a location of 200 kB": (FOUND + b"Location: /" + b"x" * 200_000 + b"\r\n\r\n", KEEP),
    "a location of 100,000 dots": (FOUND + b"Location: " + b"../" * 60_000 + b"\r\n\r\n", KEEP),
    "a location of percents": (FOUND + b"Location: /" + b"%" * 60_000 + b"\r\n\r\n", KEEP),
    "a location of Chinese": (FOUND + b"Location: /" + "中".encode() * 20_000 + b"\r\n\r\n", KEEP),
    "a host of 60,000 labels": (FOUND + b"Location: //" + b"a." * 30_000 + b"\r\n\r\n", KEEP),
    "a host of Chinese labels": (
        FOUND + b"Location: //" + ("中" * 60 + ".").encode() * 300 + b"\r\n\r\n", KEEP,
    ),
    "users before users": (FOUND + b"Location: //" + b"a:b@" * 15_000 + b"h/\r\n\r\n", KEEP),
    "5,000 locations": (FOUND + b"Location: /a\r\n" * 5000 + b"\r\n", KEEP),
    "a location that is a bomb": (
        FOUND + b"Location: data:text/plain;base64," + b"QUFB" * 40_000 + b"\r\n\r\n", KEEP,
    ),
    "redirects with 3,000 cookies each": (
        FOUND + b"Location: ?\r\n" + _lines(b"Set-Cookie: a%d=b\r\n", 3000) + b"\r\n", KEEP,
    ),
    "redirects with a body without end": (
        b"HTTP/1.1 302 F\r\nLocation: ?\r\n\r\n", Endless(b"x" * 65536),
    ),
}  # fmt: skip

GREETINGS: Final[dict[str, tuple[Any, ...]]] = {
    "an answer before the request": (OK + b"Content-Length: 2\r\n\r\nok", READ),
    "noise before the request": (Endless(b"\0" * 16384),),
    "slow noise before the request": (Endless(b"220 ftp\r\n", 0.005),),
    "who accepts and says nothing": (Pause(5),),
}

_RULES = b"User-agent: *\nDisallow: /x\n"
ROBOTS: Final[dict[str, tuple[Any, ...]]] = {
    "robots.txt without end": (OK + b"\r\n", Endless(_RULES * 1000)),
    "robots.txt of wildcards": (OK + b"\r\nUser-agent: *\n" + (
        b"Disallow: /" + b"*a" * 20 + b"b$\n") * 9000,),
    "robots.txt of 250,000 wildcards": (OK + b"\r\n" + _RULES + b"Allow: /" + b"*a" * 250_000,),
    "robots.txt of 40,000 agents": (
        OK + b"\r\n" + _lines(b"User-agent: a%d\n", 30_000) + b"Disallow: /",
    ),
    "robots.txt that leads on": (FOUND + b"Location: /robots.txt\r\n\r\n", KEEP),
    "robots.txt that is a bomb": _coded(b"gzip", _BOMB),
}  # fmt: skip


def build_cases() -> dict[str, Any]:
    def answer(script: tuple[Any, ...]) -> Any:
        async def play(arena: Arena) -> None:
            async with arena.peer(*script) as origin:
                await arena.fetch(origin.url + "/")

        return play

    def greet(script: tuple[Any, ...]) -> Any:
        async def play(arena: Arena) -> None:
            async with arena.peer(HANG, greeting=script) as origin:
                await arena.fetch(origin.url + "/")

        return play

    def shut(script: tuple[Any, ...]) -> Any:
        async def play(arena: Arena) -> None:
            async with arena.peer(HANG) as origin:
                origin.scripts["/robots.txt"] = script
                await arena.fetch(origin.url + "/" + "a" * 8000, robots_txt=True)

        return play

    return {
        **{f"origin: {name}": answer(script) for name, script in ANSWERS.items()},
        **{f"origin: {name}": greet(script) for name, script in GREETINGS.items()},
        **{f"origin: {name}": shut(script) for name, script in ROBOTS.items()},
        "origin: redirects that differ": _redirect_on,
        "origin: a body to a caller who reads on": _stream,
    }


async def _redirect_on(arena: Arena) -> None:
    async with arena.peer(HANG) as origin:
        for number in itertools.islice(itertools.count(), 200):
            location = b"Location: /%d\r\n\r\n" % (number + 1)
            origin.scripts[f"/{number}"] = (FOUND + location, KEEP)
        await arena.fetch(origin.url + "/0", max_redirects=10_000)


async def _stream(arena: Arena) -> None:
    """The same by /fetch, where a body is not held but goes on."""
    from tests.hostile.clients import talk

    async with arena.peer(*ANSWERS["a body without end"]) as origin:
        request = f"GET /fetch?timeout=1&url={origin.url}/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        await talk(arena.port, request.encode(), read=True)
