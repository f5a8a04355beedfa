"""What rendering has changed, in a real Redis."""

import pytest
from redis.asyncio import Redis

from fetcher.auto.rule import NOTHING, Known
from fetcher.auto.store import Store
from fetcher.errors import RedisAway
from fetchpool.redis.connect import connect

KNOWN, LEARNED = "{t:auto}:known", "{t:auto}:learned"


async def test_what_one_has_learned_all_know(redis: Redis) -> None:
    one, other = Store(redis, "t"), Store(redis, "t")
    assert await one.ask(["h/a", "h"]) == [NOTHING, NOTHING]
    await one.learn(["h/a", "h"], changed=True)
    await other.learn(["h/b", "h"], changed=True)
    await one.learn(["h/a", "h"], changed=False)
    assert await other.ask(["h/a", "h", "h/b", "x"]) == [
        Known(1, 1, -1), Known(2, 1, -1), Known(1, 0, 1), NOTHING,
    ]  # fmt: skip


async def test_it_counts_as_this_process_does(redis: Redis) -> None:
    store, here = Store(redis, "t"), NOTHING
    for changed in (False, False, True, True, True, False, True):
        await store.learn(["h"], changed=changed)
        here = here.plus(changed=changed)
        assert await store.ask(["h"]) == [here]


async def test_prefixes_do_not_mix(redis: Redis) -> None:
    await Store(redis, "t").learn(["h"], changed=True)
    assert await Store(redis, "u").ask(["h"]) == [NOTHING]


@pytest.mark.parametrize(("age", "holds"), [(99, True), (102, False)])
async def test_what_was_learned_long_ago_does_not_hold(redis: Redis, age: int, holds: bool) -> None:
    store = Store(redis, "t", keep=100)
    await store.learn(["h"], changed=True)
    now = (await redis.time())[0]
    await redis.hset(KNOWN, "h", f"1 0 1 {now - age}")
    await redis.zadd(LEARNED, {"h": now - age})
    assert await store.ask(["h"]) == [Known(1, 0, 1) if holds else NOTHING]
    await store.learn(["x"], changed=True)
    assert await redis.hexists(KNOWN, "h") is holds
    await store.learn(["h"], changed=True)
    assert await store.ask(["h"]) == [Known(2, 0, 2) if holds else Known(1, 0, 1)]


async def test_it_is_gone_when_nobody_learns_any_more(redis: Redis) -> None:
    await Store(redis, "t", keep=100).learn(["h"], changed=True)
    for key in (KNOWN, LEARNED):
        assert 0 < await redis.ttl(key) <= 100


@pytest.mark.parametrize(("count", "kept"), [(9, 9), (10, 10), (11, 10), (30, 10)])
async def test_the_oldest_makes_place(redis: Redis, count: int, kept: int) -> None:
    store = Store(redis, "t", most=10)
    for n in range(count):
        await store.learn([f"h{n}"], changed=True)
        await redis.zadd(LEARNED, {f"h{n}": n})  # one a second
        now = (await redis.time())[0]
        await redis.zadd(LEARNED, {f"h{n}": now - 1000 + n})
    left = await redis.hkeys(KNOWN)
    assert len(left) == await redis.zcard(LEARNED) == kept
    assert f"h{count - 1}".encode() in left


async def test_redis_that_is_away_is_said_so() -> None:
    client = connect("redis://127.0.0.1:1/0")
    with pytest.raises(RedisAway):
        await Store(client, "t").ask(["h"])
    await client.aclose()
