import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from fetcher.errors import RedisAway
from fetcher.queue.lists import ListTransport
from fetcher.queue.starts import Starts
from tests.fetcher.queue.rig import IN, SETTINGS, TAG
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)


class Told(ListTransport):
    """Keeps what it is told, and may be away so many times."""

    def __init__(self, redis: Redis, away: int = 0) -> None:
        super().__init__(redis, SETTINGS)
        self.told: list[tuple[str, list[bytes]]] = []
        self.away = away

    async def wait(self, ids: Any) -> None:
        self._note("wait", ids)
        await super().wait(ids)

    async def begin(self, ids: Any) -> None:
        self._note("begin", ids)
        await super().begin(ids)

    def _note(self, what: str, ids: Any) -> None:
        if self.away:
            self.away -= 1
            raise RedisAway("away")
        if ids:
            self.told.append((what, sorted(ids)))


async def leased(queue: ListTransport, redis: Any, count: int) -> list[bytes]:
    await redis.rpush(IN, *[b"%d" % n for n in range(count)])
    return [item.id for item in await queue.take(count) or []]


async def waiting(redis: Any, queue: ListTransport) -> set[bytes]:
    return set(await redis.smembers(f"{TAG}:waiting:{queue.worker}"))


async def test_what_comes_in_one_turn_is_told_in_one_call(redis):
    queue = Told(redis)
    ids, starts = await leased(queue, redis, 4), Starts(queue)
    for one in ids:
        starts.wait(one)
    await wait_until(lambda: queue.told)
    assert queue.told == [("wait", ids)]
    assert await waiting(redis, queue) == set(ids)
    for one in ids[:3]:
        starts.begin(one)
    await wait_until(lambda: len(queue.told) > 1)
    assert queue.told[1:] == [("begin", ids[:3])]
    assert await waiting(redis, queue) == {ids[3]}


async def test_what_has_to_wait_for_that_begins_once_it_was_told(redis):
    queue = Told(redis)
    [one, two], starts = await leased(queue, redis, 2), Starts(queue)
    begun: list[Any] = []
    starts.wait(one)
    starts.begin(one, lambda: begun.append(list(queue.told)))
    starts.begin(two)
    assert begun == []
    await wait_until(lambda: begun)
    assert begun == [[("wait", [one]), ("begin", [one, two])]]


async def test_nothing_is_forgotten_while_redis_is_away(redis):
    queue = Told(redis, away=1)
    [one], starts = await leased(queue, redis, 1), Starts(queue)
    begun: list[bytes] = []
    starts.begin(one, lambda: begun.append(one))
    await wait_until(lambda: begun)
    assert queue.told == [("begin", [one])]


async def test_what_was_handed_back_does_not_begin(redis, nothing_breaks_on_the_loop):
    queue = Told(redis)
    [one, two], starts = await leased(queue, redis, 2), Starts(queue)
    begun: list[bytes] = []
    starts.begin(one, lambda: begun.append(one))
    starts.begin(two, lambda: begun.append(two))
    starts.forget([one])
    await wait_until(lambda: begun)
    assert begun == [two]
    assert queue.told == [("begin", [two])]


async def test_once_all_is_forgotten_nothing_goes_on(redis, nothing_breaks_on_the_loop):
    queue = Told(redis, away=1_000_000)
    starts = Starts(queue)
    starts.wait(b"1")
    starts.begin(b"1")
    await wait_until(lambda: queue.away < 1_000_000)
    before = asyncio.all_tasks()
    starts.forget([b"1"])
    await wait_until(lambda: asyncio.all_tasks() < before)
    queue.away = 0
    starts.wait(b"3")
    starts.forget([b"3"])  # before it could be told
    starts.wait(b"2")
    await wait_until(lambda: queue.told)
    assert queue.told == [("wait", [b"2"])]


async def test_one_that_cannot_be_started_holds_up_no_other(redis, caplog):
    queue = Told(redis)
    [one, two], starts = await leased(queue, redis, 2), Starts(queue)
    begun: list[bytes] = []

    def fail() -> None:
        raise ValueError("of its own")

    starts.begin(one, fail)
    starts.begin(two, lambda: begun.append(two))
    await wait_until(lambda: begun)
    assert "of its own" in caplog.text
