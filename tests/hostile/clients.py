"""Clients of the API and of XML-RPC that mean harm."""

import asyncio
import contextlib
from typing import Any, Final

from tests.hostile.arena import TIMEOUT, Arena
from tests.hostile.origins import OK
from tests.raw_origin import HANG, KEEP, Endless
from tests.serving import calling

HOST: Final = b"Host: 127.0.0.1\r\n"
LIVE: Final = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
M1: Final = 1_000_000
LINE: Final = 65_536


async def talk(
    port: int,
    *said: bytes,
    repeat: bytes = b"",
    pause: float = 0.0,
    read: bool = False,
    seconds: float = TIMEOUT,
) -> None:
    """Say it all and then `repeat` again and again, until it is answered, cut off or time is up."""
    with contextlib.suppress(OSError, EOFError):
        async with calling(port=port) as (reader, writer), asyncio.timeout(seconds):
            answered = asyncio.ensure_future(_hear(reader, read))
            try:
                for one in said:
                    for start in range(0, len(one), LINE):
                        writer.write(one[start : start + LINE])
                        await writer.drain()
                while repeat and not answered.done():
                    writer.write(repeat)
                    await writer.drain()
                    await asyncio.sleep(pause)
                await answered
            finally:
                answered.cancel()
                writer.transport.abort()


async def ignore(port: int, said: bytes, seconds: float) -> None:
    """Say it, and do not read the answer for so long."""
    async with calling(port=port) as (reader, writer):
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(said)
        await asyncio.sleep(seconds)
        writer.transport.abort()


async def _hear(reader: asyncio.StreamReader, on: bool) -> None:
    """The beginning of an answer, or all of it."""
    while await reader.read(65536) and on:
        pass


def post(path: bytes, body: bytes, kind: bytes = b"application/json") -> bytes:
    head = b"POST %b HTTP/1.1\r\n%bContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (path, HOST, kind, len(body)) + body


def call(value: bytes) -> bytes:
    return post(
        b"/",
        b"<methodCall><methodName>fetch</methodName><params><param>" + value
        + b"</param></params></methodCall>",
        b"text/xml",
    )  # fmt: skip


# name -> what is said once, what again and again, and the pause between
SAID: Final[dict[str, tuple[bytes, bytes, float]]] = {
    "a head in single bytes": (b"GET /livez HTTP/1.1\r\nX: ", b"y", 0.005),
    "a head without end": (b"GET /livez HTTP/1.1\r\n", b"X: y\r\n" * 5000, 0.0),
    "a header line without end": (b"GET /livez HTTP/1.1\r\nX: ", b"y" * 16384, 0.0),
    "a request line without end": (b"GET /", b"y" * 16384, 0.0),
    "5,000 header fields": (LIVE[:-2] + b"X: y\r\n" * 5000 + b"\r\n", b"", 0.0),
    "nothing": (b"", b"\r\n", 0.01),
    "noise": (b"", b"\xff\0" * 8192, 0.0),
    "TLS": (b"\x16\x03\x01\2\0\1\0\1\xfc\3\3", bytes(512), 0.01),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bytes(9), 0.01),
    "5,000 requests at once": (LIVE * 5000, b"", 0.0),
    "requests whose answers nobody reads": (b"", LIVE * 100, 0.001),
    "a length of 20 digits": (
        b"POST /api/proxies HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 20 + b"\r\n\r\n",
        b"x" * 16384, 0.0,
    ),
    "a length and chunks": (
        b"POST /api/proxies HTTP/1.1\r\n" + HOST
        + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 1000, 0.0,
    ),
    "chunks of one byte": (
        b"POST /api/proxies HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n",
        b"1\r\nx\r\n" * 5000, 0.0,
    ),
    "a chunk size without end": (
        b"POST /api/proxies HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n",
        b"0" * 16384, 0.0,
    ),
    "a body that is announced and awaited": (
        b"POST /api/proxies HTTP/1.1\r\n" + HOST
        + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", b"", 0.0,
    ),
    "a URL of 60 kB": (
        b"GET /fetch?url=" + b"a" * 60_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", b"", 0.0,
    ),
    "10,000 parameters": (
        b"GET /api/proxies?" + b"a=b&" * 10_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", b"", 0.0,
    ),
    "a URL of percents": (
        b"GET /fetch?url=" + b"%25" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", b"", 0.0,
    ),
    "a Host of 60 kB": (b"GET /livez HTTP/1.1\r\nHost: " + b"a." * 30_000 + b"\r\n\r\n", b"", 0.0),
    "a WebSocket": (
        b"GET /livez HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"\x81\xff\xff\xff", 0.01,
    ),
    "a key of 60 kB": (LIVE[:-2] + b"API-KEY: " + b"k" * 60_000 + b"\r\n\r\n", b"", 0.0),
    "JSON within JSON": (post(b"/api/proxies", b"[" * 9_000_000), b"", 0.0),
    "JSON objects within each other": (post(b"/api/proxies", b'{"proxies":' * 800_000), b"", 0.0),
    "JSON of small things": (
        post(b"/api/proxies", b"[" + b"{}," * 3_000_000 + b"0]"), b"", 0.0,
    ),
    "proxies that are none": (post(b"/api/proxies", b"&\n" * 4_500_000, b"text/plain"), b"", 0.0),
    "one proxy 800,000 times": (
        post(b"/api/proxies", b"8.8.4.1:80\n" * 800_000, b"text/plain"), b"", 0.0,
    ),
    "a report of JSON within JSON": (post(b"/api/report", b"[" * 60_000), b"", 0.0),
    "a number of 60,000 digits": (
        post(b"/api/report", b'{"seconds":' + b"9" * 60_000 + b"}"), b"", 0.0,
    ),
}  # fmt: skip

