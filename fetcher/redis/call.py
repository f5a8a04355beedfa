"""One way to ask Redis, so that its absence has one name everywhere."""

from typing import Any

from redis.exceptions import AuthenticationError, ConnectionError, RedisError, TimeoutError

from fetcher.errors import RedisAway


async def call(command: Any) -> Any:
    """What the command answers, once awaited. Raises `RedisAway`; redis-py's own is its cause."""
    try:
        return await command
    except (RedisError, OSError) as error:
        text = f"Redis failed: {str(error) or type(error).__name__}"
        raise RedisAway(text, is_gone=_is_gone(error)) from error


def _is_gone(error: Exception) -> bool:
    """Whether nobody answered, or one that is only starting: who wants a password is there."""
    is_refusal = isinstance(error, AuthenticationError)
    return isinstance(error, ConnectionError | TimeoutError | OSError) and not is_refusal
