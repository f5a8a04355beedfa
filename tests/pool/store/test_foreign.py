import pytest
from redis.asyncio import Redis

from pool.store import Foreign, read_scores

pytestmark = pytest.mark.timeout(60)


async def read(foreign: Foreign) -> dict[str, str]:
    return {name: value async for pairs in foreign.read() for name, value in pairs}


@pytest.mark.parametrize("count", [0, 1, 3000])
async def test_a_sorted_set_or_a_hash_is_read_whole_and_left_as_it_is(
    any_redis: Redis, count: int
) -> None:
    names = [f"192.0.{n // 250}.{n % 250}:80" for n in range(count)]
    if count:
        await any_redis.zadd("proxies", dict.fromkeys(names, 10))
        await any_redis.hset("use_proxy", mapping=dict.fromkeys(names, "{}"))
    assert await read(Foreign(any_redis, "proxies")) == dict.fromkeys(names, "")
    assert await read(Foreign(any_redis, "use_proxy")) == dict.fromkeys(names, "{}")
    assert await any_redis.zcard("proxies") == await any_redis.hlen("use_proxy") == count


async def test_what_kind_of_key_it_is_is_told_in_redis_words(any_redis: Redis) -> None:
    await any_redis.zadd("z", {"a": 1})
    await any_redis.hset("h", "a", "b")
    await any_redis.set("s", "a")
    kinds = [await Foreign(any_redis, key).kind() for key in ("z", "h", "s", "n")]
    assert kinds == ["zset", "hash", "string", "none"]


async def test_what_is_no_utf_8_comes_as_it_was_written(any_redis: Redis) -> None:
    await any_redis.zadd("proxies", {b"\xff:80": 1})
    [name] = await read(Foreign(any_redis, "proxies"))
    assert name.encode("utf-8", "surrogateescape") == b"\xff:80"


async def test_the_best_of_a_sorted_set_are_read_with_their_scores(any_redis: Redis) -> None:
    await any_redis.zadd("proxies:mine", {"192.0.2.1:80": 3, "192.0.2.2:80": 100, "\xff": 7})
    rows = [("192.0.2.2:80", 100.0), ("\xff", 7.0), ("192.0.2.1:80", 3.0)]
    assert await read_scores(any_redis, "proxies:mine", 10) == rows
    assert await read_scores(any_redis, "proxies:mine", 2) == rows[:2]
    assert await read_scores(any_redis, "proxies:nosuch", 10) == []
    await any_redis.set("proxies:text", "a")
    assert await read_scores(any_redis, "proxies:text", 10) == []
