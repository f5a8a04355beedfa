import asyncio
import random
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from fetcher.errors import RedisAway
from fetcher.queue.lists import BATCH_BYTES, BATCH_COUNT, Finished, Leased, TaskQueue
from fetcher.settings import Queue
from fetchpool.redis.connect import connect
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)

SETTINGS = Queue()
IN, OUT, DEAD = SETTINGS.in_, SETTINGS.out, SETTINGS.dead
TAG = "{" + IN + "}"


def number(n: int) -> bytes:
    return b"task %d" % n


def numbers(*each: int) -> list[bytes]:
    return [number(n) for n in each]


async def of(redis: Redis, name: str) -> list[bytes]:
    found: Any = redis.lrange(name, 0, -1)
    return list(await found)


async def leases_of(redis: Redis, queue: TaskQueue) -> dict[bytes, bytes]:
    found: Any = redis.hgetall(f"{TAG}:leases:{queue.worker}")
    return dict(await found)


async def filled(redis: Redis, count: int, **changes: Any) -> TaskQueue:
    queue = TaskQueue(redis, msgspec.structs.replace(SETTINGS, **changes))
    if count:
        await queue.push(numbers(*range(count)))
    return queue


async def expire(redis: Redis, queue: TaskQueue) -> None:
    """As if this worker had not renewed for longer than its lease."""
    await redis.zadd(f"{TAG}:workers", {queue.worker: 1})


# -- take ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "room", "taken", "left"),
    [
        ([], 5, [], []),
        ([0], 5, [0], []),
        ([0, 1, 2], 2, [0, 1], [2]),
        ([0, 1, 2], 3, [0, 1, 2], []),
        ([0, 1, 2], 4, [0, 1, 2], []),
        ([7, 7], 2, [7, 7], []),
    ],
)
async def test_take_moves_the_head_into_leases(any_redis, before, room, taken, left):
    queue = await filled(any_redis, 0)
    if before:
        await queue.push(numbers(*before))
    leased = await queue.take(room)
    assert leased is not None
    assert [item.message for item in leased] == numbers(*taken)
    ids = [item.lease for item in leased]
    assert ids == list(range(1, len(taken) + 1))
    assert await of(any_redis, IN) == numbers(*left)
    held = dict(zip((str(n).encode() for n in ids), numbers(*taken), strict=True))
    assert await leases_of(any_redis, queue) == held
    assert bool(await any_redis.zscore(f"{TAG}:workers", queue.worker)) == bool(taken)


async def test_lease_ids_rise_over_all_workers(any_redis):
    queue = await filled(any_redis, 4)
    other = TaskQueue(any_redis, SETTINGS)
    seen = []
    for one in (queue, other, queue, other):
        [item] = await one.take(1) or []
        seen.append(item.lease)
    assert seen == [1, 2, 3, 4]
    assert queue.worker != other.worker


async def test_a_message_is_taken_and_stored_byte_for_byte(any_redis):
    queue = await filled(any_redis, 0)
    draw = random.Random(5)
    messages = [draw.randbytes(draw.randrange(200)) for _ in range(50)]
    messages += [b"", b"\x00", msgspec.msgpack.encode({1: b"\xff", "unknown": [None, {"x": 1.5}]})]
    await queue.push(messages)
    leased = await queue.take(100) or []
    assert [item.message for item in leased] == messages
    await queue.finish([Finished(item.lease, item.message) for item in leased])
    assert await of(any_redis, OUT) == messages


