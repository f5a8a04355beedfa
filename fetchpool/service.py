"""The service: builds every object from the settings, runs the roles asked for, and stops well.

The only place that knows both `fetcher` and `pool`. It is read from top to bottom: build, run,
stop.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import replace

from fetcher.connect import connect, mask_url
from fetcher.embedded import EmbeddedRedis
from fetcher.fetcher import Fetcher
from fetcher.model import Lane, Trust
from fetcher.queue import TaskQueue
from fetcher.queue_lane import Arrivals, Heartbeat, QueueLane
from fetcher.queue_loop import QueueLoop
from fetcher.store import Counters
from fetchpool.entrances import Entrances, build_url, open_sockets, share_sockets
from fetchpool.process import fit_windows
from fetchpool.settings import Settings
from fetchpool.workers import Listeners, Worker
from pool import handlers as pool_routes
from pool.checker import CheckLane
from pool.harvester import Harvester
from pool.janitor import Janitor
from pool.picker import PoolChooser, Snapshot
from pool.snapshot import Follower
from pool.store import Sources, Store

logger = logging.getLogger(__name__)

T = TypeVar("T")
Echo = Callable[[str], None]

_STATUS_FIRST: Final = 2.0  # seconds
_STATUS_MOST: Final = 300.0

_LAST_WAIT: Final = 5.0  # seconds for duties to end once they are cancelled


class Roles(msgspec.Struct, frozen=True, kw_only=True):
    """What one process does."""

    queue: bool = False
    pool: bool = False
    api: bool = False
    rpc: bool = False

    def of(self, worker: Worker) -> "Roles":
        """What of these is `worker`'s: the pool is looked after by one, as is XML-RPC."""
        return self if worker.is_first else replace(self, pool=False, rpc=False)


ALL: Final = Roles(queue=True, pool=True, api=True, rpc=True)


@contextlib.contextmanager
def redis_url(settings: Settings) -> Iterator[str]:
    """The URL of Redis; of our own server, which is kept alive meanwhile, if that is asked for.

    Raises `EmbeddedRedisError`.
    """
    if settings.redis.url != "embedded":
        yield settings.redis.url
        return
    with EmbeddedRedis.start(Path(settings.redis.data_dir)) as server:
        yield server.url


def find_doors(settings: Settings, roles: Roles) -> dict[str, tuple[str, int]]:
    """Section of the settings -> host and port, of each entrance that the roles have."""
    api, rpc = settings.api, settings.fetcher.rpc
    doors = {}
    if roles.api and api.enabled:
        doors["api"] = (api.host, api.port)
    if roles.rpc and rpc.enabled:
        doors["fetcher.rpc"] = (rpc.host, rpc.port)
    return doors


def open_listeners(settings: Settings, roles: Roles) -> Listeners:
    """The sockets of all entrances, for workers to share. Raises `ListenError`."""
    return {
        section: share_sockets(open_sockets(section, host, port))
        for section, (host, port) in find_doors(settings, roles).items()
    }


def find_urls(settings: Settings, roles: Roles, listeners: Listeners) -> dict[str, str]:
    """Section of the settings -> URL of the entrance that listens there."""
    return {
        section: build_url(host, listeners[section][0].getsockname()[1])
        for section, (host, _) in find_doors(settings, roles).items()
    }


def build_announcement(
    settings: Settings, roles: Roles, urls: Mapping[str, str], redis: str
) -> list[str]:
    """What a start says: `urls` are those of the entrances, `redis` is that of Redis."""
    lines = []
    if "api" in urls:
        lines.append(f"HTTP API     {urls['api']}/  (/random /all /count /fetch?url= /healthz)")
    if "fetcher.rpc" in urls:
        lines.append(f"XML-RPC      {urls['fetcher.rpc']}/")
    if roles.queue and settings.queue.enabled:
        queue = settings.queue
        lines.append(f"Redis queue  {queue.in_} -> {queue.out}  at {mask_url(redis)}")
    if roles.pool:
        enabled = sum(source.enabled for source in settings.pool.sources)
        lines.append(f"Proxy pool   {settings.pool.key}, {enabled} sources")
    return lines


class PoolView:
    """The pool as every process sees it: a snapshot that follows Redis, and who picks from it."""

    def __init__(self, settings: Settings, store: Store) -> None:
        pool = settings.pool
        self.store = store
        self.snapshot = Snapshot(pool.score)
        self.follower = Follower(self.store, self.snapshot, pool.resync)
        self.chooser = PoolChooser(self.snapshot, random.random, allow_private=pool.allow_private)


