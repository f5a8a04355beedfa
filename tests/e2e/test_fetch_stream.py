"""`/fetch` as a pipe: bytes go on as they come, both ways, at the pace of whoever is slower."""

import asyncio
import contextlib
import gzip
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.service import ServiceProcess
from tests.fetcher.entrance import Entrance, Message, entrance
from tests.raw_origin import HANG, RESET, Endless, Pause, RawOrigin, Step
from tests.resources import peak_bytes
from tests.serving import Streams, serving
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[RawOrigin]:
    async with RawOrigin() as started:
        yield started


@pytest_asyncio.fixture
async def door() -> AsyncIterator[Entrance]:
    async with entrance(stall=5.0) as opened:
        yield opened
        await wait_until(lambda: opened.places.taken == 0, what="all places to be free")
        assert opened.fetcher.in_flight == 0


@contextlib.asynccontextmanager
async def asking(
    door: Entrance, url: str, *lines: bytes, parameters: str = "", **request: object
) -> AsyncIterator[Streams]:
    """A request for `url`, and the connection on which its answer comes."""
    reader, writer = await door.send(f"/fetch?url={url}{parameters}", *lines, **request)  # type: ignore[arg-type]
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def head_of(reader: asyncio.StreamReader) -> Message:
    return Message.parse(await reader.readuntil(b"\r\n\r\n"))


def unchunked(raw: bytes) -> tuple[bytes, bool]:
    """The content of a chunked body, and whether its last chunk is there."""
    out = b""
    while match := re.match(rb"([0-9a-f]+)\r\n", raw):
        size, raw = int(match[1], 16), raw[match.end() :]
        if size == 0:
            return out, raw == b"\r\n"
        out, raw = out + raw[:size], raw[size + 2 :]
    return out, False


# -- down ------------------------------------------------------------------------------------------


async def test_head_and_bytes_come_as_the_origin_sends_them(
    door: Entrance, origin: RawOrigin
) -> None:
    url = origin.add(CHUNKED, b"2\r\nab\r\n", HANG)
    async with asking(door, url) as (reader, _):
        head = await head_of(reader)
        assert (head.status, head.one(b"transfer-encoding")) == (200, b"chunked")
        assert (head.one(b"x-fetch-attempts"), head.one(b"content-length")) == (b"1", None)
        assert await reader.readexactly(7) == b"2\r\nab\r\n"


async def test_a_head_does_not_wait_for_a_body(door: Entrance, origin: RawOrigin) -> None:
    async with asking(door, origin.add(CHUNKED, HANG)) as (reader, _):
        assert (await head_of(reader)).status == 200


async def test_a_length_that_holds_is_said(door: Entrance, origin: RawOrigin) -> None:
    body = b"x" * 200_000
    url = origin.add(OK + b"Content-Length: 200000\r\n\r\n" + body[:9], Pause(0.05), body[9:])
    async with asking(door, url) as (reader, writer):
        head = await head_of(reader)
        assert head.one(b"content-length") == b"200000"
        assert head.one(b"transfer-encoding") is None
        assert await reader.readexactly(200_000) == body
        writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")  # it stays open
        assert (await head_of(reader)).status == 200


@pytest.mark.parametrize(
    ("length", "end"),
    [
        (b"", (Pause(0.05), RESET)),
        (b"", (Pause(0.05),)),
        (b"", (Pause(0.05), b"nonsense\r\n")),
        (b"Content-Length: 9\r\n\r\n", (Pause(0.05), RESET)),
        (b"Content-Length: 9\r\n\r\n", (Pause(0.05),)),
    ],
)
async def test_what_breaks_in_the_middle_never_looks_whole(
    door: Entrance, origin: RawOrigin, end: tuple[Step, ...], length: bytes
) -> None:
    begin = OK + length + b"ab" if length else CHUNKED + b"2\r\nab\r\n"
    async with asking(door, origin.add(begin, *end)) as (reader, _):
        head, got = await head_of(reader), await reader.read()
        assert head.status == 200
        if length:
            assert (head.one(b"content-length"), got) == (b"9", b"ab")
        else:
            assert unchunked(got) == (b"ab", False)


