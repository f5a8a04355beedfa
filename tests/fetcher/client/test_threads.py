"""Transfers in threads: deadlines, cancelling, the budget, and errors of our own."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from fetcher.client.body_budget import Budget
from fetcher.client.sinks import WholeBody
from fetcher.client.stream import MAX_UNHEARD
from fetcher.client.threads import ThreadClient, ThreadTransfer
from fetcher.errors import Code, Outcome
from fetcher.model import DIRECT, Limits, Request, Response
from tests.fetcher.client.heard import Heard
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(15)

LOOPS = ("asyncio", "uvloop")
REQUEST = Request(url="file:///x")


def answer(transfer: ThreadTransfer) -> Response:
    return Response(url=transfer.request.url, outcome=Outcome.ANSWERED, status=200)


@asynccontextmanager
async def running(
    run: Callable[[ThreadTransfer], Response], budget: Budget | None = None, threads: int = 1
) -> AsyncIterator[ThreadClient]:
    client = ThreadClient(run, threads=threads, name="test", budget=budget)
    try:
        yield client
    finally:
        client.close()


def begin(client: ThreadClient, total: float = 10.0) -> "asyncio.Future[Response]":
    ended: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    client.start(REQUEST, DIRECT, Limits(total=total, connect=1), WholeBody(ended.set_result))
    return ended


async def test_the_answer_comes_from_another_thread_to_the_loops() -> None:
    seen = []

    def run(transfer: ThreadTransfer) -> Response:
        seen.append(threading.current_thread().name)
        return answer(transfer)

    async with running(run) as client:
        response = await begin(client)
    assert response.status == 200
    assert seen[0].startswith("test")


async def test_the_deadline_counts_the_wait_for_a_thread() -> None:
    free, ran = threading.Event(), []

    def run(transfer: ThreadTransfer) -> Response:
        ran.append(transfer)
        free.wait(10)
        return answer(transfer)

    async with running(run) as client:
        first, second = begin(client), begin(client, total=0.05)
        try:
            response = await second
            assert not first.done()
        finally:
            free.set()
        await first
    assert (response.code, response.outcome) == (Code.OPERATION_TIMEDOUT, Outcome.OURS)
    assert response.message.startswith("Operation timed out after ")
    assert len(ran) == 1, "nobody waits for the second any more"


@pytest.mark.parametrize("how", ["cancel", "close"])
async def test_the_thread_hears_that_nobody_waits_any_more(how: str) -> None:
    begun, heard = threading.Event(), threading.Event()
    called: list[Response] = []

    def run(transfer: ThreadTransfer) -> Response:
        begun.set()
        while transfer.is_wanted:
            threading.Event().wait(0.001)
        transfer.hold(5)  # too late to count
        heard.set()
        return answer(transfer)

    budget = Budget(100)
    async with running(run, budget) as client:
        limits = Limits(total=10, connect=1)
        transfer = client.start(REQUEST, DIRECT, limits, WholeBody(called.append))
        await wait_until(begun.is_set)
        if how == "cancel":
            transfer.cancel()
            transfer.cancel()
        else:
            client.close()
        await wait_until(heard.is_set)
        await asyncio.sleep(0)
    assert (called, budget.held, budget.holders) == ([], 0, [])


@pytest.mark.parametrize(("size", "fits"), [(9, True), (10, True), (11, False)])
async def test_bodies_count_until_they_are_delivered(size: int, fits: bool) -> None:
    counted = threading.Event()

    def run(transfer: ThreadTransfer) -> Response:
        transfer.hold(size)
        counted.wait(10)
        return answer(transfer)

    budget = Budget(10)
    async with running(run, budget) as client:
        ended = begin(client)
        try:
            await wait_until(lambda: ended.done() or budget.held == size)
            assert client.largest_body == (size if fits else 0)
        finally:
            counted.set()
        response = await ended
    assert (response.code == Code.OUT_OF_MEMORY) is not fits
    assert "body_budget" in response.message or fits
    assert budget.held == 0


async def test_an_error_of_ours_ends_its_transfer_only(caplog: pytest.LogCaptureFixture) -> None:
    failing = iter([True, False])

    def run(transfer: ThreadTransfer) -> Response:
        if next(failing):
            raise RuntimeError("no")
        return answer(transfer)

    async with running(run) as client:
        first, second = await begin(client), await begin(client)
    assert (first.outcome, first.message) == (Outcome.OURS, "RuntimeError: no")
    assert second.status == 200
    assert "a transfer in a thread failed" in caplog.text


# -- in pieces -------------------------------------------------------------------------------------

BODY = bytes(range(256)) * (MAX_UNHEARD // 128) + b"rest"


def page(transfer: ThreadTransfer) -> Response:
    transfer.hold(len(BODY))
    response = answer(transfer)
    response.head, response.body = b"HTTP/1.1 200 OK\r\n\r\n", BODY
    return response


def stream(client: ThreadClient, sink: Heard, total: float = 10.0) -> ThreadTransfer:
    return client.start(REQUEST, DIRECT, Limits(total=total, connect=1), sink)


def has_heard(sink: Heard, count: int) -> bool:
    return len(sink.chunks) == count


async def test_what_was_read_whole_is_told_in_pieces() -> None:
    budget = Budget()
    async with running(page, budget) as client:
        sink = Heard()
        stream(client, sink)
        await wait_until(lambda: sink.ends)
    assert sink.told == ["head", "body", "body", "body", "done"]
    assert sink.heard == BODY
    for response in (*sink.heads, *sink.ends):
        assert (response.outcome, response.status, response.body) == (Outcome.ANSWERED, 200, b"")
    assert budget.held == 0


async def test_a_body_that_is_cut_says_so_at_its_end() -> None:
    def run(transfer: ThreadTransfer) -> Response:
        response = page(transfer)
        response.outcome, response.code = Outcome.OURS, Code.FILESIZE_EXCEEDED
        return response

    async with running(run) as client:
        sink = Heard()
        stream(client, sink)
        await wait_until(lambda: sink.ends)
    assert (sink.heads[0].outcome, sink.heads[0].code) == (Outcome.ANSWERED, 0)
    assert (sink.heard, sink.ends[0].code) == (BODY, Code.FILESIZE_EXCEEDED)


async def test_a_failure_without_a_head_is_told_by_its_end_alone() -> None:
    def run(transfer: ThreadTransfer) -> Response:
        raise RuntimeError("no")

    async with running(run) as client:
        sink = Heard()
        stream(client, sink)
        await wait_until(lambda: sink.ends)
    assert (sink.told, sink.ends[0].message) == (["done"], "RuntimeError: no")


async def test_a_sink_may_pause_between_pieces() -> None:
    async with running(page) as client:
        sink = Heard()
        transfer = stream(client, sink)
        sink.on_head = lambda _: transfer.pause()
        sink.on_body = lambda _: transfer.pause()
        await wait_until(lambda: sink.heads)
        for count in range(1, 4):
            assert (len(sink.chunks), sink.ends) == (count - 1, [])
            transfer.resume()
            transfer.resume()
            assert len(sink.chunks) == count - 1, "told from inside resume"
            await wait_until(partial(has_heard, sink, count))
        await wait_until(lambda: sink.ends)
        transfer.pause()
        transfer.resume()
    assert (sink.order, sink.heard) == (["head", "body", "done"], BODY)


async def test_a_sink_that_has_paused_hears_of_the_deadline() -> None:
    budget = Budget()
    async with running(page, budget) as client:
        sink = Heard()
        transfer = stream(client, sink, total=0.3)
        sink.on_head = lambda _: transfer.pause()
        await wait_until(lambda: sink.ends)
    assert (sink.told, sink.ends[0].code) == (["head", "done"], Code.OPERATION_TIMEDOUT)
    assert budget.held == 0


@pytest.mark.parametrize("name", ["head", "body", "done"])
async def test_each_call_may_cancel(name: str) -> None:
    budget = Budget()
    async with running(page, budget) as client:
        sink = Heard()
        transfer = stream(client, sink)
        setattr(sink, f"on_{name}", lambda _: transfer.cancel())
        await wait_until(lambda: name in sink.told)
        assert (await begin(client)).body == BODY
    assert sink.told[-1] == name
    assert budget.held == 0


@pytest.mark.parametrize("name", ["head", "body"])
async def test_a_sink_that_raises_hears_of_its_end(name: str) -> None:
    def fail(_: object) -> None:
        raise LookupError("a sink of ours")

    budget = Budget()
    async with running(page, budget) as client:
        sink = Heard()
        setattr(sink, f"on_{name}", fail)
        stream(client, sink)
        await wait_until(lambda: sink.ends)
    assert sink.ends[0].message == "the receiver failed: LookupError: a sink of ours"
    assert (sink.ends[0].outcome, budget.held) == (Outcome.OURS, 0)
