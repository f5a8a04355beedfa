import asyncio

import pytest
from redis.asyncio import Redis

from pool.model import SourceAccount, Validators
from pool.store import Sources
from tests.pool.store.members import HOUR
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)


async def test_a_source_is_claimed_by_one_until_its_time_is_over(any_redis: Redis) -> None:
    one, two = Sources(any_redis), Sources(any_redis)
    assert await one.claim("list {a}", 0.05)
    assert not await two.claim("list {a}", HOUR)
    assert await two.claim("another", HOUR)
    assert await wait_until(lambda: two.claim("list {a}", HOUR))
    await two.give_back("list {a}")
    assert await one.claim("list {a}", HOUR)


async def test_a_claim_can_be_made_longer_and_a_pause_bind_everybody(any_redis: Redis) -> None:
    sources = Sources(any_redis)
    await sources.renew("list", HOUR)
    assert await any_redis.exists("fetchpool:source:list") == 0
    assert await sources.claim("list", 60.0, "v")
    await sources.renew("list", HOUR)
    assert 60 < await any_redis.ttl("fetchpool:source:list") <= HOUR
    await sources.pause("list", 2 * HOUR)
    assert HOUR < await any_redis.ttl("fetchpool:source:list") <= 2 * HOUR
    for version in ("v", "another", ""):
        assert not await sources.claim("list", HOUR, version)


async def test_a_pause_binds_one_version_of_a_declaration(any_redis: Redis) -> None:
    one, two = Sources(any_redis), Sources(any_redis)
    assert await one.claim("list", HOUR, "old")
    assert not await two.claim("list", HOUR, "new")
    await one.pause("list", 2 * HOUR, "old")
    assert HOUR < await any_redis.ttl("fetchpool:source:list") <= 2 * HOUR
    assert not await one.claim("list", HOUR, "old")
    assert await two.claim("list", HOUR, "new")
    assert await any_redis.ttl("fetchpool:source:list") <= HOUR
    for version in ("old", "new", "third", ""):
        assert not await two.claim("list", HOUR, version)


async def test_of_many_who_see_a_pause_that_binds_none_of_them_one_claims(
    any_redis: Redis,
) -> None:
    several = [Sources(any_redis) for _ in range(20)]
    await several[0].pause("list", HOUR, "old")
    claims = await asyncio.gather(*(one.claim("list", HOUR, "new") for one in several))
    assert sum(claims) == 1


async def test_validators_are_remembered_for_a_while(any_redis: Redis) -> None:
    sources = Sources(any_redis)
    assert await sources.validators("list") == {}
    pages = {"1": Validators(etag='"a"', found=3, read=1.5), "2": Validators(last_modified="x")}
    await sources.remember("list", pages, HOUR)
    assert await sources.validators("list") == pages
    assert await sources.validators("other") == {}
    assert HOUR - 10 < await any_redis.ttl("fetchpool:validators:list") <= HOUR
    await any_redis.set("fetchpool:validators:list", b"\xc1")
    assert await sources.validators("list") == {}
    await sources.remember("list", pages, 0.0)
    assert await wait_until(lambda: _is_gone(any_redis, "fetchpool:validators:list"))
    await sources.remember("list", pages, HOUR)
    await sources.remember("list", {}, HOUR)
    assert await any_redis.exists("fetchpool:validators:list") == 0


async def _is_gone(redis: Redis, key: str) -> bool:
    return not await redis.exists(key)


async def test_accounts_are_kept_and_unknown_ones_are_empty(any_redis: Redis) -> None:
    sources = Sources(any_redis)
    account = SourceAccount(found=7, new=3, last_error="HTTP 404")
    await sources.save("list", account)
    assert await sources.account("list") == account
    assert await sources.account("other") == SourceAccount()
    await any_redis.hset("fetchpool:sources", "broken", b"\xc1")
    assert await sources.accounts() == {"list": account, "broken": SourceAccount()}


async def test_an_account_that_others_wrote_is_fit_to_be_shown(any_redis: Redis) -> None:
    sources = Sources(any_redis)
    account = SourceAccount(found=3, last_success=float("inf"), last_error="\x1b[2Jno\r\n")
    await sources.save("list", account)
    expected = SourceAccount(found=3, last_error="?[2Jno??")
    assert await sources.account("list") == expected
    assert await sources.accounts() == {"list": expected}
