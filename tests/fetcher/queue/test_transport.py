"""What every transport of the queue has to do, whatever it is made of."""

import random
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from fetcher.queue.transport import BATCH_COUNT, Finished, Lease, Transport
from tests.fetcher.queue.rig import ListRig, Rig, number, numbers

pytestmark = pytest.mark.timeout(60)


RIGS: dict[str, Any] = {"list": ListRig}


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest, any_redis: Redis) -> Rig:
    one: Rig = RIGS[request.param](any_redis)
    return one


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
async def test_take_moves_the_head_into_leases(rig: Rig, before, room, taken, left):
    queue = await rig.filled(0)
    if before:
        await rig.push(numbers(*before))
    leased = await queue.take(room)
    assert leased is not None
    assert [item.message for item in leased] == numbers(*taken)
    assert len({item.id for item in leased}) == len(taken)
    assert {item.deliveries for item in leased} <= {1}
    assert await rig.waiting() == numbers(*left)
    assert await rig.held(queue) == numbers(*taken)
    assert await queue.renew() == bool(taken)


async def test_a_message_is_taken_and_stored_byte_for_byte(rig: Rig):
    queue = await rig.filled(0)
    draw = random.Random(5)
    messages = [draw.randbytes(draw.randrange(200)) for _ in range(50)]
    odd = {1: b"\xff", "unknown": [None, {"x": 1.5}]}
    messages += [b"", b"\x00", msgspec.msgpack.encode(odd)]
    await rig.push(messages)
    leased = await queue.take(100) or []
    assert [item.message for item in leased] == messages
    await queue.finish([Finished(item.id, item.message) for item in leased])
    assert await rig.results() == messages


@pytest.mark.parametrize(("maxsize", "is_full"), [(0, False), (2, True), (3, True), (4, False)])
async def test_taking_stops_while_out_holds_maxsize_messages(rig: Rig, maxsize, is_full):
    queue = await rig.filled(1, maxsize=maxsize)
    await rig.fill_out(b"1", b"2", b"3")
    assert (await queue.take(1) is None) == is_full
    assert len(await rig.waiting()) == (1 if is_full else 0)


@pytest.mark.parametrize(("max_bytes", "is_full"), [(0, False), (50_000, True), (200_000, False)])
async def test_taking_stops_while_out_holds_max_bytes(rig: Rig, max_bytes, is_full):
    queue = await rig.filled(1, max_bytes=max_bytes)
    await rig.fill_out(b"x" * 100_000)
    assert (await queue.take(1) is None) == is_full
    await rig.empty_out()
    assert await queue.take(1) is not None


async def test_finish_pushes_the_results_and_drops_their_leases(rig: Rig):
    queue = await rig.filled(3)
    one, two, three = await queue.take(3) or []
    batch = [Finished(two.id, b"two"), Finished(one.id, reason="why")]
    assert await queue.finish(batch) == []
    assert await rig.results() == [b"two"]
    assert await rig.dead() == [one.message]
    assert await rig.held(queue) == [three.message]
    assert await queue.finish([]) == []


async def test_an_outcome_of_neither_kind_goes_back_to_the_head(rig: Rig):
    queue = await rig.filled(4)
    one, two, three = await queue.take(3) or []
    batch = [Finished(three.id), Finished(two.id, b"two"), Finished(one.id)]
    assert await queue.finish(batch) == []
    assert await rig.results() == [b"two"]
    assert await rig.waiting() == [one.message, three.message, number(3)]
    assert await rig.held(queue) == []


async def test_finish_repeated_pushes_nothing_twice(rig: Rig):
    queue = await rig.filled(2)
    one, two = await queue.take(2) or []
    batch = [Finished(one.id, b"one"), Finished(two.id, reason="why")]
    await queue.finish(batch)
    assert await queue.finish(batch) == [one.id, two.id]
    assert (await rig.results(), await rig.dead()) == ([b"one"], [two.message])


async def test_results_of_tasks_that_were_taken_over_are_dropped_and_named(rig: Rig):
    queue, other = await rig.filled(3), rig.worker()
    one, two, three = await queue.take(3) or []
    await queue.finish([Finished(one.id, b"in time")])
    await rig.expire(queue)
    assert await other.recover() == (queue.worker, 2)
    late = [Finished(two.id, b"late"), Finished(three.id, reason="why")]
    assert await queue.finish(late) == [two.id, three.id]
    assert (await rig.results(), await rig.dead()) == ([b"in time"], [])
    again = await other.take(3) or []
    assert [item.message for item in again] == [two.message, three.message]
    await other.finish([Finished(item.id, b"again") for item in again])
    assert await rig.results() == [b"in time", b"again", b"again"]


@pytest.mark.parametrize(
    ("dead_max", "kept"), [(0, [3]), (1, [3]), (3, [1, 2, 3]), (4, [*range(4)])]
)
async def test_the_dead_list_keeps_the_newest(rig: Rig, dead_max, kept):
    queue = await rig.filled(4, dead_max=dead_max)
    for item in await queue.take(4) or []:
        await queue.finish([Finished(item.id, reason="why")])
    assert await rig.dead() == numbers(*kept)


