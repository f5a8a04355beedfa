"""The pool's routes for the HTTP API."""

from typing import NamedTuple

from tornado.routing import URLSpec

from fetcher.politeness.clock import Clock
from fetcher.queue.inspect import Inspector
from fetcher.settings import Forward
from fetchpool.config.settings import Settings
from fetchpool.redis.connect import Redis
from fetchpool.serve.build_judges import EchoJudgeList
from fetchpool.serve.build_pool import PoolView
from pool.http import api, judge, proxy_pool_routes, proxypool_routes, report
from pool.http.front_page import Proxy


class PoolRoutes(NamedTuple):
    """Those beside `/fetch` and `/healthz`."""

    api: list[URLSpec]
    proxy_pool: list[URLSpec]  # at the root, for a port of their own


def build_pool_routes(
    settings: Settings, view: PoolView, judge_list: EchoJudgeList, redis: Redis, clock: Clock
) -> PoolRoutes:
    pools = _build_pools(settings, view, judge_list)
    proxy_pool = proxy_pool_routes.Access(pools, view.stores)
    return PoolRoutes(
        api=[
            *proxypool_routes.routes(pools),
            *judge.routes(judge_list.secret.read),
            *report.routes(report.Reports(view.snapshots, view.reporter.note)),
            *api.routes(_build_access(settings, view, pools, redis, clock)),
            *proxy_pool_routes.routes(proxy_pool, "/proxy_pool"),
        ],
        proxy_pool=proxy_pool_routes.routes(proxy_pool),
    )


def _build_pools(
    settings: Settings, view: PoolView, judge_list: EchoJudgeList
) -> proxypool_routes.Pools:
    return proxypool_routes.Pools(
        view.by_key,
        settings.pool.key,
        retry_after=settings.pool.check.cycle,
        sites={name: site.snapshot for name, site in view.further.items()},
        untold=judge_list.untold,
        foreign=view.foreign,
        proxy=_name_proxy(settings.forward),
    )


def _name_proxy(forward: Forward) -> Proxy | None:
    if not forward.enabled:
        return None
    scheme = "http" if forward.tls.cert is None else "https"
    return Proxy(scheme, forward.port, bool(forward.key or forward.keys))


def _build_access(
    settings: Settings,
    view: PoolView,
    pools: proxypool_routes.Pools,
    redis: Redis,
    clock: Clock,
) -> api.Access:
    pool = settings.pool
    return api.Access(
        pools,
        view.stores,
        pool.score,
        view.sources.accounts,
        declared=pool.sources,
        allow_private=pool.allow_private,
        queue=Inspector(redis, settings.queue).sizes if settings.queue.enabled else None,
        blocked=clock.blocked,
    )
