import pytest
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    OutOfMemoryError,
    ResponseError,
    TimeoutError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from fetcher.errors import FetchpoolError, RedisAway
from fetcher.redis.call import call


async def answer(outcome: object) -> object:
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


async def test_an_answer_is_handed_on_as_it_is() -> None:
    assert await call(answer([b"1", None])) == [b"1", None]
    assert await call(answer(None)) is None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RedisConnectionError("Connection refused"), "Redis failed: Connection refused"),
        (TimeoutError("Timeout reading"), "Redis failed: Timeout reading"),
        (OutOfMemoryError("OOM command not allowed"), "Redis failed: OOM command not allowed"),
        (ResponseError("READONLY"), "Redis failed: READONLY"),
        (OSError("no route"), "Redis failed: no route"),
        (ConnectionResetError(), "Redis failed: ConnectionResetError"),
    ],
)
async def test_whatever_redis_fails_with_has_one_name(error: Exception, words: str) -> None:
    with pytest.raises(RedisAway) as raised:
        await call(answer(error))
    assert str(raised.value) == words
    assert raised.value.__cause__ is error
    assert isinstance(raised.value, FetchpoolError)


async def test_mistakes_of_ours_are_no_absence_of_redis() -> None:
    with pytest.raises(KeyError):
        await call(answer(KeyError("ours")))


@pytest.mark.parametrize(
    ("error", "is_gone"),
    [
        (RedisConnectionError("Connection closed by server."), True),
        (BusyLoadingError("LOADING"), True),
        (TimeoutError("Timeout reading"), True),
        (OSError("no route"), True),
        (AuthenticationError("NOAUTH"), False),
        (OutOfMemoryError("OOM command not allowed"), False),
        (ResponseError("READONLY"), False),
    ],
)
async def test_who_refuses_is_not_gone(error: Exception, is_gone: bool) -> None:
    with pytest.raises(RedisAway) as raised:
        await call(answer(error))
    assert raised.value.is_gone is is_gone
