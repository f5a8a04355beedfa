import asyncio

from fetcher.redis.duties import end_all


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
