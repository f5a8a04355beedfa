"""The operator's own proxies, on clocks of the test's."""

from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from fetcher.errors import RedisAway
from fetcher.proxy import parse_proxy
from pool.harvest.own_proxies import OwnProxies
from pool.model import Added, Candidate, Kind, Record
from pool.settings import Harvest, OwnProxy, Pool
from pool.store import Store
from tests.pool.store.members import check_all

pytestmark = pytest.mark.timeout(30)

KEY = "proxies:universal"
BEGIN = 1_700_000_000.0
HOST = "10.0.0.1:8000"


class Keeping:
    """One process with these `proxies` in its settings."""

    def __init__(self, redis: Redis, *proxies: str | OwnProxy, **more: Any) -> None:
        pool = Pool(proxies=list(proxies), **{"harvest": Harvest(cycle=3600.0)} | more)
        self.store = Store(redis, pool)
        self.seconds = 0.0
        self._own = OwnProxies(
            self.store, pool, clock=lambda: self.seconds, now=lambda: BEGIN + self.seconds
        )

    async def step(self, seconds: float = 0.0) -> dict[str, float]:
        """The scores after a step at `seconds`."""
        self.seconds = seconds
        await self._own.step()
        return {
            member.member: member.score or 0.0
            for one in self.store.sets
            async for members in one.scan()
            for member in members
        }


def until(seconds: float) -> datetime:
    return datetime.fromtimestamp(BEGIN + seconds, UTC)


async def test_they_are_added_trusted_beyond_every_limit_and_put_back(redis: Redis) -> None:
    gateway = OwnProxy(url="socks5://gateway.example:1080", country="DE")
    one = Keeping(redis, f"http://u:p@{HOST}", gateway, max_size=1)
    expected = {f"u:p@{HOST}": 10.0, "socks5://gateway.example:1080": 10.0}
    assert await one.step() == expected
    records = {check.member: check.record for check in await one.store.claim(9, 1.0)}
    assert all(record.own for record in records.values())
    assert records["socks5://gateway.example:1080"].country == "DE"
    await one.store.remove(sorted(expected))
    assert await one.step(3599.9) == {}
    assert await one.step(3600.0) == expected


async def test_those_that_are_never_checked_are_good(redis: Redis) -> None:
    one = Keeping(redis, OwnProxy(url=HOST, never_check=True))
    assert await one.step() == {HOST: 100}
    assert await one.store.adopt() == 0
    assert await one.store.claim(9, 1.0) == []


@pytest.mark.parametrize("never_check", [True, False])
async def test_they_go_when_they_expire_however_long_a_cycle_is(
    redis: Redis, never_check: bool
) -> None:
    later = OwnProxy(url="10.0.0.2:1", never_check=never_check, expires=until(60))
    sooner = OwnProxy(url=HOST, never_check=never_check, expires=until(50))
    one = Keeping(redis, "10.0.0.3:1", later, sooner)
    assert len(await one.step()) == len(await one.step(49.9)) == 3
    assert set(await one.step(50.0)) == {"10.0.0.2:1", "10.0.0.3:1"}
    assert set(await one.step(59.9)) == {"10.0.0.2:1", "10.0.0.3:1"}
    assert set(await one.step(60.0)) == {"10.0.0.3:1"}


async def test_a_step_at_which_nothing_is_due_asks_redis_nothing(redis: Redis) -> None:
    one = Keeping(redis, OwnProxy(url=HOST, expires=until(50)))
    await one.step()
    await redis.flushall()
    assert await one.step(49.9) == {}


@pytest.mark.parametrize("never_check", [True, False])
async def test_who_has_left_the_settings_leaves_the_pool_and_may_come_back_at_once(
    redis: Redis, never_check: bool
) -> None:
    old = [
        OwnProxy(url=url, never_check=never_check)
        for url in (f"http://u:old@{HOST}", "socks5://10.0.0.2:1")
    ]
    await Keeping(redis, *old).step()
    one = Keeping(redis, f"http://u:new@{HOST}")
    assert await one.step() == {f"u:new@{HOST}": 10}
    assert await Keeping(redis).step() == {}
    again = Candidate(parse_proxy(f"u:old@{HOST}"), Record(source="list"))
    assert await one.store.add([again]) == Added(new=1)


async def test_only_the_settings_own_leave_with_them(redis: Redis) -> None:
    one = Keeping(redis)
    known = [
        Candidate(parse_proxy("10.0.0.1:1"), Record(source="api", own=True)),
        Candidate(parse_proxy("10.0.0.2:1"), Record(source="settings")),
        Candidate(parse_proxy("10.0.0.3:1"), Record()),
    ]
    await one.store.add(known)
    assert set(await one.step()) == {"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"}


async def test_processes_with_other_settings_fight_at_their_start_alone(redis: Redis) -> None:
    old, new = Keeping(redis, "10.0.0.1:1"), Keeping(redis, "10.0.0.2:1")
    await old.step()
    assert set(await new.step()) == {"10.0.0.2:1"}
    assert (
        set(await old.step(3600.0)) == set(await new.step(3600.0)) == {"10.0.0.1:1", "10.0.0.2:1"}
    )


async def test_what_a_redis_that_failed_left_undone_is_done_with_the_next_step(
    redis: Redis,
) -> None:
    one = Keeping(redis)
    await redis.set(KEY, "no sorted set")
    with pytest.raises(RedisAway):
        await one.step()
    await redis.delete(KEY)
    await Keeping(redis, HOST).step()
    assert await one.step() == {}


async def test_who_came_from_a_list_is_the_operators_when_he_names_it(redis: Redis) -> None:
    one = Keeping(redis, OwnProxy(url=HOST, country="DE"), max_size=2)
    await one.store.add([Candidate(parse_proxy(HOST), Record(source="list", added=7.0))])
    await check_all(one.store, Kind.TIMEOUT)
    assert await one.step() == {HOST: 9}
    [record] = await one.store.http.records([HOST])
    assert (record.source, record.own, record.country) == ("settings", True, "DE")
    assert (record.added, record.failures) == (7.0, 1)
    await one.store.add(Candidate(parse_proxy(f"10.0.0.{n}:1"), Record()) for n in range(5))
    assert HOST in await one.step()
    one = Keeping(redis, OwnProxy(url=HOST, country="FR"))
    await one.step()
    assert [known.country for known in await one.store.http.records([HOST])] == ["FR"]
    assert HOST not in await Keeping(redis).step()


@pytest.mark.parametrize(
    ("url", "member"),
    [
        ("http://127.1:3128", "127.0.0.1:3128"),
        ("http://[0:0:0:0:0:0:0:1]:3128", "[::1]:3128"),
        ("http://proxy.example.:3128", "proxy.example:3128"),
        ("http://squid_proxy:3128", "squid_proxy:3128"),
    ],
)
async def test_one_proxy_has_one_spelling(redis: Redis, url: str, member: str) -> None:
    one = Keeping(redis, url, member)
    assert await one.step() == {member: 10}
