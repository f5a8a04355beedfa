"""One way to ask Redis, so that its absence has one name everywhere."""

from typing import Any

from redis.exceptions import RedisError

from fetcher.errors import RedisAway


async def call(command: Any) -> Any:
    """What the command answers, once awaited. Raises `RedisAway`; redis-py's own is its cause."""
    try:
        return await command
    except (RedisError, OSError) as error:
        raise RedisAway(f"Redis failed: {str(error) or type(error).__name__}") from error
