import pytest
from redis.asyncio import Redis

from pool.store import Checkers

pytestmark = pytest.mark.timeout(60)


async def test_the_judges_secret_is_whose_came_first(any_redis: Redis) -> None:
    one, two = Checkers(any_redis), Checkers(any_redis)
    assert await one.secret(b"one") == b"one"
    assert await two.secret(b"two") == b"one"
    assert await Checkers(any_redis, "other").secret(b"three") == b"three"


async def test_bytes_are_counted_by_day_and_forgotten(any_redis: Redis) -> None:
    one, two = Checkers(any_redis), Checkers(any_redis)
    assert await one.spend(20_000, 500) == 500
    assert await two.spend(20_000, 70) == 570
    assert await two.spend(20_001, 0) == 0
    assert 86_400 < await any_redis.ttl("fetchpool:check-bytes:20000") <= 172_800
