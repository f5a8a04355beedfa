import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pycurl
import pytest
import pytest_asyncio

from fetcher.client.body_budget import Budget
from fetcher.client.handle import Handle
from fetcher.client.names import NOTHING
from fetcher.client.options import Common
from fetcher.model import DIRECT, Limits, Request
from tests.raw_origin import KEEP, RawOrigin

LIMITS = Limits(total=5.0, connect=5.0)
PAGE = b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 20\r\n\r\n" + b"x" * 20


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[RawOrigin]:
    async with RawOrigin() as started:
        started.url = started.add(PAGE, KEEP)
        yield started


class Sheds:
    def __init__(self, limit: int = 0) -> None:
        self.budget = Budget(limit)
        self.calls = 0

    def soon(self) -> None:
        self.calls += 1

    def handle(self, guard: Any = None) -> Handle:
        return Handle(guard, self.budget, self.soon)


async def fetch(handle: Handle, request: Request) -> int:
    """libcurl's code for one transfer, in a thread: the handle alone, without any client."""
    handle.prepare(request, DIRECT, LIMITS, NOTHING, Common())
    try:
        await asyncio.to_thread(handle.curl.perform)
    except pycurl.error as error:
        return int(error.args[0])
    return 0


async def test_what_comes_is_collected_and_then_forgotten(origin) -> None:
    sheds = Sheds()
    handle = sheds.handle()
    for number in range(2):
        assert await fetch(handle, Request(url=f"{origin.url}?{number}")) == 0
        assert b"".join(handle.lines) + b"".join(handle.chunks) == PAGE
        assert (handle.size, handle.received, sheds.budget.held) == (20, len(PAGE), 20)
        handle.clear()
        assert (handle.lines, handle.chunks, handle.received, sheds.budget.held) == ([], [], 0, 0)
    handle.close()


@pytest.mark.parametrize(
    ("limit", "code", "kept"), [(0, 0, 20), (21, 0, 20), (20, 0, 20), (19, 23, 19), (1, 23, 1)]
)
async def test_of_a_body_over_the_limit_that_much_is_kept(origin, limit, code, kept) -> None:
    handle = Sheds().handle()
    assert await fetch(handle, Request(url=origin.url, max_body=limit)) == code
    assert (len(b"".join(handle.chunks)), handle.truncated) == (kept, code != 0)
    handle.clear()
    assert not handle.truncated
    handle.close()


@pytest.mark.parametrize(("limit", "calls"), [(0, 0), (20, 0), (19, 1)])
async def test_a_spent_budget_is_said_at_once(origin, limit, calls) -> None:
    sheds = Sheds(limit)
    handle = sheds.handle()
    assert await fetch(handle, Request(url=origin.url)) == 0
    assert sheds.calls == calls
    handle.close()
    assert sheds.budget.held == 0


async def test_the_guard_is_asked_for_each_request_and_notes_what_it_refused(origin) -> None:
    asked: list[str] = []
    answers = iter([True, True, False])

    def guard(address: str) -> bool:
        asked.append(address)
        return next(answers)

    handle = Sheds().handle(guard)
    assert await fetch(handle, Request(url=origin.url)) == 0  # the socket, then the request
    handle.clear()
    assert await fetch(handle, Request(url=origin.url)) == 42  # kept: the request alone
    assert (asked, handle.refused) == (["127.0.0.1"] * 3, "127.0.0.1")
    handle.clear()
    assert handle.refused is None
    handle.close()


async def test_a_head_with_a_body_of_its_own_ends_with_its_head(origin) -> None:
    handle = Sheds().handle()
    assert await fetch(handle, Request(url=origin.url, method="HEAD", body=b"own")) == 23
    assert handle.complete and b"".join(handle.lines) == PAGE[:-20]
    handle.clear()
    assert not handle.complete
    assert await fetch(handle, Request(url=origin.url)) == 0
    assert handle.size == 20
    handle.close()


@pytest.mark.parametrize(
    "request_", [Request(url="http://h/\N{CHICKEN}"), Request(url="http://h/", client_cert="a\0b")]
)
async def test_what_cannot_be_set_is_raised(request_) -> None:
    handle = Sheds().handle()
    with pytest.raises((pycurl.error, ValueError, TypeError)):
        handle.prepare(request_, DIRECT, LIMITS, NOTHING, Common())
    handle.close()