@pytest.mark.parametrize("given", [[0, 1, 2], [2, 0, 1], [1], [0, 2], []])
async def test_give_back_restores_the_old_order_at_the_head(rig: Rig, given):
    queue = await rig.filled(5)
    leased = await queue.take(3) or []
    assert await queue.give_back([leased[n].id for n in given]) == len(given)
    assert await rig.waiting() == numbers(*sorted(given), 3, 4)
    rest = [leased[n].message for n in range(3) if n not in given]
    assert await rig.held(queue) == rest
    assert await queue.give_back([leased[n].id for n in given]) == 0  # again: no harm
    assert await rig.waiting() == numbers(*sorted(given), 3, 4)


async def test_more_than_a_batch_is_given_back_in_order(rig: Rig):
    count = 2 * BATCH_COUNT + 10
    queue = await rig.filled(count)
    leased = [item for _ in range(3) for item in await queue.take(BATCH_COUNT) or []]
    assert await queue.give_back([item.id for item in leased]) == count
    assert await rig.waiting() == numbers(*range(count))


async def test_what_a_lost_answer_had_taken_is_given_back(rig: Rig):
    queue = await rig.filled(6)
    known = await queue.take(2) or []
    await queue.take(3)  # its answer is lost
    assert await queue.give_back_unknown([item.id for item in known]) == 3
    assert await rig.waiting() == numbers(2, 3, 4, 5)
    assert await queue.give_back_unknown([item.id for item in known]) == 0
    assert await rig.held(queue) == numbers(0, 1)


async def test_renew_keeps_leases_but_never_brings_them_back(rig: Rig):
    queue, other = await rig.filled(2), rig.worker()
    assert not await queue.renew()  # nothing taken yet
    await queue.take(1)
    await rig.expire(queue)
    assert await queue.renew()
    assert await other.recover() is None
    await rig.expire(queue)
    assert await other.recover() == (queue.worker, 1)
    assert not await queue.renew()
    await queue.take(1)  # a new take makes the worker known again
    assert await queue.renew()


async def test_recover_takes_one_dead_worker_at_a_time_and_restores_the_order(rig: Rig):
    first, second = await rig.filled(25), rig.worker()
    alive = rig.worker()
    await first.take(12)  # ids 1 to 12: sorted as numbers, not as text
    await second.take(3)
    await alive.take(2)
    await rig.expire(first)
    await rig.expire(second)
    recovered = [await alive.recover(), await alive.recover(), await alive.recover()]
    assert sorted(filter(None, recovered)) == sorted([(first.worker, 12), (second.worker, 3)])
    assert recovered[2] is None
    found = await rig.waiting()
    assert sorted(found[:15]) == sorted(numbers(*range(15)))
    assert found[15:] == numbers(*range(17, 25))
    assert [m for m in found if m in numbers(*range(12))] == numbers(*range(12))
    assert await rig.held(first) == []
    assert len(await rig.held(alive)) == 2


async def test_a_worker_that_retires_leaves_nothing_behind(rig: Rig):
    queue = await rig.filled(4)
    await queue.take(3)
    assert await queue.retire() == 3
    assert await rig.waiting() == numbers(0, 1, 2, 3)
    assert await rig.held(queue) == []
    assert not await queue.renew()
    assert await queue.retire() == 0


async def test_a_worker_without_leases_is_forgotten(rig: Rig):
    queue = await rig.filled(1)
    [item] = await queue.take(1) or []
    await queue.finish([Finished(item.id, b"r")])
    await rig.expire(queue)
    assert await queue.recover() == (queue.worker, 0)
    assert await queue.recover() is None


async def test_a_thousand_messages_travel_in_one_call_each_way(rig: Rig):
    queue = await rig.filled(1000)
    leased = await queue.take(1000) or []
    assert len(leased) == 1000
    assert await queue.finish([Finished(item.id, item.message) for item in leased]) == []
    assert await rig.results() == numbers(*range(1000))
    leased_again = await rig.filled(1000, maxsize=0)
    await leased_again.take(1000)
    await rig.expire(leased_again)
    assert await queue.recover() == (leased_again.worker, 1000)
    assert await rig.waiting() == numbers(*range(1000))


