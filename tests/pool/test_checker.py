import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from fetcher.curl import CurlClient
from fetcher.errors import Outcome
from fetcher.guard import is_public
from fetcher.model import Exit, Limits, Request, Response, Transfer
from fetcher.proxy import parse_proxy
from fetcher.queue_loop import QueueLoop
from pool.checker import CheckLane
from pool.model import Candidate, Check, Checked, Kind, Record
from pool.settings import Check as Times
from pool.settings import Pool, Site
from pool.store import Store
from tests.farm import FAITHFUL, Farm, FarmProxy
from tests.farm import Kind as FarmKind
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)

KEY = "proxies:universal"
TIMES = Times(cycle=3600.0, backoff_max=7200.0, timeout=1.5, connect_timeout=1.0, rate=0.0)

# What a plain page proves: these pass it on, however they treat TLS.
PASSING = FAITHFUL - {FarmKind.TLS} | {FarmKind.TAMPERING}
FAILING = {
    FarmKind.HANGING: Kind.TIMEOUT,
    FarmKind.REFUSING: Kind.REFUSED,
    FarmKind.BAD_GATEWAY: Kind.RULE,
    FarmKind.TRUNCATING: Kind.BROKEN,
    FarmKind.GARBAGE: Kind.GARBAGE,
    FarmKind.PORTAL: Kind.RULE,
    FarmKind.ENDLESS: Kind.RULE,
}


def page(farm: Farm) -> Site:
    return Site(url=[f"{farm.origin.url}/html"], status=[200], body="Chickens")


def settings(times: Times = TIMES, *, allow_private: bool = True) -> Pool:
    return Pool(check=times, allow_private=allow_private)


@contextlib.asynccontextmanager
async def checking(
    redis: Redis, pool: Pool, site: Site, proxies: list[FarmProxy]
) -> AsyncIterator[Store]:
    """A loop that serves one lane of checks over the proxies, with a real client."""
    store = Store(redis, pool)
    await store.add(Candidate(parse_proxy(proxy.url()), Record()) for proxy in proxies)
    client = CurlClient(force_instance=True, guard=None if pool.allow_private else is_public)
    loop = QueueLoop([CheckLane(store, client, pool, site, user_agent="fetchpool-test")])
    loop.start()
    try:
        yield store
    finally:
        await loop.stop(drain=5.0)
        client.close()


async def scores(redis: Redis) -> dict[str, float]:
    rows = [*await redis.zrange(KEY, 0, -1, withscores=True)]
    rows += await redis.zrange(f"{KEY}:socks", 0, -1, withscores=True)
    return {member.decode(): score for member, score in rows}


async def settled(redis: Redis, count: int, timeout: float = 5.0) -> dict[str, float]:
    """The scores when none is a newcomer's any more."""

    async def is_settled() -> bool:
        seen = await scores(redis)
        return len(seen) == count and 10 not in seen.values()

    await wait_until(is_settled, timeout)
    return await scores(redis)


@pytest.fixture(params=[False, True], ids=["plain", "trapped"])
def environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once more with an environment that would lead every request past its proxy."""
    if request.param:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "*")


@pytest.mark.usefixtures("environment")
async def test_verdicts_equal_the_truth(client: Redis) -> None:
    kinds = dict.fromkeys([*sorted(PASSING), *FAILING], 2)
    async with Farm(kinds, delay=0.3) as farm:
        async with checking(client, settings(), page(farm), farm.proxies) as store:
            seen = await settled(client, len(farm.proxies), timeout=20)
        members = {proxy: parse_proxy(proxy.url()).member for proxy in farm.proxies}
        passed = {proxy.kind for proxy in farm.proxies if seen[members[proxy]] == 100}
        failed = {proxy.kind for proxy in farm.proxies if seen[members[proxy]] == 9}
        assert passed == PASSING
        assert failed == set(FAILING)
        for proxy in farm.of(*FAILING):
            [record] = await store.http.records([members[proxy]])
            assert record.last is FAILING[proxy.kind], proxy


async def test_waiting_for_a_place_is_no_time_of_the_proxy(client: Redis) -> None:
    """ProxyPool's live bug: 80 hanging ones made 20 good ones fail."""
    times = replace(TIMES, concurrency=20, timeout=0.5, connect_timeout=0.5)
    async with (
        Farm({FarmKind.HANGING: 80, FarmKind.GOOD: 20}, tls=False) as farm,
        checking(client, settings(times), page(farm), farm.proxies),
    ):
        seen = await settled(client, 100, timeout=30)
        good = {proxy.address for proxy in farm.of(FarmKind.GOOD)}
        assert {member for member, score in seen.items() if score == 100} == good


async def test_several_checkers_share_the_work_without_checking_twice(client: Redis) -> None:
    pool = settings(replace(TIMES, concurrency=7))
    async with Farm({FarmKind.GOOD: 60}, tls=False) as farm:
        async with (
            checking(client, pool, page(farm), farm.proxies),
            checking(client, pool, page(farm), []),
            checking(client, pool, page(farm), []),
        ):
            await settled(client, 60, timeout=20)
        assert {proxy.requests for proxy in farm.proxies} == {1}


