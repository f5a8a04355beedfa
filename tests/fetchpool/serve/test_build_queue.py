import asyncio
from pathlib import Path

import msgspec

from fetcher.queue.lane import QueueLane
from fetcher.queue_loop import QueueLoop
from fetcher.run.fetcher import Fetcher
from fetchpool.redis.connect import connect
from fetchpool.serve.build_queue import build_queue
from tests.fetchpool.given import settings
from tests.redis_server import RedisServer
from tests.wait import wait_until


async def test_a_task_is_fetched_as_soon_as_it_arrives(tmp_path: Path) -> None:
    given = settings()
    with RedisServer.start(tmp_path) as server:
        redis, blocking = connect(server.url), connect(server.url, blocking=True)
        woken: list[bool] = []

        def wake() -> None:
            woken.append(True)
            loop.turn()

        async with Fetcher.from_settings(given.fetcher) as fetcher:
            part = build_queue(given, redis, blocking, fetcher, wake)
            loop = QueueLoop(part.lanes)
            duties = [asyncio.create_task(duty()) for duty in part.duties]
            loop.turn()  # nobody ticks: what comes later is seen by who waits for it
            [lane] = part.lanes
            assert isinstance(lane, QueueLane)
            await wait_until(lane.empty.is_set)
            await redis.rpush(given.queue.in_, msgspec.msgpack.encode({"url": "data:,x"}))

            async def is_done() -> bool:
                return bool(await redis.llen(given.queue.out))

            await wait_until(is_done)
            assert woken
            await loop.stop(1)
            for duty in duties:
                duty.cancel()
            await asyncio.wait(duties)
            assert part.retire is not None
            await part.retire()
        await blocking.aclose()
        await redis.aclose()
