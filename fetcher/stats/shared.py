"""The counters of all workers of a service, in Redis: what one of them counts, each can tell.

All keys of the counters stand here. SERVICE names the workers of one start, which are processes
of one machine, and so of one steady clock:

===================================  ====  ===================================================
``PREFIX:stats:{SERVICE}:live``      hash  number of a worker -> when it was here, its fetches
                                           under way
``PREFIX:stats:{SERVICE}:5m:SLOT``   hash  worker -> what it counted in these 10 seconds
``PREFIX:stats:{SERVICE}:1h:SLOT``   hash  worker -> what it counted in this minute
===================================  ====  ===================================================

Each worker writes what it has changed once a second, whole, so that writing again does no harm.
A task costs nothing here. What a dead worker had counted counts until its buckets are too old.
"""

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final, cast

import msgspec
from redis.asyncio import Redis

from fetcher.redis.call import call
from fetcher.redis.duties import repeat
from fetcher.stats.windows import WINDOWS, Attribute, Share, Stats, sum_shares

EVERY: Final = 1.0  # seconds between two writes
GONE: Final = 5.0  # seconds without one after which a worker's fetches under way are none

_decode = msgspec.msgpack.Decoder(dict[str, Share]).decode
_decode_live = msgspec.msgpack.Decoder(tuple[float, int]).decode


class Counters:
    """Puts this worker's `stats` into Redis, and reads those of all.

    `number` is this worker's, `in_flight` tells its fetches under way, and `clock` is the one
    whose seconds `stats` was written with, the same for all workers.
    """

    def __init__(
        self,
        redis: Redis,
        prefix: str,
        service: str,
        number: int,
        stats: Stats,
        in_flight: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._base = f"{prefix}:stats:{{{service}}}"
        self._live = f"{self._base}:live"
        self._number = number
        # Not the number: its predecessor's buckets count beside its own.
        self._name = f"{number}:{secrets.token_hex(4)}"
        self._stats = stats
        self._in_flight = in_flight
        self._clock = clock
        self._written = dict.fromkeys(WINDOWS, (0, b""))  # the newest: number, content

    async def run(self) -> None:
        """Write every second, until cancelled."""
        await repeat(self.write, EVERY, "counters")

    async def write(self) -> None:
        """Put into Redis what has changed since the last time. Raises `RedisAway`."""
        now, written = self._clock(), dict(self._written)
        async with self._redis.pipeline(transaction=False) as pipe:
            live = msgspec.msgpack.encode((now, self._in_flight()))
            pipe.hset(self._live, str(self._number), live)
            pipe.expire(self._live, 60)
            for name, window in WINDOWS.items():
                newest, content = written[name]
                for slot, shares in sorted(self._stats.shares(name, newest, now).items()):
                    packed = msgspec.msgpack.encode(shares)
                    if (slot, packed) == (newest, content):
                        continue
                    key = self._key(name, slot)
                    pipe.hset(key, self._name, packed)
                    pipe.expire(key, window.interval * (window.count + 1))
                    written[name] = (slot, packed)
            await call(pipe.execute())
        self._written = written

    async def size(self) -> int:
        """How many fetches are under way in all workers. Raises `RedisAway`."""
        others = cast("Awaitable[dict[bytes, bytes]]", self._redis.hgetall(self._live))
        now, number = self._clock(), b"%d" % self._number
        found = {name: _decode_live(live) for name, live in (await call(others)).items()}
        found[number] = (now, self._in_flight())
        return sum(size for at, size in found.values() if now - at <= GONE)

    async def read(self, window: str, attribute: Attribute) -> dict[str, dict[str, float]]:
        """As `Stats.read`, over all workers. Raises `RedisAway`."""
        await self.write()
        now, shape = self._clock(), WINDOWS[window]
        newest = int(now // shape.interval)
        async with self._redis.pipeline(transaction=False) as pipe:
            for slot in range(newest - shape.count + 1, newest + 1):
                pipe.hvals(self._key(window, slot))
            buckets = await call(pipe.execute())
        shares = [_decode(packed) for bucket in buckets for packed in bucket]
        return sum_shares(shares, window, attribute, now)

    def _key(self, window: str, slot: int) -> str:
        return f"{self._base}:{window}:{slot}"
