from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from fetcher.connect import connect
from tests.redis_server import KINDS, RedisServer, find_binary


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
