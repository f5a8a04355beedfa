import pytest
from redis.asyncio import Redis

from fetcher.politeness import store
from fetcher.politeness.store import KEEP, Store

pytestmark = pytest.mark.timeout(30)

SECOND = 1_000_000
HOUR = 3600 * SECOND


@pytest.fixture
def clock(any_redis: Redis) -> Store:
    return Store(any_redis, "p", base=60 * SECOND, most=HOUR, quiet=1800 * SECOND)


@pytest.mark.parametrize("extra", [-1, 0, 1])
async def test_a_start_is_reserved_up_to_the_horizon_and_not_behind(clock, extra) -> None:
    now, told, at = await clock.reserve([("a", 10 * SECOND, 0, 0)])
    assert (told, at) == (1, now)
    later, told, next_at = await clock.reserve([("a", 10 * SECOND, HOUR, 0)])
    assert (told, next_at) == (1, at + 10 * SECOND)
    # In one call all is seen at one time, so that the limit can be met exactly.
    now, _, first, told, _ = await clock.reserve([("b", 10, 0, 0), ("b", 10, 10 + extra, 0)])
    assert (first, told) == (now, 1 if extra >= 0 else 0)
    assert later <= now


async def test_all_keys_lie_in_one_slot_of_a_cluster_and_leave_by_themselves(
    clock: Store, any_redis: Redis
) -> None:
    await clock.reserve([("a", 10 * SECOND, 0, 0), ("b", 0, 0, 0)])
    await clock.block("b", retry_after=None, started=0, jitter=1.0)
    assert sorted(await any_redis.keys()) == [
        b"{p:clock}:blocked", b"{p:clock}:of:a", b"{p:clock}:of:b"
    ]  # fmt: skip
    for name, seconds in (("of:a", 10 + KEEP / 1e6), ("of:b", 60 + 1800), ("blocked", 60)):
        left = await any_redis.pttl("{p:clock}:" + name)
        assert seconds * 1000 - 5000 < left <= seconds * 1000 + 1


async def test_of_what_is_refused_nothing_is_kept(clock: Store, any_redis: Redis) -> None:
    await clock.block("a", retry_after=HOUR, started=0, jitter=1.0)
    kept = await any_redis.get("{p:clock}:of:a")
    _, *told = await clock.reserve([("a", SECOND, 0, 0), ("a", SECOND, 0, 0)])
    assert told[::2] == [2, 2]
    assert told[3] - told[1] == SECOND
    assert await any_redis.get("{p:clock}:of:a") == kept


async def test_only_so_many_blocked_keys_are_listed(clock: Store, monkeypatch) -> None:
    monkeypatch.setattr(store, "LISTED", 2)
    for number, name in enumerate("cab", 1):
        await clock.block(name, retry_after=number * HOUR, started=0, jitter=1.0)
    now, found = await clock.blocked(10)
    assert [name for name, _ in found] == ["b", "a"]
    assert all(till > now for _, till in found)
    assert [name for name, _ in (await clock.blocked(1))[1]] == ["b"]


async def test_a_block_that_has_ended_is_not_listed(clock: Store) -> None:
    await clock.block("a", retry_after=HOUR, started=0, jitter=1.0)
    _, [(_, till)] = await clock.blocked(10)
    await clock.block("a", retry_after=0, started=till, jitter=1.0)
    await clock.block("b", retry_after=HOUR, started=0, jitter=1.0)
    _, found = await clock.blocked(10)
    assert [name for name, _ in found] == ["b"]


async def test_a_start_that_was_missed_may_be_at_once_if_it_was_the_last(clock: Store) -> None:
    _, _, missed = await clock.reserve([("a", HOUR, 0, 0)])
    now, told, at = await clock.reserve([("a", HOUR, 0, missed)])
    assert (told, at) == (1, now)
    assert now > missed
    _, told, next_at = await clock.reserve([("a", HOUR, 0, missed)])  # others came behind it
    assert (told, next_at) == (0, at + HOUR)
    await clock.block("a", retry_after=2 * HOUR, started=0, jitter=1.0)
    now, told, blocked = await clock.reserve([("a", HOUR, 0, at)])
    assert told == 2
    assert now + 2 * HOUR - SECOND < blocked <= now + 2 * HOUR


async def test_behind_a_block_the_answer_to_one_start_decides_on_the_next(clock: Store) -> None:
    await clock.reserve([("a", SECOND, 0, 0)])
    await clock.block("a", retry_after=HOUR, started=0, jitter=1.0)
    now, told, till, next_told, next_at = await clock.reserve([("a", SECOND, 2 * HOUR, 0)] * 2)
    assert (told, next_told, next_at - till) == (1, 2, SECOND)
    assert HOUR - SECOND < till - now <= HOUR
    _, told, at = await clock.reserve([("a", SECOND, 2 * HOUR, 0)])
    assert (told, at) == (2, till + SECOND)