async def test_good_ones_are_seen_again_on_fresh_connections_and_urls_take_turns(
    client: Redis,
) -> None:
    times = replace(TIMES, cycle=0.05)
    async with Farm({FarmKind.GOOD: 1}, tls=False) as farm:
        urls = [f"{farm.origin.url}/html", f"{farm.origin.url}/anything/two"]
        site = Site(url=urls, status=[200])
        async with checking(client, settings(times), site, farm.proxies):
            [proxy] = farm.proxies
            await wait_until(lambda: proxy.requests >= 4, timeout=10)
        assert proxy.connections == proxy.requests
        asked = [request.target for request in farm.origin.requests][:4]
        assert asked == ["/html", "/anything/two"] * 2


async def test_redirects_are_not_followed_but_may_be_what_the_rule_wants(client: Redis) -> None:
    async with Farm({FarmKind.GOOD: 1}, tls=False) as farm:
        site = Site(url=[f"{farm.origin.url}/redirect/1"], status=[302])
        async with checking(client, settings(), site, farm.proxies):
            seen = await settled(client, 1)
        assert set(seen.values()) == {100}
        assert farm.origin.hits.total() == 1


@pytest.mark.parametrize(("size", "expected"), [(16384, 100), (16385, 100), (3_000_000, 100)])
async def test_a_body_that_was_cut_still_counts(client: Redis, size: int, expected: float) -> None:
    async with Farm({FarmKind.GOOD: 1}, tls=False) as farm:
        site = Site(url=[f"{farm.origin.url}/bytes/{size}"], status=[200], body=".")
        async with checking(client, settings(), site, farm.proxies):
            seen = await settled(client, 1)
        assert set(seen.values()) == {expected}


@pytest.mark.parametrize("member", ["127.0.0.1:6379", "1.2.3.4:80:80", "localhost:80", "a b:1"])
async def test_what_may_not_be_reached_loses_its_score_and_goes(client: Redis, member: str) -> None:
    pool = settings(replace(TIMES, backoff_max=0.0, cycle=0.01), allow_private=False)
    async with Farm(tls=False) as farm, checking(client, pool, page(farm), []) as store:
        await client.zadd(KEY, {member: 3})
        await store.adopt()

        async def gone() -> bool:
            return not await client.exists(KEY)

        await wait_until(gone)
        assert await client.zrange("fetchpool:{proxies:universal}:tombs", 0, -1) == [
            member.encode()
        ]


class Unable:
    """A client that is out of file descriptors."""

    def start(
        self, request: Request, exit: Exit, limits: Limits, done: Callable[[Response], None]
    ) -> Transfer:
        response = Response(url=request.url, outcome=Outcome.OURS, code=7)
        asyncio.get_running_loop().call_soon(done, response)
        return self

    def cancel(self) -> None:
        """Nothing is under way."""


def clocks(*times: float) -> Callable[[], float]:
    ticking: Iterator[float] = iter(times)
    return lambda: next(ticking)


def lane(store: Store, pool: Pool, clock: Callable[[], float] = lambda: 0.0) -> CheckLane:
    site = pool.sites["universal"]
    return CheckLane(store, Unable(), pool, site, user_agent="x", draw=lambda: 0.5, clock=clock)


async def fill(redis: Redis, pool: Pool, count: int) -> Store:
    store = Store(redis, pool)
    proxies = [parse_proxy(f"192.0.2.{i}:80") for i in range(count)]
    await store.add(Candidate(proxy, Record()) for proxy in proxies)
    return store


async def test_what_is_our_fault_does_not_count_and_comes_back(client: Redis) -> None:
    pool = settings(replace(TIMES, cycle=1.0))
    store = await fill(client, pool, 1)
    checks = lane(store, pool)
    [check] = await checks.take(5)
    ended: asyncio.Future[Checked] = asyncio.get_running_loop().create_future()
    checks.start(check, ended.set_result)
    checked = await ended
    await checks.finish([checked])
    assert (checked.kind, checked.delay, checked.record) == (Kind.OURS, 0.75, check.record)
    assert await scores(client) == {check.member: 10}

    async def again() -> list[Check]:
        return list(await checks.take(5))

    assert [one.member for one in await wait_until(again)] == [check.member]


async def test_no_more_checks_begin_than_the_rate_allows(client: Redis) -> None:
    pool = settings(replace(TIMES, rate=10.0))
    store = await fill(client, pool, 50)
    checks = lane(store, pool, clocks(0.0, 0.05, 0.31, 100.0))
    assert [len(await checks.take(500)) for _ in range(4)] == [10, 0, 3, 10]


async def test_the_window_is_the_setting(client: Redis) -> None:
    pool = settings(replace(TIMES, concurrency=123))
    assert lane(Store(client, pool), pool).window == 123


async def test_checks_that_are_not_carried_out_are_due_again(client: Redis) -> None:
    pool = settings()
    checks = lane(await fill(client, pool, 3), pool)
    taken = await checks.take(500)
    assert await checks.take(500) == []
    await checks.give_back(taken)
    assert len(await checks.take(500)) == len(taken) == 3