CALLS: Final[dict[str, bytes]] = {
    "values within values": call(b"<value><array><data>" * 100_000),
    "800,000 attributes": call(
        b"<value " + b" ".join(b"a%d='>'" % n for n in range(800_000)) + b"/>"
    ),
    "800,000 names": call(b"<value>" + b"".join(b"<a%d/>" % n for n in range(800_000))),
    "entities within entities": post(
        b"/",
        b"<!DOCTYPE a [<!ENTITY a 'x'>"
        + b"".join(b"<!ENTITY b%d '%b'>" % (n, b"&a;" * 99) for n in range(999))
        + b"]><methodCall>&b9;</methodCall>",
        b"text/xml",
    ),
    "300,000 numbers": call(
        b"<value><array><data>"
        + b"<value><int>1</int></value>" * 300_000
        + b"</data></array></value>"
    ),
    "a number of 9 million digits": call(b"<value><int>" + b"9" * 9 * M1 + b"</int></value>"),
    "an empty line 9 million times": call(b"<value>" + b"\n" * 9 * M1 + b"</value>"),
    "no XML": post(b"/", b"&" * 9 * M1, b"text/xml"),
}  # fmt: skip


def build_cases() -> dict[str, Any]:
    def say(once: bytes, repeat: bytes, pause: float) -> Any:
        async def play(arena: Arena) -> None:
            await talk(arena.port, once, repeat=repeat, pause=pause, seconds=wait(once))

        return play

    def ask(request: bytes) -> Any:
        async def play(arena: Arena) -> None:
            await talk(arena.rpc_port, request, seconds=wait(request))

        return play

    return {
        **{f"client: {name}": say(*row) for name, row in SAID.items()},
        **{f"XML-RPC: {name}": ask(request) for name, request in CALLS.items()},
        "client: 400 who say nothing": _crowd,
        "client: 200 who reset": _reset,
        "client: ten who read nothing of a long page": _unread,
        "client: an upload that nobody takes": _upload,
    }


def wait(said: bytes) -> float:
    """Long bodies take their time to be read."""
    return TIMEOUT if len(said) < M1 else 5.0


async def _crowd(arena: Arena) -> None:
    await asyncio.gather(*(talk(arena.port, b"GET /") for _ in range(400)))


async def _reset(arena: Arena) -> None:
    await asyncio.gather(*(talk(arena.port, LIVE, seconds=0.01 * n) for n in range(20)))
    for _ in range(180):
        async with calling(port=arena.port) as (_, writer):
            writer.write(LIVE)
            writer.transport.abort()


async def _unread(arena: Arena) -> None:
    async with arena.peer(OK + b"\r\n", Endless(b"x" * 65536)) as origin:
        request = (
            b"GET /fetch?timeout=1&url=%b/ HTTP/1.1\r\n" % origin.url.encode() + HOST + b"\r\n"
        )
        await asyncio.gather(*(ignore(arena.port, request, 2 * TIMEOUT) for _ in range(10)))


async def _upload(arena: Arena) -> None:
    async with arena.peer(HANG, greeting=(KEEP,)) as origin:
        head = b"POST /fetch?timeout=1&url=%b/ HTTP/1.1\r\n" % origin.url.encode() + HOST
        said = head + b"Content-Length: 90000000\r\n\r\n"
        await asyncio.gather(
            *(talk(arena.port, said, repeat=b"x" * 65536, seconds=1.5) for _ in range(5))
        )
