"""The pool as a process or a command sees it; who looks after it is `build_upkeep`'s."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any, Final

from fetcher.urls import loggable
from fetchpool.config.settings import Settings
from fetchpool.redis.connect import Redis, connect
from fetchpool.redis.embedded import redis_url
from fetchpool.serve.roles import Duty
from pool.sites import UNIVERSAL, site_key
from pool.snapshot.follower import Follower
from pool.snapshot.foreign import ForeignPools
from pool.snapshot.geo import Geo
from pool.snapshot.snapshot import Snapshot
from pool.store import Sources, Store, build_stores, read_scores
from pool.traffic.chooser import PoolChooser
from pool.traffic.reporter import Reporter, SitePool

# Members of a sub-pool of others' that are read, where `pool.max_size` has no limit.
_MOST_FOREIGN: Final = 10_000


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

    def __init__(self, settings: Settings, redis: Redis) -> None:
        pool = settings.pool
        stores = build_stores(redis, pool, settings.redis.prefix)
        geo = Geo.open(pool.geoip) if pool.geoip is not None else None
        universal = SiteView(stores[UNIVERSAL], settings, None, geo)
        self.sources = Sources(redis, settings.redis.prefix)
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
        self.foreign = ForeignPools(
            lambda key: read_scores(redis, key, pool.max_size or _MOST_FOREIGN), pool.score
        )
        self.by_key = {site_key(pool, name): shot for name, shot in self.snapshots.items()}
        self.reporter = Reporter(
            {name: SitePool(site.store, site.snapshot) for name, site in self.sites.items()},
            pool.check.cycle,
        )
        self.chooser = PoolChooser(
            self.snapshot,
            random.random,
            allow_private=pool.allow_private,
            checks=pool.check.enabled,
            sites=pool.sites,
            snapshots=self.snapshots,
            note=self.reporter.note,
        )

    async def read(self) -> None:
        """Read everything once, for who does not stay."""
        for site in self.sites.values():
            await site.follower.resync()

    async def wait_until_known(self, seconds: float) -> None:
        """Until all has been read, at most so long: Redis may be away. `duties` are to run."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for site in self.sites.values():
                    await site.follower.ready.wait()

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
                f" without a proxy too (pool.sites.{name}.url)"
                for name, follower in followers.items()
                if (url := follower.outage) is not None
            ),
        ]


@contextlib.asynccontextmanager
async def open_pool(settings: Settings) -> AsyncIterator[PoolView]:
    """The pool, read once; nothing in it is checked from here.

    Raises RedisAway when it cannot be read, and EmbeddedRedisError.
    """
    with redis_url(settings.redis) as url:
        async with connect(url) as redis:
            view = PoolView(settings, redis)
            await view.read()
            yield view