class Service:
    """The long-running process of the roles in `roles`. `quit` is called when a caller asks for
    the end (XML-RPC's `_quit`); it sets what `run` waits for. `worker` is set if the process is one
    of several: its parent has opened the entrances and announced them."""

    def __init__(
        self,
        settings: Settings,
        roles: Roles,
        url: str,
        *,
        environment: Mapping[str, str],
        echo: Echo,
        quit: Callable[[], None],
        worker: Worker | None = None,
    ) -> None:
        settings = fit_windows(settings)
        self.settings = settings
        self.roles = roles
        self._echo = echo
        self._url = url
        self._redis = connect(url)
        self._blocking = connect(url, blocking=True)
        store = Store(self._redis, settings.pool, settings.redis.prefix)
        self._view = PoolView(settings, store)
        self.fetcher = Fetcher.from_settings(
            settings.fetcher, environment=environment, chooser=self._view.chooser
        )
        self._duties: list[Coroutine[Any, Any, None]] = [self._view.follower.run()]
        lanes: list[Lane[Any, Any]] = []
        self._queue: TaskQueue | None = None
        if roles.queue and settings.queue.enabled:
            lanes.append(self._build_queue())
        if roles.pool:
            lanes += self._build_pool()
        self.loop = QueueLoop(lanes)
        self._worker = worker
        self.entrances = Entrances(
            settings,
            self.fetcher,
            quit,
            listeners=worker.listeners if worker is not None else None,
            counters=self._build_counters(worker) if worker is not None else None,
        )

    # -- build -------------------------------------------------------------------------------------

    def _build_queue(self) -> QueueLane:
        self._queue = TaskQueue(self._redis, self.settings.queue, self._blocking)
        self._lane = QueueLane(self._queue, self.fetcher, self.settings.fetcher.poolsize)
        self._duties.append(Heartbeat(self._queue).run())
        return self._lane

    def _build_pool(self) -> list[Lane[Any, Any]]:
        store, pool = self._view.store, self.settings.pool
        self._duties.append(Janitor(store, pool.resync).run())
        if pool.harvest.enabled:
            sources = Sources(self._redis, self.settings.redis.prefix)
            self._duties.append(Harvester(store, sources, self.fetcher.fetch, pool).run())
        if not pool.check.enabled:
            return []
        return [
            CheckLane(
                store,
                self.fetcher.clients[Trust.GUARDED],
                pool,
                pool.sites["universal"],
                user_agent=self.settings.fetcher.user_agent,
            )
        ]

    def _build_counters(self, worker: Worker) -> Counters | None:
        """None if nobody can ask for them."""
        if not (self.roles.queue and self.settings.fetcher.rpc.enabled):
            return None
        counters = Counters(
            self._redis,
            self.settings.redis.prefix,
            worker.service,
            worker.number,
            self.fetcher.stats,
            lambda: self.fetcher.in_flight,
        )
        self._duties.append(counters.run())
        return counters

    def problems(self) -> list[str]:
        """Why the service is not ready, in words; empty when it is."""
        problems = self.loop.problems()
        if not self._view.follower.ready.is_set():
            problems.append("the pool has not been read yet")
        return problems

    # -- run ---------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then finish what is under way and hand back the rest.

        Raises `ListenError`.
        """
        duties: list[asyncio.Task[None]] = []
        try:
            self._open()
            loop = asyncio.get_running_loop()
            duties = [loop.create_task(duty) for duty in self._duties]
            for duty in duties:
                duty.add_done_callback(_report_end)
            self.loop.start()
            await stop.wait()
        finally:
            await self._stop(duties)

    def _open(self) -> None:
        """Open the entrances and say where they are; what needs them is one duty more."""
        urls = {}
        doors = find_doors(self.settings, self.roles)
        if "api" in doors:
            pools = pool_routes.Pools(
                {self.settings.pool.key: self._view.snapshot},
                self.settings.pool.key,
                retry_after=self.settings.pool.check.cycle,
            )
            urls["api"] = self.entrances.open_api(self.problems, pool_routes.routes(pools))
        if "fetcher.rpc" in doors:
            urls["fetcher.rpc"] = self.entrances.open_rpc()
        if self._worker is None:
            for line in build_announcement(self.settings, self.roles, urls, self._url):
                self._echo(line)
        if self._queue is not None:
            self._duties.append(Arrivals(self._lane, self.loop.turn).run())
        if self.roles.pool:
            self._duties.append(self._say_status())

    async def _say_status(self) -> None:
        """A line when the numbers have changed, while there are proxies that nobody has checked.

        Ever more seldom: it is for the one who has just started the service and watches.
        """
        await self._view.follower.ready.wait()
        said, filling, pause = "", True, _STATUS_FIRST
        while True:
            status = self._view.snapshot.status()
            if filling and str(status) != said:
                said = str(status)
                self._echo(said)
            filling = status.checked < status.found or status.found == 0
            await asyncio.sleep(pause)
            pause = min(pause * 1.2, _STATUS_MOST)

    # -- stop --------------------------------------------------------------------------------------

    async def _stop(self, duties: Sequence["asyncio.Task[None]"]) -> None:
        logger.info("stopping: %d under way", self.loop.in_flight + self.entrances.taken)
        drain = self.settings.fetcher.drain
        await asyncio.gather(self.loop.stop(drain), self.entrances.drain(drain))
        if self._queue is not None:
            with contextlib.suppress(Exception):  # it is only tidier: leases run out by themselves
                await self._queue.retire()
        await _end_all(duties)
        for never_run in self._duties:
            never_run.close()
        await self.entrances.close()
        self.fetcher.close()
        await self._blocking.aclose()
        await self._redis.aclose()


async def _end_all(duties: Collection["asyncio.Task[None]"]) -> None:
    """Cancel until all have ended: redis-py may swallow one cancellation while it connects."""
    left = set(duties)
    deadline = asyncio.get_running_loop().time() + _LAST_WAIT
    while left and asyncio.get_running_loop().time() < deadline:
        for duty in left:
            duty.cancel()
        _, left = await asyncio.wait(left, timeout=0.1)
    if left:
        logger.error("%d duties of the service did not end", len(left))


def _report_end(duty: "asyncio.Task[None]") -> None:
    if not duty.cancelled() and duty.exception() is not None:
        logger.error("a duty of the service ended", exc_info=duty.exception())
