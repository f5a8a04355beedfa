"""The queue component: its lane, what keeps it alive, and what its workers count together."""

from collections.abc import Callable

from fetcher.queue.heartbeat import Arrivals, Heartbeat
from fetcher.queue.lane import QueueLane
from fetcher.queue.lists import ListTransport
from fetcher.run.fetcher import Fetcher
from fetcher.stats.shared import Counters
from fetchpool.config.settings import Settings
from fetchpool.redis.connect import Redis
from fetchpool.serve.roles import Part
from fetchpool.serve.workers import Worker


def build_queue(
    settings: Settings,
    redis: Redis,
    blocking: Redis,
    fetcher: Fetcher,
    wake: Callable[[], None],
) -> Part:
    """`blocking` is for commands that wait; `wake` makes the loop look at once."""
    queue = ListTransport(redis, settings.queue, blocking)
    own = settings.fetcher
    lane = QueueLane(queue, fetcher, own.poolsize, per_host=own.per_host, delay=own.delay)
    return Part(
        lanes=[lane],
        duties=[Heartbeat(queue).run, Arrivals(lane, wake).run],
        hand_back=lane.hand_back_waiting,
        retire=queue.retire,
    )


def build_counters(settings: Settings, redis: Redis, fetcher: Fetcher, worker: Worker) -> Counters:
    """What `worker` has counted, for XML-RPC to add to what the others have."""
    return Counters(
        redis,
        settings.redis.prefix,
        worker.service,
        worker.number,
        fetcher.stats,
        lambda: fetcher.in_flight,
    )
