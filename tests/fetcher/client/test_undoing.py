"""Coded bodies of a client, whole and as they come: what is told, and that others have their turn.

Bombs come in every coding; none of them may hold up the loop, the neighbours or the memory.
"""

import asyncio
import contextlib
import gzip
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, ClassVar, Final

import brotli
import pytest
import pytest_asyncio
from backports import zstd

from fetcher.client.body_budget import Budget
from fetcher.client.coding import wire_limit
from fetcher.client.curl import CurlClient
from fetcher.client.sinks import WholeBody
from fetcher.client.transfer import CurlTransfer
from fetcher.errors import Code, Outcome
from fetcher.model import DIRECT, Limits, Request, Response
from tests.fetcher.client.heard import Heard
from tests.raw_origin import HANG, KEEP, RawOrigin, Step
from tests.wait import wait_until

LIMITS: Final = Limits(total=20.0, connect=5.0)
STANDSTILL: Final = 0.5  # seconds that the loop may be away, on a machine that is loaded
MB: Final = 1_000_000
OVER: Final = "the body is over the limit of {} bytes"

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("nothing_breaks_on_the_loop")]


def packed(blocks: Iterator[bytes] | list[bytes], wbits: int = 31) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return b"".join([*map(packer.compress, blocks), packer.flush()])


def hollow(size: int) -> Iterator[bytes]:
    """The head of a gzip whose file name has no end."""
    yield b"\x1f\x8b\x08\x08" + bytes(6)
    for _ in range(size // MB):
        yield b"n" * MB


ZEROS: Final = [bytes(MB)] * 100
BOMBS: Final[dict[str, tuple[str, bytes]]] = {
    "gzip": ("gzip", packed(ZEROS)),
    "deflate": ("deflate", packed(ZEROS, 15)),
    "raw deflate": ("deflate", packed(ZEROS, -15)),
    "br": ("br", brotli.compress(b"".join(ZEROS), quality=1)),
    "zstd": ("zstd", zstd.compress(b"".join(ZEROS))),
    "gzip twice": ("gzip, gzip", gzip.compress(packed(ZEROS))),
    "br in zstd": ("br, zstd", zstd.compress(brotli.compress(b"".join(ZEROS), quality=1))),
    "hollow": ("gzip, gzip", packed(hollow(100 * MB))),
    "hollow in br": ("gzip, br", brotli.compress(b"".join(hollow(100 * MB)), quality=1)),
}
GIVING: Final = [name for name in BOMBS if "hollow" not in name]
PAGE: Final = b"".join(b"<p>line %d of a page</p>\n" % number for number in range(1000))


def answer(coding: str, body: bytes, *lines: str) -> bytes:
    head = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *lines]
    if coding:
        head.append(f"Content-Encoding: {coding}")
    return "\r\n".join([*head, "", ""]).encode() + body


@pytest_asyncio.fixture
async def client() -> AsyncIterator[CurlClient]:
    made = CurlClient(force_instance=True)
    yield made
    if not made._is_closed:
        made.close()


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[RawOrigin]:
    async with RawOrigin() as started:
        yield started


class Whole:
    """A whole answer under way."""

    def __init__(
        self, client: CurlClient, url: str, limits: Limits = LIMITS, **fields: Any
    ) -> None:
        self.done: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        request = Request(url=url, **fields)
        self.transfer = client.start(request, DIRECT, limits, WholeBody(self.done.set_result))


async def whole(client: CurlClient, url: str, limits: Limits = LIMITS, **fields: Any) -> Response:
    return await Whole(client, url, limits, **fields).done


def listen(
    client: CurlClient, url: str, sink: Heard, limits: Limits = LIMITS, **fields: Any
) -> CurlTransfer:
    return client.start(Request(url=url, **fields), DIRECT, limits, sink)


