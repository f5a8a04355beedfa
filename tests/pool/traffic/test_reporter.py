import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis

from fetcher.errors import RedisAway
from fetcher.proxy import parse_proxy
from fetchpool.redis.connect import connect
from pool.model import Candidate, Checked, Kind, Record
from pool.score import next_record
from pool.settings import Pool, Site
from pool.snapshot.follower import Follower
from pool.snapshot.snapshot import Snapshot
from pool.store import build_stores
from pool.traffic.evidence import Finding, Seen
from pool.traffic.reporter import Reporter, SitePool
from tests.redis_server import RedisServer, find_binary
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(30)

POOL = Pool(sites={"zhihu": Site(url=["http://a/"])})
A, B = parse_proxy("192.0.2.1:80"), parse_proxy("socks5://192.0.2.2:80")
HOST = "www.zhihu.example"


class Reporting:
    """A reporter on a pool with two proxies that passed everywhere at second 1000."""

    def __init__(self, redis: Redis) -> None:
        self.client = redis
        self.stores = build_stores(redis, POOL)
        snapshots = {name: Snapshot(POOL.score) for name in self.stores}
        self.followers = [
            Follower(store, snapshots[name], POOL.resync) for name, store in self.stores.items()
        ]
        self.now = 1000.0
        self.reporter = Reporter(
            {name: SitePool(store, snapshots[name]) for name, store in self.stores.items()},
            POOL.check.cycle,
            clock=lambda: self.now,
            now=lambda: self.now,
        )

    async def fill(self) -> None:
        for store in self.stores.values():
            await store.add([Candidate(A, Record()), Candidate(B, Record())])
            await store.settle([passed(check) for check in await store.claim(9, 60.0)])
        for follower in self.followers:
            await follower.step()

    def see(self, finding: Finding, site: str | None = "zhihu", host: str = HOST) -> None:
        self.reporter.note(Seen(A, site, host, finding))

    async def scores(self) -> dict[str, float | None]:
        return {name: (await one.http.scores([A.member]))[0] for name, one in self.stores.items()}

    async def due(self, site: str) -> float:
        key = self.stores[site].http.key
        seconds, micros = await self.client.time()
        when = await self.client.zscore(f"fetchpool:{{{key}}}:due", A.member)
        assert when is not None
        return float(when) / 1000 - seconds - micros / 1e6


def passed(check: object) -> Checked:
    record = next_record(Record(), Kind.PASSED, now=1000.0, seconds=0.5)
    return Checked(check, Kind.PASSED, record, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("finding", "universal", "zhihu"),
    [
        (Finding.PROXY, 99, 99),
        (Finding.BANNED, 100, 99),
        (Finding.UNKNOWN, 100, 100),
        (Finding.NONE, 100, 100),
        (Finding.ANSWERED, 100, 100),
        (Finding.GOOD, 100, 100),
    ],
)
async def test_findings_reach_the_scores_they_concern(
    redis: Redis, finding: Finding, universal: float, zhihu: float
) -> None:
    reporting = Reporting(redis)
    await reporting.fill()
    reporting.see(finding)
    assert await reporting.scores() == {"universal": 100, "zhihu": 100}  # nothing until the step
    await reporting.reporter.step()
    assert await reporting.scores() == {"universal": universal, "zhihu": zhihu}


@pytest.mark.parametrize("spelled", ["user:p$ss!@192.0.2.3:80", "http://192.0.2.3:80"])
async def test_findings_reach_those_that_others_spell_in_their_own_way(
    redis: Redis, spelled: str
) -> None:
    reporting = Reporting(redis)
    await reporting.fill()
    proxy = parse_proxy(spelled)
    assert proxy.member != spelled
    await redis.zadd("proxies:universal", {spelled: 100})
    await reporting.stores["universal"].adopt()
    for follower in reporting.followers:
        await follower.step()
    reporting.reporter.note(Seen(proxy, None, HOST, Finding.PROXY))
    await reporting.reporter.step()
    assert await reporting.stores["universal"].http.scores([spelled, proxy.member]) == [99, None]
    assert await reporting.scores() == {"universal": 100, "zhihu": 100}


