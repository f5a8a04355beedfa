import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
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
WORKERS, SERVER = "{" + IN + "}:workers", "{" + IN + "}:server"


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


async def serve_for(redis: Any, seconds: float) -> None:
    """As if this server had been known for so long."""
    run_id, now = (await redis.info("server"))["run_id"], (await redis.time())[0]
    await redis.set(SERVER, f"{run_id} {now - seconds}")


LEASE = SETTINGS.lease


@pytest.mark.parametrize(("served", "is_taken"), [(0, False), (LEASE - 30, False), (LEASE, True)])
async def test_nothing_is_taken_over_until_a_server_has_served_for_one_lease(
    redis, caplog, served, is_taken
):
    dead = await expired_worker(redis, b"left behind")
    await serve_for(redis, served)
    with caplog.at_level(logging.WARNING):
        await Heartbeat(ListTransport(redis, SETTINGS)).beat(0.0)
    assert await of(redis, IN) == ([b"left behind"] if is_taken else [])
    assert (f"took over from {dead.worker}: 1 tasks" in caplog.text) == is_taken


async def test_one_that_dies_more_often_than_once_a_lease_takes_over_all_the_same(redis):
    await redis.set(SERVER, "another 1.000")
    for n in range(3):
        await expired_worker(redis, b"%d" % n)
        await Heartbeat(ListTransport(redis, SETTINGS)).beat(0.0)  # it dies after its first beat
        assert await of(redis, IN) == []
    run_id, since = (await redis.get(SERVER)).split()
    await redis.set(SERVER, run_id + b" %f" % (float(since) - LEASE))  # so much later
    await Heartbeat(ListTransport(redis, SETTINGS)).beat(0.0)
    assert sorted(await of(redis, IN)) == [b"0", b"1", b"2"]


async def test_one_beat_takes_over_from_all_dead_workers(redis):
    for n in range(3):
        await expired_worker(redis, b"%d" % n)
    await serve_for(redis, LEASE)
    await Heartbeat(ListTransport(redis, SETTINGS)).beat(0.0)
    assert sorted(await of(redis, IN)) == [b"0", b"1", b"2"]


async def test_a_beat_renews_our_own_leases_before_it_looks_for_dead_ones(redis):
    queue = ListTransport(redis, SETTINGS)
    await redis.rpush(IN, b"m")
    await queue.take(1)
    await redis.zadd(WORKERS, {queue.worker: 1})
    await serve_for(redis, LEASE)
    await Heartbeat(queue).beat(0.0)
    assert await of(redis, IN) == []
    assert await redis.zscore(WORKERS, queue.worker) > 1


# -- outages ---------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def out_of_memory(redis: Any) -> AsyncIterator[None]:
    await redis.config_set("maxmemory", 1)
    yield
    await redis.config_set("maxmemory", 0)


@contextlib.asynccontextmanager
async def read_only(redis: Any) -> AsyncIterator[None]:
    await redis.replicaof("127.0.0.1", 1)
    yield
    await redis.replicaof("NO", "ONE")


@pytest.mark.parametrize("outage", [out_of_memory, read_only])
@pytest.mark.parametrize("is_idle", [True, False])
async def test_after_an_outage_the_living_have_one_lease_to_renew(any_redis, outage, is_idle):
    """With one run id throughout. `is_idle`: who might take over holds no lease itself."""
    living, other = ListTransport(any_redis, SETTINGS), ListTransport(any_redis, SETTINGS)
    await any_redis.rpush(IN, b"of the living", b"of the other")
    await living.take(1)
    if not is_idle:
        await other.take(1)
    await serve_for(any_redis, 10 * LEASE)
    heartbeat = Heartbeat(other)
    await heartbeat.beat(0.0)
    async with outage(any_redis):
        with pytest.raises(RedisAway):
            await heartbeat.beat(100.0)
    await any_redis.zadd(WORKERS, {living.worker: 1})
    left = [b"of the other"] if is_idle else []
    for now in (200.0, 200.0 + LEASE / 2, 200.0 + LEASE - 0.001):
        await heartbeat.beat(now)
        assert await of(any_redis, IN) == left
    await heartbeat.beat(200.0 + LEASE)
    assert await of(any_redis, IN) == [b"of the living", *left]


async def test_a_restarted_server_is_seen_anew(tmp_path):
    options = ("--appendonly", "yes")
    server = RedisServer.start(tmp_path, None, *options)
    redis = connect(server.url)
    try:
        await expired_worker(redis, b"m")
        await ListTransport(redis, SETTINGS).served_for()
        server.stop()
        await redis.aclose()
        server = RedisServer.start(tmp_path, None, *options)
        redis = connect(server.url)
        await Heartbeat(ListTransport(redis, SETTINGS)).beat(0.0)  # it never saw the other
        assert await of(redis, IN) == []
        await serve_for(redis, LEASE)
        await Heartbeat(ListTransport(redis, SETTINGS)).beat(0.0)
        assert await of(redis, IN) == [b"m"]
    finally:
        await redis.aclose()
        server.stop()
