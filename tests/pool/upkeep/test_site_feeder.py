import asyncio

import pytest
from redis.asyncio import Redis

from fetcher.proxy import parse_proxy
from pool.model import Candidate, Checked, Kind, Record
from pool.score import next_record
from pool.settings import Pool, Site
from pool.store import BATCH, Store, build_stores
from pool.upkeep.site_feeder import Feeder
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(30)

KEY = "proxies:universal"
POOL = Pool(
    sites={"zhihu": Site(url=["http://a/"]), "x.y": Site(url=["http://b/"])}, max_size=50_000
)
HTTP, SOCKS = "192.0.2.1:80", "socks5://192.0.2.1:1080"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Feeding:
    """A feeder whose steps and clock the test moves."""

    def __init__(self, redis: Redis) -> None:
        self.client = redis
        self.clock = Clock()
        self.sites = build_stores(redis, POOL)
        self.universal = self.sites.pop("universal")
        self.feeder = Feeder(self.universal, self.sites, POOL, clock=self.clock)

    async def check(self, kind: Kind, store: Store | None = None) -> None:
        """All that is due."""
        store = store or self.universal
        claimed = []
        while checks := await store.claim(BATCH, 60.0):
            claimed += checks
        await store.settle(
            Checked(one, kind, next_record(one.record, kind, now=5.0, seconds=0.5), 0.0)
            for one in claimed
        )

    async def add(self, *members: str) -> None:
        await self.universal.add(
            Candidate(parse_proxy(member), Record(source="list", country="DE"))
            for member in members
        )

    async def scores(self, site: str = "zhihu") -> dict[str, float]:
        rows = [*await self.client.zrange(f"proxies:{site}", 0, -1, withscores=True)]
        rows += await self.client.zrange(f"proxies:{site}:socks", 0, -1, withscores=True)
        return {member.decode(): score for member, score in rows}


@pytest.fixture
def feeding(redis: Redis) -> Feeding:
    return Feeding(redis)


async def test_what_is_good_enters_every_site_as_a_newcomer(feeding: Feeding) -> None:
    await feeding.add(HTTP, SOCKS)
    await feeding.feeder.step()
    assert await feeding.scores() == {}
    await feeding.check(Kind.PASSED)
    await feeding.add("192.0.2.9:80")  # not checked
    await feeding.feeder.step()
    assert await feeding.scores("zhihu") == await feeding.scores("x.y") == {HTTP: 10, SOCKS: 10}
    [record] = await feeding.sites["zhihu"].http.records([HTTP])
    assert record == Record(source="list", country="DE")
    assert len(await feeding.sites["zhihu"].claim(9, 60.0)) == 2  # due at once


async def test_it_keeps_its_score_there_while_it_stays_good(feeding: Feeding) -> None:
    await feeding.add(HTTP)
    await feeding.check(Kind.PASSED)
    await feeding.feeder.step()
    await feeding.check(Kind.RULE, feeding.sites["zhihu"])
    await feeding.check(Kind.PASSED)
    await feeding.feeder.step()
    assert await feeding.scores() == {HTTP: 9}
    assert await feeding.scores("x.y") == {HTTP: 10}
    assert await feeding.client.zscore(KEY, HTTP) == 100


async def test_a_failing_one_stays_and_one_that_left_universal_leaves(feeding: Feeding) -> None:
    await feeding.add(HTTP, SOCKS)
    await feeding.check(Kind.PASSED)
    await feeding.feeder.step()
    await feeding.check(Kind.TIMEOUT)
    await feeding.feeder.step()
    assert await feeding.scores() == {HTTP: 10, SOCKS: 10}
    await feeding.universal.remove([HTTP, SOCKS])
    await feeding.feeder.step()
    assert await feeding.scores() == await feeding.scores("x.y") == {}


async def test_what_others_put_into_a_site_alone_comes_into_universal_too(feeding: Feeding) -> None:
    buried, raw = "192.0.2.5:80", "u:p$s!@192.0.2.6:80"
    await feeding.add(buried)
    await feeding.universal.remove([buried])
    await feeding.client.zadd("proxies:zhihu", {HTTP: 100, buried: 50, raw: 7})
    await feeding.client.zadd("proxies:zhihu:socks", {SOCKS: 3})
    await feeding.feeder.step()
    assert await feeding.scores("universal") == {HTTP: 10, SOCKS: 10}
    assert await feeding.scores() == {HTTP: 100, SOCKS: 3, raw: 7}


async def test_it_may_come_back_with_universal_but_not_before_its_own_tomb_closes(
    feeding: Feeding,
) -> None:
    await feeding.add(HTTP, SOCKS)
    await feeding.check(Kind.PASSED)
    await feeding.feeder.step()
    await feeding.sites["zhihu"].remove([HTTP])  # as after ten failures
    await feeding.sites["zhihu"].remove([SOCKS], tombstone=0.0)  # as after leaving universal
    await feeding.check(Kind.PASSED)
    await feeding.feeder.step()
    assert await feeding.scores() == {SOCKS: 10}


