import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import pytest
import pytest_asyncio
import uvloop
from redis.asyncio import Redis

from fetcher.connect import connect
from tests.redis_server import KINDS, RedisServer, find_binary

LOOP_FACTORIES: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """asyncio's own loop; a module that says ``LOOPS = ("asyncio", "uvloop")`` runs on both."""
    module = getattr(item, "module", None)
    return {name: LOOP_FACTORIES[name] for name in getattr(module, "LOOPS", ("asyncio",))}


@pytest.fixture(scope="package", params=KINDS)
def every_redis(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    """The oldest version we support, then the newest here."""
    kind = str(request.param)
    with RedisServer.start(tmp_path_factory.mktemp(kind), find_binary(kind)) as server:
        yield server


@pytest.fixture(scope="package")
def one_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer.start(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest_asyncio.fixture
async def redis(one_redis: RedisServer) -> AsyncIterator[Redis]:
    """Of an empty database."""
    client = connect(one_redis.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest_asyncio.fixture
async def any_redis(every_redis: RedisServer) -> AsyncIterator[Redis]:
    """Of an empty database, once for each version."""
    client = connect(every_redis.url)
    await client.flushall()
    yield client
    await client.aclose()
