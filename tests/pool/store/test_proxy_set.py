import msgspec
import pytest
from redis.asyncio import Redis

from pool.model import Record
from pool.settings import Pool
from pool.store import Member, Store
from tests.pool.store.members import HOUR, KEY, POOL, candidates, many, side
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)


async def test_changes_tell_what_is_there_and_what_is_gone(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates(*many(3), source="list"))
    first = await store.http.changes(0)
    assert [(one.member, one.score) for one in first.members] == [(m, 10) for m in many(3)]
    assert first.members[0].record == Record(source="list")
    await store.remove([many(3)[1]])
    second = await store.http.changes(first.last)
    assert [(one.member, one.score) for one in second.members] == [(many(3)[1], None)]
    assert (await store.http.changes(second.last)).members == []


async def test_changes_come_in_pieces_without_loss(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates(*many(25)))
    last, seen = 0, list[Member]()
    for _ in range(3):
        changes = await store.http.changes(last, n=10)
        last = changes.last
        seen += changes.members
    assert [one.member for one in seen] == many(25)
    assert last == changes.newest.n
    assert changes.newest == await store.http.version()


async def test_a_removal_is_forgotten_when_everybody_has_seen_it(
    any_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(any_redis, Pool(tombstone=0.0))
    await store.add(candidates(*many(3)))
    await store.remove(many(2))
    assert await store.clean() == 0
    assert await any_redis.zcard(side("changes")) == 3
    monkeypatch.setattr("pool.store.proxy_set.GRACE", 0.0)
    await wait_until(store.clean)
    await store.clean()
    assert await any_redis.zcard(side("tombs")) == 0
    assert await any_redis.zrange(side("changes"), 0, -1) == [many(3)[2].encode()]


@pytest.mark.parametrize(("most", "left"), [(3, 3), (4, 4), (5, 4)])
async def test_tombs_are_limited_in_number(
    any_redis: Redis, monkeypatch: pytest.MonkeyPatch, most: int, left: int
) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates(*many(4)))
    await store.remove(many(4))
    monkeypatch.setattr("pool.store.proxy_set.TOMBS_MAX", most)
    await store.clean()
    assert await any_redis.zcard(side("tombs")) == left
    assert await any_redis.zcard(side("changes")) == left


async def test_cleaning_never_loses_the_change_of_a_member_that_came_back(
    any_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(any_redis, Pool(tombstone=0.0))
    await store.add(candidates("192.0.2.1:80"))
    await store.remove(["192.0.2.1:80"])
    await any_redis.zadd(KEY, {"192.0.2.1:80": 10})
    monkeypatch.setattr("pool.store.proxy_set.GRACE", 0.0)
    await wait_until(store.clean)
    assert await any_redis.zcard(side("changes")) == 1


async def test_records_that_others_wrote_are_fit_to_be_shown(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    [member] = many(1)
    await store.add(candidates(member))
    hostile = {
        "source": "\x1b]0;a\x07" + "x" * 5000,
        "country": "x" * 5000,
        "checked": float("-inf"),
        "passed": 1e308,
        "latency": float("nan"),
        "failed": {"rule": 2},
    }
    await any_redis.hset(side("records"), member, msgspec.msgpack.encode(hostile))
    expected = Record(source="?]0;a?" + "x" * 191 + "...", failed={"rule": 2})
    assert await store.http.records([member]) == [expected]
    [check] = await store.claim(1, HOUR)
    assert check.record == expected
    assert [one.record for one in (await store.http.changes(0)).members] == [expected]


async def test_a_source_cannot_be_called_so_that_its_proxies_look_shared(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates(*many(1), source="æsharedé"))
    await store.add(candidates(*many(1), source="æsharedé"))
    assert await store.http.records(many(1)) == [Record(source="æ?é")]
    await store.add(candidates(*many(1), source="another"))
    assert await store.http.records(many(1)) == [Record(source="æ?é", shared=True)]
