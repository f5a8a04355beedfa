"""Looking at the queues, feeding and draining them: what commands and the API ask for.

Its keys are those of `lists`.
"""

import hashlib
from collections.abc import Collection, Sequence
from typing import Final, cast

import msgspec
from redis.asyncio import Redis

from fetcher.queue.lists import Names
from fetcher.redis.call import call
from fetcher.settings import Queue

ID_LENGTH: Final = 16  # hexadecimal digits of a message's SHA-1, which is the key of its reason
_LOOK: Final = 20  # messages looked at in one call: they may be large

# KEYS in, dead, deliveries, reasons    ARGV message, its SHA-1    -> 0 if it is not there any more
_REQUEUE: Final = """
if not redis.call('LPOS', KEYS[2], ARGV[1]) then return 0 end
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[2])
redis.call('HDEL', KEYS[4], ARGV[2])
return redis.call('LREM', KEYS[2], 1, ARGV[1])
"""


class Dead(msgspec.Struct, frozen=True):
    """A message of the dead list. Alike messages have the same `id`; one that another program has
    put there has no `reason`."""

    id: str
    message: bytes
    reason: str | None


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """How a queue stands: messages, what their lists take in Redis's memory (estimated by it from
    some of them), and the processes that have ever taken tasks and not ended since.

    `silent`: the seconds since the leases of one of them ran out; None: all are heard of in time.
    """

    ready: int = 0
    leased: int = 0
    results: int = 0
    dead: int = 0
    ready_bytes: int = 0
    results_bytes: int = 0
    dead_bytes: int = 0
    workers: int = 0
    silent: float | None = None


class Inspector:
    """The queue as a scheduler, a processor and an operator see it. Raises `RedisAway`."""

    def __init__(self, redis: Redis, settings: Queue) -> None:
        self.settings = settings
        self._redis = redis
        self._names = Names(settings)
        self._requeue = redis.register_script(_REQUEUE)

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

    async def numbers(self) -> Numbers:
        """The same, with memory and processes."""
        n = self._names
        sizes = await self.sizes()
        async with self._redis.pipeline(transaction=False) as pipe:
            for name in (n.in_, n.out, n.dead):
                pipe.memory_usage(name)
            pipe.zcard(n.workers)
            pipe.zrange(n.workers, 0, 0, withscores=True)
            pipe.time()
            ready, out, dead, workers, first, (seconds, micros) = await call(pipe.execute())
        late = seconds + micros / 1e6 - first[0][1] if first else 0.0
        return Numbers(
            ready=sizes[n.in_],
            leased=sizes["leased"],
            results=sizes[n.out],
            dead=sizes[n.dead],
            ready_bytes=ready or 0,
            results_bytes=out or 0,
            dead_bytes=dead or 0,
            workers=workers,
            silent=late if late > 0 else None,
        )

    async def push(self, messages: Sequence[bytes]) -> int:
        """Append messages to the in list, as a scheduler does; its length."""
        return int(await call(self._redis.rpush(self._names.in_, *messages)))

    async def pull(self, count: int) -> list[bytes]:
        """Take results from the out list, as a processor does; they are gone then."""
        return await call(self._redis.lpop(self._names.out, count)) or []

    async def put_back(self, message: bytes) -> None:
        """Return a result that was pulled in vain to the head of the out list."""
        await call(self._redis.lpush(self._names.out, message))

    async def dead(self, count: int) -> list[Dead]:
        """Look at the newest `count` messages of the dead list, the newest last."""
        messages = await call(self._redis.lrange(self._names.dead, -count, -1))
        digests = [hashlib.sha1(one, usedforsecurity=False).hexdigest() for one in messages]
        if not digests:
            return []
        reasons = await call(self._redis.hmget(self._names.reasons, digests))
        return [
            Dead(digest[:ID_LENGTH], message, reason and reason.decode(errors="replace"))
            for digest, message, reason in zip(digests, messages, reasons, strict=True)
        ]

    async def requeue(self, ids: Collection[str]) -> list[str]:
        """Move these dead messages to the end of the in list, as if never taken; the ids found."""
        wanted, found, size = set(ids), [], await call(self._redis.llen(self._names.dead))
        for end in range(size, 0, -_LOOK):
            part = await call(self._redis.lrange(self._names.dead, max(0, end - _LOOK), end - 1))
            for message in part:
                digest = hashlib.sha1(message, usedforsecurity=False).hexdigest()
                if digest[:ID_LENGTH] in wanted and await self._move_back(message, digest):
                    wanted.remove(digest[:ID_LENGTH])
                    found.append(digest[:ID_LENGTH])
            if not wanted:
                break
        return found

    async def _move_back(self, message: bytes, digest: str) -> bool:
        n = self._names
        keys = [n.in_, n.dead, n.deliveries, n.reasons]
        return bool(await call(self._requeue(keys=keys, args=[message, digest])))
