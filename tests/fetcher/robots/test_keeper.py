import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable

import pytest

from fetcher.client.curl import CurlClient
from fetcher.guard import is_public
from fetcher.model import Result, Task, Trust
from fetcher.proxy import parse_proxy
from fetcher.robots.keeper import IN_THREAD, TIMEOUT, RobotsKeeper, Visitor, Waiter
from fetcher.robots.rules import MAX_BYTES, UNREACHABLE_TTL, Rules
from fetcher.route.route import DIRECT, Pool, Route
from fetcher.run.fetcher import Fetcher
from fetcher.run.path import Fetching
from fetcher.task.request import Defaults
from fetchpool.farm import Call, Farm, Kind, Origin
from tests.fetcher.fetchers import build_fetcher
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(30)

TTL = 3600.0
UA = "mybot/1.0 (+http://example.org/bot)"
VISITOR = Visitor(user_agent=UA, route=DIRECT)
TEXT = "text/plain"


class Site:
    """A keeper with a real fetcher on a real origin, whose robots.txt and clock can be set."""

    def __init__(self, origin: Origin, fetcher: Fetcher, **limits: int) -> None:
        self.origin = origin
        self.fetcher = fetcher
        self.now = 1000.0
        self.tasks: list[tuple[Task, Trust, Route]] = []
        self.status = 200
        self.held: asyncio.Event | None = None  # answers wait for it
        origin.pages.insert(0, (re.compile("/robots.txt"), self.answer))
        self.body = b"User-agent: *\nDisallow: /deny\n"
        self.keeper = RobotsKeeper(self.fetch, ttl=TTL, clock=lambda: self.now, **limits)

    def fetch(
        self, task: Task, done: Callable[[Result], None], trust: Trust, route: Route
    ) -> Fetching:
        self.tasks.append((task, trust, route))
        return self.fetcher.run(task, lambda _, result: done(result), trust=trust, route=route)

    async def answer(self, call: Call) -> None:
        if self.held is not None:
            await self.held.wait()
        await call.send(self.body, self.status, TEXT)

    @property
    def hits(self) -> int:
        return self.origin.hits["/robots.txt"]

    def url(self, path: str) -> str:
        return self.origin.url + path

    async def ask(self, path: str, visitor: Visitor = VISITOR) -> bool:
        return await self.ask_url(self.url(path), visitor)

    async def ask_url(self, url: str, visitor: Visitor = VISITOR) -> bool:
        told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.keeper.ask(url, visitor, told.set_result)
        return await asyncio.wait_for(told, 10)


@contextlib.asynccontextmanager
async def serving(**limits: int) -> AsyncIterator[Site]:
    clients = {
        Trust.OPEN: CurlClient(force_instance=True),
        Trust.GUARDED: CurlClient(force_instance=True, guard=is_public),
    }
    try:
        async with Origin() as origin:
            fetcher = build_fetcher(clients, Defaults(user_agent="default/1"), route=DIRECT)
            site = Site(origin, fetcher, **limits)
            yield site
            site.keeper.close()
            if site.held is not None:
                site.held.set()
    finally:
        for client in clients.values():
            client.close()


async def test_twenty_at_once_cost_one_fetch() -> None:
    async with serving() as site:
        paths = ["/a", "/deny"] * 10
        assert await asyncio.gather(*map(site.ask, paths)) == [True, False] * 10
        assert site.hits == 1
        assert site.keeper.in_flight == 0


async def test_what_is_known_is_told_at_once() -> None:
    async with serving() as site:
        assert site.keeper.verdict(site.url("/a"), VISITOR) is None
        assert await site.ask("/a")
        assert site.keeper.verdict(site.url("/a"), VISITOR) is True
        assert site.keeper.verdict(site.url("/deny/x"), VISITOR) is False
        assert await site.ask("/deny") is False
        assert site.hits == 1


async def test_nobody_is_told_before_ask_returns() -> None:
    async with serving() as site:
        await site.ask("/a")
        told: list[bool] = []
        site.keeper.ask(site.url("/a"), VISITOR, told.append)
        assert told == []
        await wait_until(lambda: told)
        assert told == [True]


