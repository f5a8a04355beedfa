import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pycurl
import pytest
import pytest_asyncio

from fetcher.client.body_budget import Budget
from fetcher.client.chunks import SMALL
from fetcher.client.handle import MAX_CONNECT_HEAD, Handle
from fetcher.client.names import NO_LOOKUPS
from fetcher.client.options import Common
from fetcher.client.pieces import PIECES, Pieces
from fetcher.client.stream import Stream
from fetcher.model import DIRECT, Exit, Limits, Request
from fetcher.proxy import Proxy
from tests.fetcher.client.heard import Heard
from tests.raw_origin import KEEP, READ, Endless, RawOrigin

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
        self.held_up: list[Handle] = []
        self.pieces: Pieces[Handle] = Pieces(asyncio.get_running_loop(), self.go_on)

    def go_on(self) -> None:
        """A handle alone does not know how."""

    def soon(self) -> None:
        self.calls += 1

    def handle(self, guard: Any = None) -> Handle:
        return Handle(guard, self.budget, self.soon, self.pieces, self.held_up.append)


async def fetch(handle: Handle, request: Request, exit: Exit = DIRECT) -> int:
    """libcurl's code for one transfer, in a thread: the handle alone, without any client."""
    handle.prepare(request, exit, LIMITS, NO_LOOKUPS, Common())
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
        handle.prepare(request_, DIRECT, LIMITS, NO_LOOKUPS, Common())
    handle.close()


REFUSALS = [
    b"HTTP/1.1 407 No\r\nContent-Length: 99999999999\r\n\r\n",
    b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.0 407\r\nProxy-Authenticate: Digest nonce=b\r\nContent-Length: 9999999\r\n\r\n",
    b"HTTP/1.1 407 No\r\n\r\n",
    b"HTTP/1.1 403 No\r\nContent-Length: 99999999999\r\n\r\n",
    b"HTTP/1.1 302 No\r\nLocation: http://h/\r\nContent-Length: 99999999999\r\n\r\n",
]


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.timeout(20)
async def test_a_refused_tunnel_ends_with_the_head_of_its_refusal(refusal) -> None:
    """libcurl would read the body in one call, and no time-out would end that."""
    greeting = (READ, refusal, Endless(b"10000\r\n" + b"x" * 65536 + b"\r\n"))
    async with RawOrigin(greeting=greeting) as proxy:
        handle = Sheds().handle()
        exit = Exit(proxy=Proxy("http", proxy.host, proxy.port))
        request = Request(url="https://127.0.0.1:9/")
        assert await fetch(handle, request, exit) in (pycurl.E_WRITE_ERROR, pycurl.E_RECV_ERROR)
        assert (handle.connect_refused, handle.lines) == (True, [])
        assert handle.curl.getinfo(pycurl.HTTP_CONNECTCODE) == int(refusal.split()[1])
        handle.clear()
        assert not handle.connect_refused
        handle.close()


async def test_an_endless_head_of_a_tunnel_is_cut() -> None:
    greeting = (READ, b"HTTP/1.1 200 OK\r\n", Endless(b"A: " + b"a" * 1000 + b"\r\n"))
    async with RawOrigin(greeting=greeting) as proxy:
        handle = Sheds().handle()
        exit = Exit(proxy=Proxy("http", proxy.host, proxy.port))
        assert await fetch(handle, Request(url="https://127.0.0.1:9/"), exit) != 0
        assert MAX_CONNECT_HEAD < handle.connect_size < MAX_CONNECT_HEAD + 1100
        handle.close()


@pytest.mark.parametrize("streamed", [False, True])
async def test_of_small_pieces_a_turn_takes_so_many_and_then_libcurl_waits(streamed) -> None:
    sheds = Sheds()
    handle, write = sheds.handle(), "_write"
    if streamed:
        stream = Stream(Heard(), sheds.budget, lambda: None)
        handle.prepare(Request(url="http://h/"), DIRECT, LIMITS, NO_LOOKUPS, Common(), stream)
        write = "_write_on"
    take = getattr(handle, write)
    first = take(b"x")  # a body in one piece never waits
    assert [first, *(take(b"x") for _ in range(PIECES))] == [None] * (PIECES + 1)
    assert (handle.is_held_up, handle.waits_for_turn) == (False, False)
    assert take(b"x" * (SMALL - 1)) == pycurl.WRITEFUNC_PAUSE
    assert (handle.is_held_up, handle.waits_for_turn, handle.size) == (True, True, PIECES + 1)
    assert not handle.may_read_on
    handle.go_on()
    assert handle.is_held_up  # it is not its turn
    assert take(b"x" * SMALL) is None  # what is large is cheap
    assert sheds.budget.held == PIECES + 1 + SMALL
    assert list(sheds.pieces.turns()) == [handle]
    assert handle.may_read_on
    with pytest.raises(pycurl.error):  # there is no transfer, and so it was called
        handle.go_on()
    assert not handle.is_held_up
    assert take(b"x") is None
    sheds.pieces.left = 0
    take(b"x")
    handle.clear()
    assert (handle.is_held_up, handle.waits_for_turn) == (False, False)
    assert list(sheds.pieces.turns()) == []
    handle.close()


async def test_a_small_body_is_taken_when_a_turn_has_had_its_pieces(origin) -> None:
    sheds = Sheds()
    sheds.pieces.left = 0
    handle = sheds.handle()
    assert await fetch(handle, Request(url=origin.url)) == 0
    assert (handle.size, sheds.pieces.left) == (20, 0)
    handle.close()