async def test_a_batch_is_cut_by_bytes_but_never_to_nothing(any_redis):
    queue = await filled(any_redis, 0)
    third, huge = b"x" * (BATCH_BYTES // 3), b"y" * (2 * BATCH_BYTES)
    await queue.push([third, third, third, third, huge, b"z"])
    counts = []
    while leased := await queue.take(100):
        counts.append([len(item.message) for item in leased])
    assert counts == [[len(third)] * 3, [len(third)], [len(huge)], [1]]


async def test_a_batch_is_cut_by_count(any_redis):
    queue = await filled(any_redis, BATCH_COUNT + 1)
    leased = await queue.take(BATCH_COUNT + 1) or []
    assert len(leased) == BATCH_COUNT
    results = [Finished(item.lease, b"r") for item in leased]
    [last] = await queue.take(5000) or []
    assert await queue.finish([*results, Finished(last.lease, b"last")]) == []
    assert await any_redis.llen(OUT) == BATCH_COUNT + 1
    assert (await of(any_redis, OUT))[-1] == b"last"
    assert await leases_of(any_redis, queue) == {}


@pytest.mark.parametrize(("maxsize", "is_full"), [(0, False), (2, True), (3, True), (4, False)])
async def test_taking_stops_while_out_holds_maxsize_messages(any_redis, maxsize, is_full):
    queue = await filled(any_redis, 1, maxsize=maxsize)
    await any_redis.rpush(OUT, b"1", b"2", b"3")
    assert (await queue.take(1) is None) == is_full
    assert await any_redis.llen(IN) == (1 if is_full else 0)


@pytest.mark.parametrize(("max_bytes", "is_full"), [(0, False), (50_000, True), (200_000, False)])
async def test_taking_stops_while_out_holds_max_bytes(any_redis, max_bytes, is_full):
    queue = await filled(any_redis, 1, max_bytes=max_bytes)
    await any_redis.rpush(OUT, b"x" * 100_000)
    assert (await queue.take(1) is None) == is_full
    await any_redis.delete(OUT)
    assert await queue.take(1) is not None


async def test_a_take_that_fails_half_way_has_lost_nothing(any_redis):
    queue = await filled(any_redis, 3)
    await any_redis.set(f"{TAG}:leases:{queue.worker}", "of a wrong type")
    with pytest.raises(RedisAway, match="WRONGTYPE"):
        await queue.take(2)
    assert await of(any_redis, IN) == numbers(0, 1, 2)
    await any_redis.delete(f"{TAG}:leases:{queue.worker}")
    assert len(await queue.take(3) or []) == 3


# -- finish ----------------------------------------------------------------------------------


async def test_finish_pushes_the_results_and_drops_their_leases(any_redis):
    queue = await filled(any_redis, 3)
    one, two, three = await queue.take(3) or []
    batch = [Finished(two.lease, b"two"), Finished(one.lease, b"bad", dead=True)]
    assert await queue.finish(batch) == []
    assert await of(any_redis, OUT) == [b"two"]
    assert await of(any_redis, DEAD) == [b"bad"]
    assert list((await leases_of(any_redis, queue)).values()) == [three.message]
    assert await queue.finish([]) == []


async def test_finish_repeated_pushes_nothing_twice(any_redis):
    queue = await filled(any_redis, 2)
    one, two = await queue.take(2) or []
    batch = [Finished(one.lease, b"one"), Finished(two.lease, b"two", dead=True)]
    await queue.finish(batch)
    assert await queue.finish(batch) == [one.lease, two.lease]
    assert (await of(any_redis, OUT), await of(any_redis, DEAD)) == ([b"one"], [b"two"])


async def test_a_list_that_cannot_be_written_does_not_fill_the_other(any_redis):
    queue = await filled(any_redis, 2)
    one, two = await queue.take(2) or []
    batch = [Finished(one.lease, b"one"), Finished(two.lease, b"two", dead=True)]
    await any_redis.set(DEAD, "no list")
    for _ in range(3):
        with pytest.raises(RedisAway):
            await queue.finish(batch)
    assert await of(any_redis, OUT) == [b"one"]
    await any_redis.delete(DEAD)
    assert await queue.finish(batch) == [one.lease]
    assert (await of(any_redis, OUT), await of(any_redis, DEAD)) == ([b"one"], [b"two"])


async def test_a_finish_that_fails_half_way_keeps_the_lease(any_redis):
    queue = await filled(any_redis, 1)
    [item] = await queue.take(1) or []
    await any_redis.set(OUT, "of a wrong type")
    with pytest.raises(RedisAway, match="WRONGTYPE"):
        await queue.finish([Finished(item.lease, b"r")])
    await any_redis.delete(OUT)
    assert await queue.finish([Finished(item.lease, b"r")]) == []
    assert await of(any_redis, OUT) == [b"r"]


async def test_results_of_tasks_that_were_taken_over_are_dropped_and_named(any_redis):
    queue, other = await filled(any_redis, 3), TaskQueue(any_redis, SETTINGS)
    one, two, three = await queue.take(3) or []
    await queue.finish([Finished(one.lease, b"in time")])
    await expire(any_redis, queue)
    assert await other.recover() == (queue.worker, 2)
    late = [Finished(two.lease, b"late"), Finished(three.lease, b"late", dead=True)]
    assert await queue.finish(late) == [two.lease, three.lease]
    assert (await of(any_redis, OUT), await of(any_redis, DEAD)) == ([b"in time"], [])
    again = await other.take(3) or []
    assert [item.message for item in again] == [two.message, three.message]
    await other.finish([Finished(item.lease, b"again") for item in again])
    assert await of(any_redis, OUT) == [b"in time", b"again", b"again"]


@pytest.mark.parametrize(
    ("dead_max", "kept"), [(0, [3]), (1, [3]), (3, [1, 2, 3]), (4, [*range(4)])]
)
async def test_the_dead_list_keeps_the_newest(any_redis, dead_max, kept):
    queue = await filled(any_redis, 4, dead_max=dead_max)
    for item in await queue.take(4) or []:
        await queue.finish([Finished(item.lease, item.message, dead=True)])
    assert await of(any_redis, DEAD) == numbers(*kept)
    assert await queue.dead(2) == numbers(*kept)[-2:]


# -- give back, renew, recover, retire -------------------------------------------------------


@pytest.mark.parametrize("given", [[0, 1, 2], [2, 0, 1], [1], [0, 2], []])
async def test_give_back_restores_the_old_order_at_the_head(any_redis, given):
    queue = await filled(any_redis, 5)
    leased = await queue.take(3) or []
    assert await queue.give_back([leased[n] for n in given]) == len(given)
    assert await of(any_redis, IN) == numbers(*sorted(given), 3, 4)
    rest = [leased[n].message for n in range(3) if n not in given]
    assert list((await leases_of(any_redis, queue)).values()) == rest
    assert await queue.give_back([leased[n] for n in given]) == 0  # again: no harm
    assert await of(any_redis, IN) == numbers(*sorted(given), 3, 4)


async def test_more_than_a_batch_is_given_back_in_order(any_redis):
    count = 2 * BATCH_COUNT + 10
    queue = await filled(any_redis, count)
    leased = [item for _ in range(3) for item in await queue.take(BATCH_COUNT) or []]
    assert await queue.give_back(leased) == count
    assert await of(any_redis, IN) == numbers(*range(count))


async def test_what_a_lost_answer_had_taken_is_given_back(any_redis):
    queue = await filled(any_redis, 6)
    known = await queue.take(2) or []
    await queue.take(3)  # its answer is lost
    assert await queue.give_back_unknown([item.lease for item in known]) == 3
    assert await of(any_redis, IN) == numbers(2, 3, 4, 5)
    assert await queue.give_back_unknown([item.lease for item in known]) == 0
    assert list((await leases_of(any_redis, queue)).values()) == numbers(0, 1)


async def test_renew_keeps_leases_but_never_brings_them_back(any_redis):
    queue, other = await filled(any_redis, 2), TaskQueue(any_redis, SETTINGS)
    assert not await queue.renew()  # nothing taken yet
    await queue.take(1)
    await expire(any_redis, queue)
    assert await queue.renew()
    assert await other.recover() is None
    await expire(any_redis, queue)
    assert await other.recover() == (queue.worker, 1)
    assert not await queue.renew()
    await queue.take(1)  # a new take makes the worker known again
    assert await queue.renew()


async def test_recover_takes_one_dead_worker_at_a_time_and_restores_the_order(any_redis):
    first, second = await filled(any_redis, 25), TaskQueue(any_redis, SETTINGS)
    alive = TaskQueue(any_redis, SETTINGS)
    await first.take(12)  # ids 1 to 12: sorted as numbers, not as text
    await second.take(3)
    await alive.take(2)
    await expire(any_redis, first)
    await expire(any_redis, second)
    recovered = [await alive.recover(), await alive.recover(), await alive.recover()]
    assert sorted(filter(None, recovered)) == sorted([(first.worker, 12), (second.worker, 3)])
    assert recovered[2] is None
    found = await of(any_redis, IN)
    assert sorted(found[:15]) == sorted(numbers(*range(15)))
    assert found[15:] == numbers(*range(17, 25))
    assert [m for m in found if m in numbers(*range(12))] == numbers(*range(12))
    assert await leases_of(any_redis, first) == {}
    assert len(await leases_of(any_redis, alive)) == 2


async def test_a_worker_without_leases_is_forgotten(any_redis):
    queue = await filled(any_redis, 1)
    [item] = await queue.take(1) or []
    await queue.finish([Finished(item.lease, b"r")])
    await expire(any_redis, queue)
    assert await queue.recover() == (queue.worker, 0)
    assert await queue.recover() is None


async def test_a_worker_that_retires_leaves_nothing_behind(any_redis):
    queue = await filled(any_redis, 4)
    await queue.take(3)
    assert await queue.retire() == 3
    assert await of(any_redis, IN) == numbers(0, 1, 2, 3)
    assert await leases_of(any_redis, queue) == {}
    assert await any_redis.zcard(f"{TAG}:workers") == 0
    assert await queue.retire() == 0


async def test_a_thousand_messages_travel_in_one_call_each_way(any_redis):
    queue = await filled(any_redis, 1000)
    leased = await queue.take(1000) or []
    assert len(leased) == 1000
    assert await queue.finish([Finished(item.lease, item.message) for item in leased]) == []
    assert await of(any_redis, OUT) == numbers(*range(1000))
    leased_again = await filled(any_redis, 1000, maxsize=0)
    await leased_again.take(1000)
    await expire(any_redis, leased_again)
    assert await queue.recover() == (leased_again.worker, 1000)
    assert await of(any_redis, IN) == numbers(*range(1000))


async def test_a_random_life_of_the_queue_loses_and_doubles_nothing(any_redis):
    draw = random.Random(11)
    queues = [await filled(any_redis, 0, maxsize=0) for _ in range(3)]
    held: dict[int, list[Leased]] = {n: [] for n in range(3)}
    pushed: list[bytes] = []
    for step in range(400):
        n = draw.randrange(3)
        queue, mine = queues[n], held[n]
        match draw.choice(["push", "push", "take", "take", "finish", "back", "die", "retire"]):
            case "push":
                pushed.append(b"m%d" % step)
                await queue.push(pushed[-1:])
            case "take":
                mine += await queue.take(draw.randrange(1, 4)) or []
            case "finish" if mine:
                item = mine.pop(draw.randrange(len(mine)))
                assert await queue.finish([Finished(item.lease, item.message)]) == []
            case "back" if mine:
                assert await queue.give_back([mine.pop()]) == 1
            case "die" if draw.random() < 0.3:
                await expire(any_redis, queue)
                await queues[(n + 1) % 3].recover()
                mine.clear()
            case "retire" if draw.random() < 0.3:
                assert await queue.retire() == len(mine)
                mine.clear()
        out, waiting = await of(any_redis, OUT), await of(any_redis, IN)
        leased = [item.message for items in held.values() for item in items]
        assert sorted(out + waiting + leased) == sorted(pushed), step


# -- looking and waiting ---------------------------------------------------------------------


async def test_sizes_count_all_lists_and_the_leases_of_all_workers(any_redis):
    queue, other = await filled(any_redis, 6), TaskQueue(any_redis, SETTINGS)
    one, two = await queue.take(2) or []
    await other.take(1)
    await queue.finish([Finished(one.lease, b"r")])
    assert await queue.sizes() == {IN: 3, "leased": 2, OUT: 1, DEAD: 0}
    await queue.finish([Finished(two.lease, b"r", dead=True)])
    assert await other.sizes() == {IN: 3, "leased": 1, OUT: 1, DEAD: 1}


async def test_pull_takes_results_from_the_left(any_redis):
    queue = await filled(any_redis, 0)
    assert await queue.pull(3) == []
    await any_redis.rpush(OUT, b"1", b"2", b"3")
    assert await queue.pull(2) == [b"1", b"2"]
    assert await queue.pull(2) == [b"3"]


async def test_waiting_for_an_arrival_wakes_without_taking(every_redis, any_redis):
    blocking = connect(every_redis.url, blocking=True)
    queue = TaskQueue(any_redis, SETTINGS, blocking)
    try:
        assert not await queue.wait_for_arrival(0.05)
        waiting = asyncio.ensure_future(queue.wait_for_arrival(20))
        other = asyncio.ensure_future(TaskQueue(any_redis, SETTINGS, blocking).wait_for_arrival(20))
        await wait_until(lambda: _are_blocked(any_redis, 2))
        await queue.push(numbers(1, 2))
        assert await waiting and await other
        assert await of(any_redis, IN) == numbers(1, 2)
        assert await queue.wait_for_arrival(20)  # at once: something is there
    finally:
        await blocking.aclose()


async def _are_blocked(redis: Redis, count: int) -> bool:
    return bool((await redis.info("clients"))["blocked_clients"] == count)


async def test_a_queue_without_a_connection_to_wait_on_says_so(redis):
    with pytest.raises(ValueError, match="connection to wait on"):
        await TaskQueue(redis, SETTINGS).wait_for_arrival(1)


async def test_the_run_id_names_the_server(any_redis):
    queue = TaskQueue(any_redis, SETTINGS)
    assert await queue.run_id() == (await any_redis.info("server"))["run_id"]
