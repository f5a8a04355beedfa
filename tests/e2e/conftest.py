import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest_asyncio

from fetchpool.farm import Farm
from fetchpool.redis.connect import connect
from tests.e2e.component import PROXIES, Component, running
from tests.redis_server import RedisServer, unavailable

Start = Callable[..., AbstractAsyncContextManager[Component]]


@pytest_asyncio.fixture
async def farm() -> AsyncIterator[Farm]:
    """An origin with TLS, and a proxy of each kind that these tests ask for."""
    if not shutil.which("openssl"):
        unavailable("no openssl program to make the farm's certificate")
    async with Farm(dict.fromkeys(PROXIES, 1)) as started:
        yield started


@pytest_asyncio.fixture
async def start(one_redis: RedisServer, farm: Farm) -> AsyncIterator[Start]:
    """`start(queue={...}, fetcher={...}, environment={...})`: a component with these settings.

    On an empty database.
    """
    client = connect(one_redis.url)
    await client.flushall()
    await client.aclose()

    def build(**settings: Any) -> AbstractAsyncContextManager[Component]:
        return running(one_redis, farm, **settings)

    yield build


@pytest_asyncio.fixture
async def component(start: Start) -> AsyncIterator[Component]:
    """A component with the settings as they are shipped, but for the farm's CA file."""
    async with contextlib.AsyncExitStack() as stack:
        yield await stack.enter_async_context(start())
