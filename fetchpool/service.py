"""The service: builds every object from the settings, runs the roles asked for, and stops well.

The only place that knows both `fetcher` and `pool`. It is read from top to bottom: build, run,
stop.
"""

import asyncio
import contextlib
import errno
import logging
import os
import random
import resource
import signal
import socket
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.routing import URLSpec

from fetcher import fetch_handler, handlers
from fetcher.connect import connect, mask_url
from fetcher.embedded import EmbeddedRedis
from fetcher.errors import FetchpoolError
from fetcher.fetcher import Fetcher
from fetcher.gate import Gate
from fetcher.model import Lane, Trust
from fetcher.queue import TaskQueue
from fetcher.queue_lane import Arrivals, Heartbeat, QueueLane
from fetcher.queue_loop import QueueLoop
from fetcher.route import Route, parse_route
from fetchpool.settings import Settings
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

# A transfer takes a socket, and perhaps one more while another connects; the rest is Redis,
# listeners and log files.
_FILES_PER_TRANSFER: Final = 2
_FILES_BESIDE: Final = 200

_STATUS_FIRST: Final = 2.0  # seconds
_STATUS_MOST: Final = 300.0

_LAST_WAIT: Final = 5.0  # seconds for duties to end once they are cancelled

# A client that opens a connection and says nothing is cut off after this; Tornado waits an hour.
_IDLE: Final = 120.0
_BODY: Final = 300.0
_MAX_REQUEST_BODY: Final = 104857600


class ListenError(FetchpoolError):
    """An entrance cannot be opened; the text names its settings and a way out."""


class Roles(msgspec.Struct, frozen=True, kw_only=True):
    """What one process does."""

    queue: bool = False
    pool: bool = False
    api: bool = False


ALL: Final = Roles(queue=True, pool=True, api=True)


def run_on_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function on uvloop where it is installed, else on asyncio's own loop."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.run(main())
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main())


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


class PoolView:
    """The pool as every process sees it: a snapshot that follows Redis, and who picks from it."""

    def __init__(self, settings: Settings, store: Store) -> None:
        pool = settings.pool
        self.store = store
        self.snapshot = Snapshot(pool.score)
        self.follower = Follower(self.store, self.snapshot, pool.resync)
        self.chooser = PoolChooser(self.snapshot, random.random, allow_private=pool.allow_private)