async def test_the_fetch_is_made_as_the_visitor_would() -> None:
    async with serving() as site:
        await site.ask("/a", Visitor(user_agent="caf\udce9/1", route=DIRECT, validate_cert=False))
        [(task, trust, route)] = site.tasks
        assert (trust, route, task.url) == (Trust.OPEN, DIRECT, site.url("/robots.txt"))
        assert task.fetch is not None
        assert task.fetch.timeout == TIMEOUT
        assert task.fetch.validate_cert is False
        assert not task.fetch.robots_txt
        assert site.origin.requests[-1].get("User-Agent") == "caf\xe9/1"


@pytest.mark.parametrize("delay", [None, 0.0])  # others need a clock
async def test_the_fetch_keeps_the_delay_of_the_visitor(delay) -> None:
    async with serving() as site:
        await site.ask("/a", Visitor(user_agent=UA, route=DIRECT, delay=delay))
        [(task, _, _)] = site.tasks
        assert task.fetch is not None
        assert task.fetch.delay == delay


@pytest.mark.parametrize("timeout", [TIMEOUT, 1.0])
async def test_the_fetch_has_as_long_as_the_visitor_says(timeout) -> None:
    async with serving() as site:
        await site.ask("/a", Visitor(user_agent=UA, route=DIRECT, timeout=timeout))
        [(task, _, _)] = site.tasks
        assert task.fetch is not None
        assert task.fetch.timeout == timeout


async def test_an_empty_user_agent_is_not_replaced() -> None:
    async with serving() as site:
        assert await site.ask("/a", Visitor(user_agent="", route=DIRECT))
        assert not site.origin.requests[-1].get("User-Agent")


@pytest.mark.parametrize(("age", "hits"), [(TTL - 1, 1), (TTL, 2), (TTL + 1, 2)])
async def test_an_answer_holds_for_its_time(age, hits) -> None:
    async with serving() as site:
        assert await site.ask("/a")
        site.body = b"User-agent: *\nDisallow: /a\n"
        site.now += age
        assert (site.keeper.verdict(site.url("/a"), VISITOR) is None) == (hits == 2)
        assert await site.ask("/a") is (hits == 1)
        assert site.hits == hits
        assert len(site.keeper) == 1


@pytest.mark.parametrize(
    ("age", "hits"), [(UNREACHABLE_TTL - 1, 1), (UNREACHABLE_TTL, 2), (UNREACHABLE_TTL + 1, 2)]
)
async def test_a_failure_is_kept_for_a_short_while(age, hits) -> None:
    async with serving() as site:
        site.status = 503
        assert await site.ask("/a") is False
        site.status = 200
        site.now += age
        assert await site.ask("/a") is (hits == 2)
        assert site.hits == hits


async def test_a_missing_file_allows_everything() -> None:
    async with serving() as site:
        site.status = 404
        assert await site.ask("/deny")


async def test_a_dead_origin_allows_nothing() -> None:
    async with serving() as site:
        port = site.origin.port
        async with Origin() as other:
            port = other.port
        assert await site.ask_url(f"http://127.0.0.1:{port}/a") is False


@pytest.mark.parametrize(("hops", "is_found"), [(1, True), (4, True), (5, True), (6, False)])
async def test_five_redirects_lead_to_the_file_and_a_sixth_shuts_the_site(hops, is_found) -> None:
    async with serving() as site:

        async def hop(call: Call, left: str = str(hops)) -> None:
            if left == "0":
                await call.send(site.body, 200, TEXT)
            else:
                await call.send(status=302, fields=[("Location", f"/hop/{int(left) - 1}")])

        site.origin.pages[:0] = [(re.compile(r"/hop/(\d+)"), hop), (re.compile("/robots.txt"), hop)]
        assert await site.ask("/a") is is_found
        assert await site.ask("/deny") is False


async def test_with_no_time_to_live_it_is_asked_for_each_time() -> None:
    async with serving() as site:
        site.keeper.ttl = 0.0
        assert [await site.ask("/a"), await site.ask("/deny")] == [True, False]
        assert site.hits == 2
        assert len(site.keeper) == 0