async def test_findings_reach_those_that_no_snapshot_has_yet(redis: Redis) -> None:
    reporting = Reporting(redis)
    await reporting.stores["universal"].add([Candidate(A, Record())])
    reporting.see(Finding.PROXY, site=None)
    await reporting.reporter.step()
    assert await reporting.scores() == {"universal": 9, "zhihu": None}


async def test_a_success_by_the_sites_rules_lifts_it_there_only(redis: Redis) -> None:
    reporting = Reporting(redis)
    await reporting.fill()
    for key in ("proxies:universal", "proxies:zhihu"):
        await redis.zadd(key, {A.member: 50})
    reporting.see(Finding.GOOD)
    await reporting.reporter.step()
    assert await reporting.scores() == {"universal": 50, "zhihu": 100}


async def test_who_was_seen_at_work_is_checked_later_up_to_a_limit(redis: Redis) -> None:
    reporting = Reporting(redis)
    await reporting.fill()
    for later, expected in [(0.0, 20.0), (80.0, 20.0), (95.0, 20.0), (101.0, 20.0)]:
        reporting.now = 1000.0 + later
        reporting.see(Finding.ANSWERED)
        await reporting.reporter.step()
        for site in reporting.stores:
            assert expected - 2 < await reporting.due(site) <= expected
    other = Reporting(redis)
    await redis.flushall()
    await other.fill()
    other.now = 1000.0 + 5 * POOL.check.cycle
    other.see(Finding.ANSWERED)
    await other.reporter.step()
    assert await other.due("universal") <= 1.0


async def test_a_point_leaves_the_next_check_where_it_was(redis: Redis) -> None:
    reporting = Reporting(redis)
    await reporting.fill()
    reporting.see(Finding.BANNED)
    await reporting.reporter.step()
    assert await reporting.due("zhihu") <= 1.0
    assert await reporting.due("universal") > 15.0  # it did answer


async def test_a_down_target_costs_nothing_and_a_bad_proxy_at_a_good_one_a_point(
    redis: Redis,
) -> None:
    reporting = Reporting(redis)
    await reporting.fill()
    for _ in range(500):
        reporting.see(Finding.UNKNOWN)
    await reporting.reporter.step()
    assert await reporting.scores() == {"universal": 100, "zhihu": 100}
    reporting.reporter.note(Seen(B, "zhihu", HOST, Finding.ANSWERED))
    await reporting.reporter.step()
    assert await reporting.scores() == {"universal": 100, "zhihu": 99}


async def test_a_site_that_there_is_not_is_passed_over(redis: Redis) -> None:
    reporting = Reporting(redis)
    await reporting.fill()
    reporting.see(Finding.PROXY, site="nosuch")
    await reporting.reporter.step()
    assert await reporting.scores() == {"universal": 99, "zhihu": 100}


async def test_nothing_gathered_means_nothing_asked(redis: Redis) -> None:
    reporting = Reporting(redis)
    before = (await redis.info("stats"))["total_commands_processed"]
    await reporting.reporter.step()
    assert (await redis.info("stats"))["total_commands_processed"] == before + 1


async def test_it_outlasts_an_outage_of_redis(tmp_path: Path) -> None:
    binary = find_binary("newest")
    with RedisServer.start(tmp_path, binary) as server:
        client = connect(server.url)
        reporting = Reporting(client)
    reporting.see(Finding.BANNED)
    with pytest.raises(RedisAway):
        await reporting.reporter.step()
    with RedisServer.start(tmp_path, binary):
        await reporting.fill()
        running = asyncio.create_task(reporting.reporter.run())

        async def charged() -> bool:
            return await reporting.scores() == {"universal": 100, "zhihu": 99}

        await wait_until(charged, 10)
        reporting.reporter.stop()
        await asyncio.wait_for(running, 5)
        await client.aclose()
