import pytest
from redis.asyncio import Redis

from fetcher.crawl.frontier.frontier import Frontier
from fetcher.crawl.model import Options
from fetcher.politeness.clock import Clock
from fetcher.queue_loop import QueueLoop
from fetcher.run.fetcher import Fetcher
from fetchpool.serve.build_metrics import build_watch, read_crawls
from fetchpool.serve.build_pool import PoolView
from fetchpool.serve.metrics import PATH
from fetchpool.serve.workers import Worker
from tests.fetchpool.given import settings


@pytest.mark.parametrize(
    ("worker", "number", "service"),
    [(Worker(1, "s", 0, {}), 1, "{s}"), (Worker(2, "s", 0, {}), 2, "{s}"), (None, 1, ":")],
)
async def test_each_worker_writes_under_its_number_and_all_under_their_service(
    redis: Redis, worker: Worker | None, number: int, service: str
) -> None:
    given = settings()
    async with Fetcher.from_settings() as fetcher:
        watch = build_watch(
            given, redis, PoolView(given, redis), Clock(redis, "p"), fetcher, QueueLoop([]), worker
        )
        [spec] = watch.routes
        assert spec.kwargs is not None
        scene = await spec.kwargs["metrics"].read()
    assert spec.regex.pattern == PATH + "$"
    assert len(watch.part.duties) == 2
    assert list(scene.totals) == [number]
    assert scene.queue == {"in": 0, "leased": 0, "out": 0, "dead": 0}
    assert scene.blocked == 0
    [key] = await redis.keys("fetchpool:stats:*")
    assert service in str(key)


async def test_crawls_that_have_not_ended_are_told(redis: Redis) -> None:
    for name, state in (("a", "running"), ("b", "paused"), ("c", "finished")):
        frontier = Frontier(redis, "p", name, "w")
        await frontier.create(Options(sources=("x",)))
        await frontier.set_state(state)
    crawls = await read_crawls(redis, "p")
    assert [(one.name, one.is_paused) for one in crawls] == [("a", False), ("b", True)]
    assert await read_crawls(redis, "other") == []
