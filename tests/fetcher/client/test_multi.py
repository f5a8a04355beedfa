import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pycurl
import pytest
import pytest_asyncio
from tornado.httpclient import HTTPClientError

from fetcher.client.multi import FEW, TURN, Multi
from fetcher.client.pace import AHEAD, REST
from fetchpool.farm import Origin
from tests.raw_origin import HANG, KEEP, Endless, RawOrigin
from tests.wait import wait_until

LOOPS = ("asyncio", "uvloop")

pytestmark = pytest.mark.usefixtures("nothing_breaks_on_the_loop")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[RawOrigin]:
    async with RawOrigin() as started:
        assert started.add(OK, KEEP) == page(started)
        yield started


def page(origin: RawOrigin) -> str:
    return origin.url + "/0"


@pytest_asyncio.fixture
async def multi() -> AsyncIterator[Multi]:
    made = Multi(force_instance=True)
    yield made
    made.close()


async def test_one_connection_serves_fetch_after_fetch(multi, origin) -> None:
    for _ in range(5):
        assert (await multi.fetch(page(origin))).body == b"ok"
        assert multi._poller.watched == 0
    assert origin.connections == 1


@pytest.mark.parametrize("clients", [20, 150])
async def test_as_many_connections_are_kept_as_fetches_may_run_at_once(clients, origin) -> None:
    multi = Multi(force_instance=True, max_clients=clients)
    for _ in range(3):
        await asyncio.gather(*(multi.fetch(page(origin)) for _ in range(clients)))
    assert origin.connections <= clients
    multi.close()


async def test_a_connection_that_the_server_closes_is_not_used_again(multi, origin) -> None:
    once = origin.add(OK)  # and closes
    for count in range(1, 4):
        assert (await multi.fetch(once)).body == b"ok"
        assert origin.connections == count


async def test_deadlines_are_kept_one_after_the_other(multi, origin) -> None:
    """The timer that stands for the nearest serves the later ones too."""
    silent = origin.add(HANG)
    ended: list[float] = []
    began = time.monotonic()

    async def fetch(timeout: float) -> None:
        with pytest.raises(HTTPClientError) as caught:
            await multi.fetch(silent, request_timeout=timeout)
        assert caught.value.code == 599
        ended.append(timeout)
        assert timeout <= time.monotonic() - began + 0.002

    await asyncio.gather(*map(fetch, (0.3, 0.1, 0.2, 0.15)))
    assert ended == [0.1, 0.15, 0.2, 0.3]


async def test_an_exception_from_a_callback_keeps_nobody_from_their_answers(origin) -> None:
    """libcurl's callbacks into Python can raise through `socket_action`."""
    multi = Multi(force_instance=True)
    loop = asyncio.get_running_loop()
    seen: list[BaseException] = []
    loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))

    def fail(*_: object) -> int:
        raise LookupError("before a request")

    def prepare(curl: pycurl.Curl) -> None:
        curl.setopt(pycurl.PREREQFUNCTION, fail)

    for _ in range(3):
        with pytest.raises(HTTPClientError):
            await multi.fetch(page(origin), prepare_curl_callback=prepare)
        assert (await multi.fetch(page(origin))).body == b"ok"
    assert [type(error) for error in seen] == [LookupError] * 3
    multi.close()


async def test_a_closed_one_is_off_the_loop(origin) -> None:
    multi = Multi(force_instance=True)
    await multi.fetch(page(origin))
    silent = origin.add(HANG)
    under_way = multi.fetch(silent)
    await wait_until(lambda: origin.connections or None)
    multi.close()
    assert (multi._timer, multi._poller.watched) == (None, 0)
    await wait_until(lambda: origin.open == 0, what="its connections to be closed")
    assert not under_way.done()


async def test_a_fetch_of_the_farms_site_is_tornados_own() -> None:
    async with Origin() as site:
        multi = Multi(force_instance=True)
        response = await multi.fetch(site.url + "/redirect/2")
        assert (response.code, site.hits["/redirect/2"]) == (200, 1)
        multi.close()


