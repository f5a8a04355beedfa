"""What others have put into Redis, to be read and left as it is."""

from collections.abc import AsyncIterator

from redis.asyncio import Redis

from fetcher.redis.call import call
from pool.store.calls import BATCH, to_text


class Foreign:
    """A key of another pool's: ProxyPool's sorted set, or proxy_pool's hash. Raises RedisAway."""

    def __init__(self, client: Redis, key: str) -> None:
        self.key = key
        self._client = client

    async def kind(self) -> str:
        """``zset``, ``hash``, ``none``, or another of Redis's words."""
        return to_text(await call(self._client.type(self.key)))

    async def read(self) -> AsyncIterator[list[tuple[str, str]]]:
        """Members or fields, and the fields' values, in pieces; some may come twice."""
        is_hash = await self.kind() == "hash"
        scan = self._client.hscan if is_hash else self._client.zscan
        cursor = 0
        while True:
            cursor, rows = await call(scan(self.key, cursor, count=BATCH))
            pairs = rows.items() if is_hash else rows
            yield [(to_text(name), to_text(value) if is_hash else "") for name, value in pairs]
            if not cursor:
                return


async def read_scores(client: Redis, key: str, most: int) -> list[tuple[str, float]]:
    """The best `most` members of a sorted set with their scores; none of what is no sorted set.

    Raises RedisAway.
    """
    if await call(client.type(key)) != b"zset":
        return []
    rows = await call(client.zrange(key, 0, most - 1, desc=True, withscores=True))
    return [(to_text(member), float(score)) for member, score in rows]
