from collections.abc import AsyncIterator

import pytest_asyncio
from redis.asyncio import Redis

from fetcher.politeness.clock import Clock


@pytest_asyncio.fixture
async def clock(redis: Redis) -> AsyncIterator[Clock]:
    clock = Clock(redis, "p")
    yield clock
    clock.close()