async def test_each_origin_and_way_has_its_own_file() -> None:
    async with serving() as site, Farm({Kind.GOOD: 1}, tls=False) as farm:
        proxy = farm.one(Kind.GOOD)
        through = Visitor(user_agent=UA, route=(parse_proxy(proxy.url()),))
        assert await site.ask("/deny") is False
        assert await site.ask("/deny", through) is False
        assert await site.ask("/deny", Visitor(user_agent="other/1", route=DIRECT)) is False
        assert site.hits + farm.origin.hits["/robots.txt"] == 2
        assert len(site.keeper) == 2
        async with Origin() as other:
            assert await site.ask_url(f"{other.url}/deny") is False
            assert other.hits["/robots.txt"] == 1
        unverified = Visitor(user_agent=UA, route=DIRECT, validate_cert=False)
        assert site.keeper.verdict(site.url("/a"), unverified) is None


async def test_what_a_guarded_visitor_may_not_reach_stays_open_to_others() -> None:
    async with serving() as site:
        guarded = Visitor(user_agent=UA, route=DIRECT, trust=Trust.GUARDED)
        assert await site.ask("/a", guarded) is False
        assert site.hits == 0
        assert await site.ask("/a") is True


async def test_an_empty_pool_allows_nothing() -> None:
    async with serving() as site:
        assert await site.ask("/a", Visitor(user_agent=UA, route=(Pool(),))) is False
        assert site.hits == 0


async def test_one_who_leaves_leaves_alone() -> None:
    async with serving() as site:
        site.held = asyncio.Event()
        told: list[str] = []

        def wait(name: str) -> Waiter:
            return site.keeper.ask(site.url("/a"), VISITOR, lambda _: told.append(name))

        waiters = [wait(name) for name in ("first", "second", "third")]
        await wait_until(lambda: site.hits)
        waiters[0].cancel()
        waiters[0].cancel()
        site.held.set()
        await wait_until(lambda: len(told) == 2)
        waiters[1].cancel()
        assert told == ["second", "third"]
        assert site.hits == 1


async def test_the_fetch_goes_on_when_nobody_waits_any_more() -> None:
    async with serving() as site:
        site.held = asyncio.Event()
        told: list[bool] = []
        site.keeper.ask(site.url("/a"), VISITOR, told.append).cancel()
        assert site.keeper.in_flight == 1
        site.held.set()
        await wait_until(lambda: len(site.keeper))
        assert site.keeper.verdict(site.url("/a"), VISITOR) is True
        assert told == []


async def test_one_who_left_between_answer_and_telling_is_not_told() -> None:
    async with serving() as site:
        await site.ask("/a")
        told: list[bool] = []
        site.keeper.ask(site.url("/a"), VISITOR, told.append).cancel()
        assert await site.ask("/a")  # its turn comes later
        assert told == []


@pytest.mark.parametrize(("asked", "left"), [(1, 1), (2, 2), (3, 2)])
async def test_only_so_many_fetches_go_on_unattended(asked, left) -> None:
    async with serving(max_unattended=2) as site, contextlib.AsyncExitStack() as stack:
        site.held = asyncio.Event()
        waiters = []
        for _ in range(asked):
            origin = await stack.enter_async_context(Origin())
            origin.pages.insert(0, (re.compile("/robots.txt"), site.answer))
            waiters.append(site.keeper.ask(f"{origin.url}/a", VISITOR, lambda _: None))
        for waiter in waiters:
            waiter.cancel()
        assert site.keeper.in_flight == left
        assert site.fetcher.in_flight == left


async def test_closing_gives_up_what_is_under_way() -> None:
    async with serving() as site:
        site.held = asyncio.Event()
        told: list[bool] = []
        waiter = site.keeper.ask(site.url("/a"), VISITOR, told.append)
        await wait_until(lambda: site.hits)
        site.keeper.close()
        waiter.cancel()
        assert (site.keeper.in_flight, site.fetcher.in_flight, told) == (0, 0, [])


async def test_the_least_recently_used_origin_goes_first() -> None:
    async with serving(max_origins=2) as site:
        first, second, third = (Visitor(user_agent=UA, route=(Pool(s),)) for s in "abc")
        for visitor in (first, second):
            await site.ask("/a", visitor)
        assert site.keeper.verdict(site.url("/a"), first) is False  # used
        await site.ask("/a", third)
        known = [site.keeper.verdict(site.url("/a"), v) is not None for v in (first, second, third)]
        assert known == [True, False, True]
        assert (len(site.keeper), site.keeper.weight) == (2, 2)


