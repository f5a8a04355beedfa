"""Answers that are told as they come: order, pauses, ends, and what they may hold."""

import asyncio
import contextlib
import gc
import gzip
import logging
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fetcher.client.body_budget import Budget
from fetcher.client.curl import CurlClient
from fetcher.client.multi import TURN
from fetcher.client.sinks import WholeBody
from fetcher.client.stream import MAX_UNHEARD, Stream
from fetcher.client.transfer import MAX_HEAD, CurlTransfer
from fetcher.dns.resolver import Resolver
from fetcher.errors import Code, Outcome
from fetcher.model import DIRECT, Limits, Request, Response
from tests.dns_server import Answer, DnsServer
from tests.fetcher.client.heard import Heard
from tests.floods import flooding
from tests.h2_server import serve_h2_tireless
from tests.hostile.h2 import DATA, GOAWAYS, HEAD, HELLO, frame
from tests.raw_origin import HANG, KEEP, RESET, Endless, Pause, RawOrigin, Step
from tests.serving import serving
from tests.tap import Certificates
from tests.wait import wait_until

LOOPS = ("asyncio", "uvloop")
LIMITS = Limits(total=20.0, connect=5.0)
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
READ_AT_ONCE = 65536  # more than libcurl hands over in one piece

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("nothing_breaks_on_the_loop")]


@contextlib.contextmanager
def closing(client: CurlClient) -> Iterator[CurlClient]:
    try:
        yield client
    finally:
        if not client._is_closed:
            client.close()


@pytest_asyncio.fixture
async def client() -> AsyncIterator[CurlClient]:
    with closing(CurlClient(force_instance=True)) as made:
        yield made


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[RawOrigin]:
    async with RawOrigin() as started:
        yield started


def sized(body: bytes, size: int | None = None) -> bytes:
    return OK + b"Content-Length: %d\r\n\r\n" % (len(body) if size is None else size) + body


def start(
    client: CurlClient, url: str, sink: Heard, limits: Limits = LIMITS, **fields: Any
) -> CurlTransfer:
    return client.start(Request(url=url, **fields), DIRECT, limits, sink)


def held(transfer: CurlTransfer) -> int:
    """Bytes that it keeps for its sink."""
    assert transfer.stream is not None
    return transfer.stream.held


async def hear(client: CurlClient, url: str, limits: Limits = LIMITS, **fields: Any) -> Heard:
    sink = Heard()
    start(client, url, sink, limits, **fields)
    await wait_until(lambda: sink.ends, timeout=30)
    return sink


# -- head, body, done ------------------------------------------------------------------------------


async def test_an_answer_is_told_as_head_body_and_end(client, origin):
    body = bytes(range(256)) * 4000
    sink = await hear(client, origin.add(sized(body)))
    assert sink.order == ["head", "body", "done"]
    assert sink.heard == body
    [head], [end] = sink.heads, sink.ends
    for response in (head, end):
        assert (response.outcome, response.code, response.status) == (Outcome.ANSWERED, 0, 200)
        assert response.head == sized(body)[: -len(body)]
        assert (response.body, response.address, response.sent) == (b"", "127.0.0.1", True)
    assert 0 < head.timing.first_byte <= head.timing.total <= end.timing.total
    assert client.in_flight == 0


class Short(Heard):
    """Wants a short answer as one."""

    short = True


async def test_short_answers_are_told_whole_when_more_end_at_once_than_a_turn_hands_out(origin):
    with closing(CurlClient(force_instance=True, max_clients=30)) as client:
        url, sinks = origin.add(sized(b"short"), KEEP), [Short() for _ in range(30)]

        def take_a_turn(_: Response) -> None:
            end = time.monotonic() + 2 * TURN
            while time.monotonic() < end:
                pass

        sinks[0].on_done = take_a_turn
        for sink in sinks:
            start(client, url, sink)
        await wait_until(lambda: all(sink.ends for sink in sinks))
        assert [sink.order for sink in sinks] == [["done"]] * 30