class Service:
    """The long-running process of the roles in `roles`."""

    def __init__(
        self,
        settings: Settings,
        roles: Roles,
        url: str,
        *,
        environment: Mapping[str, str],
        echo: Echo,
    ) -> None:
        settings = _fit_windows(settings)
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
        self._server: HTTPServer | None = None
        self._places = handlers.Places()

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

    def _listen(self) -> None:
        """Serve the API. Raises `ListenError`."""
        api = self.settings.api
        limits = fetch_handler.FetchLimits(
            route=build_route(api.proxy),
            trust=Trust.OPEN if api.allow_private else Trust.GUARDED,
            caller_proxy=api.caller_proxy,
            concurrency=api.concurrency,
            max_body=api.max_body,
        )
        pools = pool_routes.Pools(
            {self.settings.pool.key: self._view.snapshot},
            self.settings.pool.key,
            retry_after=self.settings.pool.check.cycle,
        )
        specs: list[URLSpec] = [
            *handlers.health_routes(self.problems),
            *fetch_handler.routes(self.fetcher, limits, self._places),
            *pool_routes.routes(pools),
        ]
        gate = Gate(
            keys=frozenset([*([api.key] if api.key else []), *api.keys.values()]),
            hosts=frozenset(host.lower() for host in api.hosts),
            wildcard=api.host in ("", "0.0.0.0", "::"),
        )
        self._server = HTTPServer(
            handlers.application(specs, gate),
            idle_connection_timeout=_IDLE,
            body_timeout=_BODY,
            max_body_size=_MAX_REQUEST_BODY,
        )
        sockets = open_sockets("api", api.host, api.port)
        self._server.add_sockets(sockets)
        self.api_port: int = sockets[0].getsockname()[1]
        host = f"[{api.host}]" if ":" in api.host else api.host
        base = f"http://{host}:{self.api_port}"
        self._echo(f"HTTP API     {base}/  (/random /all /count /fetch?url= /healthz)")

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
            self._announce()
            loop = asyncio.get_running_loop()
            duties = [loop.create_task(duty) for duty in self._duties]
            for duty in duties:
                duty.add_done_callback(_report_end)
            self.loop.start()
            await stop.wait()
        finally:
            await self._stop(duties)

    def _announce(self) -> None:
        """Open the entrances and say where they are; what needs them is one duty more."""
        if self.roles.api and self.settings.api.enabled:
            self._listen()
        if self._queue is not None:
            queue = self.settings.queue
            self._echo(f"Redis queue  {queue.in_} -> {queue.out}  at {mask_url(self._url)}")
            self._duties.append(Arrivals(self._lane, self.loop.turn).run())
        if self.roles.pool:
            enabled = sum(source.enabled for source in self.settings.pool.sources)
            self._echo(f"Proxy pool   {self.settings.pool.key}, {enabled} sources")
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
        logger.info("stopping: %d under way", self.loop.in_flight + self._places.taken)
        if self._server is not None:
            self._server.stop()
        drain = self.settings.fetcher.drain
        await asyncio.gather(self.loop.stop(drain), self._places.close(drain))
        if self._queue is not None:
            with contextlib.suppress(Exception):  # it is only tidier: leases run out by themselves
                await self._queue.retire()
        await _end_all(duties)
        for never_run in self._duties:
            never_run.close()
        if self._server is not None:
            await self._server.close_all_connections()
        self.fetcher.close()
        await self._blocking.aclose()
        await self._redis.aclose()


def build_route(setting: Any) -> Route:
    """A route of the settings, where nothing stands for direct (as in a task)."""
    return parse_route(setting, ())


def open_sockets(section: str, host: str, port: int) -> list[socket.socket]:
    """Listening sockets for the entrance that `section` of the settings describes.

    Raises `ListenError`.
    """
    try:
        return bind_sockets(port, host)
    except OSError as error:
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        text = f"{section}.host, {section}.port: cannot listen on {place}: {error.strerror}"
        if error.errno == errno.EADDRINUSE:
            text += f"; end what uses it, or choose another port with -s {section}.port=PORT"
        raise ListenError(text) from error


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


def raise_file_limit() -> int:
    """Set the soft limit of open files to the hard one; the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit if limit != resource.RLIM_INFINITY else 1_000_000


def _fit_windows(settings: Settings) -> Settings:
    """Windows cut to what the open-file limit can carry, with one warning.

    A descriptor that is not to be had looks like a dead proxy.
    """
    limit = raise_file_limit()
    room = max((limit - _FILES_BESIDE) // _FILES_PER_TRANSFER, 20)
    queue, checks = settings.fetcher.poolsize, settings.pool.check.concurrency
    if queue + checks <= room:
        return settings
    share = room / (queue + checks)
    queue, checks = max(int(queue * share), 10), max(int(checks * share), 10)
    logger.warning(
        "%d files may be open: fetcher.poolsize is cut to %d, pool.check.concurrency to %d"
        " (raise the limit: ulimit -n)",
        limit, queue, checks,
    )  # fmt: skip
    replace = msgspec.structs.replace
    return replace(
        settings,
        fetcher=replace(settings.fetcher, poolsize=queue),
        pool=replace(settings.pool, check=replace(settings.pool.check, concurrency=checks)),
    )


def stop_on_signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """The first SIGTERM or SIGINT asks for a stop, the second ends the process at once.

    Nothing is lost by that: leases run out, and their tasks go back to the queue.
    """

    def received(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, received, number)