async def test_a_client_of_old_hears_it_too(door: Entrance, origin: RawOrigin) -> None:
    """In HTTP/1.0 an answer without a length ends with its connection."""
    whole = origin.add(CHUNKED, b"2\r\nab\r\n", Pause(0.05), LAST)
    broken = origin.add(CHUNKED, b"2\r\nab\r\n", Pause(0.05), RESET)
    for url, ends in ((whole, True), (broken, False)):
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(f"GET /fetch?url={url} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        assert (await head_of(reader)).one(b"transfer-encoding") is None
        assert await reader.readexactly(2) == b"ab"
        if ends:
            assert await reader.read() == b""
        else:
            with pytest.raises(ConnectionResetError):
                await reader.read()
        writer.close()


async def test_what_breaks_before_anything_was_sent_is_a_failure_in_words(
    door: Entrance, origin: RawOrigin
) -> None:
    got = await door.call(f"/fetch?url={origin.add(OK + b'Content-Length: 9', RESET)}")
    assert (got.status, got.one(b"x-fetch-error")) == (502, b"1")


async def test_a_reader_that_is_slow_stops_the_origin() -> None:
    sent, piece = 0, b"x" * 65536

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"\r\n")
        while True:
            writer.write(piece)
            await writer.drain()
            sent += len(piece)

    async with entrance(stall=0) as door, serving(pour) as port:
        async with asking(door, f"http://127.0.0.1:{port}/") as (reader, _):
            await head_of(reader)
            await settled(lambda: sent)
            stopped = sent
            assert (
                stopped < 30_000_000
            )  # what the kernels of both connections hold, and little more
            await reader.readexactly(stopped + 1_000_000)
            assert sent > stopped
        await wait_until(lambda: door.places.taken == 0)


async def settled(value: Callable[[], int]) -> None:
    """Until a number has not changed for a while."""
    last, since = -1, 0

    def is_still() -> bool:
        nonlocal last, since
        since = since + 1 if value() == last else 0
        last = value()
        return since > 60

    await wait_until(is_still, 30)


async def test_a_caller_that_reads_nothing_is_cut_off(origin: RawOrigin) -> None:
    async with entrance(stall=0.2) as door:
        async with asking(door, origin.add(OK + b"\r\n", Endless(b"x" * 65536))) as (reader, _):
            await wait_until(lambda: door.places.taken == 1)
            await wait_until(lambda: door.places.taken == 0, 20, "the caller to be cut off")
            with contextlib.suppress(ConnectionError):
                while await reader.read(1 << 20):
                    pass
        await wait_until(lambda: origin.open == 0)


async def test_a_caller_that_leaves_takes_the_transfer_with_it(
    door: Entrance, origin: RawOrigin
) -> None:
    async with asking(door, origin.add(CHUNKED, b"2\r\nab\r\n", HANG)) as (reader, _):
        await head_of(reader)
    await wait_until(lambda: origin.open == 0, what="the origin to be left")


async def test_an_origin_that_stands_still_is_given_up_at_the_callers_time(
    door: Entrance, origin: RawOrigin
) -> None:
    url = origin.add(CHUNKED, b"2\r\nab\r\n", HANG)
    async with asking(door, url, parameters="&timeout=0.3") as (reader, _):
        await head_of(reader)
        assert unchunked(await reader.read()) == (b"ab", False)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", 200),
        (b"HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n\r\n", 206),
        (b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n", 404),
    ],
)
async def test_a_head_alone_ends_with_its_head(
    door: Entrance, origin: RawOrigin, head: bytes, status: int
) -> None:
    async with asking(door, origin.add(head, Pause(0.05)), method="HEAD") as (reader, writer):
        assert (await head_of(reader)).status == status
        writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await head_of(reader)).status == 200


async def test_a_range_is_one_of_the_very_bytes(door: Entrance) -> None:
    door.origin.answer = (
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/9\r\nContent-Length: 3\r\n"
        b"ETag: e\r\n\r\ncde"
    )
    for more, wanted in (((), b"identity"), ((b"Accept-Encoding: gzip",), b"gzip")):
        got = await door.fetch(b"Range: bytes=2-4", b"If-Range: e", *more)
        asked = door.origin.seen[-1]
        assert (asked.one(b"range"), asked.one(b"if-range")) == (b"bytes=2-4", b"e")
        assert asked.one(b"accept-encoding") == wanted
        assert (got.status, got.body) == (206, b"cde")
        assert got.one(b"content-range") == b"bytes 2-4/9"


async def test_a_range_of_a_coded_body_is_left_to_a_caller_who_accepts_the_coding(
    door: Entrance,
) -> None:
    middle = gzip.compress(bytes(range(256)) * 9)[20:30]
    door.origin.answer = (
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 20-29/99\r\n"
        b"Content-Encoding: gzip\r\nContent-Length: 10\r\n\r\n" + middle
    )
    got = await door.fetch(b"Range: bytes=20-29", b"Accept-Encoding: gzip")
    assert (got.status, got.body, got.one(b"content-encoding")) == (206, middle, b"gzip")
    assert (got.one(b"content-length"), got.one(b"content-range")) == (b"10", b"bytes 20-29/99")


