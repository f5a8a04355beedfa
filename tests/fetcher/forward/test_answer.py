"""How an answer comes back: its framing, and that a cut one never looks whole."""

import asyncio
from typing import Any

import pytest

from tests.fetcher.forward.door import SHORT, ask, get, opened, read_answer
from tests.raw_origin import KEEP, RESET, Pause
from tests.raw_origin import RawOrigin as Scripted
from tests.serving import calling

pytestmark = pytest.mark.timeout(30)

# -- framing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 10, 300_000])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("framing", ["length", "chunked", "close", "both"])
async def test_a_body_ends_where_the_origins_does(size: int, version: str, framing: str) -> None:
    body = b"y" * size
    chunked = b"%x\r\n%b\r\n" % (size, body) if size else b""
    chunked += b"0\r\nX-Trailer: 1\r\n\r\n"
    script = {
        "length": (b"Content-Length: %d\r\n\r\n" % size, body),
        "chunked": (b"Transfer-Encoding: chunked\r\n\r\n", chunked),
        "both": (b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", chunked),
        "close": (b"\r\n", body),
    }[framing]
    async with Scripted() as origin, opened() as door:
        url = origin.add(b"HTTP/1.1 200 OK\r\n" + script[0], Pause(0.01), script[1])
        async with calling(port=door.port) as streams:
            streams[1].write(get(url, b"Connection: keep-alive", version=version))
            got = await read_answer(streams)
            assert got.body == body
            assert got.one(b"x-trailer") is None
            if version == "1.0":
                assert got.one(b"transfer-encoding") is None


@pytest.mark.parametrize(
    ("method", "head", "length"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"1000"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n", b"1000"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", None),
        ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", None),
        ("GET", b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", None),
    ],
)
async def test_what_has_no_body_keeps_the_connection(
    method: str, head: bytes, length: bytes | None
) -> None:
    async with Scripted() as origin, opened() as door:
        url, other = origin.add(head, KEEP), origin.add(SHORT, KEEP)
        async with calling(port=door.port) as streams:
            streams[1].write(get(url, method=method))
            got = await read_answer(streams, method)
            assert got.one(b"content-length") == length
            assert got.one(b"transfer-encoding") is None
            streams[1].write(get(other))
            assert (await read_answer(streams)).body == b"hi"


# -- answers that break off -----------------------------------------------------------------------


@pytest.mark.parametrize("last", [(), (RESET,)])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize(
    "head", [b"Content-Length: 100\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\n"]
)
async def test_a_cut_answer_never_looks_whole(
    head: bytes, version: str, last: tuple[Any, ...]
) -> None:
    async with Scripted() as origin, opened() as door:
        url = origin.add(b"HTTP/1.1 200 OK\r\n" + head, Pause(0.01), b"abc", Pause(0.01), *last)
        async with calling(port=door.port) as streams:
            streams[1].write(get(url, version=version))
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError, ValueError)):
                await read_answer(streams)
        assert door.ended == []


async def test_an_answer_cut_before_its_body_is_a_502() -> None:
    async with Scripted() as origin, opened() as door:
        got = await ask(door, get(origin.add(b"HTTP/1.1 200 OK\r\nContent-Le")))
    assert got.status == 502
    status = got.one(b"proxy-status") or b""
    assert status.startswith(b"fetchpool; error=http_response_incomplete; details=")
