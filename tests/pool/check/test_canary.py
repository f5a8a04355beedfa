import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from fetcher.client.curl import CurlClient
from fetcher.proxy import parse_proxy
from fetcher.queue_loop import QueueLoop
from fetchpool.farm import Farm, FarmProxy, Origin
from fetchpool.farm import Kind as FarmKind
from fetchpool.farm.call import Call
from fetchpool.redis.connect import connect
from pool.check.canary import Canary
from pool.check.lane import CheckLane
from pool.check.outage import CHECKS
from pool.model import Candidate, Checked, Consequence, Effect, Entered, Kind, Record, Settled
from pool.score import next_record
from pool.settings import Check as Times
from pool.settings import Pool, Site
from pool.snapshot.follower import Follower
from pool.snapshot.snapshot import Snapshot
from pool.store import BATCH, Store
from tests.redis_server import RedisServer
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)

KEY = "proxies:universal"
CYCLE = 0.1
TIMES = Times(cycle=CYCLE, backoff_max=0.0, timeout=1.0, connect_timeout=0.5, rate=0.0)
POOL = Pool(check=TIMES, allow_private=True)
PAGE = "Chickens"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


# -- step by step --------------------------------------------------------------------------------


class Stepping:
    """A canary whose clock the test moves, and a pool of `count` proxies to be checked."""

    def __init__(self, redis: Redis, site: Site, pool: Pool) -> None:
        self.redis = redis
        self.store = Store(redis, pool)
        self.client = CurlClient(force_instance=True)
        self.clock = Clock()
        self.canary = Canary(
            self.store,
            self.client,
            pool,
            site,
            user_agent="fetchpool-test",
            draw=lambda: 0.0,
            clock=self.clock,
        )

    async def fill(self, count: int) -> None:
        proxies = [parse_proxy(f"192.0.2.1:{1000 + i}") for i in range(count)]
        await self.store.add(Candidate(proxy, Record()) for proxy in proxies)

    async def check(self, kind: Kind, n: int = BATCH) -> Settled:
        checks = await self.store.claim(n, 60.0)
        return await self.canary.settle(
            [
                Checked(one, kind, next_record(one.record, kind, now=1.0, seconds=0.5), 3600.0)
                for one in checks
            ]
        )

    async def scores(self) -> Counter[float]:
        rows: list[Any] = [*await self.redis.zrange(KEY, 0, -1, withscores=True)]
        return Counter(score for _, score in rows)

    async def outage(self) -> str | None:
        return (await self.store.http.changes(0)).outage


@contextlib.asynccontextmanager
async def stepping(
    redis: Redis, site: Site, count: int = 1, pool: Pool = POOL
) -> AsyncIterator[Stepping]:
    started = Stepping(redis, site, pool)
    await started.fill(count)
    try:
        yield started
    finally:
        started.client.close()


SLOW = Pool(check=replace(TIMES, cycle=20.0))