async def test_trailers_are_no_part_of_the_body_nor_of_the_head(
    door: Entrance, origin: RawOrigin
) -> None:
    url = origin.add(
        OK + b"Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", Pause(0.05),
        b"0\r\nX-Sum: 1\r\n\r\n",
    )  # fmt: skip
    async with asking(door, url, b"Connection: close") as (reader, _):
        head = await head_of(reader)
        assert (head.one(b"trailer"), head.one(b"x-sum")) == (None, None)
        assert unchunked(await reader.read()) == (b"ab", True)


@pytest.mark.parametrize("code", [b"204 No Content", b"304 Not Modified"])
async def test_an_answer_that_has_no_body_ends_at_once(
    door: Entrance, origin: RawOrigin, code: bytes
) -> None:
    url = origin.add(b"HTTP/1.1 " + code + b"\r\nETag: e\r\n\r\n", HANG)
    async with asking(door, url) as (reader, writer):
        assert (await head_of(reader)).one(b"etag") == b"e"
        writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await head_of(reader)).status == 200


# -- up --------------------------------------------------------------------------------------------


class Taker:
    """An origin that takes bodies, at a pace of its own, and tells what it has taken."""

    def __init__(self) -> None:
        self.head = b""
        self.got = bytearray()
        self.ended = False  # by the sender, with all that it had declared
        self.broken = False
        self.go = asyncio.Event()
        self.answer = OK + b"Content-Length: 2\r\n\r\nhi"
        self.early = False  # answers before it reads

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.head = await reader.readuntil(b"\r\n\r\n")
        if self.early:
            writer.write(self.answer)
            await writer.drain()
            return
        await self.go.wait()
        try:
            await self._take(reader)
        except asyncio.IncompleteReadError as error:
            self.got += error.partial
            self.broken = True
            return
        self.ended = True
        writer.write(self.answer)
        await writer.drain()

    def has_got(self, end: bytes) -> bool:
        return self.got.endswith(end)

    async def _take(self, reader: asyncio.StreamReader) -> None:
        length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", self.head)
        if length:
            left = int(length[1])
            while left:
                piece = await reader.readexactly(min(left, 65536))
                self.got += piece
                left -= len(piece)
            return
        while size := int(await reader.readuntil(b"\r\n"), 16):
            self.got += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)


@pytest_asyncio.fixture
async def taker() -> AsyncIterator[tuple[Taker, str]]:
    made = Taker()
    async with serving(made.serve) as port:
        yield made, f"http://127.0.0.1:{port}/"
        made.go.set()


