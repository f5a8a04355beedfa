"""The service: builds every object from the settings, runs the roles asked for, and stops well.

The only place that knows both `fetcher` and `pool`. It is read from top to bottom: build, run,
stop.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import replace

from fetcher.model import Lane
from fetcher.queue.lane import Arrivals, Heartbeat, QueueLane
from fetcher.queue.lists import TaskQueue
from fetcher.queue_loop import QueueLoop
from fetcher.run.fetcher import Fetcher
from fetcher.stats.shared import Counters
from fetcher.urls import loggable
from fetchpool.config.settings import Settings
from fetchpool.redis.connect import connect, mask_url
from fetchpool.redis.embedded import EmbeddedRedis, keep_running
from fetchpool.serve.entrances import PROXY_POOL, Entrances, build_url, open_sockets, share_sockets
from fetchpool.serve.process import fit_windows
from fetchpool.serve.workers import Listeners, Worker
from pool.check.build import build_checks, build_echo_judges
from pool.check.echo_judges import EchoJudges
from pool.check.lane import CheckLane
from pool.check.proof import find_tunnel_page, find_untold
from pool.harvest.harvester import Harvester
from pool.harvest.plugins import load_plugins
from pool.http import api as pool_api
from pool.http import judge as judge_route
from pool.http import proxy_pool_routes
from pool.http import proxypool_routes as pool_routes
from pool.http import report as report_route
from pool.settings import Pool
from pool.sites import UNIVERSAL, share, site_key
from pool.snapshot.follower import Follower
from pool.snapshot.geo import Geo
from pool.snapshot.snapshot import Snapshot
from pool.store import Checkers, Sources, Store, build_stores
from pool.traffic.chooser import PoolChooser
from pool.traffic.reporter import Reporter, SitePool
from pool.upkeep.janitor import Janitor
from pool.upkeep.site_feeder import Feeder

logger = logging.getLogger(__name__)

T = TypeVar("T")
Echo = Callable[[str], None]
Duty = Callable[[], Coroutine[Any, Any, None]]
"""What runs beside all else until the service stops."""

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
        if api.proxy_pool_port is not None:
            doors[PROXY_POOL] = (api.host, api.proxy_pool_port)
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


def find_judges(settings: Settings) -> list[str]:
    """URLs: those of the settings, and our own if others can reach it."""
    public_url = settings.api.public_url
    # Without credentials: every proxy would see them, and /judge asks for none.
    own = [f"{loggable(public_url).rstrip('/')}/judge"] if public_url is not None else []
    return [*settings.pool.judges, *own]


def build_announcement(
    settings: Settings, roles: Roles, urls: Mapping[str, str], redis: str
) -> list[str]:
    """What a start says: `urls` are those of the entrances, `redis` is that of Redis."""
    lines = []
    if "api" in urls:
        lines.append(f"HTTP API     {urls['api']}/  (/random /all /count /fetch?url= /healthz)")
    if PROXY_POOL in urls:
        lines.append(f"proxy_pool   {urls[PROXY_POOL]}/  (/get /pop /delete /all /count)")
    if "fetcher.rpc" in urls:
        lines.append(f"XML-RPC      {urls['fetcher.rpc']}/")
    if roles.queue and settings.queue.enabled:
        queue = settings.queue
        lines.append(f"Redis queue  {queue.in_} -> {queue.out}  at {mask_url(redis)}")
    if roles.pool:
        enabled = sum(source.enabled for source in settings.pool.sources)
        lines.append(f"Proxy pool   {settings.pool.key}, {enabled} sources")
    return lines


class SiteView:
    """One site's proxies: in Redis, and as this process knows them."""

    def __init__(
        self, store: Store, settings: Settings, universal: Snapshot | None, geo: Geo | None
    ) -> None:
        pool = settings.pool
        known: dict[str, Any] = {"universal": universal}
        if geo is not None:
            known["locate"] = geo.locate
        self.store = store
        self.snapshot = Snapshot(pool.score)
        self.follower = Follower(store, self.snapshot, pool.resync, **known)


