"""Looking at the queues, feeding and draining them: what commands and the API ask for.

Its keys are those of `lists`.
"""

from collections.abc import Sequence
from typing import cast

from redis.asyncio import Redis

from fetcher.queue.lists import Names
from fetcher.redis.call import call
from fetcher.settings import Queue


class Inspector:
    """The queue as a scheduler, a processor and an operator see it. Raises `RedisAway`."""

    def __init__(self, redis: Redis, settings: Queue) -> None:
        self.settings = settings
        self._redis = redis
        self._names = Names(settings)

    async def sizes(self) -> dict[str, int]:
        """Messages in the in, out and dead lists, and under lease anywhere."""
        n = self._names
        workers = await call(self._redis.zrange(n.workers, 0, -1))
        async with self._redis.pipeline(transaction=False) as pipe:
            for name in (n.in_, n.out, n.dead):
                pipe.llen(name)
            for worker in cast("list[bytes]", workers):
                pipe.hlen(n.lease_prefix + worker.decode())
            ready, out, dead, *leased = await call(pipe.execute())
        return {n.in_: ready, "leased": sum(leased), n.out: out, n.dead: dead}

    async def push(self, messages: Sequence[bytes]) -> int:
        """Append messages to the in list, as a scheduler does; its length."""
        return int(await call(self._redis.rpush(self._names.in_, *messages)))

    async def pull(self, count: int) -> list[bytes]:
        """Take results from the out list, as a processor does; they are gone then."""
        return await call(self._redis.lpop(self._names.out, count)) or []

    async def put_back(self, message: bytes) -> None:
        """Return a result that was pulled in vain to the head of the out list."""
        await call(self._redis.lpush(self._names.out, message))

    async def dead(self, count: int) -> list[bytes]:
        """Look at the newest `count` messages of the dead list."""
        return list(await call(self._redis.lrange(self._names.dead, -count, -1)))