async def test_steps_without_changes_ask_two_short_questions(feeding: Feeding) -> None:
    await feeding.add(*(f"192.0.2.{i}:80" for i in range(50)))
    await feeding.check(Kind.PASSED)
    await feeding.feeder.step()
    await feeding.feeder.step()
    before = await feeding.client.info("commandstats")
    await feeding.feeder.step()
    after = await feeding.client.info("commandstats")

    def calls(name: str) -> int:
        key = f"cmdstat_{name}"
        return int(after.get(key, {}).get("calls", 0) - before.get(key, {}).get("calls", 0))

    assert calls("evalsha") == 2
    assert [calls(name) for name in ("zscan", "zscore", "zadd", "hget", "zmscore")] == [0] * 5


async def test_many_changes_come_in_pieces_without_loss(feeding: Feeding) -> None:
    members = [f"192.0.{i // 250}.{i % 250}:80" for i in range(2 * BATCH + 1)]
    await feeding.feeder.step()
    await feeding.add(*members)
    await feeding.check(Kind.PASSED)
    await feeding.feeder.step()
    assert set(await feeding.scores()) == set(members)
    again = Feeder(feeding.universal, feeding.sites, POOL)
    await feeding.client.delete("proxies:zhihu")
    await again.step()
    assert set(await feeding.scores()) == set(members)


async def test_what_others_wrote_or_removed_is_seen_at_the_next_full_reading(
    feeding: Feeding,
) -> None:
    await feeding.add(HTTP, SOCKS)
    await feeding.check(Kind.PASSED)
    await feeding.feeder.step()
    await feeding.client.zrem(KEY, HTTP)
    await feeding.client.zadd(KEY, {"192.0.2.5:80": 100, "192.0.2.6:80": 99})
    feeding.clock.now = POOL.resync - 0.1
    await feeding.feeder.step()
    assert set(await feeding.scores()) == {HTTP, SOCKS}
    feeding.clock.now = POOL.resync
    await feeding.feeder.step()
    assert set(await feeding.scores()) == {"192.0.2.5:80", SOCKS}


@pytest.mark.parametrize("member", ["1.2.3.4:80:80", "192.0.2.1:080", "socks5://192.0.2.1:1"])
async def test_odd_spellings_of_others_enter_no_site(feeding: Feeding, member: str) -> None:
    await feeding.client.zadd(KEY, {member: 100})
    await feeding.feeder.step()
    assert await feeding.scores() == {}


async def test_a_redis_that_lost_its_contents_is_read_anew(feeding: Feeding) -> None:
    await feeding.add(HTTP, SOCKS)
    await feeding.check(Kind.PASSED)
    await feeding.feeder.step()
    await feeding.client.flushall()
    await feeding.add("192.0.2.7:80")
    await feeding.check(Kind.PASSED)
    await feeding.feeder.step()
    assert await feeding.scores() == {"192.0.2.7:80": 10}


@pytest.mark.parametrize("kind", [Kind.PASSED, Kind.TIMEOUT])
async def test_the_operators_mind_about_checks_reaches_every_site(
    feeding: Feeding, kind: Kind
) -> None:
    """Be it good in universal by then or not; what is not in a site does not come in by that."""

    async def say(never_check: bool) -> None:
        record = Record(source="settings", own=True, never_check=never_check)
        candidates = [Candidate(parse_proxy(member), record) for member in (HTTP, SOCKS)]
        await feeding.universal.add(candidates, operator=True)

    async def due(site: str) -> list[str]:
        return sorted(check.member for check in await feeding.sites[site].claim(9, 0.0))

    await say(True)
    await feeding.feeder.step()
    assert await feeding.scores() == await feeding.scores("x.y") == {HTTP: 100, SOCKS: 100}
    await feeding.sites["x.y"].remove([HTTP])
    assert await due("zhihu") == []
    await say(False)
    await feeding.check(kind)
    await feeding.feeder.step()
    assert (await due("zhihu"), await due("x.y")) == ([HTTP, SOCKS], [SOCKS])
    await say(True)
    await feeding.feeder.step()
    assert (await due("zhihu"), await due("x.y")) == ([], [])


async def test_two_feeders_do_no_harm(feeding: Feeding) -> None:
    other = Feeder(feeding.universal, feeding.sites, POOL)
    await feeding.add(HTTP)
    running = asyncio.create_task(other.run())
    await feeding.check(Kind.PASSED)
    await asyncio.gather(feeding.feeder.step(), other.step())
    await wait_until(feeding.scores)
    assert await feeding.scores() == {HTTP: 10}
    other.stop()
    await asyncio.wait_for(running, 5)