async def test_the_head_is_told_while_the_body_is_awaited(client, origin):
    sink = Heard()
    transfer = start(client, origin.add(OK + b"Content-Length: 9\r\n\r\n", HANG), sink)
    await wait_until(lambda: sink.heads)
    assert sink.told == ["head"]
    transfer.cancel()


async def test_pieces_are_told_while_more_is_awaited(client, origin):
    sink = Heard()
    transfer = start(client, origin.add(sized(b"abc", 9), HANG), sink)
    await wait_until(lambda: sink.heard == b"abc")
    assert sink.told == ["head", "body"]
    transfer.cancel()


@pytest.mark.parametrize(
    ("script", "fields"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", {}),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", {}),
        (sized(b""), {}),
        (CHUNKED + b"0\r\n\r\n", {}),
        (OK + b"Content-Length: 9\r\n\r\n", {"method": "HEAD"}),
        (OK + b"Content-Length: 9\r\n\r\n", {"method": "HEAD", "body": b"own"}),
    ],
)
async def test_an_answer_without_a_body_is_head_and_end(client, origin, script, fields):
    sink = await hear(client, origin.add(script, KEEP), **fields)
    assert sink.told == ["head", "done"]
    assert (sink.ends[0].outcome, sink.ends[0].code) == (Outcome.ANSWERED, 0)
    assert (await hear(client, origin.add(sized(b"ok"), KEEP))).heard == b"ok"


async def test_interim_answers_and_trailers_belong_to_no_head(client, origin):
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3
    trailers = b"0\r\nX-End: now\r\n\r\n"
    sink = await hear(client, origin.add(interim + CHUNKED + b"2\r\nok\r\n" + trailers))
    assert sink.order == ["head", "body", "done"]
    assert sink.heads[0].head == CHUNKED
    assert sink.heard == b"ok"


async def test_a_spare_handle_keeps_no_sink_alive(client, origin):
    sink = await hear(client, origin.add(sized(b"ok"), KEEP))
    gone = weakref.ref(sink)
    del sink
    gc.collect()
    assert gone() is None


async def test_a_coding_is_undone_on_the_way(client, origin):
    body = b"chicken" * 100_000
    packed = gzip.compress(body)
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    sink = await hear(client, origin.add(head + packed))
    assert (sink.heard, sink.ends[0].outcome) == (body, Outcome.ANSWERED)


async def test_small_pieces_are_told_together(client, origin):
    sink = await hear(client, origin.add(CHUNKED + b"2\r\nok\r\n" * 20_000 + b"0\r\n\r\n"))
    assert sink.heard == b"ok" * 20_000
    assert len(sink.chunks) < 1000


# -- what breaks -----------------------------------------------------------------------------------

