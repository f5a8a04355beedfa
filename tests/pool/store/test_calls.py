import socket
from typing import Any

import pytest

from fetcher.errors import RedisAway
from fetchpool.redis.connect import connect
from pool.store import Checkers, Sources, Store
from pool.store.calls import batches, to_bytes, to_ms, to_text
from tests.pool.store.members import POOL, candidates

pytestmark = pytest.mark.timeout(60)


async def test_an_absent_redis_is_one_kind_of_error(tmp_path: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        redis = connect(f"redis://127.0.0.1:{probe.getsockname()[1]}")
        store, sources = Store(redis, POOL), Sources(redis)
        for call in (
            store.add(candidates("192.0.2.1:80")),
            store.claim(1, 1.0),
            store.adopt(),
            sources.account("list"),
            sources.claim("list", 1.0),
            sources.pause("list", 1.0, "v"),
            sources.validators("list"),
            sources.remember("list", {}, 1.0),
            Checkers(redis).secret(b"x"),
            Checkers(redis).spend(1, 1),
        ):
            with pytest.raises(RedisAway, match="Redis failed"):
                await call
        await redis.aclose()


def test_times_are_whole_milliseconds() -> None:
    assert [to_ms(seconds) for seconds in (0.0, 0.0004, 0.0006, 1.5, 3600.0)] == [
        0, 0, 1, 1500, 3_600_000,
    ]  # fmt: skip


@pytest.mark.parametrize("stored", [b"", b"192.0.2.1:80", "ключ".encode(), b"\xff\xfe:80"])
def test_what_others_wrote_finds_its_way_back(stored: bytes) -> None:
    assert to_bytes(to_text(stored)) == stored


@pytest.mark.parametrize(
    ("size", "expected"), [(0, []), (2, [2]), (3, [3]), (4, [3, 1]), (7, [3, 3, 1])]
)
def test_a_call_carries_so_many_at_most(size: int, expected: list[int]) -> None:
    items = list(range(size))
    parts = list(batches(items, 3))
    assert [len(part) for part in parts] == expected
    assert [item for part in parts for item in part] == items
