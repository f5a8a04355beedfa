import asyncio
import logging
from typing import Any

import pytest
from redis.asyncio import Redis

from fetcher.errors import RedisAway
from fetcher.queue.heartbeat import Arrivals, Heartbeat
from fetcher.queue.lane import QueueLane
from fetcher.queue.lists import ListTransport
from fetcher.run.fetcher import Fetcher
from fetcher.settings import Queue
from fetchpool.redis.connect import connect
from tests.redis_server import RedisServer
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)

SETTINGS = Queue()
IN = SETTINGS.in_
WORKERS = "{" + IN + "}:workers"


@pytest.fixture
def lane(redis: Redis, fetcher: Fetcher) -> QueueLane:
    return QueueLane(ListTransport(redis, SETTINGS), fetcher, 10)


async def of(redis: Redis, name: str) -> list[bytes]:
    found: Any = redis.lrange(name, 0, -1)
    return list(await found)


# -- arrivals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("waiting", "room", "expects_more"), [(0, 5, True), (4, 5, True), (5, 5, False), (6, 5, False)]
)
async def test_a_take_that_brought_less_than_asked_for_waits_for_arrivals(
    lane, redis, waiting, room, expects_more
):
    if waiting:
        await redis.rpush(IN, *([b"m"] * waiting))
    await lane.take(room)
    assert lane.empty.is_set() == expects_more


async def test_an_arrival_wakes_at_once_and_takes_nothing(one_redis, redis, fetcher):
    blocking = connect(one_redis.url, blocking=True)
    lane = QueueLane(ListTransport(redis, SETTINGS, blocking), fetcher, 10)
    woken: list[bool] = []
    task = asyncio.ensure_future(Arrivals(lane, lambda: woken.append(True)).run())
    try:
        for turn in range(1, 4):
            while await lane.take(10):
                pass
            await wait_until(lambda: _blocked(redis))
            assert len(woken) == turn - 1
            await redis.rpush(IN, b"m")
            await wait_until(lambda turn=turn: len(woken) == turn)  # type: ignore[misc]
            assert not lane.empty.is_set()
            assert await of(redis, IN) == [b"m"]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await blocking.aclose()


async def _blocked(redis: Redis) -> bool:
    return bool((await redis.info("clients"))["blocked_clients"])


# -- heartbeat -------------------------------------------------------------------------------


async def expired_worker(redis: Redis, message: bytes) -> ListTransport:
    dead = ListTransport(redis, SETTINGS)
    await redis.rpush(IN, message)
    await dead.take(1)
    await redis.zadd(WORKERS, {dead.worker: 1})
    return dead


async def test_nothing_is_taken_over_within_one_lease_of_first_seeing_a_server(redis, caplog):
    dead = await expired_worker(redis, b"left behind")
    heartbeat = Heartbeat(ListTransport(redis, SETTINGS))
    lease = SETTINGS.lease
    for now in (1000.0, 1000.0 + lease / 2, 1000.0 + lease - 0.001):
        await heartbeat.beat(now)
        assert await of(redis, IN) == []
    with caplog.at_level(logging.WARNING):
        await heartbeat.beat(1000.0 + lease)
    assert await of(redis, IN) == [b"left behind"]
    assert f"took over from {dead.worker}: 1 tasks" in caplog.text


async def test_one_beat_takes_over_from_all_dead_workers(redis):
    for n in range(3):
        await expired_worker(redis, b"%d" % n)
    heartbeat = Heartbeat(ListTransport(redis, SETTINGS))
    await heartbeat.beat(0.0)
    await heartbeat.beat(SETTINGS.lease)
    assert sorted(await of(redis, IN)) == [b"0", b"1", b"2"]


async def test_a_beat_renews_our_own_leases_before_it_looks_for_dead_ones(redis):
    queue = ListTransport(redis, SETTINGS)
    await redis.rpush(IN, b"m")
    await queue.take(1)
    heartbeat = Heartbeat(queue)
    await heartbeat.beat(0.0)
    await redis.zadd(WORKERS, {queue.worker: 1})
    await heartbeat.beat(10 * SETTINGS.lease)
    assert await of(redis, IN) == []
    assert await redis.zscore(WORKERS, queue.worker) > 1


async def test_a_restarted_server_is_seen_anew(tmp_path):
    options = ("--appendonly", "yes")
    server = RedisServer.start(tmp_path, None, *options)
    redis = connect(server.url)
    heartbeat = Heartbeat(ListTransport(redis, SETTINGS))
    try:
        await expired_worker(redis, b"m")
        await heartbeat.beat(0.0)
        server.stop()
        with pytest.raises(RedisAway):
            await heartbeat.beat(50.0)
        server = RedisServer.start(tmp_path, None, *options)
        await heartbeat.beat(100.0)  # over a lease since the first, but this one is new
        assert await of(redis, IN) == []
        await heartbeat.beat(100.0 + SETTINGS.lease)
        assert await of(redis, IN) == [b"m"]
    finally:
        await redis.aclose()
        server.stop()