async def hear(client: CurlClient, url: str, limits: Limits = LIMITS, **fields: Any) -> Heard:
    sink = Heard()
    listen(client, url, sink, limits, **fields)
    await wait_until(lambda: sink.ends, timeout=30.0)
    return sink


class Ticker:
    """How long the loop was away at most."""

    worst = 0.0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        last = time.monotonic()
        following: asyncio.Handle | None = None

        def tick() -> None:
            nonlocal last, following
            now = time.monotonic()
            self.worst, last = max(self.worst, now - last), now
            following = loop.call_later(0.002, tick)

        tick()
        try:
            yield
        finally:
            if following is not None:
                following.cancel()
            self.worst = max(self.worst, time.monotonic() - last)


# -- what comes out --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("coding", "code"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda body: zlib.compress(body)[2:-4]),
        ("br", brotli.compress),
        ("zstd", zstd.compress),
        ("gzip, br", lambda body: brotli.compress(gzip.compress(body))),
    ],
)
@pytest.mark.parametrize("body", [b"hello", PAGE, PAGE * 100], ids=["short", "a page", "long"])
async def test_a_body_comes_without_its_coding(
    client: CurlClient,
    origin: RawOrigin,
    coding: str,
    code: Callable[[bytes], bytes],
    body: bytes,
) -> None:
    url = origin.add(answer(coding, code(body)), KEEP)
    response, sink = await whole(client, url), await hear(client, url)
    assert (response.outcome, response.undone, response.body) == (Outcome.ANSWERED, True, body)
    assert (sink.heard, sink.heads[0].undone, sink.ends[0].undone) == (body, True, True)
    assert (sink.order, sink.ends[0].outcome) == (["head", "body", "done"], Outcome.ANSWERED)
    assert coding.encode() in response.head
    assert client.budget.held == 0


@pytest.mark.parametrize(
    "coding", ["", "identity", "UTF-8", "binary", "zip", "gzip, x", "br,br,br"]
)
async def test_what_cannot_be_undone_comes_as_it_is(
    client: CurlClient, origin: RawOrigin, coding: str
) -> None:
    body = gzip.compress(b"hello")
    url = origin.add(answer(coding, body), KEEP)
    response, sink = await whole(client, url), await hear(client, url)
    assert (response.outcome, response.undone, response.body) == (Outcome.ANSWERED, False, body)
    assert (sink.ends[0].outcome, sink.heads[0].undone, sink.heard) == (
        Outcome.ANSWERED, False, body,
    )  # fmt: skip


async def test_what_breaks_is_whole_as_it_came_and_a_stream_ends_there(
    client: CurlClient, origin: RawOrigin
) -> None:
    body = gzip.compress(PAGE * 100)[:-8] + bytes(8)
    url = origin.add(answer("gzip", body), KEEP)
    response, sink = await whole(client, url), await hear(client, url)
    assert (response.outcome, response.undone, response.body) == (Outcome.ANSWERED, False, body)
    assert (sink.ends[0].outcome, sink.ends[0].code) == (
        Outcome.TARGET, Code.BAD_CONTENT_ENCODING,
    )  # fmt: skip
    assert (PAGE * 100).startswith(sink.heard)
    assert "is not what its coding is" in sink.ends[0].message
    assert client.budget.held == 0


async def test_a_stream_that_breaks_early_is_read_no_further(
    client: CurlClient, origin: RawOrigin
) -> None:
    broken = b"\x1f\x8b\x08\xff" + bytes(30)
    sink = await hear(client, origin.add(answer("gzip", broken + bytes(9))[:-9], HANG))
    assert (sink.told, sink.ends[0].code) == (["head", "done"], Code.BAD_CONTENT_ENCODING)
    assert sink.ends[0].outcome is Outcome.TARGET