BEFORE_THE_HEAD: list[tuple[tuple[Step, ...], Code, Outcome]] = [
    ((RESET,), Code.RECV_ERROR, Outcome.TARGET),
    ((b"",), Code.GOT_NOTHING, Outcome.TARGET),
    ((OK + b"Content-Len",), Code.PARTIAL_FILE, Outcome.TARGET),
    ((OK + b"A: " + b"a" * 200_000,), Code.FILESIZE_EXCEEDED, Outcome.OURS),
    ((b"HTTP/1.1 101 Switching\r\n\r\nbody",), Code.WEIRD_SERVER_REPLY, Outcome.TARGET),
    ((b"no HTTP at all\r\n\r\n",), Code.UNSUPPORTED_PROTOCOL, Outcome.TARGET),
    (
        (OK + b"A: a\r\n" * ((MAX_HEAD - len(OK)) // 6) + b"B: b\r\n\r\nbody",),
        Code.FILESIZE_EXCEEDED,
        Outcome.OURS,
    ),
]


@pytest.mark.parametrize(("script", "code", "outcome"), BEFORE_THE_HEAD)
async def test_what_breaks_before_its_head_is_told_by_its_end_alone(
    client, origin, script, code, outcome
):
    url = origin.add(*script)
    sink = await hear(client, url, limits=Limits(total=20.0, connect=5.0, fresh=True))
    assert sink.told == ["done"]
    assert (sink.ends[0].code, sink.ends[0].outcome) == (code, outcome), sink.ends[0].message
    assert sink.ends[0].body == b""
    whole: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    client.start(Request(url=url), DIRECT, LIMITS, WholeBody(whole.set_result))
    assert ((await whole).code, whole.result().outcome) == (code, outcome)
    assert client.budget.held == 0


async def test_a_transfer_that_never_began_is_told_by_its_end_alone(client):
    sink = await hear(client, "http://127.0.0.1:99999/")
    assert (sink.told, sink.ends[0].outcome) == (["done"], Outcome.TARGET)


@pytest.mark.parametrize(
    ("script", "code", "heard"),
    [
        ((sized(b"abc", 9),), Code.PARTIAL_FILE, b"abc"),
        ((CHUNKED + b"3\r\nabc\r\n",), Code.PARTIAL_FILE, b"abc"),
        ((CHUNKED + b"3\r\nabc\r\nno size\r\n",), Code.RECV_ERROR, b"abc"),
        ((sized(b"abc", 9), Pause(0.1), RESET), Code.RECV_ERROR, b"abc"),
    ],
)
async def test_what_breaks_behind_its_head_says_so_at_its_end(client, origin, script, code, heard):
    sink = await hear(client, origin.add(*script))
    assert sink.order == ["head", "body", "done"]
    assert sink.heads[0].outcome is Outcome.ANSWERED
    assert (sink.heard, sink.ends[0].code) == (heard, code), sink.ends[0].message
    assert sink.ends[0].outcome is Outcome.TARGET
    assert sink.ends[0].message


@pytest.mark.parametrize("limit", [0, 1, 99_999, 100_000, 100_001])
async def test_a_body_over_the_limit_is_cut_there(client, origin, limit):
    sink = await hear(client, origin.add(sized(b"x" * 100_000)), max_body=limit)
    is_cut = 0 < limit < 100_000
    assert len(sink.heard) == (limit if is_cut else 100_000)
    assert sink.ends[0].code == (Code.FILESIZE_EXCEEDED if is_cut else 0)
    assert sink.ends[0].outcome is (Outcome.OURS if is_cut else Outcome.ANSWERED)
    assert client.budget.held == 0


async def test_another_address_is_tried_unheard():
    async with DnsServer.running({"two.test": Answer(a=("127.0.0.2", "127.0.0.3"))}) as names:
        resolver = Resolver(nameservers=[names.host], port=names.port)
        async with RawOrigin("127.0.0.3") as origin:
            url = origin.add(sized(b"ok")).replace("127.0.0.3", "two.test")
            with closing(CurlClient(force_instance=True, resolver=resolver)) as client:
                sink = await hear(client, url)
        resolver.close()
    assert (sink.order, sink.heard) == (["head", "body", "done"], b"ok")


# -- pauses ----------------------------------------------------------------------------------------


async def test_no_body_is_told_between_pause_and_resume(client, origin):
    sink, body = Heard(), b"x" * 50_000
    transfer = start(client, origin.add(sized(body)), sink)
    sink.on_head = lambda _: transfer.pause()
    await wait_until(lambda: held(transfer) == len(body))
    assert (sink.told, client.budget.held) == (["head"], len(body))
    transfer.resume()
    assert sink.told == ["head"], "told from inside resume"
    await wait_until(lambda: sink.ends)
    assert (sink.heard, sink.ends[0].outcome) == (body, Outcome.ANSWERED)
    assert client.budget.held == 0


async def test_a_sink_may_pause_at_each_piece(client, origin):
    sink, body = Heard(), bytes(range(256)) * 8000
    transfer = start(client, origin.add(sized(body)), sink)
    loop = asyncio.get_running_loop()

    def pause(_: bytes) -> None:
        transfer.pause()
        loop.call_soon(transfer.resume)

    sink.on_body = pause
    await wait_until(lambda: sink.ends, timeout=30)
    assert (sink.heard, sink.ends[0].outcome) == (body, Outcome.ANSWERED)


async def test_pause_and_resume_from_inside_a_call_change_nothing(client, origin):
    sink, body = Heard(), b"x" * 500_000
    transfer = start(client, origin.add(sized(body)), sink)

    def both(_: Any) -> None:
        transfer.pause()
        transfer.resume()

    sink.on_head = sink.on_body = both
    await wait_until(lambda: sink.ends)
    assert sink.heard == body


async def test_pausing_what_has_ended_or_is_whole_is_harmless(client, origin):
    url = origin.add(sized(b"ok"))
    sink = Heard()
    transfer = start(client, url, sink)
    await wait_until(lambda: sink.ends)
    whole: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    other = client.start(Request(url=url), DIRECT, LIMITS, WholeBody(whole.set_result))
    other.pause()
    assert (await whole).body == b"ok"
    for ended in (transfer, other):
        ended.pause()
        ended.resume()
        ended.resume()
    assert (await hear(client, url)).heard == b"ok"
    assert sink.told == ["head", "body", "done"]


class Tireless:
    """An origin that sends as much as it can of `size` bytes, and counts them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.sent = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sized(b"", self.size))
        while self.sent < self.size:
            writer.write(b"x" * 65536)
            await writer.drain()
            self.sent += 65536


def kernel_buffers() -> int:
    """What the kernel may hold of one connection, on both sides."""
    root = Path("/proc/sys/net/ipv4")
    return sum(int((root / name).read_text().split()[2]) for name in ("tcp_rmem", "tcp_wmem"))


async def until_still(count: Callable[[], int]) -> int:
    """The count when it has not changed for 40 looks."""
    seen: list[int] = []

    def is_still() -> bool:
        seen.append(count())
        return seen[-1] > 0 and seen[-40:] == [seen[-1]] * 40

    await wait_until(is_still, timeout=20)
    return seen[-1]


async def test_an_origin_is_stopped_by_a_sink_that_has_paused(client):
    size = kernel_buffers() + 64 * 1024 * 1024
    source = Tireless(size)
    async with serving(source.serve) as port:
        sink = Heard()
        transfer = start(client, f"http://127.0.0.1:{port}/", sink)
        sink.on_head = lambda _: transfer.pause()
        sent = await until_still(lambda: source.sent)
        assert sent < kernel_buffers() + 500_000
        assert MAX_UNHEARD <= held(transfer) < MAX_UNHEARD + READ_AT_ONCE
        assert client.largest_body == client.budget.held < held(transfer) + READ_AT_ONCE
        assert sink.told == ["head"]
        transfer.resume()
        await wait_until(lambda: sink.ends, timeout=30)
    assert (len(sink.heard), sink.ends[0].outcome) == (size, Outcome.ANSWERED)
    assert client.budget.held == 0


async def test_a_paused_stream_of_http2_is_stopped_and_its_neighbours_go_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    certificates = Certificates.make(tmp_path_factory.mktemp("certificates"))
    context = certificates.trusted.server_context()
    context.set_alpn_protocols(["h2"])
    sent: dict[bytes, int] = {}
    size, connections = 40_000_000, []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        await serve_h2_tireless(reader, writer, size, sent)

    with closing(CurlClient(force_instance=True, ca_file=certificates.trusted.file)) as client:
        async with serving(serve, tls=context) as port:
            url = f"https://127.0.0.1:{port}"
            paused = Heard()
            transfer = start(client, url + "/paused", paused)
            paused.on_head = lambda _: transfer.pause()
            await wait_until(lambda: held(transfer) >= MAX_UNHEARD)
            neighbour = await hear(client, url + "/neighbour")
            assert (len(neighbour.heard), len(connections)) == (size, 1)
            assert paused.told == ["head"]
            # libcurl grants a stream 10 MiB ahead, twice, and holds itself what comes of that.
            granted = sent[b"/paused"]
            assert MAX_UNHEARD < granted < 22_000_000
            await wait_until(lambda: client.budget.held == granted, what="all of it to count")
            assert client.largest_body == granted
            transfer.resume()
            await wait_until(lambda: paused.ends, timeout=30)
            assert client.budget.held == 0
    assert (len(paused.heard), paused.ends[0].outcome) == (size, Outcome.ANSWERED)


async def test_those_that_go_on_in_the_same_turn_are_read_one_after_the_other(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """In one call of libcurl for all of them, what each of them costs would add up."""
    certificates = Certificates.make(tmp_path_factory.mktemp("certificates"))
    body = frame(DATA, b"x" * 16384) * (MAX_UNHEARD // 16384 + 8)
    cuts: list[int] = []  # at each turn of the loop

    with (
        flooding(8, certificates.trusted, HELLO + HEAD + body, GOAWAYS) as floods,
        closing(CurlClient(force_instance=True, ca_file=certificates.trusted.file)) as client,
    ):

        def turn() -> None:
            cuts.append(client._watchdog.cuts)
            if not all(sink.ends for sink in sinks):
                asyncio.get_running_loop().call_soon(turn)

        sinks = [Heard() for _ in floods.urls]
        transfers = [start(client, url, sink) for url, sink in zip(floods.urls, sinks, strict=True)]
        for sink, transfer in zip(sinks, transfers, strict=True):
            sink.on_head = partial(lambda transfer, _: transfer.pause(), transfer)
        await wait_until(lambda: all(held(transfer) >= MAX_UNHEARD for transfer in transfers))
        floods.begin.set()
        for transfer in transfers:
            transfer.resume()
        turn()
        await wait_until(lambda: all(sink.ends for sink in sinks), timeout=30)
        assert client._watchdog.cuts > 0
    # What a call has left in the middle is still there in the one for the next.
    assert max(after - before for before, after in pairwise(cuts)) <= 2


@pytest.mark.parametrize("limit", [5_000_000, 50_000_000])
async def test_what_libcurl_keeps_of_paused_streams_counts(
    tmp_path_factory: pytest.TempPathFactory, limit: int
) -> None:
    certificates = Certificates.make(tmp_path_factory.mktemp("certificates"))
    context = certificates.trusted.server_context()
    context.set_alpn_protocols(["h2"])
    sent: dict[bytes, int] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve_h2_tireless(reader, writer, 40_000_000, sent)

    budget = Budget(limit)
    with closing(
        CurlClient(force_instance=True, ca_file=certificates.trusted.file, budget=budget)
    ) as client:
        async with serving(serve, tls=context) as port:
            sink = Heard()
            transfer = start(client, f"https://127.0.0.1:{port}/", sink)
            sink.on_head = lambda _: transfer.pause()
            await wait_until(lambda: sink.heads)
            # While nobody reads, libcurl does not either.
            await hear(client, f"https://127.0.0.1:{port}/neighbour")
            if limit < 20_000_000:
                await wait_until(lambda: sink.ends)
                [end] = sink.ends
                assert (end.outcome, end.code) == (Outcome.OURS, Code.OUT_OF_MEMORY)
                assert "fetcher.body_budget" in end.message
            else:
                await until_still(lambda: budget.held)
                assert 1_000_000 < budget.held == sent[b"/"]
                transfer.cancel()
    assert budget.held == 0


async def paused_at_its_head(client: CurlClient, url: str, limits: Limits = LIMITS) -> Any:
    """A sink, and its transfer of which all has come and is held."""
    sink = Heard()
    transfer = start(client, url, sink, limits)
    sink.on_head = lambda _: transfer.pause()
    await wait_until(lambda: sink.heads and not client.in_flight)
    return sink, transfer


async def test_the_end_waits_until_the_rest_was_heard(client, origin):
    sink, transfer = await paused_at_its_head(client, origin.add(sized(b"ok")))
    assert (sink.told, client.largest_body) == (["head"], 2)
    transfer.resume()
    await wait_until(lambda: sink.ends)
    assert sink.told == ["head", "body", "done"]
    assert (client.largest_body, client.budget.held) == (0, 0)


async def test_the_end_does_not_wait_beyond_the_deadline(client, origin):
    limits = Limits(total=0.5, connect=0.5)
    sink, transfer = await paused_at_its_head(client, origin.add(sized(b"ok")), limits)
    await wait_until(lambda: sink.ends)
    assert sink.told == ["head", "done"]
    assert (sink.ends[0].code, sink.ends[0].outcome) == (Code.OPERATION_TIMEDOUT, Outcome.OURS)
    assert "nobody read" in sink.ends[0].message
    transfer.resume()
    assert (client.largest_body, client.budget.held) == (0, 0)


async def test_what_waits_to_be_heard_can_be_cancelled(client, origin):
    sink, transfer = await paused_at_its_head(client, origin.add(sized(b"ok")))
    transfer.cancel()
    transfer.resume()
    assert (await hear(client, origin.add(sized(b"ok")))).heard == b"ok"
    assert (sink.told, client.budget.held) == (["head"], 0)


async def test_a_failure_does_not_wait_for_a_sink_that_has_paused(client, origin):
    sink = Heard()
    transfer = start(client, origin.add(sized(b"abc", 9)), sink)
    sink.on_head = lambda _: transfer.pause()
    await wait_until(lambda: sink.ends)
    assert (sink.told, sink.ends[0].code) == (["head", "done"], Code.PARTIAL_FILE)
    assert client.budget.held == 0


async def test_the_deadline_holds_while_a_sink_has_paused(client, origin):
    sink = Heard()
    limits = Limits(total=1.0, connect=1.0)
    transfer = start(client, origin.add(CHUNKED, Endless(b"4\r\nfour\r\n" * 999)), sink, limits)
    sink.on_head = lambda _: transfer.pause()
    await wait_until(lambda: held(transfer) >= MAX_UNHEARD)
    await wait_until(lambda: sink.ends)
    assert (sink.told, sink.ends[0].code) == (["head", "done"], Code.OPERATION_TIMEDOUT)
    assert 1.0 <= sink.ends[0].timing.total < 3.0
    assert client.budget.held == 0


async def test_a_transfer_that_we_have_paused_is_not_slow(origin):
    with closing(CurlClient(force_instance=True, low_speed=1000, low_speed_time=0.4)) as client:
        slow = Heard()
        start(client, origin.add(sized(b"ab", 9), HANG), slow)
        sink = Heard()
        transfer = start(client, origin.add(sized(b"ab", 9), HANG), sink)
        sink.on_head = lambda _: transfer.pause()
        await wait_until(lambda: sink.heads)
        await wait_until(lambda: slow.ends)
        again = await hear(client, origin.add(sized(b"ab", 9), HANG))
        for ended in (slow, again):
            assert ended.ends[0].code == Code.OPERATION_TIMEDOUT
            assert ended.heard == b"ab"
        assert sink.told == ["head"]
        loop = asyncio.get_running_loop()
        resumed = loop.time()
        transfer.resume()
        await wait_until(lambda: sink.ends)
        assert loop.time() - resumed >= 0.4
    assert (sink.heard, sink.ends[0].code) == (b"ab", Code.OPERATION_TIMEDOUT)


# -- the budget ------------------------------------------------------------------------------------


async def test_what_was_heard_is_held_no_more(origin):
    budget = Budget(1_000_000)
    with closing(CurlClient(force_instance=True, budget=budget)) as client:
        sink = await hear(client, origin.add(sized(b"x" * 8_000_000)))
    assert (len(sink.heard), sink.ends[0].outcome) == (8_000_000, Outcome.ANSWERED)
    assert budget.held == 0


@pytest.mark.parametrize("is_complete", [False, True])
async def test_over_the_budget_the_sink_that_holds_most_is_ended(origin, is_complete):
    budget = Budget(150_000)
    with closing(CurlClient(force_instance=True, budget=budget)) as client:
        script = sized(b"x" * 100_000, 100_000 if is_complete else 200_000)
        first, second = Heard(), Heard()
        transfer = start(client, origin.add(script, HANG), first)
        first.on_head = lambda _: transfer.pause()
        await wait_until(lambda: held(transfer) == 100_000)
        other = start(client, origin.add(sized(b"x" * 60_000)), second)
        second.on_head = lambda _: other.pause()
        await wait_until(lambda: first.ends)
        assert (first.told, first.ends[0].code) == (["head", "done"], Code.OUT_OF_MEMORY)
        other.resume()
        await wait_until(lambda: second.ends)
    assert (len(second.heard), second.ends[0].outcome) == (60_000, Outcome.ANSWERED)
    assert budget.held == 0


# -- calls that do something -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["head", "body", "done"])
@pytest.mark.parametrize("deed", ["cancel", "cancel another", "close"])
async def test_each_call_may_cancel_and_close(origin, name, deed):
    with closing(CurlClient(force_instance=True)) as client:
        sink, other = Heard(), Heard()
        transfer = start(client, origin.add(sized(b"x" * 300_000)), sink)
        paused = start(client, origin.add(sized(b"x" * 300_000)), other)
        other.on_head = lambda _: paused.pause()
        deeds = {"cancel": transfer.cancel, "cancel another": paused.cancel, "close": client.close}
        setattr(sink, f"on_{name}", lambda _: deeds[deed]())
        if deed == "cancel another":
            await wait_until(lambda: sink.ends)
        else:
            await wait_until(lambda: name in sink.told)
        if deed != "close":
            paused.cancel()
            assert (await hear(client, origin.add(sized(b"ok")))).heard == b"ok"
        assert client.budget.held == 0
    assert other.told in (["head"], [])
    if deed != "cancel another":
        assert sink.order == ["head", "body", "done"][: ["head", "body", "done"].index(name) + 1]


@pytest.mark.parametrize("name", ["head", "body", "done"])
async def test_a_sink_that_raises_hears_of_its_end(client, origin, caplog, name):
    sink = Heard()

    def fail(_: Any) -> None:
        raise LookupError("a sink of ours")

    setattr(sink, f"on_{name}", fail)
    with caplog.at_level(logging.ERROR, "fetcher.client.stream"):
        start(client, origin.add(sized(b"x" * 300_000, 400_000), HANG), sink, LIMITS)
        start(client, origin.add(sized(b"x" * 300_000)), sink, LIMITS)
        await wait_until(lambda: sink.ends, timeout=30)
        if name != "done":
            await wait_until(lambda: len(sink.ends) == 2)
            assert [end.code for end in sink.ends] == [Code.WRITE_ERROR] * 2
            assert {end.outcome for end in sink.ends} == {Outcome.OURS}
            assert sink.ends[0].message == "the receiver failed: LookupError: a sink of ours"
            assert client.in_flight == 0
        assert [record.levelname for record in caplog.records].count("ERROR") == len(sink.ends)
    assert (await hear(client, origin.add(sized(b"ok")))).heard == b"ok"


# -- Stream alone ----------------------------------------------------------------------------------


def answered() -> Response:
    return Response(url="http://h/", outcome=Outcome.ANSWERED, status=200)


def test_nothing_is_told_twice_or_after_a_drop() -> None:
    sink, budget = Heard(), Budget()
    stream = Stream(sink, budget, lambda: None)
    stream.add(b"a")
    stream.tell()
    assert (sink.told, budget.held) == ([], 1)  # the head comes first
    stream.begin(answered())
    stream.tell()
    stream.end(answered())
    stream.tell()
    assert sink.told == ["head", "body", "done"]
    other = Stream(sink, budget, lambda: None)
    other.begin(answered())
    other.add(b"a")
    other.drop()
    other.tell()
    assert (sink.told, budget.held) == (["head", "body", "done", "head"], 0)


@pytest.mark.parametrize(("size", "is_full"), [(-1, False), (0, True), (1, True)])
def test_it_is_full_at_its_limit(size: int, *, is_full: bool) -> None:
    stream = Stream(Heard(), Budget(), lambda: None)
    stream.add(b"x" * (MAX_UNHEARD + size))
    assert stream.is_full is is_full


@pytest.mark.parametrize("limit", [1, 2])
def test_it_says_when_the_budget_is_spent(limit: int) -> None:
    assert Stream(Heard(), Budget(limit), lambda: None).add(b"ab") is (limit == 2)