@pytest.mark.parametrize(("rules", "kept"), [(48, 2), (49, 2), (50, 1), (98, 1), (99, 1), (100, 0)])
async def test_large_files_crowd_out_others(rules, kept) -> None:
    """A file of n rules for one agent weighs n + 1; at most 100 are kept."""
    async with serving(max_weight=100) as site:
        site.body = b"User-agent: *\n" + b"Disallow: /deny\n" * rules
        assert await site.ask("/deny") is False
        assert (
            await site.ask("/deny", Visitor(user_agent=UA, route=DIRECT, validate_cert=False))
            is False
        )
        assert len(site.keeper) == kept
        assert site.keeper.weight == kept * (rules + 1)


@pytest.mark.parametrize("size", [IN_THREAD - 1, IN_THREAD, IN_THREAD + 1, MAX_BYTES, 2_000_000])
async def test_files_of_any_size_are_read(size) -> None:
    async with serving() as site:
        head = b"User-agent: *\nDisallow: /deny\n#"
        site.body = head + b"x" * (size - len(head) - 1) + b"\n"
        assert await asyncio.gather(*map(site.ask, ["/deny", "/a"])) == [False, True]
        assert site.hits == 1


async def test_a_dear_verdict_is_given_by_asking() -> None:
    async with serving() as site:
        site.body = b"User-agent: *\n" + b"".join(b"Disallow: /%d*x\n" % n for n in range(20_000))
        assert await site.ask("/19999/x") is False
        assert site.keeper.verdict(site.url("/a"), VISITOR) is None
        assert await site.ask("/a") is True
        told: list[bool] = []
        site.keeper.ask(site.url("/a"), VISITOR, told.append).cancel()
        assert await site.ask("/1/x") is False
        assert told == []
        assert site.hits == 1


async def test_the_rules_themselves_are_had_with_the_same_fetch() -> None:
    async with serving() as site:
        url = site.url("/deny")
        assert site.keeper.known(url, VISITOR) is None
        told: list[Rules] = []
        site.keeper.ask_rules(url, VISITOR, told.append)
        site.keeper.ask_rules(url, VISITOR, told.append).cancel()
        assert await site.ask("/deny") is False
        await wait_until(lambda: told)
        [rules] = told
        assert rules is site.keeper.known(url, VISITOR)
        assert rules.deciding_line(url, UA) == "Disallow: /deny"
        site.keeper.ask_rules(url, VISITOR, told.append)
        assert told == [rules]
        await wait_until(lambda: len(told) == 2)
        assert (told, site.hits) == ([rules, rules], 1)


async def test_where_no_file_has_a_say_there_are_no_rules() -> None:
    async with serving() as site:
        rules = site.keeper.known(site.url("/robots.txt"), VISITOR)
        assert rules is not None
        assert (rules.digest, rules.is_unreachable, site.hits) == ("", False, 0)


async def test_the_file_itself_needs_none() -> None:
    async with serving() as site:
        for url in (site.url("/robots.txt"), "ftp://127.0.0.1/a"):
            assert site.keeper.verdict(url, VISITOR) is True
            assert await site.ask_url(url) is True
        assert (site.hits, len(site.keeper)) == (0, 0)


async def test_an_answer_that_comes_at_once_is_told_later() -> None:
    """`Fetcher.run` may call back before it returns."""
    async with serving() as site:
        told: list[bool] = []
        nowhere = Visitor(user_agent=UA, route=(Pool(),))  # there is none: 599 on the spot
        site.keeper.ask(site.url("/a"), nowhere, told.append)
        assert (told, site.keeper.in_flight) == ([], 0)
        await wait_until(lambda: told)
        assert told == [False]


async def test_a_url_that_cannot_be_judged_is_refused_and_harms_nobody_else() -> None:
    async with serving() as site:
        unfit = site.url("/\ud800")
        assert await asyncio.gather(*map(site.ask_url, [unfit, site.url("/a")])) == [False, True]
        assert site.keeper.errors == 1