class PoolView:
    """The pool as every process sees it: a snapshot of each site that follows Redis, who picks from
    them, and who carries back what traffic shows. Raises GeoError."""

    def __init__(self, settings: Settings, stores: Mapping[str, Store]) -> None:
        pool = settings.pool
        geo = Geo.open(pool.geoip) if pool.geoip is not None else None
        universal = SiteView(stores[UNIVERSAL], settings, None, geo)
        self.store = universal.store
        self.snapshot = universal.snapshot
        self.further = {
            name: SiteView(store, settings, universal.snapshot, geo)
            for name, store in stores.items()
            if name != UNIVERSAL
        }
        self.sites = {UNIVERSAL: universal, **self.further}
        self.stores = [site.store for site in self.sites.values()]  # universal's first
        self.snapshots = {name: site.snapshot for name, site in self.sites.items()}
        self.by_key = {site_key(pool, name): shot for name, shot in self.snapshots.items()}
        self.reporter = Reporter(
            {name: SitePool(site.store, site.snapshot) for name, site in self.sites.items()},
            pool.check.cycle,
        )
        self.chooser = PoolChooser(
            self.snapshot,
            random.random,
            allow_private=pool.allow_private,
            sites=pool.sites,
            snapshots=self.snapshots,
            note=self.reporter.note,
        )

    async def read(self) -> None:
        """Read everything once, for who does not stay."""
        for site in self.sites.values():
            await site.follower.resync()

    def duties(self) -> list[Duty]:
        return [*(site.follower.run for site in self.sites.values()), self.reporter.run]

    def problems(self) -> list[str]:
        """What keeps the pool from being what it should, in words."""
        followers = {name: site.follower for name, site in self.sites.items()}
        unread = any(not follower.ready.is_set() for follower in followers.values())
        lost = any(follower.is_lost for follower in followers.values())
        return [
            *(["the pool has not been read yet"] if unread else []),
            *(["the pool cannot be followed: Redis fails"] if lost else []),
            *(
                f"the site {name} is frozen: no proxy passes its check, and {loggable(url)} fails"
                " without one too"
                for name, follower in followers.items()
                if (url := follower.outage) is not None
            ),
        ]


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
        stores = build_stores(self._redis, settings.pool, settings.redis.prefix)
        self._view = PoolView(settings, stores)
        self._checkers = Checkers(self._redis, settings.redis.prefix)
        self._judge_secret = judge_route.EchoSecret(self._checkers)
        self._site_urls = settings.pool.sites[UNIVERSAL].url
        self._tunnel_page = find_tunnel_page(self._site_urls, find_judges(settings))
        self.fetcher = Fetcher.from_settings(
            settings.fetcher, environment=environment, chooser=self._view.chooser
        )
        self._duties: list[Duty] = self._view.duties()
        if settings.redis.url == "embedded" and (worker is None or worker.is_first):
            self._duties.append(partial(keep_running, Path(settings.redis.data_dir).resolve()))
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
        self._duties.append(Heartbeat(self._queue).run)
        return self._lane

    def _build_pool(self) -> list[Lane[Any, Any]]:
        view, pool = self._view, self.settings.pool
        for site in view.sites.values():
            self._duties.append(Janitor(site.store, pool.resync).run)
        if view.further:
            stores = {name: site.store for name, site in view.further.items()}
            self._duties.append(Feeder(view.store, stores, pool).run)
        sources = Sources(self._redis, self.settings.redis.prefix)
        self._duties.append(self._build_harvester(sources).run)
        if not pool.check.enabled:
            return []
        universal, further = share(pool.check, len(view.further))
        lanes: list[Lane[Any, Any]] = [
            self._build_checks(UNIVERSAL, replace(pool, check=universal), self._build_judges())
        ]
        pool = replace(pool, check=further)
        return lanes + [self._build_checks(name, pool, None) for name in view.further]

    def _build_harvester(self, sources: Sources) -> Harvester:
        """Who adds the operator's own proxies, too, if no source is read. Raises PluginError."""
        pool, plugins = self.settings.pool, []
        if pool.harvest.enabled and pool.plugins is not None:
            plugins = load_plugins(Path(pool.plugins))
        return Harvester(self._view.store, sources, self.fetcher.fetch, pool, plugins=plugins)

    def _build_checks(self, name: str, pool: Pool, judges: EchoJudges | None) -> CheckLane:
        return build_checks(
            self._view.sites[name].store,
            self.fetcher.clients,
            pool,
            name,
            user_agent=self.settings.fetcher.user_agent,
            judges=judges,
            checkers=self._checkers,
        )

    def _build_judges(self) -> EchoJudges | None:
        judges = build_echo_judges(
            find_judges(self.settings),
            self._tunnel_page,
            self.fetcher.clients,
            self.settings.pool,
            secret=self._judge_secret.read,
            user_agent=self.settings.fetcher.user_agent,
        )
        if judges is not None:
            self._duties.append(judges.run)
        return judges

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
        self._duties.append(counters.run)
        return counters

    def problems(self) -> list[str]:
        """Why the service is not ready, in words; empty when it is."""
        return [*self.loop.problems(), *self._view.problems()]

    # -- run ---------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then finish what is under way and hand back the rest.

        Raises `ListenError`.
        """
        duties: list[asyncio.Task[None]] = []
        try:
            self._open()
            loop = asyncio.get_running_loop()
            duties = [loop.create_task(duty()) for duty in self._duties]
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
            pools = self._build_pools()
            proxy_pool = proxy_pool_routes.Access(pools, self._view.stores)
            reports = report_route.Reports(self._view.snapshots, self._view.reporter.note)
            more = [
                *pool_routes.routes(pools),
                *judge_route.routes(self._judge_secret.read),
                *report_route.routes(reports),
                *pool_api.routes(self._build_access(pools)),
                *proxy_pool_routes.routes(proxy_pool, "/proxy_pool"),
            ]
            urls["api"] = self.entrances.open_api(self.problems, more)
            if PROXY_POOL in doors:
                specs = proxy_pool_routes.routes(proxy_pool)
                urls[PROXY_POOL] = self.entrances.open_proxy_pool(specs)
        if "fetcher.rpc" in doors:
            urls["fetcher.rpc"] = self.entrances.open_rpc()
        if self._worker is None:
            for line in build_announcement(self.settings, self.roles, urls, self._url):
                self._echo(line)
        if self._queue is not None:
            self._duties.append(Arrivals(self._lane, self.loop.turn).run)
        if self.roles.pool:
            self._duties.append(self._say_status)

    def _build_pools(self) -> pool_routes.Pools:
        return pool_routes.Pools(
            self._view.by_key,
            self.settings.pool.key,
            retry_after=self.settings.pool.check.cycle,
            sites={name: site.snapshot for name, site in self._view.further.items()},
            untold=find_untold(self._site_urls, find_judges(self.settings), self._tunnel_page),
        )

    def _build_access(self, pools: pool_routes.Pools) -> pool_api.Access:
        pool = self.settings.pool
        queue = TaskQueue(self._redis, self.settings.queue)
        return pool_api.Access(
            pools,
            self._view.stores,
            pool.score,
            Sources(self._redis, self.settings.redis.prefix).accounts,
            declared=pool.sources,
            allow_private=pool.allow_private,
            queue=queue.sizes if self.settings.queue.enabled else None,
        )

    async def _say_status(self) -> None:
        """A line when the numbers have changed, while there are proxies that nobody has checked.

        Ever more seldom: it is for the one who has just started the service and watches.
        """
        await self._view.sites[UNIVERSAL].follower.ready.wait()
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
