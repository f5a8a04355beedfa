"""A queue seen from outside, so that one suite of tests can ask every transport the same."""

from typing import Any, Protocol

import msgspec
from redis.asyncio import Redis

from fetcher.queue.lists import ListTransport
from fetcher.queue.transport import Transport
from fetcher.settings import Queue

SETTINGS = Queue()
IN, OUT, DEAD = SETTINGS.in_, SETTINGS.out, SETTINGS.dead
TAG = "{" + IN + "}"


def number(n: int) -> bytes:
    return b"task %d" % n


def numbers(*each: int) -> list[bytes]:
    return [number(n) for n in each]


class Rig(Protocol):
    """A queue that all workers of a test share, seen from outside."""

    def worker(self, **changes: Any) -> Transport:
        """One more worker, with these changes of the settings."""

    async def push(self, messages: list[bytes]) -> None: ...
    async def fill_out(self, *messages: bytes) -> None: ...
    async def empty_out(self) -> None: ...
    async def empty(self) -> None:
        """Away with everything."""

    async def leftovers(self) -> list[bytes]:
        """What the transport keeps beside the three queues: the ends of its names, sorted."""

    async def expire(self, transport: Transport) -> None:
        """As if this worker had not renewed for longer than its lease."""

    async def waiting(self) -> list[bytes]: ...
    async def results(self) -> list[bytes]: ...
    async def dead(self) -> list[bytes]: ...
    async def held(self, transport: Transport) -> list[bytes]:
        """The messages leased to this worker, in their order."""

    async def filled(self, count: int, **changes: Any) -> Transport:
        """A worker of a queue with so many numbered messages."""


class ListRig:
    """The lists of one Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis

    def worker(self, **changes: Any) -> Transport:
        return ListTransport(self._redis, msgspec.structs.replace(SETTINGS, **changes))

    async def push(self, messages: list[bytes]) -> None:
        await self._redis.rpush(IN, *messages)

    async def fill_out(self, *messages: bytes) -> None:
        await self._redis.rpush(OUT, *messages)

    async def empty_out(self) -> None:
        await self._redis.delete(OUT)

    async def empty(self) -> None:
        await self._redis.flushall()

    async def leftovers(self) -> list[bytes]:
        return sorted([key.split(b":", 1)[1] async for key in self._redis.scan_iter(TAG + ":*")])

    async def expire(self, transport: Transport) -> None:
        await self._redis.zadd(f"{TAG}:workers", {transport.worker: 1})

    async def waiting(self) -> list[bytes]:
        return list(await self._redis.lrange(IN, 0, -1))

    async def results(self) -> list[bytes]:
        return list(await self._redis.lrange(OUT, 0, -1))

    async def dead(self) -> list[bytes]:
        return list(await self._redis.lrange(DEAD, 0, -1))

    async def held(self, transport: Transport) -> list[bytes]:
        leases = await self._redis.hgetall(f"{TAG}:leases:{transport.worker}")
        return [leases[id_] for id_ in sorted(leases, key=lambda one: int(one.split(b":")[0]))]

    async def filled(self, count: int, **changes: Any) -> Transport:
        if count:
            await self.push(numbers(*range(count)))
        return self.worker(**changes)
