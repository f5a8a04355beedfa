from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from fetcher.errors import RedisAway
from fetcher.queue.handover import HandOver, cut
from fetcher.queue.lists import ListTransport
from fetcher.queue.transport import BATCH_BYTES, BATCH_COUNT, Finished
from fetchpool.redis.connect import connect
from tests.fetcher.queue.rig import DEAD, IN, OUT, SETTINGS
from tests.redis_server import RedisServer, find_binary

pytestmark = pytest.mark.timeout(60)

LIMIT = 1 << 20  # bytes of one argument; else 512 MB, and as slow
HUGE = b"x" * (LIMIT + 1)


@pytest.fixture(params=["floor", "newest"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    options = ("--proto-max-bulk-len", "1mb")
    with RedisServer.start(tmp_path, find_binary(request.param), *options) as started:
        yield started


@pytest_asyncio.fixture
async def redis(server: RedisServer) -> AsyncIterator[Redis]:
    async with connect(server.url) as client:
        yield client


def smaller(item: Finished, error: RedisAway) -> Iterable[Finished]:
    assert str(error)
    return [Finished(item.id, HUGE), Finished(item.id, b"small"), Finished(item.id, b"smallest")]


async def hand_over(
    redis: Any, results: Sequence[bytes | None], forms: Any = smaller
) -> tuple[HandOver, list[Finished]]:
    """As many tasks leased, and what shall become of them: None is the dead list."""
    queue = ListTransport(redis, SETTINGS)
    await redis.rpush(IN, *[b"%d" % n for n in range(len(results))])
    leased = await queue.take(len(results)) or []
    batch = [
        Finished(item.id, reason="why") if result is None else Finished(item.id, result)
        for item, result in zip(leased, results, strict=True)
    ]
    return HandOver(queue, forms), batch


async def finish(one: HandOver, batch: list[Finished]) -> list[bytes]:
    """Once more after the first failure, as the loop does."""
    try:
        return await one.finish(batch)
    except RedisAway:
        return await one.finish(batch)


@pytest.mark.parametrize("count", [1, 2, 5, 64])
@pytest.mark.parametrize("where", [0, -1, None])
async def test_one_that_cannot_be_stored_stands_alone_and_the_others_go_out(redis, count, where):
    """`where` None: all of them."""
    results = [b"%d" % n for n in range(count)]
    huge = range(count) if where is None else [where % count]
    for n in huge:
        results[n] = HUGE
    one, batch = await hand_over(redis, results)
    assert await finish(one, batch) == []
    stored = await redis.lrange(OUT, 0, -1)
    assert sorted(stored) == sorted(b"small" if it == HUGE else it for it in results)
    assert [form.id for form in one.replaced] == [batch[n].id for n in huge]
    assert await redis.hlen("{" + IN + "}:leases:" + one._queue.worker) == 0
    assert await one.finish([]) == []
    assert one.replaced == []


async def test_the_dead_list_is_the_smallest_form(redis):
    def forms(item: Finished, error: RedisAway) -> Iterable[Finished]:
        return [Finished(item.id, HUGE), Finished(item.id, reason=str(error))]

    one, batch = await hand_over(redis, [b"good", HUGE], forms)
    assert await finish(one, batch) == []
    assert await redis.lrange(OUT, 0, -1) == [b"good"]
    assert await redis.lrange(DEAD, 0, -1) == [b"1"]


async def test_what_has_no_smaller_form_is_kept_and_nothing_is_stored_twice(redis):
    one, batch = await hand_over(redis, [b"1", HUGE, b"2"], lambda *_: [])
    for _ in range(4):
        with pytest.raises(RedisAway):
            await one.finish(batch)
    assert await redis.lrange(OUT, 0, -1) == [b"1"]
    await redis.config_set("proto-max-bulk-len", "2mb")
    assert await one.finish(batch) == []
    assert await redis.lrange(OUT, 0, -1) == [b"1", HUGE, b"2"]


@pytest.mark.parametrize("state", ["out of memory", "read only", "no list"])
async def test_what_is_wrong_with_redis_costs_no_result(redis, state):
    one, batch = await hand_over(redis, [b"1", b"2", None])
    if state == "out of memory":
        await redis.config_set("maxmemory", 1)
    elif state == "read only":
        await redis.replicaof("127.0.0.1", 1)
    else:
        await redis.set(OUT, "a text")
    for _ in range(4):
        with pytest.raises(RedisAway):
            await one.finish(batch)
    await redis.config_set("maxmemory", 0)
    await redis.replicaof("NO", "ONE")
    if state == "no list":
        await redis.delete(OUT)
    assert await one.finish(batch) == []
    assert await redis.lrange(OUT, 0, -1) == [b"1", b"2"]
    assert await redis.lrange(DEAD, 0, -1) == [b"2"]
    assert one.replaced == []


async def test_one_broken_connection_is_nobodys_fault(redis):
    one, batch = await hand_over(redis, [b"1", b"2"])
    await redis.client_kill_filter(skipme=False, _type="normal")
    assert await finish(one, batch) == []
    assert await redis.lrange(OUT, 0, -1) == [b"1", b"2"]
    assert one.replaced == []


async def test_while_redis_is_away_all_is_kept(server, redis):
    one, batch = await hand_over(redis, [b"1", HUGE])
    server.stop()
    for _ in range(3):
        with pytest.raises(RedisAway):
            await one.finish(batch)
    assert one.replaced == []


# -- batches ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ([], []),
        ([1], [1]),
        ([BATCH_BYTES - 1, 1, 1], [2, 1]),
        ([BATCH_BYTES, 1], [1, 1]),
        ([BATCH_BYTES - 1, BATCH_BYTES * 9, 1], [1, 1, 1]),
        ([1] * BATCH_COUNT, [BATCH_COUNT]),
        ([1] * (BATCH_COUNT + 1), [BATCH_COUNT, 1]),
    ],
)
def test_a_batch_is_cut_by_bytes_and_by_count(sizes: list[int], parts: list[int]) -> None:
    batch = [Finished(b"%d" % n, b"x" * size) for n, size in enumerate(sizes)]
    found = cut(batch)
    assert [len(part) for part in found] == parts
    assert [item for part in found for item in part] == batch
