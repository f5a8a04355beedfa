"""What watches the service: how late its loop is, what its workers count, and /metrics."""

import os
import secrets
import socket
from typing import Final, NamedTuple

from tornado.routing import URLSpec

from fetcher.client.chromium.browsers import Browsers
from fetcher.crawl.frontier.frontier import Frontier, read_states
from fetcher.forward.means import Means
from fetcher.politeness.clock import Clock
from fetcher.queue.inspect import Inspector
from fetcher.queue.lane import QueueLane
from fetcher.queue_loop import QueueLoop
from fetcher.run.fetcher import Fetcher
from fetcher.stats.lag import LoopLag
from fetcher.stats.ledger import Ledger
from fetchpool.config.settings import Settings
from fetchpool.redis.connect import Redis
from fetchpool.serve.build_pool import PoolView
from fetchpool.serve.families import MOST, CrawlNumbers
from fetchpool.serve.gauges import Gauges
from fetchpool.serve.metrics import Metrics, routes
from fetchpool.serve.roles import Part
from fetchpool.serve.workers import Worker

UNDER_WAY: Final = ("running", "paused")


class Watch(NamedTuple):
    """`part` runs beside the service; `routes` tell what it knows."""

    part: Part
    routes: list[URLSpec]


def build_watch(
    settings: Settings,
    redis: Redis,
    view: PoolView,
    clock: Clock,
    fetcher: Fetcher,
    loop: QueueLoop,
    worker: Worker | None,
    forward: Means | None = None,
    browsers: Browsers | None = None,
) -> Watch:
    """Of this process, which is `worker` if it is one of several."""
    prefix = settings.redis.prefix
    lag = LoopLag(fetcher.meters.lag)
    lane = next((one for one in loop.lanes if isinstance(one, QueueLane)), None)
    service = worker.service if worker is not None else _name_service()
    number = worker.number if worker is not None else 1
    gauges = Gauges(fetcher, loop, lag, lane, forward, browsers)
    ledger = Ledger(redis, prefix, service, number, gauges.read)

    async def count_blocked() -> int:
        return len(await clock.blocked())

    metrics = Metrics(
        ledger,
        view,
        settings.pool,
        queue=Inspector(redis, settings.queue).numbers if settings.queue.enabled else None,
        blocked=count_blocked,
        crawls=lambda: read_crawls(redis, prefix),
    )
    return Watch(Part(duties=[lag.run, ledger.run]), routes(metrics))


def _name_service() -> str:
    """As a parent of workers names them: by this start of it."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


async def read_crawls(redis: Redis, prefix: str) -> list[CrawlNumbers]:
    """Those that have not ended, `MOST` of them. Raises RedisAway."""
    states = await read_states(redis, prefix)
    running = [(name, state) for name, state in states.items() if state in UNDER_WAY][:MOST]
    return [
        CrawlNumbers(name, state == "paused", await Frontier(redis, prefix, name, "").counts())
        for name, state in running
    ]
