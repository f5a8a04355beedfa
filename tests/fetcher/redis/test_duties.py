import asyncio

import pytest

from fetcher.errors import RedisAway
from fetcher.redis.duties import end_all, repeat


async def test_one_that_swallows_a_cancellation_ends_all_the_same():
    cancelled = 0

    async def stubborn():
        nonlocal cancelled
        while cancelled < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled += 1

    duties = [asyncio.create_task(stubborn()), asyncio.create_task(asyncio.Event().wait())]
    await asyncio.sleep(0)
    await end_all(duties)
    assert all(duty.done() for duty in duties) and cancelled == 3


async def test_those_that_have_ended_are_left_alone():
    async def quick() -> int:
        return 3

    task = asyncio.create_task(quick())
    assert await task == 3
    await end_all([task])
    await end_all([])
    assert task.result() == 3


async def test_who_is_cancelled_while_they_end_hears_of_it_when_they_have() -> None:
    swallowed = 0

    async def duty() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 3:
                    raise

    loop = asyncio.get_running_loop()
    one = loop.create_task(duty())
    await asyncio.sleep(0)
    ending = loop.create_task(end_all([one]))
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert one.done()


async def test_a_step_is_repeated_though_redis_is_away_and_breaks_by_nothing_else(caplog) -> None:
    caplog.set_level("DEBUG", "fetcher.redis.duties")
    steps = 0

    async def step() -> None:
        nonlocal steps
        steps += 1
        if steps == 2:
            raise RedisAway("gone")
        if steps == 4:
            raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await repeat(step, 0.001, "things")
    assert steps == 4
    assert [record.getMessage() for record in caplog.records] == ["things: gone"]
