import asyncio
import time
from collections.abc import Callable

import pytest

from fetcher.dns.resolver import Resolver
from fetcher.politeness.backoff import MOST_CRAWL_DELAY
from fetcher.politeness.clock import Clock
from fetcher.politeness.slots import Slot
from fetcher.run.polite import Polite
from tests.dns_server import Answer, DnsServer
from tests.wait import wait_until

pytestmark = [pytest.mark.timeout(30), pytest.mark.usefixtures("nothing_breaks_on_the_loop")]

URL = "http://www.example.com:8080/page"


class Queue:
    """A `Line` that writes down what it hears, and lets begin whom it is told to."""

    def __init__(self, patience: float = 100.0) -> None:
        self.patience = patience
        self.heard: list[str] = []
        self.go: Callable[[], None] | None = None

    def wait(self) -> None:
        self.heard.append("wait")

    def begin(self, go: Callable[[], None]) -> None:
        self.heard.append("begin")
        self.go = go


def polite(clock: Clock, delay: float = 5.0, patience: float = 100.0, line=None) -> Polite:
    return Polite(clock, None, delay=delay, by="host", patience=patience, line=line)


async def outcome(one: Polite, url: str = URL, **more: float) -> str | None:
    """What it hears when it lines up."""
    heard: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    one.line_up(url, heard.set_result, is_direct=True, **more)
    assert not heard.done()
    return await asyncio.wait_for(heard, 10)


async def left(clock: Clock, key: str) -> float:
    """Seconds until the next start at that key, if it asks for no delay of its own."""
    [turn] = await clock.reserve([Slot(key, 0)], -1)
    return turn.wait


async def test_a_request_takes_the_start_of_its_host(clock) -> None:
    assert await outcome(polite(clock)) is None
    assert 4 < await left(clock, "www.example.com") <= 5


async def test_a_delay_may_be_that_of_the_domain(clock) -> None:
    assert await outcome(Polite(clock, None, delay=5, by="domain", patience=9)) is None
    assert await left(clock, "example.com") > 4


@pytest.mark.parametrize(
    ("is_direct", "host", "key"),
    [
        (True, "www.example.test", "127.0.0.9"),
        (True, "127.1", "127.0.0.1"),
        (True, "nowhere.test", "nowhere.test"),
        (False, "www.example.test", "www.example.test"),
    ],
)
async def test_a_delay_may_be_that_of_the_address_that_is_asked(
    clock, is_direct, host, key
) -> None:
    async with DnsServer.running({"www.example.test": Answer(a=("127.0.0.9",))}) as server:
        resolver = Resolver(nameservers=[server.host], port=server.port)
        one = Polite(clock, resolver, delay=5, by="ip", patience=9)
        heard: list[str | None] = []
        one.line_up(f"http://{host}/", heard.append, is_direct=is_direct)
        assert heard == []
        await wait_until(lambda: heard)
        resolver.close()
    assert heard == [None]
    assert await left(clock, key) > 4


@pytest.mark.parametrize(
    ("crawl_delay", "seconds"),
    [(None, 5), (4.0, 5), (6.0, 6), (MOST_CRAWL_DELAY, 30), (MOST_CRAWL_DELAY + 1, 30)],
)
async def test_the_delay_of_robots_txt_counts_up_to_a_limit(clock, crawl_delay, seconds) -> None:
    assert await outcome(polite(clock), crawl_delay=crawl_delay) is None
    assert seconds - 1 < await left(clock, "www.example.com") <= seconds


async def test_who_cannot_start_in_time_hears_why(clock) -> None:
    await outcome(polite(clock, delay=60))
    reason = await outcome(polite(clock, patience=9))
    assert reason is not None
    assert reason.startswith("www.example.com is asked every 5 s and has no turn before 2")
    await clock.block("www.example.com", retry_after=600, started=0, draw=0)
    reason = await outcome(polite(clock, patience=9))
    assert reason is not None
    assert reason.startswith("www.example.com answered 429 or 503 and is left alone until 2")


async def test_the_line_hears_of_a_wait_and_says_when_it_ends(clock) -> None:
    await outcome(polite(clock, delay=0.3))
    line, heard = Queue(), list[str | None]()
    polite(clock, delay=0.3, line=line).line_up(URL, heard.append, is_direct=True)
    await wait_until(lambda: line.heard == ["wait", "begin"])
    assert heard == []
    assert line.go is not None
    line.go()
    assert heard == [None]


async def test_the_line_hears_nothing_of_one_that_need_not_wait(clock) -> None:
    line = Queue()
    assert await outcome(polite(clock, line=line)) is None
    await outcome(polite(clock), "http://other/")  # by now it would have
    assert line.heard == []


async def test_the_line_hears_of_what_is_expected_before_it_can_ask(clock) -> None:
    line = Queue()
    one = polite(clock, line=line)
    one.expect()
    await wait_until(lambda: line.heard == ["wait"])
    one.expect()
    one.line_up(URL, lambda _: None, is_direct=True)
    await wait_until(lambda: line.heard == ["wait", "begin"])


async def test_the_line_may_have_less_patience(clock) -> None:
    await outcome(polite(clock, delay=60))
    assert await outcome(polite(clock, line=Queue(patience=9))) is not None


async def test_who_has_left_hears_nothing_and_neither_does_the_line(clock) -> None:
    await outcome(polite(clock, delay=0.1))
    line, heard = Queue(), list[str | None]()
    one = polite(clock, delay=0.1, line=line)
    one.line_up(URL, heard.append, is_direct=True)
    one.cancel()
    await outcome(polite(clock, delay=0.1))
    assert (heard, line.heard) == ([], [])
    late = polite(clock, delay=0.1, line=line)
    late.line_up(URL, heard.append, is_direct=True)
    await wait_until(lambda: line.go)
    late.cancel()
    late.cancel()
    assert line.go is not None
    line.go()
    assert heard == []


@pytest.mark.parametrize(
    ("status", "retry_after", "seconds"),
    [
        (429, None, 60),
        (503, None, 60),
        (429, "7", 7),
        (429, time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(2**32)), 86_400),
        (429, "rubbish", 60),
        (200, "7", 0),
        (403, "7", 0),
        (500, "7", 0),
    ],
)
async def test_a_429_or_503_blocks_the_host(clock, status, retry_after, seconds) -> None:
    one = polite(clock, delay=0.001)
    await outcome(one)
    one.learn(status, retry_after)
    if seconds:
        await wait_until(clock.blocked)
    found = await clock.blocked()
    assert [key for key, _ in found] == (["www.example.com"] if seconds else [])
    for _, until in found:
        assert seconds - 2 < until - await clock.now() <= 1.1 * seconds