async def test_of_a_failure_what_had_come_is_undone(client: CurlClient, origin: RawOrigin) -> None:
    coded = gzip.compress(PAGE)
    url = origin.add(answer("gzip", coded)[:-100])
    limits = Limits(total=20.0, connect=5.0, fresh=True)
    response, sink = await whole(client, url, limits), await hear(client, url, limits)
    for end, body in ((response, response.body), (sink.ends[0], sink.heard)):
        assert (end.outcome, end.code) == (Outcome.TARGET, Code.PARTIAL_FILE)
        assert PAGE.startswith(body)
        assert body


async def test_who_takes_a_coding_gets_the_body_as_it_came(
    client: CurlClient, origin: RawOrigin
) -> None:
    body = gzip.compress(PAGE)
    url = origin.add(answer("gzip", body), KEEP)
    for takes, is_left in (("gzip", True), ("br, *;q=0.1", True), ("br", False), ("", False)):
        sink = await hear(client, url, takes=takes)
        assert sink.heard == (body if is_left else PAGE)
        assert sink.heads[0].undone is sink.ends[0].undone is not is_left


async def test_bodies_without_a_body_have_nothing_to_undo(
    client: CurlClient, origin: RawOrigin
) -> None:
    url = origin.add(answer("gzip", b""), KEEP)
    response = await whole(client, url)
    assert (response.outcome, response.body, response.undone) == (Outcome.ANSWERED, b"", False)
    assert (await hear(client, url)).told == ["head", "done"]
    script = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 999\r\n\r\n"
    assert (await whole(client, origin.add(script, KEEP), method="HEAD")).body == b""


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [999, 1000, 1001])
@pytest.mark.parametrize("coding", ["gzip", "gzip, gzip", "br", "zstd", "deflate"])
async def test_max_body_counts_what_comes_out(
    client: CurlClient, origin: RawOrigin, coding: str, size: int
) -> None:
    coders: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "gzip, gzip": lambda body: gzip.compress(gzip.compress(body)),
        "br": brotli.compress,
        "zstd": zstd.compress,
        "deflate": zlib.compress,
    }
    body = PAGE[:size]
    url = origin.add(answer(coding, coders[coding](body)), KEEP)
    response = await whole(client, url, max_body=1000)
    sink = await hear(client, url, max_body=1000)
    for end, came in ((response, response.body), (sink.ends[0], sink.heard)):
        assert came == body[:1000]
        if size > 1000:
            assert (end.outcome, end.code) == (Outcome.OURS, Code.FILESIZE_EXCEEDED)
            assert end.message == OVER.format(1000)
        else:
            assert end.outcome is Outcome.ANSWERED
    assert client.budget.held == 0


@pytest.mark.parametrize("more", [-1, 0, 1])
async def test_what_is_coded_may_be_a_little_longer(
    client: CurlClient, origin: RawOrigin, more: int
) -> None:
    content = gzip.compress(b"ok", mtime=0)
    name = b"n" * (wire_limit(1000) + more - len(content) - 1)
    body = content[:3] + b"\x08" + content[4:10] + name + b"\0" + content[10:]
    url = origin.add(answer("gzip", body), KEEP)
    response = await whole(client, url, max_body=1000)
    sink = await hear(client, url, max_body=1000)
    for end, came in ((response, response.body), (sink.ends[0], sink.heard)):
        assert came == b"ok"  # its very last byte is the trailer's
        assert end.outcome is (Outcome.OURS if more > 0 else Outcome.ANSWERED)
        assert end.code == (Code.FILESIZE_EXCEEDED if more > 0 else 0)


@pytest.mark.parametrize("size", [999, 1000, 1001])
async def test_what_proves_to_be_no_coding_has_the_limit_of_any_body(
    client: CurlClient, origin: RawOrigin, size: int
) -> None:
    for body in (PAGE[:size], (b"\x1f\x8b\x08\xff" + PAGE)[:size]):
        response = await whole(client, origin.add(answer("gzip", body), KEEP), max_body=1000)
        assert response.body == body[:1000]
        assert response.outcome is (Outcome.OURS if size > 1000 else Outcome.ANSWERED)
        assert response.message == (OVER.format(1000) if size > 1000 else "")