def page(origin: Origin, **changes: object) -> Site:
    return Site(url=[f"{origin.url}/html"], body=PAGE, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("body", [PAGE, "not in this page"])
async def test_failures_count_if_the_canary_works(redis: Redis, body: str) -> None:
    async with (
        Origin() as origin,
        stepping(redis, Site(url=[f"{origin.url}/html"], body=body), pool=SLOW) as one,
    ):
        await one.check(Kind.TIMEOUT)
        works = body == PAGE
        assert await one.scores() == {9 if works else 10: 1}
        assert await one.outage() == (None if works else f"{origin.url}/html")


async def test_a_site_that_passes_asks_no_canary(redis: Redis) -> None:
    async with Origin() as origin, stepping(redis, page(origin), CHECKS + 9, SLOW) as one:
        await one.check(Kind.PASSED, 8)
        await one.check(Kind.TIMEOUT, CHECKS - 1)
        assert origin.hits.total() == 0
        assert await one.scores() == {100: 8, 9: CHECKS - 1, 10: 2}
        await one.check(Kind.TIMEOUT, 1)
        assert origin.hits == {"/html": 1}


async def test_what_fails_without_a_proxy_too_costs_nobody_anything(redis: Redis) -> None:
    async with Origin() as origin:
        site = page(origin)
    async with stepping(redis, site, 200, SLOW) as one:
        assert await one.check(Kind.TIMEOUT) == Settled(kept=200)
        assert await one.scores() == {10: 200}
        [record] = await one.store.http.records(["192.0.2.1:1000"])
        assert record == Record()
        assert await one.store.claim(BATCH, 60.0) == []  # put off


async def test_an_outage_asks_the_canary_once_a_cycle_and_ends_with_it(redis: Redis) -> None:
    async with Origin() as origin, stepping(redis, page(origin), 20, SLOW) as one:
        up = list(origin.pages)

        async def fail(call: Call) -> None:
            await call.send("down for maintenance", 503, "text/plain")

        origin.pages.insert(0, (re.compile("/html"), fail))
        for later in (0.0, 5.0, 19.9, 20.0, 39.9):
            one.clock.now = later
            await one.check(Kind.RULE, 2)
        assert origin.hits == {"/html": 2}
        assert await one.scores() == {10: 20}
        origin.pages[:] = up
        one.clock.now = 40.0
        await one.check(Kind.RULE, 2)
        assert await one.scores() == {10: 18, 9: 2}
        assert await one.outage() is None


async def test_a_pass_ends_an_outage_at_once(redis: Redis) -> None:
    async with Origin() as origin:
        site = page(origin)
    async with stepping(redis, site, 10, SLOW) as one:
        await one.check(Kind.TIMEOUT, 2)
        assert await one.outage() is not None
        await one.check(Kind.PASSED, 1)
        assert await one.outage() is None
        await one.check(Kind.TIMEOUT, 2)
        assert await one.scores() == {10: 7, 100: 1, 9: 2}


async def test_an_outage_left_by_one_who_died_ends_with_the_first_check(redis: Redis) -> None:
    async with Origin() as origin, stepping(redis, page(origin), 2, SLOW) as one:
        await one.store.begin_outage("http://old/", 3600.0)
        await one.check(Kind.PASSED, 1)
        assert await one.outage() is None


async def test_one_whose_own_line_is_down_stops_nobody_whose_checks_pass(redis: Redis) -> None:
    lost = Site(url=["http://127.0.0.1:9/"])
    async with (
        Origin() as origin,
        stepping(redis, page(origin), 9, SLOW) as one,
        stepping(redis, lost, 0, SLOW) as other,
    ):
        await one.check(Kind.PASSED, 1)
        for later in (20.0, 40.0):
            await other.check(Kind.TIMEOUT, 1)
            assert await one.outage() == "http://127.0.0.1:9/"
            one.clock.now = other.clock.now = later
            await one.check(Kind.TIMEOUT, 1)  # what fails ends nothing
            assert await one.outage() == "http://127.0.0.1:9/"
            await one.check(Kind.PASSED, 1)
            assert await one.outage() is None


async def test_a_password_in_a_sites_url_is_shown_nowhere(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(url=["http://operator:s3cret@127.0.0.1:9/page"])
    async with stepping(redis, site, 2, SLOW) as one:
        caplog.set_level("INFO")
        await one.check(Kind.REFUSED, 1)
        assert await one.outage() == "http://127.0.0.1:9/page"
        await one.check(Kind.PASSED, 1)
    assert [name in caplog.text for name in ("fails without", "works again")] == [True, True]
    assert "operator" not in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("kind", [Kind.UNUSABLE, Kind.OURS])
async def test_what_says_nothing_of_the_site_asks_nobody(redis: Redis, kind: Kind) -> None:
    async with Origin() as origin, stepping(redis, page(origin), 3, SLOW) as one:
        await one.check(kind)
        assert await one.scores() == {9 if kind is Kind.UNUSABLE else 10: 3}
        assert origin.hits.total() == 0


@pytest.mark.parametrize(
    ("path", "works"),
    [("/html", True), ("/status/204", True), ("/status/404", False), ("/status/503", False)],
)
async def test_another_canary_is_up_if_it_answers_like_a_page(
    redis: Redis, path: str, works: bool
) -> None:
    async with Origin() as origin:
        site = Site(url=["http://127.0.0.1:9/"], body="nowhere", canary=f"{origin.url}{path}")
        async with stepping(redis, site, pool=SLOW) as one:
            await one.check(Kind.TIMEOUT)
            assert await one.scores() == {9 if works else 10: 1}
            assert await one.outage() == (None if works else f"{origin.url}{path}")


async def test_one_page_that_works_is_enough(redis: Redis) -> None:
    async with Origin() as origin:
        site = Site(url=["http://127.0.0.1:9/", f"{origin.url}/html"], body=PAGE)
        async with stepping(redis, site, pool=SLOW) as one:
            await one.check(Kind.TIMEOUT)
            assert await one.scores() == {9: 1}


async def test_a_batch_may_be_sent_again(redis: Redis) -> None:
    async with Origin() as origin:
        site = page(origin)
    async with stepping(redis, site, 3, SLOW) as one:
        checks = await one.store.claim(3, 60.0)
        batch = [Checked(check, Kind.TIMEOUT, Record(failures=1), 0.0) for check in checks]
        assert await one.canary.settle(batch) == Settled(kept=3)
        assert await one.canary.settle(batch) == Settled(void=3)
        assert await one.scores() == {10: 3}


async def test_in_an_outage_traffic_costs_nothing_and_snapshots_know(
    redis: Redis,
) -> None:
    async with Origin() as origin:
        site = page(origin)
    async with stepping(redis, site, 1, SLOW) as one:
        follower = Follower(one.store, Snapshot(SLOW.score), SLOW.resync)
        await one.check(Kind.TIMEOUT)
        await follower.step()
        assert follower.outage == f"{origin.url}/html"
        charge = [Consequence(parse_proxy("192.0.2.1:1000"), Effect.POINT)]
        assert await one.store.enter(charge) == Entered()
        await one.store.end_outage()
        await follower.step()
        assert follower.outage is None


# -- whole outages, on the farm ------------------------------------------------------------------


class Counting:
    """Lets verdicts through to a canary and counts the checks of each member."""

    def __init__(self, canary: Canary) -> None:
        self.checks: Counter[str] = Counter()
        self._canary = canary

    async def settle(self, batch: Sequence[Checked]) -> Settled:
        settled = await self._canary.settle(batch)
        self.checks.update(one.check.member for one in batch)
        return settled


@contextlib.asynccontextmanager
async def checking(
    redis: Redis, site: Site, proxies: Sequence[FarmProxy]
) -> AsyncIterator[Counting]:
    store = Store(redis, POOL)
    await store.add(Candidate(parse_proxy(proxy.url()), Record()) for proxy in proxies)
    curl = CurlClient(force_instance=True)
    counting = Counting(Canary(store, curl, POOL, site, user_agent="fetchpool-test"))
    lane = CheckLane(store, curl, POOL, site, user_agent="x", settle=counting.settle)
    loop = QueueLoop([lane])
    loop.start()
    try:
        yield counting
    finally:
        await loop.stop(drain=5.0)
        curl.close()


async def scores(redis: Redis) -> dict[str, float]:
    rows: list[Any] = [*await redis.zrange(KEY, 0, -1, withscores=True)]
    return {name.decode(): score for name, score in rows}


@pytest.mark.parametrize("outage", ["target", "uplink"])
async def test_an_outage_of_ten_cycles_empties_nothing(redis: Redis, outage: str) -> None:
    async with Farm({FarmKind.GOOD: 20, FarmKind.REFUSING: 10}, tls=False) as farm:
        async with Origin() as target:
            site = page(target)
            port = target.port
            old = farm.of(FarmKind.GOOD)[:10]
            stack = contextlib.AsyncExitStack()
            counting = await stack.enter_async_context(checking(redis, site, old))

            async def all_good() -> bool:
                return set((await scores(redis)).values()) == {100}

            await wait_until(all_good, 10)
        # The target is gone; ten good ones that nobody has checked yet and ten dead ones come in.
        store = Store(redis, POOL)
        await store.add(
            Candidate(parse_proxy(proxy.url()), Record())
            for proxy in farm.proxies
            if proxy not in old
        )
        if outage == "uplink":
            for proxy in farm.proxies:
                proxy.kind = FarmKind.REFUSING
        counting.checks.clear()
        members = {parse_proxy(proxy.url()).member for proxy in farm.proxies}
        await wait_until(lambda: all(counting.checks[one] >= 10 for one in members), 30)
        during = await scores(redis)
        assert set(during) == members
        # At most three before there is doubt, as nothing had passed for two cycles only then.
        assert min(during.values()) >= 7
        assert sum(during[parse_proxy(one.url()).member] >= 97 for one in old) == 10
        for proxy in farm.proxies:
            if proxy.kind is FarmKind.REFUSING and farm.proxies.index(proxy) < 20:
                proxy.kind = FarmKind.GOOD
        async with Origin(port=port):  # it is back

            async def good_are_good_and_dead_go_down() -> bool:
                now = await scores(redis)
                good = {parse_proxy(one.url()).member for one in farm.proxies[:20]}
                return all(now.get(one) == 100 for one in good) and set(now) == good

            await wait_until(good_are_good_and_dead_go_down, 30)
            await stack.aclose()


async def test_dead_proxies_before_a_living_target_go(redis: Redis) -> None:
    async with (
        Farm({FarmKind.REFUSING: 20}, tls=False) as farm,
        checking(redis, page(farm.origin), farm.proxies),
    ):

        async def all_gone() -> bool:
            return not await redis.exists(KEY)

        await wait_until(all_gone, 30)
        assert farm.origin.hits["/html"] >= 2  # the canary, once a cycle


async def test_checkers_on_two_clients_and_two_sites_check_nobody_twice(
    one_redis: RedisServer, redis: Redis
) -> None:
    pool = replace(POOL, check=replace(TIMES, cycle=3600.0, concurrency=7, timeout=5.0))
    keys = [KEY, "proxies:zhihu"]
    async with Farm({FarmKind.GOOD: 60}, tls=False) as farm, contextlib.AsyncExitStack() as stack:
        site = page(farm.origin)
        loops = []
        for _ in range(2):  # as two processes
            own = connect(one_redis.url)
            stack.push_async_callback(own.aclose)
            curl = CurlClient(force_instance=True)
            stack.callback(curl.close)
            lanes = []
            for key in keys:
                store = Store(own, pool, key=key)
                await store.add(Candidate(parse_proxy(one.url()), Record()) for one in farm.proxies)
                canary = Canary(store, curl, pool, site, user_agent="x")
                lanes.append(
                    CheckLane(store, curl, pool, site, user_agent="x", settle=canary.settle)
                )
            loops.append(QueueLoop(lanes))
        for loop in loops:
            loop.start()
            stack.push_async_callback(loop.stop, 5.0)

        async def is_done() -> bool:
            return all([await redis.zcount(key, 100, 100) == 60 for key in keys])

        await wait_until(is_done, 30)
        await asyncio.gather(*(loop.stop(5.0) for loop in loops))
        assert {proxy.requests for proxy in farm.proxies} == {len(keys)}