def busy(seconds: float) -> None:
    """What keeps the loop for so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


class Turns:
    """How many turns the loop has had."""

    def __init__(self) -> None:
        self.count = 0
        self._count()

    def _count(self) -> None:
        self.count += 1
        self._next = asyncio.get_running_loop().call_soon(self._count)

    def close(self) -> None:
        self._next.cancel()


async def test_sockets_for_which_a_turn_has_no_time_come_first_in_the_next(multi, origin) -> None:
    """A few whose answers take long are always ready; nobody waits for all of them."""
    slow = origin.add(b"HTTP/1.1 200 OK\r\n\r\n", Endless(b"x" * 100_000))
    calls, clients = 200, 6
    order: list[int] = []

    def prepare(number: int) -> Callable[[pycurl.Curl], None]:
        def keep(chunk: bytes) -> int | None:
            busy(TURN * 0.05)  # and libcurl calls ten times before it comes back
            order.append(number)
            return -1 if order.count(number) == calls else None

        return lambda curl: curl.setopt(pycurl.WRITEFUNCTION, keep)

    turns = Turns()
    fetches = [multi.fetch(slow, prepare_curl_callback=prepare(n)) for n in range(clients)]
    for ended in await asyncio.gather(*fetches, return_exceptions=True):
        assert isinstance(ended, HTTPClientError)
    turns.close()
    assert turns.count > clients * calls / 40
    assert set(order[: clients * calls // 2]) == set(range(clients))
    assert multi._watchdog.cuts == 0


ANSWER = 8  # turns of the loop that an answer of ours takes


async def test_when_libcurl_has_taken_much_time_others_have_their_turns(multi, origin) -> None:
    """It goes on with all that it has left in the middle, in each call, whatever that is for."""
    slow = origin.add(b"HTTP/1.1 200 OK\r\n\r\n", Endless(b"x" * 1_000_000))
    long_calls: list[object] = []

    def prepare(curl: pycurl.Curl) -> None:
        left = [60]

        def keep(chunk: bytes) -> int | None:
            left[0] -= 1
            if not long_calls or long_calls[-1] is not multi._watchdog.call:
                long_calls.append(multi._watchdog.call)
            busy(AHEAD / 3)
            return None if left[0] else -1

        curl.setopt(pycurl.WRITEFUNCTION, keep)

    fetches = asyncio.gather(
        *(multi.fetch(slow, prepare_curl_callback=prepare) for _ in range(3)),
        return_exceptions=True,
    )
    rests: set[float] = set()
    calls = []
    while not fetches.done():
        before = len(long_calls)
        for _ in range(ANSWER):
            await asyncio.sleep(0)
            if multi._pace.rest:
                rests.add(multi._pace.rests_until)
        calls.append(len(long_calls) - before)
    await fetches
    assert len(rests) > 2
    assert max(calls) <= 2  # one that was not too long, and one that was
    assert (await multi.fetch(page(origin))).body == b"ok"


async def test_what_has_ended_is_handed_out_in_parts_where_each_takes_long(origin) -> None:
    finished: list[int] = []
    turns = Turns()

    class Slow(Multi):
        def _finish(self, *ended: Any) -> None:
            busy(TURN / 4)
            finished.append(turns.count)
            super()._finish(*ended)

    multi, count = Slow(force_instance=True, max_clients=50), 3 * FEW
    fetches = [multi.fetch("http://127.0.0.1:0/") for _ in range(count)]
    for ended in await asyncio.gather(*fetches, return_exceptions=True):
        assert isinstance(ended, HTTPClientError)
    turns.close()
    assert len(finished) == count
    assert max(finished.count(turn) for turn in finished) <= FEW
    multi.close()


async def test_in_a_rest_libcurl_is_not_called_and_behind_it_all_goes_on(multi, origin) -> None:
    await multi.fetch(page(origin))
    multi._pace.count(now := time.monotonic(), now + 100)
    multi._watchdog.due = 0.0  # it is woken by the next call
    under_way = multi.fetch(page(origin))
    while multi._pace.rest:
        assert multi._watchdog.due == 0.0
        await asyncio.sleep(0)
    assert multi._watchdog.due > now
    assert (await under_way).body == b"ok"


async def test_closed_in_a_rest_it_stays_closed(origin) -> None:
    multi = Multi(force_instance=True)
    await multi.fetch(page(origin))
    multi._pace.count(now := time.monotonic(), now + 100)
    multi.close()
    for _ in range(REST + 2):
        await asyncio.sleep(0)
    assert multi._timer is None
