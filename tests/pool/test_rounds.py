import asyncio
import logging

import pytest

from fetcher.errors import RedisAway
from pool.rounds import Rounds
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(20)


class Steps:
    """Raises each of `ends` in turn (None: nothing), then nothing any more."""

    def __init__(self, *ends: Exception | None) -> None:
        self.ends = list(ends)
        self.count = 0

    async def __call__(self) -> None:
        self.count += 1
        end = self.ends.pop(0) if self.ends else None
        if end is not None:
            raise end


async def test_a_step_is_repeated_until_stop() -> None:
    steps = Steps()
    rounds = Rounds("testing", steps, 0.001)
    running = asyncio.create_task(rounds.run())
    await wait_until(lambda: steps.count >= 3)
    rounds.stop()
    await asyncio.wait_for(running, 5)


async def test_stop_does_not_wait_for_the_next_round() -> None:
    steps = Steps()
    rounds = Rounds("testing", steps, 3600.0)
    running = asyncio.create_task(rounds.run())
    await wait_until(lambda: steps.count == 1)
    rounds.stop()
    await asyncio.wait_for(running, 5)
    assert steps.count == 1


async def test_an_outage_is_logged_once_and_so_is_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    steps = Steps(RedisAway("Redis failed: gone"), RedisAway("Redis failed: gone"))
    rounds = Rounds("testing", steps, 0.001)
    running = asyncio.create_task(rounds.run())
    await wait_until(lambda: steps.count >= 4)
    rounds.stop()
    await running
    assert [record.getMessage() for record in caplog.records] == [
        "testing: Redis failed: gone; trying again until it is back",
        "testing: Redis is back",
    ]


async def test_any_other_failure_is_logged_with_its_traceback_and_the_rounds_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    steps = Steps(ZeroDivisionError("a bug"))
    rounds = Rounds("testing", steps, 0.001)
    running = asyncio.create_task(rounds.run())
    await wait_until(lambda: steps.count >= 2)
    rounds.stop()
    await running
    [record] = caplog.records
    assert record.getMessage() == "testing failed; going on"
    assert record.exc_info is not None


async def test_a_redis_that_is_gone_is_said_by_others(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    steps = Steps(RedisAway("Redis failed: gone", is_gone=True))
    rounds = Rounds("testing", steps, 0.001)
    running = asyncio.create_task(rounds.run())
    await wait_until(lambda: steps.count >= 3)
    rounds.stop()
    await running
    assert caplog.messages == []
