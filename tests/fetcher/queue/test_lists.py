import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from fetcher.errors import RedisAway
from fetcher.queue.lists import (
    DELIVERIES_KEPT,
    DELIVERIES_MAX,
    RECOVER_BYTES,
    ListTransport,
)
from fetcher.queue.transport import BATCH_BYTES, BATCH_COUNT, Finished
from fetchpool.redis.connect import connect
from tests.fetcher.queue.rig import DEAD, OUT, SETTINGS, TAG, ListRig, numbers
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def rig(any_redis: Redis) -> ListRig:
    return ListRig(any_redis)


async def test_lease_ids_rise_over_all_workers(rig):
    queue = await rig.filled(4)
    other = rig.worker()
    seen = []
    for one in (queue, other, queue, other):
        [item] = await one.take(1) or []
        seen.append(item.id)
    assert seen == [b"1", b"2", b"3", b"4"]
    assert queue.worker != other.worker


async def test_a_batch_is_cut_by_bytes_but_never_to_nothing(rig):
    queue = await rig.filled(0)
    third, huge = b"x" * (BATCH_BYTES // 3), b"y" * (2 * BATCH_BYTES)
    await rig.push([third, third, third, third, huge, b"z"])
    counts = []
    while leased := await queue.take(100):
        counts.append([len(item.message) for item in leased])
    assert counts == [[len(third)] * 3, [len(third)], [len(huge)], [1]]


async def test_a_batch_is_cut_by_count(rig, any_redis):
    queue = await rig.filled(BATCH_COUNT + 1)
    leased = await queue.take(BATCH_COUNT + 1) or []
    assert len(leased) == BATCH_COUNT
    [last] = await queue.take(5000) or []
    assert await queue.finish([Finished(item.id, b"r") for item in leased]) == []
    assert await queue.finish([Finished(last.id, b"last")]) == []
    assert await any_redis.llen(OUT) == BATCH_COUNT + 1
    assert (await rig.results())[-1] == b"last"
    assert await rig.held(queue) == []


async def test_a_take_that_fails_half_way_has_lost_nothing(rig, any_redis):
    queue = await rig.filled(3)
    await any_redis.set(f"{TAG}:leases:{queue.worker}", "of a wrong type")
    with pytest.raises(RedisAway, match="WRONGTYPE"):
        await queue.take(2)
    assert await rig.waiting() == numbers(0, 1, 2)
    await any_redis.delete(f"{TAG}:leases:{queue.worker}")
    assert len(await queue.take(3) or []) == 3


async def test_a_list_that_cannot_be_written_does_not_fill_the_other(rig, any_redis):
    queue = await rig.filled(2)
    one, two = await queue.take(2) or []
    batch = [Finished(one.id, b"one"), Finished(two.id, reason="why")]
    await any_redis.set(DEAD, "no list")
    for _ in range(3):
        with pytest.raises(RedisAway):
            await queue.finish(batch)
    assert await rig.results() == [b"one"]
    await any_redis.delete(DEAD)
    assert await queue.finish(batch) == [one.id]
    assert (await rig.results(), await rig.dead()) == ([b"one"], [two.message])


async def test_a_finish_that_fails_half_way_keeps_the_lease(rig, any_redis):
    queue = await rig.filled(1)
    [item] = await queue.take(1) or []
    await any_redis.set(OUT, "of a wrong type")
    with pytest.raises(RedisAway, match="WRONGTYPE"):
        await queue.finish([Finished(item.id, b"r")])
    await any_redis.delete(OUT)
    assert await queue.finish([Finished(item.id, b"r")]) == []
    assert await rig.results() == [b"r"]


async def test_waiting_for_an_arrival_wakes_without_taking(rig, every_redis, any_redis):
    blocking = connect(every_redis.url, blocking=True)
    queue = ListTransport(any_redis, SETTINGS, blocking)
    try:
        assert not await queue.wait_for_arrival(0.05)
        waiting = asyncio.ensure_future(queue.wait_for_arrival(20))
        another = ListTransport(any_redis, SETTINGS, blocking)
        other = asyncio.ensure_future(another.wait_for_arrival(20))
        await wait_until(lambda: _are_blocked(any_redis, 2))
        await rig.push(numbers(1, 2))
        assert await waiting and await other
        assert await rig.waiting() == numbers(1, 2)
        assert await queue.wait_for_arrival(20)  # at once: something is there
    finally:
        await blocking.aclose()


async def _are_blocked(redis: Redis, count: int) -> bool:
    return bool((await redis.info("clients"))["blocked_clients"] == count)


async def test_a_queue_without_a_connection_to_wait_on_says_so(redis):
    with pytest.raises(ValueError, match="connection to wait on"):
        await ListTransport(redis, SETTINGS).wait_for_arrival(1)


# -- how long it has served ------------------------------------------------------------------


async def test_a_server_that_nobody_has_seen_has_served_since_its_start(rig, any_redis):
    uptime = (await any_redis.info("server"))["uptime_in_seconds"]
    assert uptime - 1 <= await rig.worker().served_for() <= uptime + 5


async def test_all_workers_are_told_the_same(rig, any_redis):
    run_id, now = (await any_redis.info("server"))["run_id"], (await any_redis.time())[0]
    await any_redis.set(TAG + ":server", f"{run_id} {now - 1000}")
    for _ in range(3):
        assert 1000 <= await rig.worker().served_for() < 1060


async def test_a_server_in_the_place_of_another_has_served_since_it_was_seen(rig, any_redis):
    await any_redis.set(TAG + ":server", "another 5.000")
    assert await rig.worker().served_for() == 0
    assert 0 <= await rig.worker().served_for() < 60
    run_id = (await any_redis.info("server"))["run_id"].encode()
    assert (await any_redis.get(TAG + ":server")).startswith(run_id + b" ")


async def test_a_message_for_both_lists_is_in_neither_while_one_cannot_be_written(rig, any_redis):
    queue = await rig.filled(1)
    [item] = await queue.take(1) or []
    batch = [Finished(item.id, b"sorry", "why")]
    for name in (OUT, DEAD):
        await any_redis.set(name, "no list")
        with pytest.raises(RedisAway):
            await queue.finish(batch)
        await any_redis.delete(name)
        assert await any_redis.exists(OUT, DEAD) == 0
    assert await queue.finish(batch) == []
    assert (await rig.results(), await rig.dead()) == ([b"sorry"], [item.message])


async def test_counts_that_nobody_asks_for_end(rig, any_redis):
    one = await rig.filled(1)
    await one.take(1)
    await rig.expire(one)
    await rig.worker().recover()
    assert 0 < await any_redis.ttl(TAG + ":deliveries") <= DELIVERIES_KEPT


@pytest.mark.parametrize("more", [-1, 0, 1])
async def test_counts_have_a_most(rig, any_redis, more):
    kept = {str(n): 1 for n in range(DELIVERIES_MAX + more)}
    await any_redis.hset(TAG + ":deliveries", mapping=kept)
    one = await rig.filled(1)
    await one.take(1)
    await rig.expire(one)
    await rig.worker().recover()
    assert await any_redis.hlen(TAG + ":deliveries") == (1 if more > 0 else len(kept) + 1)


async def read_by(url: str, take: Callable[[], Awaitable[Any]]) -> int:
    """How many messages the take's script reads from the list."""
    async with connect(url, blocking=True) as watcher, watcher.monitor() as monitor:
        await take()
        async with connect(url) as other:
            await other.echo("over")
        read = 0
        async for seen in monitor.listen():
            words = seen["command"].split()
            if words[0].upper() == "ECHO":
                return read
            if words[0].upper() == "LRANGE":
                read += int(words[3]) - int(words[2]) + 1
    raise AssertionError("the monitor ended")


@pytest.mark.parametrize(
    ("sizes", "taken", "read"),
    [
        ([10_000_000] * 3, 1, 1),
        ([BATCH_BYTES + 1] * 9, 1, 1),
        ([BATCH_BYTES] * 9, 1, 1),
        ([BATCH_BYTES // 2] * 9, 2, 2),
        ([BATCH_BYTES // 2 + 1] * 9, 1, 1),
        ([BATCH_BYTES // 5] * 9, 5, 5),
        ([BATCH_BYTES // 50] * 90, 50, 50),
        ([100] * 100, 100, 100),
        ([100] * 99, 99, 100),
        ([0] * 100, 100, 100),
        ([100] * 3 + [1_000_000] * 97, 3, 7),
        ([100] * 40 + [1_000_000] * 60, 40, 47),
    ],
)
async def test_hardly_more_is_read_than_is_taken(rig, every_redis, sizes, taken, read):
    await rig.push([b"x" * size for size in sizes])
    queue = rig.worker()
    leased: list[Any] = []

    async def take() -> None:
        leased.extend(await queue.take(100) or [])

    assert await read_by(every_redis.url, take) == read
    assert [len(item.message) for item in leased] == sizes[:taken]
    assert len(await rig.waiting()) == len(sizes) - taken


@pytest.mark.parametrize(("size", "calls"), [(RECOVER_BYTES // 10, [10, 2]), (100, [12])])
async def test_large_messages_go_back_in_several_calls_and_in_their_order(rig, size, calls):
    messages = [b"%02d" % n + b"x" * size for n in range(12)]
    await rig.push([*messages, b"last"])
    queue, other = rig.worker(), rig.worker()
    taken: list[bytes] = []
    while len(taken) < len(messages):
        taken += [item.message for item in await queue.take(len(messages) - len(taken)) or []]
    await rig.expire(queue)
    for count in calls:
        assert await other.recover() == (queue.worker, count)
    assert await other.recover() is None
    assert await rig.waiting() == [*messages, b"last"]


async def test_a_worker_that_retires_gives_back_all_however_large(rig):
    messages = [b"%d" % n + b"x" * RECOVER_BYTES for n in range(3)]
    await rig.push(messages)
    queue = rig.worker()
    for _ in messages:
        await queue.take(1)
    assert await queue.retire() == 3
    assert await rig.waiting() == messages
    assert await rig.leftovers() == [b"seq"]