BODY = bytes(range(256)) * 4000  # a megabyte


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_long_body_goes_on_as_it_comes(
    door: Entrance, taker: tuple[Taker, str], chunked: bool
) -> None:
    origin, url = taker
    origin.go.set()
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(BODY)
    async with asking(door, url, length, method="PUT") as (reader, writer):
        half = len(BODY) // 2
        for part in (BODY[:half], BODY[half:]):
            writer.write(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
            await wait_until(partial(origin.has_got, part[-9:]))
        writer.write(LAST if chunked else b"")
        assert (await head_of(reader)).status == 200
    assert (origin.ended, bytes(origin.got) == BODY) == (True, True)
    declared = re.search(rb"(?i)content-length: *([0-9]+)", origin.head)
    assert (declared and int(declared[1])) == (None if chunked else len(BODY))


async def test_a_target_that_is_slow_stops_the_caller(
    door: Entrance, taker: tuple[Taker, str]
) -> None:
    origin, url = taker
    size, sent = 50_000_000, 0
    async with asking(door, url, b"Content-Length: %d" % size, method="PUT") as (reader, writer):

        async def pour() -> None:
            nonlocal sent
            while sent < size:
                piece = b"x" * min(65536, size - sent)
                writer.write(piece)
                await writer.drain()
                sent += len(piece)

        pouring = asyncio.create_task(pour())
        await settled(lambda: sent)
        assert sent < 30_000_000
        origin.go.set()
        await pouring
        assert (await head_of(reader)).status == 200
    assert len(origin.got) == size


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_caller_that_breaks_off_leaves_nothing_that_looks_whole(
    door: Entrance, taker: tuple[Taker, str], chunked: bool
) -> None:
    origin, url = taker
    origin.go.set()
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 999999"
    async with asking(door, url, length, method="POST") as (_, writer):
        part = b"x" * 200_000
        writer.write(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
        await wait_until(lambda: len(origin.got) > 100_000)
    await wait_until(lambda: origin.broken, what="the target to see it")
    assert not origin.ended


async def test_a_caller_that_stands_still_is_cut_off(taker: tuple[Taker, str]) -> None:
    origin, url = taker
    origin.go.set()
    async with (
        entrance(stall=0.3) as door,
        asking(door, url, b"Content-Length: 999999", method="POST") as (reader, writer),
    ):
        writer.write(b"x" * 200_000)
        assert await reader.read() == b""
        await wait_until(lambda: origin.broken)


async def test_a_body_that_is_declared_wrongly_is_refused(door: Entrance) -> None:
    for lines in ([b"Content-Length: many"], [b"Content-Length: 3", b"Transfer-Encoding: chunked"]):
        async with asking(door, "http://127.0.0.1:1/", *lines, method="POST") as (reader, _):
            assert (await head_of(reader)).status == 400


async def test_an_answer_before_the_end_of_the_body_is_handed_on(
    door: Entrance, taker: tuple[Taker, str]
) -> None:
    origin, url = taker
    origin.early, origin.answer = True, b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"
    async with asking(door, url, b"Content-Length: 999999", method="POST") as (reader, writer):
        writer.write(b"x" * 200_000)
        assert (await head_of(reader)).status == 413


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "gopher://h/"])
async def test_a_caller_that_sends_on_reads_its_answer_all_the_same(
    door: Entrance, url: str
) -> None:
    """Closed with bytes unread, the connection would be reset, and the answer be lost."""
    size = 5_000_000
    async with asking(door, url, b"Content-Length: %d" % size, method="PUT") as (reader, writer):
        for _ in range(size // 100_000):
            writer.write(b"x" * 100_000)
            await writer.drain()
        head = await head_of(reader)
        assert head.status in (400, 502)
        assert len(await reader.readexactly(int(head.one(b"content-length") or 0))) > 20


async def test_a_target_that_cannot_be_reached_says_so_while_the_body_comes(
    door: Entrance,
) -> None:
    lines = b"Content-Length: 999999"
    async with asking(door, "http://127.0.0.1:1/", lines, method="POST") as (reader, writer):
        writer.write(b"x" * 200_000)
        head = await head_of(reader)
        assert (head.status, head.one(b"x-fetch-error")) == (502, b"1")


async def test_a_redirect_that_wants_a_sent_body_again_is_the_callers(
    door: Entrance, taker: tuple[Taker, str]
) -> None:
    origin, url = taker
    origin.go.set()
    origin.answer = b"HTTP/1.1 307 Again\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n"
    async with asking(door, url, b"Content-Length: %d" % len(BODY), method="PUT") as (reader, out):
        out.write(BODY)
        head = await head_of(reader)
        assert (head.status, head.one(b"location")) == (307, b"/there")


async def test_a_long_body_is_refused_like_a_short_one_when_the_url_is_bad(door: Entrance) -> None:
    async with asking(door, "", b"Content-Length: 200000", method="PUT") as (reader, writer):
        writer.write(b"x" * 200_000)
        assert (await head_of(reader)).status == 400


async def test_both_ways_at_once(door: Entrance) -> None:
    """A target that answers while it is still being sent to, as a filter does."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"Content-Length: %d\r\n\r\n" % len(BODY))
        left = len(BODY)
        while left:
            piece = await reader.read(65536)
            writer.write(piece)
            await writer.drain()
            left -= len(piece)

    async with serving(echo) as port:
        length = b"Content-Length: %d" % len(BODY)
        async with asking(door, f"http://127.0.0.1:{port}/", length, method="POST") as (
            reader,
            writer,
        ):
            got = hashlib.sha256()
            writer.write(BODY[:300_000])
            await head_of(reader)
            got.update(await reader.readexactly(200_000))
            writer.write(BODY[300_000:])
            got.update(await reader.readexactly(len(BODY) - 200_000))
    assert got.digest() == hashlib.sha256(BODY).digest()


# -- large -----------------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_a_large_body_takes_no_memory(tmp_path: Path, scale: int) -> None:
    await stream_through(tmp_path, 2_000_000_000 if scale > 1 else 200_000_000)


async def stream_through(folder: Path, size: int) -> None:
    """Have a service of its own process hand on so many bytes, and see what it took for it."""
    piece = bytes(1 << 16)

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"Content-Length: %d\r\n\r\n" % size)
        left = size
        while left:
            writer.write(piece[:left])
            left -= len(piece[:left])
            await writer.drain()

    api = {"port": 0, "proxy": "direct", "allow_private": True}
    with ServiceProcess(folder, "api", api=api) as service:
        service.start()
        async with serving(pour) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
            target = f"/fetch?url=http://127.0.0.1:{port}/".encode()
            writer.write(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await head_of(reader)).one(b"content-length") == b"%d" % size
            left = size
            while left:
                left -= len(await reader.read(1 << 20))
            writer.close()
        assert peak_bytes(service.process.pid) < 100_000_000
