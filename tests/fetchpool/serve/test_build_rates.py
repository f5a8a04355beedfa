import json

import pytest
from redis.asyncio import Redis

from fetcher.http.gate import Refusal
from fetchpool.serve.build_rates import Rates, build_rates
from tests.fetchpool.given import settings

KEYS = {"ann": "secret-a", "bob": "secret-b"}


def build(redis: Redis, rate: float = 2) -> Rates:
    return build_rates(settings(api__rate=rate, api__keys=KEYS, api__key="secret"), redis)


def count(rates: Rates, key: str | None) -> tuple[int, Refusal]:
    """How many requests are let in at once, and what is said to the next."""
    assert rates.limiter is not None
    for number in range(100):
        refusal = rates.limiter.ask(key)
        if refusal is not None:
            return number, refusal
    pytest.fail("there is no limit")


async def test_without_a_rate_there_is_no_limiter(redis: Redis) -> None:
    rates = build(redis, 0)
    assert rates.limiter is None
    assert rates.part.duties == []


async def test_each_key_has_a_rate_of_its_own_and_a_name_in_words(redis: Redis) -> None:
    rates = build(redis)
    for key, who in (("secret-a", "the key 'ann'"), ("secret-b", "the key 'bob'"),
                     ("secret", "the API")):  # fmt: skip
        done, refusal = count(rates, key)
        assert done == 2
        assert (refusal.status, refusal.retry_after) == (429, 1)
        assert refusal.content_type == "application/json"
        words = "has made its 2 requests a second of api.rate: try again in 1 s"
        assert json.loads(refusal.body) == {"error": f"{who} {words}"}


async def test_who_needs_no_key_shares_the_rate_with_all_who_have_none(redis: Redis) -> None:
    assert count(build(redis), None)[0] == 2


async def test_workers_tell_each_other_and_no_key_lies_in_redis(redis: Redis) -> None:
    one, two = build(redis), build(redis)
    for rates in (one, two):
        assert rates.limiter is not None
        await rates.limiter._quotas.share()
    assert count(one, "secret-a")[0] == 2
    await one.limiter._quotas.share()  # type: ignore[union-attr]
    await two.limiter._quotas.share()  # type: ignore[union-attr]
    assert count(two, "secret-a")[0] == 0
    assert count(two, "secret-b")[0] == 2
    keys = await redis.keys("*")
    assert all(b"{fetchpool:api}" in key for key in keys)
    for key in keys:
        assert b"secret" not in (await redis.dump(key) or b"")