# -- turns -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bomb", BOMBS)
async def test_no_bomb_holds_up_the_loop_or_its_neighbours(
    client: CurlClient, origin: RawOrigin, bomb: str
) -> None:
    coding, body = BOMBS[bomb]
    assert len(body) < 2 * MB
    hostile, plain = origin.add(answer(coding, body), KEEP), origin.add(answer("", b"ok"), KEEP)
    coded = origin.add(answer("gzip", gzip.compress(PAGE)), KEEP)
    ticker = Ticker()
    async with ticker.running():
        bombs = [Whole(client, hostile, max_body=20 * MB) for _ in range(3)]
        sinks = [Heard() for _ in range(3)]
        for sink in sinks:
            listen(client, hostile, sink, max_body=20 * MB)
        served = 0
        while not (all(one.done.done() for one in bombs) and all(sink.ends for sink in sinks)):
            assert (await whole(client, plain)).body == b"ok"
            assert (await whole(client, coded)).body == PAGE
            served += 1
    for end in [*(one.done.result() for one in bombs), *(sink.ends[0] for sink in sinks)]:
        assert (end.outcome, end.code) == (Outcome.OURS, Code.FILESIZE_EXCEEDED)
        assert end.message == OVER.format(20 * MB)
    size = 20 * MB if bomb in GIVING else 0
    assert [len(one.done.result().body) for one in bombs] == [size] * 3
    assert [sum(map(len, sink.chunks)) for sink in sinks] == [size] * 3
    assert served > 3
    assert ticker.worst < STANDSTILL
    assert client.budget.held == 0


@pytest.mark.parametrize("layers", [2, 3, 4])
async def test_layers_may_come_in_lines_of_their_own(
    client: CurlClient, origin: RawOrigin, layers: int
) -> None:
    body = b"hello"
    for _ in range(layers):
        body = gzip.compress(body)
    lines = ["Content-Encoding: gzip"] * (layers - 1)
    response = await whole(client, origin.add(answer("gzip", body, *lines), KEEP))
    assert response.outcome is Outcome.ANSWERED
    assert (response.undone, response.body) == ((True, b"hello") if layers < 3 else (False, body))


async def test_a_body_without_end_in_its_coding_ends_with_its_time(
    client: CurlClient, origin: RawOrigin
) -> None:
    coding, body = BOMBS["gzip"]
    url = origin.add(answer(coding, body), KEEP)
    limits = Limits(total=0.05, connect=5.0)
    one = Whole(client, url, limits)
    for end in [await one.done, (await hear(client, url, limits)).ends[0]]:
        assert (end.outcome, end.code) == (Outcome.OURS, Code.OPERATION_TIMEDOUT)
        assert "timed out" in end.message
    assert 0 < len(one.done.result().body) < 100 * MB
    assert client.budget.held == client.in_flight == 0


async def test_a_body_that_is_being_undone_counts_and_can_be_given_up(origin: RawOrigin) -> None:
    budget = Budget(5 * MB)
    client = CurlClient(force_instance=True, budget=budget)
    coding, body = BOMBS["gzip"]
    try:
        response = await whole(client, origin.add(answer(coding, body), KEEP))
    finally:
        client.close()
    assert (response.outcome, response.code) == (Outcome.OURS, Code.OUT_OF_MEMORY)
    assert "fetcher.body_budget" in response.message
    assert 4 * MB < len(response.body) < 6 * MB
    assert budget.held == 0


async def begun(client: CurlClient, origin: RawOrigin) -> Whole:
    """A whole body that has all come, and of which some has come out."""
    coding, body = BOMBS["gzip"]
    one = Whole(client, origin.add(answer(coding, body), KEEP))
    await wait_until(lambda: client.largest_body > MB)
    assert one.transfer.handle is None
    assert client.in_flight == 1
    return one


