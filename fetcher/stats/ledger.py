"""What the workers of a service have counted since its start, in Redis: it outlives each of them.

``PREFIX:stats:{SERVICE}:totals`` is a hash: number of a worker -> when it was here, its `Totals`.
SERVICE names the workers of one start, which are processes of one machine, and so of one steady
clock. A replacement goes on from what its predecessor of the same number has written, so that no
counter falls and none is added, however often that happens. What a worker counted in its last
seconds is lost with it if it is killed.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, cast

import msgspec
from redis.asyncio import Redis

from fetcher.redis.call import call
from fetcher.redis.duties import repeat
from fetcher.stats.meters import Totals

logger = logging.getLogger(__name__)

EVERY: Final = 2.0  # seconds between two writes
GONE: Final = 10.0  # seconds without one after which nobody knows how a worker is
KEPT: Final = 3600  # seconds for which the numbers of a service outlive it

_decode = msgspec.msgpack.Decoder(tuple[float, Totals]).decode
_encode = msgspec.msgpack.Encoder().encode


class Ledger:
    """Puts what this worker has counted into Redis, and reads what all have.

    `number` is this worker's, `count` tells what it has counted since it began, and `clock` is the
    same for all workers.
    """

    def __init__(
        self,
        redis: Redis,
        prefix: str,
        service: str,
        number: int,
        count: Callable[[], Totals],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._key = f"{prefix}:stats:{{{service}}}:totals"
        self._number = number
        self._count = count
        self._clock = clock
        self._before: Totals | None = None  # what the predecessors have counted; None: not read yet
        self._last: dict[int, Totals] = {}
        self._writing = asyncio.Lock()  # what was counted earlier is not to be written later

    async def run(self) -> None:
        """Write every two seconds, until cancelled."""
        await repeat(self.write, EVERY, "totals")

    async def write(self) -> None:
        """Put into Redis what was counted until now. Raises `RedisAway`."""
        async with self._writing:
            if self._before is None:
                field = self._redis.hget(self._key, str(self._number))
                found = await call(cast("Awaitable[bytes | None]", field))
                self._before = _read(found)[1] if found is not None else Totals()
            packed = _encode((self._clock(), self._count().plus(self._before)))
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.hset(self._key, str(self._number), packed)
                pipe.expire(self._key, KEPT)
                await call(pipe.execute())

    async def read(self) -> dict[int, Totals]:
        """Number of a worker -> what it and its predecessors have counted, in order.

        What is told has been written, so no later answer, of whichever worker, tells less. Of one
        that has not been heard of for `GONE` seconds there are no gauges. Raises `RedisAway`.
        """
        await self.write()
        found = await call(cast("Awaitable[dict[bytes, bytes]]", self._redis.hgetall(self._key)))
        now, totals = self._clock(), {}
        for name, packed in found.items():
            at, one = _read(packed)
            totals[int(name)] = one if now - at <= GONE else Totals(one.counts, one.histograms)
        self._last = dict(sorted(totals.items()))
        return self._last

    @property
    def last(self) -> dict[int, Totals]:
        """What `read` told last, without gauges: for as long as Redis is away."""
        return {name: Totals(one.counts, one.histograms) for name, one in self._last.items()}


def _read(packed: bytes) -> tuple[float, Totals]:
    """What another version has written is as if it were not there."""
    try:
        return _decode(packed)
    except msgspec.DecodeError as error:
        logger.warning("the totals of a worker cannot be read: %s", error)
        return float("-inf"), Totals()