async def test_a_random_life_of_the_queue_loses_and_doubles_nothing(rig: Rig):
    draw = random.Random(11)
    queues = [await rig.filled(0, maxsize=0) for _ in range(3)]
    held: dict[int, list[Lease]] = {n: [] for n in range(3)}
    pushed: list[bytes] = []
    for step in range(400):
        n = draw.randrange(3)
        queue, mine = queues[n], held[n]
        match draw.choice(["push", "push", "take", "take", "finish", "back", "die", "retire"]):
            case "push":
                pushed.append(b"m%d" % step)
                await rig.push(pushed[-1:])
            case "take":
                mine += await queue.take(draw.randrange(1, 4)) or []
            case "finish" if mine:
                item = mine.pop(draw.randrange(len(mine)))
                assert await queue.finish([Finished(item.id, item.message)]) == []
            case "back" if mine:
                assert await queue.give_back([mine.pop().id]) == 1
            case "die" if draw.random() < 0.3:
                await rig.expire(queue)
                await queues[(n + 1) % 3].recover()
                mine.clear()
            case "retire" if draw.random() < 0.3:
                assert await queue.retire() == len(mine)
                mine.clear()
        out, waiting = await rig.results(), await rig.waiting()
        leased = [item.message for items in held.values() for item in items]
        assert sorted(out + waiting + leased) == sorted(pushed), step


# -- deliveries ------------------------------------------------------------------------------


async def die(rig: Rig, transport: Transport) -> None:
    await rig.expire(transport)
    assert await rig.worker().recover() is not None


async def deliveries_of(transport: Transport) -> list[tuple[bytes, int, bool]]:
    leased = await transport.take(100) or []
    return [(item.message, item.deliveries, item.waits) for item in leased]


async def test_a_lease_that_runs_out_counts_and_then_only_once_it_has_begun(rig: Rig):
    await die(rig, await taken(rig, 2))
    for _ in range(2):  # these never begin
        one = rig.worker()
        assert await deliveries_of(one) == [(number(0), 2, True), (number(1), 2, True)]
        await die(rig, one)
    one = rig.worker()
    leased = await one.take(2) or []
    await one.begin([leased[1].id])
    await die(rig, one)
    assert await deliveries_of(rig.worker()) == [(number(0), 2, True), (number(1), 3, True)]


async def taken(rig: Rig, count: int, **changes: Any) -> Transport:
    """A worker that has taken so many messages and begun with them."""
    one = await rig.filled(count, **changes)
    assert len(await one.take(count) or []) == count
    return one


async def test_what_waits_since_it_was_taken_has_not_begun(rig: Rig):
    queue = await rig.filled(3)
    one, two, _ = await queue.take(3) or []
    await queue.wait([one.id, two.id])
    await queue.begin([two.id])
    await die(rig, queue)
    counted = [(number(0), 1, False), (number(1), 2, True), (number(2), 2, True)]
    assert await deliveries_of(rig.worker()) == counted


async def test_going_back_is_no_delivery_and_changes_no_count(rig: Rig):
    await die(rig, await taken(rig, 1))
    one = rig.worker()
    for _ in range(2):
        [item] = await one.take(1) or []
        assert (item.deliveries, item.waits) == (2, True)
        await one.begin([item.id])
        await one.give_back([item.id])
    [item] = await one.take(1) or []
    await one.begin([item.id])
    await one.retire()
    assert await deliveries_of(rig.worker()) == [(number(0), 2, True)]


@pytest.mark.parametrize("outcome", [{"result": b"r"}, {"reason": "why"}])
async def test_an_outcome_ends_the_count(rig: Rig, outcome: dict[str, Any]):
    await die(rig, await taken(rig, 2))
    one = rig.worker()
    first, _ = await one.take(2) or []
    assert await one.finish([Finished(first.id, **outcome)]) == []
    await rig.push([number(0)])
    assert await deliveries_of(one) == [(number(0), 1, False)]
    await one.retire()
    assert (number(1), 2, True) in await deliveries_of(rig.worker())


@pytest.mark.parametrize(("most", "waits"), [(0, False), (1, True), (2, False)])
async def test_what_may_be_delivered_once_only_waits_until_told(rig: Rig, most: int, waits: bool):
    one = await rig.filled(1, max_deliveries=most)
    assert await deliveries_of(one) == [(number(0), 1, waits)]


async def test_without_a_limit_nothing_is_counted(rig: Rig):
    for _ in range(3):
        one = rig.worker(max_deliveries=0)
        await rig.push([number(1)])
        await one.take(1)
        await rig.expire(one)
        assert await rig.worker(max_deliveries=0).recover() == (one.worker, 1)
        assert await deliveries_of(rig.worker()) == [(number(1), 1, False)]
        await rig.empty()


async def test_one_message_may_go_to_both_lists(rig: Rig):
    queue = await rig.filled(2)
    one, two = await queue.take(2) or []
    batch = [Finished(one.id, b"sorry", "why"), Finished(two.id, b"two")]
    assert await queue.finish(batch) == []
    assert sorted(await rig.results()) == [b"sorry", b"two"]
    assert await rig.dead() == [one.message]
    assert await queue.finish(batch) == [one.id, two.id]
    assert await rig.held(queue) == []


async def test_what_waits_of_a_worker_that_lost_its_leases_is_forgotten(rig: Rig):
    queue = await rig.filled(1)
    [item] = await queue.take(1) or []
    await die(rig, queue)
    await queue.wait([item.id])
    await queue.begin([item.id])
    await queue.wait([])
    await queue.begin([])
    assert await rig.leftovers() == [b"deliveries", b"seq"]
