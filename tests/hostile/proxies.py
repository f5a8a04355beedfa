"""Proxies that mean harm: what they say to CONNECT, in a tunnel, to plain requests and in SOCKS."""

from typing import Any, Final

from tests.hostile.arena import Arena
from tests.hostile.origins import ANSWERS
from tests.raw_origin import HANG, READ, RESET, Endless, Pause

OPEN: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
HELLO: Final = b"\x16\x03\x03\x40\x00"  # a record of TLS with 16 kB of handshake


def _refusal(status: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + status, *fields, b"", b""])


CONNECT: Final[dict[str, tuple[Any, ...]]] = {
    "a refusal with a body without end": (_refusal(b"407 Who"), Endless(b"x" * 65536)),
    "a refusal with chunks without end": (
        _refusal(b"407 Who", b"Transfer-Encoding: chunked"), Endless(b"1\r\nx\r\n" * 5000),
    ),
    "a refusal with a slow body": (
        _refusal(b"407 Who", b"Content-Length: 99999999"), Endless(b"x" * 100, 0.005),
    ),
    "a refusal with a body at 2 MB/s": (_refusal(b"502 No"), Endless(b"x" * 20_000, 0.01)),
    "a refusal with a challenge and a body": (
        _refusal(b"407 W", b"Proxy-Authenticate: Basic", b"Content-Length: 9999999999"),
        Endless(b"x" * 65536),
    ),
    "a redirect to itself": (_refusal(b"302 F", b"Location: /"), Endless(b"x" * 65536)),
    "lines without end": (b"HTTP/1.1 200 OK\r\n", Endless(b"X: y\r\n" * 2000)),
    "one line without end": (b"HTTP/1.1 200 OK\r\nX: ", Endless(b"y" * 16384)),
    "a status line without end": (b"HTTP/1.1 200 ", Endless(b"y" * 16384)),
    "interim answers without end": (Endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 500),),
    "hints without end": (Endless(b"HTTP/1.1 103 H\r\nLink: <a>\r\n\r\n" * 500),),
    "slow lines without end": (b"HTTP/1.1 200 OK\r\n", Endless(b"X: y\r\n", 0.005)),
    "slow bytes": (b"HTTP/1.1 200 ", Endless(b"y", 0.005)),
    "noise": (Endless(b"\0\xff\n" * 5000),),
    "empty lines without end": (Endless(b"\r\n" * 8000),),
    "nothing": (HANG,),
    "a reset": (RESET,),
    "a good answer with a body without end": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", Endless(b"x" * 65536),
    ),
    "a good answer in chunks without end": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Endless(b"1\r\nx\r\n" * 5000),
    ),
    # in the tunnel, where TLS should begin
    "a tunnel with silence": (OPEN, HANG),
    "a tunnel with noise": (OPEN, Endless(b"\0" * 16384)),
    "a tunnel with HTTP": (OPEN, Endless(b"HTTP/1.1 200 OK\r\n\r\n" * 800)),
    "a tunnel with empty records": (OPEN, Endless(b"\x16\x03\x03\0\0" * 3000)),
    "a tunnel with records of nothing": (OPEN, READ, Endless(HELLO + bytes(16384))),
    "a tunnel with a hello of 16 MB": (
        OPEN, READ, Endless(HELLO + b"\x02\xff\xff\xff" + bytes(16380)),
    ),
    "a tunnel with a certificate of 16 MB": (
        OPEN, READ, Endless(HELLO + b"\x0b\xff\xff\xff" + bytes(16380)),
    ),
    "a tunnel with a hello in single bytes": (OPEN, READ, HELLO, Endless(b"\x02", 0.005)),
    "a tunnel with alerts without end": (OPEN, READ, Endless(b"\x15\x03\x03\0\2\1\0" * 2000)),
    "a tunnel with cipher changes": (OPEN, READ, Endless(b"\x14\x03\x03\0\1\1" * 2000)),
    "a tunnel with heartbeats": (OPEN, READ, Endless(b"\x18\x03\x03\0\3\1\x40\0" * 2000)),
    "a tunnel that closes": (OPEN,),
}  # fmt: skip

