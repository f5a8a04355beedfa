import asyncio

import pytest
from redis.asyncio import Redis

from pool.settings import Pool
from pool.store import Store
from pool.upkeep.janitor import Janitor
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(20)


async def test_what_others_write_gets_checked_while_the_janitor_runs(redis: Redis) -> None:
    store = Store(redis, Pool())
    janitor = Janitor(store, seconds=0.01)
    running = asyncio.create_task(janitor.run())
    await redis.zadd("proxies:universal", {"192.0.2.1:80": 10})
    [first] = await wait_until(lambda: store.claim(5, 60.0))
    await redis.zadd("proxies:universal:socks", {"socks5://192.0.2.1:80": 10})
    [second] = await wait_until(lambda: store.claim(5, 60.0))
    assert [first.member, second.member] == ["192.0.2.1:80", "socks5://192.0.2.1:80"]
    janitor.stop()
    await asyncio.wait_for(running, 5)


async def test_two_janitors_do_no_harm(redis: Redis) -> None:
    store = Store(redis, Pool())
    await redis.zadd("proxies:universal", {f"192.0.2.{i}:80": 10 for i in range(50)})
    await asyncio.gather(*(Janitor(store, 60.0).step() for _ in range(2)))
    assert await redis.zcard("fetchpool:{proxies:universal}:due") == 50
