import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from fetcher.errors import RedisAway
from fetcher.stats.ledger import GONE, KEPT, Ledger
from fetcher.stats.meters import Totals
from fetcher.stats.phases import Histogram
from fetchpool.redis.connect import connect
from tests.wait import wait_until

PREFIX = "pre"
KEY = "pre:stats:{host:1}:totals"


class Service:
    """Workers on one clock."""

    def __init__(self, redis: Redis) -> None:
        self.now = 1_000.0
        self.redis = redis

    def worker(self, number: int) -> "Worker":
        return Worker(self, number)


class Worker:
    def __init__(self, service: Service, number: int) -> None:
        self.done = 0
        self.ledger = Ledger(
            service.redis, PREFIX, "host:1", number, self.count, clock=lambda: service.now
        )

    def count(self) -> Totals:
        histogram = Histogram([self.done], float(self.done))
        return Totals({"done": float(self.done)}, {"h": histogram}, {"now": float(self.done)})


def done(totals: dict[int, Totals]) -> dict[int, float]:
    return {number: one.counts["done"] for number, one in totals.items()}


async def test_each_tells_what_all_have_counted(any_redis: Redis) -> None:
    service = Service(any_redis)
    first, second, third = (service.worker(number) for number in (1, 2, 3))
    first.done, second.done = 2, 3
    for worker in (second, first):
        await worker.ledger.write()
    totals = await third.ledger.read()
    assert list(totals) == [1, 2, 3]
    assert done(totals) == {1: 2, 2: 3, 3: 0}
    assert totals[2].histograms == {"h": Histogram([3], 3.0)}
    assert totals[2].gauges == {"now": 3.0}


async def test_a_replacement_goes_on_from_where_its_predecessor_was(any_redis: Redis) -> None:
    service = Service(any_redis)
    first = service.worker(1)
    first.done = 5
    assert done(await first.ledger.read()) == {1: 5}
    other = service.worker(1)
    assert done(await other.ledger.read()) == {1: 5}
    other.done = 2
    totals = await other.ledger.read()
    assert done(totals) == {1: 7}
    assert totals[1].histograms == {"h": Histogram([7], 7.0)}
    assert totals[1].gauges == {"now": 2.0}


async def test_a_hundred_replacements_let_no_counter_fall_and_add_none(redis: Redis) -> None:
    service = Service(redis)
    watcher = service.worker(1)
    last = 0.0
    for _ in range(100):
        worker = service.worker(2)
        worker.done = 3
        if _ % 2:
            await worker.ledger.write()
        totals = await watcher.ledger.read()
        assert set(totals) <= {1, 2}
        assert last <= totals.get(2, Totals({"done": 0.0})).counts["done"]
        last = totals.get(2, Totals({"done": 0.0})).counts["done"]
    assert last == 150
    assert await redis.hlen(KEY) == 2


@pytest.mark.parametrize(("silence", "told"), [(GONE, {"now": 1.0}), (GONE + 0.1, {})])
async def test_how_a_silent_worker_is_nobody_tells_what_it_counted_everybody(
    redis: Redis, silence: float, told: dict[str, float]
) -> None:
    service = Service(redis)
    worker, watcher = service.worker(1), service.worker(2)
    worker.done = 1
    await worker.ledger.write()
    service.now += silence
    totals = await watcher.ledger.read()
    assert totals[1].gauges == told
    assert done(totals) == {1: 1, 2: 0}


async def test_what_was_counted_earlier_is_never_written_later(redis: Redis) -> None:
    service = Service(redis)
    worker = service.worker(1)
    writes = []
    for number in range(50):
        worker.done = number
        writes.append(asyncio.create_task(worker.ledger.write()))
        await asyncio.sleep(0)
    await asyncio.gather(*writes)
    assert done(await service.worker(2).ledger.read()) == {1: 49, 2: 0}


async def test_an_emptied_redis_costs_a_living_worker_nothing(redis: Redis) -> None:
    service = Service(redis)
    first = service.worker(1)
    first.done = 5
    await first.ledger.write()
    second = service.worker(1)
    await second.ledger.write()
    await redis.flushall()
    second.done = 1
    assert done(await second.ledger.read()) == {1: 6}


async def test_the_numbers_go_by_themselves_once_the_service_is_gone(redis: Redis) -> None:
    await Service(redis).worker(1).ledger.write()
    left: Any = await redis.ttl(KEY)
    assert 0 < left <= KEPT


async def test_what_cannot_be_read_is_as_if_it_were_not_there(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await redis.hset(KEY, "1", b"\xc1")
    worker = Service(redis).worker(1)
    worker.done = 1
    assert done(await worker.ledger.read()) == {1: 1}
    assert "cannot be read" in caplog.text


async def test_while_redis_is_away_the_last_counters_are_there_without_gauges(
    redis: Redis,
) -> None:
    service = Service(redis)
    worker = service.worker(1)
    worker.done = 4
    assert worker.ledger.last == {}
    await worker.ledger.read()
    service.redis = connect("redis://127.0.0.1:1/0")
    worker.ledger._redis = service.redis
    worker.done = 9
    with pytest.raises(RedisAway):
        await worker.ledger.read()
    assert done(worker.ledger.last) == {1: 4}
    assert worker.ledger.last[1].gauges == {}
    await service.redis.aclose()


async def test_it_writes_by_itself_and_outlives_an_absence(redis: Redis) -> None:
    service = Service(redis)
    worker = service.worker(1)
    away = Service(connect("redis://127.0.0.1:1/0")).worker(1)
    runs = [asyncio.create_task(one.ledger.run()) for one in (worker, away)]
    await wait_until(lambda: redis.hexists(KEY, "1"), what="the first write")
    assert not any(run.done() for run in runs)
    for run in runs:
        run.cancel()
    await asyncio.wait(runs)
    await away.ledger._redis.aclose()