# name -> the scheme, and what is said as soon as there is a connection
SOCKS: Final[dict[str, tuple[str, tuple[Any, ...]]]] = {
    "SOCKS5 noise": ("socks5h", (Endless(b"\xff" * 16384),)),
    "SOCKS5 cut": ("socks5h", (READ, b"\5")),
    "SOCKS5 silence": ("socks5h", (READ, Pause(5))),
    "SOCKS5 silence behind the greeting": ("socks5h", (READ, b"\5\0", READ, Pause(5))),
    "SOCKS5 method unknown": ("socks5h", (READ, b"\5\x77", READ)),
    "SOCKS5 slowly": ("socks5h", (READ, Endless(b"\5", 0.05))),
    "SOCKS5 a reply cut": ("socks5h", (READ, b"\5\0", READ, b"\5\0\0\3\xff" + b"x" * 100)),
    "SOCKS5 a reply with a name of 255": (
        "socks5h", (READ, b"\5\0", READ, b"\5\0\0\3\xff" + b"x" * 257, Endless(b"x" * 16384)),
    ),
    "SOCKS5 a reply of unknown kind": ("socks5h", (READ, b"\5\0", READ, b"\5\0\0\x77" * 3)),
    "SOCKS5 a reply without end": ("socks5h", (READ, b"\5\0", READ, Endless(b"\5\0\0\1" * 4000))),
    "SOCKS5 a password asked": ("socks5h", (READ, b"\5\2", READ, Endless(b"\1\0" * 8000))),
    "SOCKS4 noise": ("socks4a", (Endless(b"\0" * 16384),)),
    "SOCKS4 cut": ("socks4a", (READ, b"\0\x5a")),
    "SOCKS4 refused without end": ("socks4a", (READ, Endless(b"\0\x5b" * 8000))),
    "SOCKS4 slowly": ("socks4a", (READ, Endless(b"\0", 0.1))),
    "TLS that is none": ("https", (Endless(b"\0" * 16384),)),
    "TLS that stands still": ("https", (READ, HELLO, Pause(5))),
}  # fmt: skip

PLAIN: Final = (
    "header lines without end", "one header line without end", "interim answers without end",
    "noise", "a body without end", "chunks of one byte without end", "trailers without end",
    "a head that never comes", "a head in single bytes", "a gzip bomb",
)  # fmt: skip


def build_cases() -> dict[str, Any]:
    def connect(script: tuple[Any, ...]) -> Any:
        async def play(arena: Arena) -> None:
            async with arena.peer(*script) as proxy:
                await arena.fetch("https://origin.test/", proxy=proxy.netloc)

        return play

    def plain(script: tuple[Any, ...]) -> Any:
        async def play(arena: Arena) -> None:
            async with arena.peer(*script) as proxy:
                await arena.fetch("http://origin.test/", proxy=proxy.netloc)

        return play

    def socks(scheme: str, script: tuple[Any, ...]) -> Any:
        async def play(arena: Arena) -> None:
            async with arena.peer(HANG, greeting=script) as proxy:
                await arena.fetch("http://origin.test/", proxy=f"{scheme}://{proxy.netloc}")

        return play

    return {
        **{f"CONNECT: {name}": connect(script) for name, script in CONNECT.items()},
        **{f"proxy: {name}": plain(ANSWERS[name]) for name in PLAIN},
        **{f"proxy: {name}": socks(*row) for name, row in SOCKS.items()},
        "proxy: forty at once": _forty,
    }


async def _forty(arena: Arena) -> None:
    """All that CONNECT may be answered, on one route."""
    async with arena.peer(*CONNECT["a refusal with a body without end"]) as proxy:
        route = [proxy.netloc.replace("127.0.0.1", f"127.0.1.{n}") for n in range(1, 20)]
        await arena.fetch("https://origin.test/", proxy=[proxy.netloc, *route], retries=20)
