import hashlib
from typing import Any

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from fetcher.queue.inspect import Dead, Inspector, Numbers
from fetcher.queue.lists import ListTransport
from fetcher.queue.transport import Finished
from fetcher.settings import Queue

pytestmark = pytest.mark.timeout(60)

SETTINGS = Queue()
IN, OUT, DEAD = SETTINGS.in_, SETTINGS.out, SETTINGS.dead
TAG = "{" + IN + "}"
REASONS = TAG + ":reasons"


async def test_sizes_count_all_lists_and_the_leases_of_all_workers(any_redis):
    queue, other = ListTransport(any_redis, SETTINGS), ListTransport(any_redis, SETTINGS)
    inspector = Inspector(any_redis, SETTINGS)
    await inspector.push([b"%d" % n for n in range(6)])
    one, two = await queue.take(2) or []
    await other.take(1)
    await queue.finish([Finished(one.id, b"r")])
    assert await inspector.sizes() == {IN: 3, "leased": 2, OUT: 1, DEAD: 0}
    await queue.finish([Finished(two.id, reason="why")])
    assert await inspector.sizes() == {IN: 3, "leased": 1, OUT: 1, DEAD: 1}


async def test_numbers_have_memory_and_processes(any_redis):
    inspector = Inspector(any_redis, SETTINGS)
    assert await inspector.numbers() == Numbers()
    queue, other = ListTransport(any_redis, SETTINGS), ListTransport(any_redis, SETTINGS)
    await inspector.push([b"x" * 1000] * 6)
    [one] = await queue.take(1) or []
    await other.take(2)
    await queue.finish([Finished(one.id, b"r")])
    got = await inspector.numbers()
    assert (got.ready, got.leased, got.results, got.dead, got.workers) == (3, 2, 1, 0, 2)
    assert got.ready_bytes > 3000 > got.results_bytes > 0 == got.dead_bytes
    assert got.silent is None
    await any_redis.zincrby(TAG + ":workers", -SETTINGS.lease - 100, queue.worker)
    late = (await inspector.numbers()).silent
    assert late is not None and 99 <= late <= 160


async def test_pull_takes_results_from_the_left(any_redis):
    inspector = Inspector(any_redis, SETTINGS)
    assert await inspector.pull(3) == []
    await any_redis.rpush(OUT, b"1", b"2", b"3")
    assert await inspector.pull(2) == [b"1", b"2"]
    assert await inspector.pull(2) == [b"3"]


async def test_a_result_pulled_in_vain_goes_back_to_where_it_was(any_redis):
    inspector = Inspector(any_redis, SETTINGS)
    await any_redis.rpush(OUT, b"1", b"2")
    [first] = await inspector.pull(1)
    await inspector.put_back(first)
    assert await inspector.pull(2) == [b"1", b"2"]


# -- the dead --------------------------------------------------------------------------------


def id_of(message: bytes) -> str:
    return hashlib.sha1(message, usedforsecurity=False).hexdigest()[:16]


async def kill(redis: Redis, reasons: dict[bytes, str], **changes: Any) -> Inspector:
    """Messages that went to the dead list, each in a batch of its own, for these reasons."""
    settings = replace(SETTINGS, **changes)
    queue, inspector = ListTransport(redis, settings), Inspector(redis, settings)
    for message, reason in reasons.items():
        await inspector.push([message])
        [item] = await queue.take(1) or []
        await queue.finish([Finished(item.id, reason=reason)])
    return inspector


async def test_the_newest_of_the_dead_are_looked_at_with_their_reasons_and_stay(any_redis):
    inspector = await kill(any_redis, {b"1": "one", b"2": "two", b"3": "\u2026"})
    for _ in range(2):
        assert await inspector.dead(2) == [
            Dead(id_of(b"2"), b"2", "two"),
            Dead(id_of(b"3"), b"3", "\u2026"),
        ]


async def test_there_need_be_no_dead_and_no_reason(any_redis):
    inspector = Inspector(any_redis, SETTINGS)
    assert await inspector.dead(5) == []
    await any_redis.rpush(DEAD, b"of another program")
    assert [one.reason for one in await inspector.dead(5)] == [None]


async def test_requeued_ones_come_last_and_are_new(any_redis):
    inspector = await kill(any_redis, {b"%d" % n: "why" for n in range(45)})
    await any_redis.rpush(IN, b"waits")
    await any_redis.hset(TAG + ":deliveries", hashlib.sha1(b"3").hexdigest(), 2)
    wanted = [id_of(b"44"), id_of(b"3"), id_of(b"none such")]
    assert await inspector.requeue(wanted) == wanted[:2]
    assert await any_redis.lrange(IN, 0, -1) == [b"waits", b"44", b"3"]
    assert await any_redis.llen(DEAD) == 43
    assert await any_redis.hlen(REASONS) == 43
    leased = await ListTransport(any_redis, SETTINGS).take(9) or []
    assert {item.deliveries for item in leased} == {1}
    assert await inspector.requeue(wanted) == []


async def test_of_two_that_are_alike_one_goes_back(any_redis):
    await any_redis.rpush(DEAD, b"twin", b"twin")
    inspector = Inspector(any_redis, SETTINGS)
    for left in (1, 0):
        assert await inspector.requeue([id_of(b"twin")]) == [id_of(b"twin")]
        assert await any_redis.llen(DEAD) == left
    assert await any_redis.lrange(IN, 0, -1) == [b"twin", b"twin"]


@pytest.mark.parametrize(("dead_max", "kept"), [(1, 1), (3, 3), (4, 4), (5, 4)])
async def test_a_reason_lives_as_long_as_its_message(any_redis, dead_max, kept):
    inspector = await kill(any_redis, {b"%d" % n: f"why {n}" for n in range(4)}, dead_max=dead_max)
    found = [one.reason for one in await inspector.dead(9)]
    assert found == [f"why {n}" for n in range(4 - kept, 4)]
    assert await any_redis.hlen(REASONS) == kept


async def test_reasons_of_messages_that_others_took_away_do_not_gather(any_redis):
    for round_ in range(3):
        await kill(any_redis, {b"%d %d" % (round_, n): "why" for n in range(3)})
        await any_redis.lpop(DEAD, 2)
        assert await any_redis.hlen(REASONS) <= 3
    await any_redis.delete(DEAD)
    inspector = await kill(any_redis, {b"last": "why"})
    assert (await inspector.dead(9))[0].reason == "why"
    assert await any_redis.hlen(REASONS) == 1
