"""What the checkers and the echo judges of all processes have in common."""

from typing import Final

from redis.asyncio import Redis

from fetcher.redis.call import call

_TWO_DAYS: Final = 172_800  # seconds: checkers' clocks and midnights may differ


class Checkers:
    """The secret of our echo judges, and what all checks have used. Raises RedisAway."""

    def __init__(self, client: Redis, prefix: str = "fetchpool") -> None:
        self._client = client
        self._secret = f"{prefix}:judge"
        self._spent = f"{prefix}:check-bytes"

    async def secret(self, fresh: bytes) -> bytes:
        """What the pool's own echo judges sign with; `fresh` from now on, if there is none."""
        await call(self._client.set(self._secret, fresh, nx=True))
        known = await call(self._client.get(self._secret))
        return fresh if known is None else bytes(known)

    async def spend(self, day: int, size: int) -> int:
        """Count `size` bytes of checks; all that were counted on `day` (since the epoch)."""
        key = f"{self._spent}:{day}"
        async with self._client.pipeline(transaction=True) as both:
            both.incrby(key, size)
            both.expire(key, _TWO_DAYS)
            total, _ = await call(both.execute())
        return int(total)