WINDOW: Final = 1 << 24
WIDE: Final = brotli.compress(b"".join(ZEROS), quality=5, lgwin=24)


@pytest.mark.parametrize("limit", [WINDOW // 2, WINDOW * 3])
async def test_the_window_of_a_whole_body_counts(origin: RawOrigin, limit: int) -> None:
    budget = Budget(limit)
    client = CurlClient(force_instance=True, budget=budget)
    with contextlib.closing(client):
        response = await whole(client, origin.add(answer("br", WIDE), KEEP), max_body=2 * MB)
        assert (response.code == Code.OUT_OF_MEMORY) == (limit < WINDOW)
        assert budget.held == 0


@pytest.mark.parametrize("limit", [WINDOW // 2, WINDOW * 3])
async def test_the_window_of_a_stream_counts(origin: RawOrigin, limit: int) -> None:
    budget = Budget(limit)
    client = CurlClient(force_instance=True, budget=budget)
    with contextlib.closing(client):
        sink = Heard()
        transfer = listen(client, origin.add(answer("br", WIDE), KEEP), sink)
        sink.on_body = lambda _: transfer.pause()
        if limit > WINDOW:
            await wait_until(lambda: sink.chunks)
            assert WINDOW <= budget.held == client.largest_body < WINDOW + MB
            transfer.cancel()
        else:
            await wait_until(lambda: sink.ends)
            assert sink.ends[0].code == Code.OUT_OF_MEMORY
        assert budget.held == 0


async def test_who_cancels_hears_no_more_of_it(client: CurlClient, origin: RawOrigin) -> None:
    one = await begun(client, origin)
    one.transfer.cancel()
    assert client.budget.held == client.in_flight == client.largest_body == 0
    assert (await whole(client, origin.add(answer("", b"ok"), KEEP))).body == b"ok"
    assert not one.done.done()


async def test_a_client_that_is_closed_undoes_no_more(
    client: CurlClient, origin: RawOrigin
) -> None:
    one = await begun(client, origin)
    client.close()
    assert client.budget.held == 0
    assert not one.done.done()


async def test_one_who_is_told_may_cancel_the_others_and_close(
    client: CurlClient, origin: RawOrigin
) -> None:
    other = await begun(client, origin)
    url = origin.add(answer("gzip", gzip.compress(PAGE * 100)), KEEP)
    told: list[Response] = []

    def close(response: Response) -> None:
        told.append(response)
        other.transfer.cancel()
        client.close()

    client.start(Request(url=url), DIRECT, LIMITS, WholeBody(close))
    await wait_until(lambda: told)
    assert told[0].body == PAGE * 100
    assert client.budget.held == 0
    assert not other.done.done()


# -- streams ---------------------------------------------------------------------------------------


async def test_a_paused_sink_hears_nothing_and_holds_little(
    client: CurlClient, origin: RawOrigin
) -> None:
    coding, body = BOMBS["gzip"]
    sink = Heard()
    transfer = listen(client, origin.add(answer(coding, body), KEEP), sink)
    sink.on_body = lambda _: transfer.pause()
    await wait_until(lambda: sink.chunks)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(sink.chunks) == 1
    assert client.budget.held <= len(body)
    while len(sink.chunks) < 20:
        seen = len(sink.chunks)
        transfer.resume()
        await wait_until(lambda seen=seen: len(sink.chunks) > seen)  # type: ignore[misc]
        assert len(sink.chunks) == seen + 1
    sink.on_body = lambda _: None
    transfer.resume()
    await wait_until(lambda: sink.ends, timeout=30.0)
    assert sum(map(len, sink.chunks)) == 100 * MB
    assert sink.ends[0].outcome is Outcome.ANSWERED


class Short(Heard):
    """What ends in the turn in which it begins, it hears by `done` alone."""

    short: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[bytes] = []

    def done(self, response: Response) -> None:
        self.bodies.append(response.body)
        super().done(response)


BROKEN: Final = gzip.compress(b"hello", mtime=0)[:-8] + bytes(8)


@pytest.mark.parametrize(
    ("coding", "coded", "body", "is_undone"),
    [
        ("gzip", gzip.compress(b"hello"), b"hello", True),
        ("gzip, br", brotli.compress(gzip.compress(PAGE)), PAGE, True),
        ("gzip", gzip.compress(PAGE[:2000]), PAGE[:2000], True),
        ("gzip", gzip.compress(PAGE)[:-9], PAGE, True),
        ("gzip", b"plain", b"plain", True),
        ("gzip", b"", b"", True),
        ("gzip", BROKEN, BROKEN, False),
        ("UTF-8", b"plain", b"plain", False),
    ],
)
async def test_a_short_answer_comes_at_once_like_a_whole_one(
    client: CurlClient, origin: RawOrigin, coding: str, coded: bytes, body: bytes, is_undone: bool
) -> None:
    sink = Short()
    listen(client, origin.add(answer(coding, coded), KEEP), sink)
    await wait_until(lambda: sink.ends)
    assert (sink.told, sink.bodies) == (["done"], [body])
    assert (sink.ends[0].outcome, sink.ends[0].undone) == (Outcome.ANSWERED, is_undone)
    assert client.budget.held == 0


async def test_what_is_short_only_while_it_is_coded_comes_as_it_comes_out(
    client: CurlClient, origin: RawOrigin
) -> None:
    sink = Short()
    listen(client, origin.add(answer("gzip", gzip.compress(bytes(MB))), KEEP), sink)
    await wait_until(lambda: sink.ends)
    assert (sink.order, sink.heard) == (["head", "body", "done"], bytes(MB))
    assert client.budget.held == 0


async def test_a_short_answer_that_fails_brings_what_had_come(
    client: CurlClient, origin: RawOrigin
) -> None:
    sink = Short()
    url = origin.add(answer("gzip", gzip.compress(PAGE))[:-20])
    listen(client, url, sink, Limits(total=20.0, connect=5.0, fresh=True))
    await wait_until(lambda: sink.ends)
    assert sink.ends[0].code == Code.PARTIAL_FILE
    assert PAGE.startswith(sink.bodies[0] or b"nothing")


@pytest.mark.parametrize("size", [999, 1000, 1001])
async def test_a_short_answer_has_its_limit(
    client: CurlClient, origin: RawOrigin, size: int
) -> None:
    for coded in (gzip.compress(PAGE[:size]), (BROKEN + PAGE)[:size]):
        sink = Short()
        listen(client, origin.add(answer("gzip", coded), KEEP), sink, max_body=1000)
        await wait_until(lambda sink=sink: sink.ends)  # type: ignore[misc]
        assert (sink.ends[0].outcome is Outcome.ANSWERED) is (size <= 1000)


async def test_a_sink_that_fails_in_the_middle_hears_no_more(
    client: CurlClient, origin: RawOrigin, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: bytes) -> None:
        raise OSError("full")

    coding, body = BOMBS["gzip"]
    sink = Heard()
    sink.on_body = fail
    listen(client, origin.add(answer(coding, body), KEEP), sink)
    await wait_until(lambda: sink.ends)
    assert (sink.told, sink.ends[0].code) == (["head", "body", "done"], Code.WRITE_ERROR)
    assert sink.ends[0].outcome is Outcome.OURS
    assert caplog.records
    caplog.clear()


async def test_what_comes_slowly_is_told_as_it_comes(client: CurlClient, origin: RawOrigin) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    first = packer.compress(b"first") + packer.flush(zlib.Z_SYNC_FLUSH)
    steps: list[Step] = [b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + first, HANG]
    sink = Heard()
    transfer = listen(client, origin.add(*steps), sink)
    await wait_until(lambda: sink.heard == b"first")
    assert not sink.ends
    transfer.cancel()
    assert client.budget.held == 0
