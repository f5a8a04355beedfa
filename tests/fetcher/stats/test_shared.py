import asyncio

import pytest
from redis.asyncio import Redis

from fetcher.errors import RedisAway
from fetcher.stats.shared import GONE, Counters
from fetcher.stats.windows import Stats
from fetchpool.redis.connect import connect
from tests.wait import wait_until

START = 1_000_020.0  # a full minute
PREFIX = "pre"


class Service:
    """Workers on one clock, each with its counters."""

    def __init__(self, redis: Redis, name: str = "host:1") -> None:
        self.now = START
        self._redis = redis
        self._name = name

    def worker(self, number: int, in_flight: int = 0) -> "Worker":
        return Worker(self, self._redis, self._name, number, in_flight)


class Worker:
    def __init__(
        self, service: Service, redis: Redis, name: str, number: int, in_flight: int
    ) -> None:
        self.stats = Stats()
        self.in_flight = in_flight
        self._service = service
        self.counters = Counters(
            redis,
            PREFIX,
            name,
            number,
            self.stats,
            lambda: self.in_flight,
            clock=lambda: service.now,
        )

    def record(self, project: str = "p", times: int = 1) -> None:
        for _ in range(times):
            self.stats.record(project, 200, 0.0, 0, self._service.now)


async def test_each_tells_what_all_have_counted(any_redis: Redis) -> None:
    service = Service(any_redis)
    first, second, third = (service.worker(number) for number in (1, 2, 3))
    first.record(times=2)
    second.record(times=3)
    second.record("q")
    for worker in (second, third):
        await worker.counters.write()
    for window in ("5m", "1h"):
        expected = {"p": {"200": 5.0}, "q": {"200": 1.0}}
        for worker in (first, second, third):
            assert await worker.counters.read(window, "sum") == expected
    service.now += 10
    averages = await third.counters.read("5m", "avg")
    assert averages == {"p": {"200": 0.5}, "q": {"200": 0.1}}


async def test_what_was_counted_after_the_last_write_of_a_bucket_is_written_with_the_next(
    any_redis: Redis,
) -> None:
    service = Service(any_redis)
    first, second = service.worker(1), service.worker(2)
    total = 0
    for step in (0.0, 9.0, 0.9, 0.2, 25.0, 50.0, 3.0):
        service.now += step
        second.record(times=2)
        await second.counters.write()
        second.record()
        total += 3
    service.now += 1
    await second.counters.write()
    for window in ("5m", "1h"):
        assert await first.counters.read(window, "sum") == {"p": {"200": total}}


@pytest.mark.parametrize(("window", "length"), [("5m", 300), ("1h", 3_600)])
async def test_what_a_dead_one_had_counted_is_forgotten_with_its_bucket(
    redis: Redis, window: str, length: int
) -> None:
    service = Service(redis)
    dead, successor, alive = service.worker(1), service.worker(1), service.worker(2)
    for worker in (dead, successor):
        worker.record()
        await worker.counters.write()
    for at, expected in ((0, {"p": {"200": 2.0}}), (length - 1, {"p": {"200": 2.0}}), (length, {})):
        service.now = START + at
        assert await alive.counters.read(window, "sum") == expected


async def test_services_do_not_mix(redis: Redis) -> None:
    one, other = Service(redis).worker(1, 1), Service(redis, "host:2").worker(2, 2)
    one.record()
    other.record("q")
    await one.counters.write()
    await other.counters.write()
    assert await one.counters.read("5m", "sum") == {"p": {"200": 1.0}}
    assert await other.counters.size() == 2


@pytest.mark.parametrize(
    ("ago", "size"), [(0.0, 7), (GONE - 0.1, 7), (GONE, 7), (GONE + 0.1, 4), (1e6, 4)]
)
async def test_fetches_under_way_are_those_of_all_that_are_alive(
    redis: Redis, ago: float, size: int
) -> None:
    service = Service(redis)
    first, second = service.worker(1), service.worker(2, 3)
    await first.counters.write()
    await second.counters.write()
    service.now += ago
    first.in_flight = 4  # its own are told as they are now
    assert await first.counters.size() == size


async def test_a_successor_takes_the_place_of_its_predecessor(redis: Redis) -> None:
    service = Service(redis)
    first = service.worker(1)
    await service.worker(2, 3).counters.write()
    await service.worker(2, 1).counters.write()
    assert await first.counters.size() == 1


async def test_all_keys_are_under_the_prefix_and_go_by_themselves(redis: Redis) -> None:
    worker = Service(redis).worker(1)
    worker.record()
    await worker.counters.write()
    base = PREFIX + ":stats:{host:1}"
    keys = [f"{base}:1h:16667", f"{base}:5m:100002", f"{base}:live"]
    assert sorted(await redis.keys("*")) == [key.encode() for key in keys]
    lifetimes = [await redis.ttl(key) for key in keys]
    assert [round(seconds, -1) for seconds in lifetimes] == [3660, 310, 60]


async def test_a_quiet_worker_writes_only_that_it_is_there(redis: Redis) -> None:
    service = Service(redis)
    worker = service.worker(1)
    worker.record()
    await worker.counters.write()
    for key in await redis.keys("*"):
        await redis.delete(key)
    service.now += 1
    await worker.counters.write()
    assert len(await redis.keys("*")) == 1


async def test_a_redis_that_is_away_is_said() -> None:
    away = connect("redis://127.0.0.1:1/0")
    worker = Service(away).worker(1)
    for call in (
        worker.counters.write(),
        worker.counters.size(),
        worker.counters.read("5m", "sum"),
    ):
        with pytest.raises(RedisAway, match="cannot be reached: Connection refused"):
            await call
    await away.aclose()


async def test_it_writes_until_it_is_cancelled(redis: Redis) -> None:
    worker = Service(redis).worker(1)
    task = asyncio.create_task(worker.counters.run())
    await wait_until(lambda: redis.keys("*"), what="the first write")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
