"""Origins that mean harm by HTTP/2 (RFC 9113), frame by frame."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, Final

from tests.hostile.arena import Arena
from tests.raw_origin import READ, Endless, Pause

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK, PADDED = 1, 4, 1, 8
STATUS_200: Final = b"\x88"
STATUS_100: Final = b"\x08\x03100"


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 1) -> bytes:
    length = len(payload).to_bytes(3, "big")
    return length + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name: bytes, value: bytes, *, indexed: bool = False) -> bytes:
    """A field in HPACK (RFC 7541 6.2), without Huffman; `indexed`: to be remembered."""
    return bytes([0x40 if indexed else 0]) + _text(name) + _text(value)


def _text(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes([len(text)]) + text
    rest, size = len(text) - 127, bytearray([127])
    while rest >= 128:
        size.append(rest % 128 + 128)
        rest //= 128
    return bytes([*size, rest]) + text


HELLO: Final = frame(SETTINGS, stream=0)
HEAD: Final = frame(HEADERS, STATUS_200, flags=END_HEADERS)
GOAWAYS: Final = frame(GOAWAY, b"\x7f\xff\xff\xff\0\0\0\0", stream=0) * 1000
# A field of 4,000 bytes that is remembered, and then named by one byte each time.
PACKED: Final = STATUS_200 + literal(b"x", b"y" * 3900, indexed=True) + b"\xbe" * 12_000

FLOODS: Final[dict[str, tuple[Any, ...]]] = {
    "CONTINUATION": (
        frame(HEADERS, STATUS_200), Endless(frame(CONTINUATION, literal(b"a", b"b") * 500) * 4),
    ),
    "empty CONTINUATION": (frame(HEADERS, STATUS_200), Endless(frame(CONTINUATION) * 1500)),
    "CONTINUATION of one field": (
        frame(HEADERS, STATUS_200 + b"\0\1x\x7f\x80\xff\xff\xff\x07"),
        Endless(frame(CONTINUATION, b"y" * 16384)),
    ),
    "SETTINGS": (Endless(frame(SETTINGS, stream=0) * 1500),),
    "SETTINGS with 2,000 values": (
        Endless(frame(SETTINGS, b"\0\4\0\0\xff\xff" * 2000, stream=0)),
    ),
    "SETTINGS that change": (
        Endless(b"".join(
            frame(SETTINGS, b"\0\3" + n.to_bytes(4, "big"), stream=0) for n in range(100, 900)
        )),
    ),
    "SETTINGS acknowledged": (Endless(frame(SETTINGS, flags=ACK, stream=0) * 1500),),
    "PING": (Endless(frame(PING, b"12345678", stream=0) * 1000),),
    "PING acknowledged": (Endless(frame(PING, b"12345678", flags=ACK, stream=0) * 1000),),
    "RST_STREAM": (Endless(frame(RST, b"\0\0\0\x07") * 1000),),
    "RST_STREAM of other streams": (
        Endless(b"".join(frame(RST, b"\0\0\0\x08", stream=n) for n in range(1, 999, 2))),
    ),
    "GOAWAY": (Endless(GOAWAYS),),
    "GOAWAY with debug data": (
        Endless(frame(GOAWAY, b"\x7f\xff\xff\xff\0\0\0\0" + b"x" * 16000, stream=0)),
    ),
    "PRIORITY": (Endless(frame(PRIORITY, b"\0\0\0\3\x10") * 1000),),
    "PUSH_PROMISE": (
        Endless(b"".join(
            frame(PUSH, n.to_bytes(4, "big") + b"\x82\x84\x87", flags=END_HEADERS)
            for n in range(2, 2000, 2)
        )),
    ),
    "WINDOW_UPDATE": (Endless(frame(WINDOW, b"\0\0\0\1", stream=0) * 1000),),
    "WINDOW_UPDATE beyond 2**31": (Endless(frame(WINDOW, b"\x7f\xff\xff\xff", stream=0) * 9),),
    "WINDOW_UPDATE of nothing": (Endless(frame(WINDOW, b"\0\0\0\0", stream=0) * 1000),),
    "unknown frames": (Endless(frame(0xFA, b"x" * 16384)),),
    "empty unknown frames": (Endless(frame(0xFA) * 1500),),
    "a frame that is too large": (b"\xff\xff\xff\0\0\0\0\0\1", Endless(b"x" * 16384)),
    "interim answers": (Endless(frame(HEADERS, STATUS_100, flags=END_HEADERS) * 1000),),
    "remembered fields": (frame(HEADERS, PACKED, flags=END_HEADERS | END_STREAM),),
    "remembered fields in interim answers": (
        Endless(frame(HEADERS, STATUS_100 + PACKED[1:], flags=END_HEADERS)),
    ),
    "20,000 small fields": (
        frame(HEADERS, STATUS_200),
        *[frame(CONTINUATION, literal(b"a", b"b") * 3000) for _ in range(7)],
        frame(CONTINUATION, flags=END_HEADERS),
    ),
    "table sizes": (Endless(frame(HEADERS, b"\x20\x3f\xe1\x1f" * 4000, flags=END_HEADERS)),),
    "an index that is none": (frame(HEADERS, b"\xff\xff\xff\xff\xff\xff\x7f", flags=END_HEADERS),),
    "empty DATA": (HEAD, Endless(frame(DATA) * 1500)),
    "DATA beyond the window": (HEAD, Endless(frame(DATA, b"x" * 16384))),
    "DATA of padding": (HEAD, Endless(frame(DATA, b"\xff" + bytes(255), flags=PADDED) * 60)),
    "DATA of single bytes": (HEAD, Endless(frame(DATA, b"x") * 1500)),
    "DATA before a head": (Endless(frame(DATA, b"x" * 100)),),
    "DATA of other streams": (Endless(frame(DATA, b"x" * 100, stream=99)),),
    "trailers": (HEAD, Endless(frame(HEADERS, literal(b"a", b"b"), flags=END_HEADERS) * 500)),
    "silence": (Pause(5),),
    "noise": (Endless(b"\xff" * 16384),),
    "HTTP/1.1": (Endless(b"HTTP/1.1 200 OK\r\n\r\n" * 800),),
    "frames byte by byte": (*(bytes([one]) for one in HEAD[:5]), Endless(b"\0", 0.005)),
}  # fmt: skip


def build_cases() -> dict[str, Any]:
    def flood(script: tuple[Any, ...], **fetch: Any) -> Any:
        async def play(arena: Arena) -> None:
            greeting = (READ, HELLO, *script, Pause(0.2))
            async with arena.peer(greeting=greeting, tls=True, alpn="h2") as origin:
                await arena.fetch(origin.url + "/", **fetch)

        return play

    no_window = frame(SETTINGS, b"\0\4\0\0\0\0", stream=0)
    no_streams = frame(SETTINGS, b"\0\3\0\0\0\0", stream=0)
    return {
        **{f"HTTP/2: {name}": flood(script) for name, script in FLOODS.items()},
        "HTTP/2: no window for the body": flood(
            (no_window, Pause(5)), method="POST", data="x" * 200_000
        ),
        "HTTP/2: a window of a byte at a time": flood(
            (no_window, Endless(frame(WINDOW, b"\0\0\0\1"), 0.005)),
            method="POST",
            data="x" * 200_000,
        ),
        "HTTP/2: no stream is allowed": flood((no_streams, Pause(5))),
        "HTTP/2: eighteen who read nothing beside two who read": _unread,
    }


STREAMS: Final = range(1, 20, 2)  # of ten requests on one connection


def _unread_script() -> Iterator[Any]:
    """So much to all but the first stream as libcurl allows before it knows that nobody reads."""
    yield from (READ, HELLO, Pause(0.5))
    yield b"".join(frame(HEADERS, STATUS_200, flags=END_HEADERS, stream=n) for n in STREAMS)
    yield Pause(0.2)  # it lets each have 10 MB now
    blocks = {n: frame(DATA, b"x" * 16384, stream=n) * 10 for n in STREAMS[1:]}
    for _ in range(60):
        yield from blocks.values()
        yield frame(DATA, b"x")
    yield Pause(1.0)


async def _unread(arena: Arena) -> None:
    from tests.hostile.clients import ignore, talk

    async with contextlib.AsyncExitStack() as stack:
        callers = []
        for _ in range(2):
            origin = await stack.enter_async_context(
                arena.peer(greeting=tuple(_unread_script()), tls=True, alpn="h2")
            )
            line = f"GET /fetch?timeout=3&url={origin.url}/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            callers.append(talk(arena.port, line.encode(), read=True, seconds=3.0))
            callers += [ignore(arena.port, line.encode(), 3.0) for _ in STREAMS[1:]]
        await asyncio.gather(*callers)
