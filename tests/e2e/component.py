"""The queue component as `fetchpool.service` wires it, with pyspider before and behind it.

Messages are packed and unpacked by pyspider's own codec, so that text and bytes are what its
processor would see.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, cast

import umsgpack  # type: ignore[import-untyped]
from redis.asyncio import Redis

from fetcher.model import ProxyChooser
from fetcher.queue.heartbeat import Arrivals, Heartbeat
from fetcher.queue.lane import QueueLane
from fetcher.queue.lists import ListTransport
from fetcher.queue_loop import QueueLoop
from fetcher.run.fetcher import Fetcher
from fetchpool.config.settings import parse_settings
from fetchpool.farm import Farm, Kind
from fetchpool.redis.connect import connect
from tests.e2e.pages import add_pages
from tests.redis_server import RedisServer
from tests.wait import wait_until

IN: Final = "scheduler2fetcher"
OUT: Final = "fetcher2processor"
DEAD: Final = "fetcher_dead"
PROXIES: Final = (
    Kind.GOOD, Kind.AUTH, Kind.REFUSING, Kind.TLS,
    Kind.SOCKS4, Kind.SOCKS4A, Kind.SOCKS5, Kind.SOCKS5_AUTH,
)  # fmt: skip

Pair = tuple[dict[Any, Any], dict[str, Any]]


def pack(value: object) -> bytes:
    """A message as pyspider's scheduler writes it."""
    packed: bytes = umsgpack.packb(value)
    return packed


def unpack_value(message: bytes | None) -> Any:
    return umsgpack.unpackb(message)


class Component:
    """A running fetcher component, its queues, and the farm that it fetches from."""

    def __init__(
        self, fetcher: Fetcher, lane: QueueLane, loop: QueueLoop, redis: Redis, farm: Farm
    ) -> None:
        self.fetcher = fetcher  # for those who fetch in Python, without the queues
        self.lane = lane
        self.loop = loop
        self.farm = farm
        self.origin = farm.origin
        self.url = farm.origin.url
        self.gate = add_pages(farm.origin)
        self.redis = redis
        self._numbers = itertools.count(1)
        self._came: dict[Any, Pair] = {}
        self._popping = asyncio.Lock()

    async def run(self, task: Mapping[Any, Any], timeout: float = 20.0) -> Pair:
        """Send a task through the queues; the pair that comes back for its taskid.

        A task without a taskid gets one. Any number may run at once.
        """
        sent = dict(task)
        name = sent.setdefault("taskid", f"task-{next(self._numbers)}")
        await self.push(pack(sent))
        async with asyncio.timeout(timeout):
            while True:
                async with self._popping:
                    if name in self._came:
                        return self._came.pop(name)
                    pair = await self.pop(timeout)
                    self._came[pair[0].get("taskid")] = pair

    async def fetch(self, url: str, **options: Any) -> dict[str, Any]:
        """The result of a task that has nothing but a URL and `fetch` options."""
        _, result = await self.run({"url": url, "fetch": options})
        return result

    async def push(self, *messages: bytes) -> None:
        """What a scheduler does."""
        await self.redis.rpush(IN, *messages)

    async def pop(self, timeout: float = 20.0) -> Pair:
        """What a processor does: the next pair, in whatever order they come."""

        async def one() -> bytes | None:
            return cast("bytes | None", await cast("Any", self.redis.lpop(OUT)))

        return unpack(await wait_until(one, timeout, f"a message in {OUT}"))

    async def length(self, name: str) -> int:
        return int(await cast("Any", self.redis.llen(name)))

    async def everything(self, name: str) -> list[bytes]:
        """The messages of a list, which keep their places."""
        return list(await cast("Any", self.redis.lrange(name, 0, -1)))

    def one(self, kind: Kind) -> str:
        """The URL of the farm's proxy of that kind, with the credentials it wants."""
        return self.farm.one(kind).url()


def unpack(message: bytes | None) -> Pair:
    """A message of the out queue, as pyspider's processor takes it apart."""
    task, result = unpack_value(message)
    return task, result


@contextlib.asynccontextmanager
async def running(
    server: RedisServer,
    farm: Farm,
    *,
    environment: Mapping[str, str] | None = None,
    chooser: ProxyChooser | None = None,
    queue: Mapping[str, Any] | None = None,
    fetcher: Mapping[str, Any] | None = None,
) -> AsyncIterator[Component]:
    """A component with these settings, on the server's first database as it is."""
    fetching = {"ca_file": farm.ca_file, "drain": 0, **(fetcher or {})}
    settings = parse_settings({"queue": dict(queue or {}), "fetcher": fetching}, env={})
    async with contextlib.AsyncExitStack() as stack:
        ordinary, blocking = connect(server.url), connect(server.url, blocking=True)
        stack.push_async_callback(ordinary.aclose)
        stack.push_async_callback(blocking.aclose)
        tasks = ListTransport(ordinary, settings.queue, blocking)
        engine = Fetcher.from_settings(
            settings.fetcher, environment=environment or {}, chooser=chooser
        )
        stack.callback(engine.close)
        own = settings.fetcher
        lane = QueueLane(tasks, engine, own.poolsize, per_host=own.per_host)
        loop = QueueLoop([lane])
        duties = [Heartbeat(tasks).run(), Arrivals(lane, loop.turn).run()]
        stack.push_async_callback(_end, [asyncio.create_task(duty) for duty in duties])
        stack.push_async_callback(tasks.retire)
        stack.push_async_callback(loop.stop, settings.fetcher.drain)
        stack.callback(lane.hand_back_waiting)
        loop.start()
        yield Component(engine, lane, loop, ordinary, farm)


async def _end(duties: list["asyncio.Task[None]"]) -> None:
    """Cancel until all have ended: redis-py may swallow one cancellation while it connects."""
    while pending := [duty for duty in duties if not duty.done()]:
        for duty in pending:
            duty.cancel()
        await asyncio.wait(pending, timeout=0.1)
