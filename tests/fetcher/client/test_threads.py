"""Transfers in threads: deadlines, cancelling, the budget, and errors of our own."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from fetcher.client.body_budget import Budget
from fetcher.client.sinks import WholeBody
from fetcher.client.threads import ThreadClient, ThreadTransfer
from fetcher.errors import Code, Outcome
from fetcher.model import DIRECT, Limits, Request, Response
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
