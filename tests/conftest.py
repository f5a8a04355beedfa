"""On which loops the tests run, how long they search, and the Redis servers and folders they share.

`make test` uses the profile "ci": the same cases in every run. `make soak` runs what is marked
`soak` under the profile "soak": minutes of fresh ones.
"""

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvloop
from hypothesis import HealthCheck, settings
from redis.asyncio import Redis

from fetchpool.redis.connect import connect
from tests.redis_server import KINDS, RedisServer, find_binary


class StrictLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, which names the connections that a test leaves open.

    Else the garbage collector finds them, in the middle of some other test.
    """

    def close(self) -> None:
        transports = self._transports.values()  # type: ignore[attr-defined]
        left = [one for one in transports if one._sock is not None]
        super().close()
        named = [(one.get_extra_info("sockname"), one.get_extra_info("peername")) for one in left]
        for one in left:
            one._sock.close()
            one._sock = None
        assert named == []


LOOP_FACTORIES: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": StrictLoop,
    "uvloop": uvloop.new_event_loop,
}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """asyncio's own loop; a module that says ``LOOPS = ("asyncio", "uvloop")`` runs on both."""
    module = getattr(item, "module", None)
    return {name: LOOP_FACTORIES[name] for name in getattr(module, "LOOPS", ("asyncio",))}


@pytest_asyncio.fixture
async def nothing_breaks_on_the_loop() -> AsyncIterator[None]:
    """A callback of the loop that raises would otherwise only be logged."""
    broken: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))
    yield
    assert broken == []


settings.register_profile("ci", derandomize=True, deadline=None, max_examples=100, print_blob=True)
settings.register_profile(
    "soak",
    deadline=None,
    max_examples=5000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci")  # --hypothesis-profile goes before this

# A shell without job control starts background processes with the first ignored, nohup with the
# second, and theirs inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

_LONG = 50  # times as much in `make soak`


@pytest.fixture(scope="session")
def scale(pytestconfig: pytest.Config) -> int:
    """How many times its short size a test that has a long version shall take."""
    return _LONG if pytestconfig.getoption("--hypothesis-profile") == "soak" else 1


@pytest.fixture(scope="session", params=KINDS)
def every_redis(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    """The oldest version we support, then the newest here."""
    kind = str(request.param)
    with RedisServer.start(tmp_path_factory.mktemp(kind), find_binary(kind)) as server:
        yield server


@pytest.fixture(scope="session")
def one_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer.start(tmp_path_factory.mktemp("redis")) as server:
        yield server


@contextlib.asynccontextmanager
async def emptied(server: RedisServer) -> AsyncIterator[Redis]:
    client = connect(server.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest_asyncio.fixture
async def redis(one_redis: RedisServer) -> AsyncIterator[Redis]:
    """Of an empty database."""
    async with emptied(one_redis) as client:
        yield client


@pytest_asyncio.fixture
async def any_redis(every_redis: RedisServer) -> AsyncIterator[Redis]:
    """Of an empty database, once for each version."""
    async with emptied(every_redis) as client:
        yield client


@pytest.fixture
def short_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files lie. The name of `tmp_path` is too long for a socket of Chromium's."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)
