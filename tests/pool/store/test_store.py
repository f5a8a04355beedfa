import asyncio
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from fetcher.proxy import parse_proxy
from pool.model import Added, Consequence, Effect, Entered, Kind, Record, Settled
from pool.settings import Check as Times
from pool.settings import Pool, Site
from pool.store import BATCH, Store, build_stores, remove_everywhere
from tests.pool.store.members import (
    HOUR,
    KEY,
    POOL,
    SOCKS,
    candidates,
    check_all,
    ended,
    many,
    side,
)
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)


# -- adding --------------------------------------------------------------------------------------


async def test_new_proxies_lie_where_proxypool_looks_for_them(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    members = ["192.0.2.1:80", "user:p%40ss@192.0.2.1:80", "socks5://192.0.2.1:1080"]
    assert await store.add(candidates(*members, source="list")) == Added(new=3)
    assert await any_redis.zrange(KEY, 0, -1, withscores=True) == [
        (b"192.0.2.1:80", 10.0),
        (b"user:p%40ss@192.0.2.1:80", 10.0),
    ]
    assert await any_redis.zrange(SOCKS, 0, -1, withscores=True) == [
        (b"socks5://192.0.2.1:1080", 10.0)
    ]


async def test_all_keys_of_a_set_share_a_hash_tag_and_the_prefix(any_redis: Redis) -> None:
    pool = Pool(key="proxies", tombstone=HOUR)
    store = Store(any_redis, pool, prefix="mine")
    await store.add(candidates("192.0.2.1:80", "192.0.2.2:80"))
    await store.remove(["192.0.2.2:80"])
    assert sorted(await any_redis.keys()) == [
        b"mine:{proxies}:changes",
        b"mine:{proxies}:due",
        b"mine:{proxies}:records",
        b"mine:{proxies}:tombs",
        b"mine:{proxies}:version",
        b"proxies",
    ]


async def test_adding_again_resets_neither_score_nor_record(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates("192.0.2.1:80", source="first"))
    await check_all(store, Kind.PASSED)
    assert await store.add(candidates("192.0.2.1:80", source="second")) == Added()
    assert await any_redis.zscore(KEY, "192.0.2.1:80") == 100
    [check] = await store.claim(1, HOUR)
    assert check.record.source == "first"


@pytest.mark.parametrize(("max_size", "new", "full"), [(2, 2, 1), (3, 3, 0), (4, 3, 0), (0, 3, 0)])
async def test_a_full_pool_refuses(any_redis: Redis, max_size: int, new: int, full: int) -> None:
    store = Store(any_redis, Pool(max_size=max_size))
    members = ["192.0.2.1:80", "192.0.2.2:80", "socks4://192.0.2.3:80"]
    assert await store.add(candidates(*members)) == Added(new=new, full=full)


async def test_a_member_that_is_there_needs_no_room(any_redis: Redis) -> None:
    store = Store(any_redis, Pool(max_size=1))
    await store.add(candidates("192.0.2.1:80"))
    assert await store.add(candidates("192.0.2.1:80", "192.0.2.2:80")) == Added(full=1)


async def test_the_operator_is_refused_neither_by_tombs_nor_for_want_of_room(
    any_redis: Redis,
) -> None:
    store = Store(any_redis, Pool(max_size=1))
    await store.add(candidates("192.0.2.1:80", "192.0.2.2:80"))
    await store.remove(["192.0.2.2:80"])
    own = candidates("192.0.2.2:80", "192.0.2.3:80", own=True)
    assert await store.add(own, operator=True) == Added(new=2)
    assert await any_redis.zcard(side("tombs")) == 0


async def test_a_caller_is_not_refused_by_tombs_but_for_want_of_room(any_redis: Redis) -> None:
    store = Store(any_redis, Pool(max_size=1))
    await store.add(candidates("192.0.2.1:80"))
    await store.remove(["192.0.2.1:80"])
    both = candidates("192.0.2.1:80", "192.0.2.2:80")
    assert await store.add(both, caller=True) == Added(new=1, full=1)
    assert await any_redis.zcard(side("tombs")) == 0


@pytest.mark.parametrize(
    ("scores", "new", "left"),
    [
        ([100, 10], 0, {100: 1, 10: 1}),
        ([100, 9], 1, {100: 1, 10: 1}),
        ([9, 3], 1, {10: 1, 9: 1}),
        ([9.5, 9.25], 1, {10: 1, 9.5: 1}),
        ([11, 10.5], 0, {11: 1, 10.5: 1}),
    ],
)
async def test_in_a_full_pool_a_newcomer_replaces_the_worst_that_has_failed(
    any_redis: Redis, scores: list[float], new: int, left: dict[float, int]
) -> None:
    store = Store(any_redis, Pool(max_size=2))
    await any_redis.zadd(KEY, dict(zip(many(2), scores, strict=True)))
    await store.adopt()
    before = await store.http.version()
    assert await store.add(candidates("192.0.2.99:1")) == Added(new=new, full=1 - new)
    rows: Any = await any_redis.zrange(KEY, 0, -1, withscores=True)
    assert sorted(score for _, score in rows) == sorted(left)
    assert await any_redis.zcard(side("tombs")) == new
    changes = await store.http.changes(before.n)
    assert len(changes.members) == 2 * new
    assert [one.score for one in changes.members] == [None, 10][: 2 * new]
    if new:
        buried: Any = await any_redis.zrange(side("tombs"), 0, -1)
        [gone] = buried
        assert not await any_redis.hexists(side("records"), gone)
        assert await any_redis.zscore(side("due"), gone) is None
        assert await store.add(candidates(gone.decode())) == Added(buried=1)


async def test_as_many_newcomers_come_in_as_have_failed(any_redis: Redis) -> None:
    store = Store(any_redis, Pool(max_size=5))
    await store.add(candidates(*many(5)))
    await store.settle(ended(await store.claim(3, HOUR), Kind.TIMEOUT))
    assert await store.add(candidates(*many(10, first=100))) == Added(new=3, full=7)
    assert await any_redis.zcard(KEY) == 5
    assert await store.add(candidates(*many(10, first=200))) == Added(full=10)


@pytest.mark.parametrize(("theirs", "ours"), [("", "socks5://"), ("socks5://", "")])
async def test_newcomers_replace_what_has_failed_whatever_its_scheme(
    any_redis: Redis, theirs: str, ours: str
) -> None:
    keys = [SOCKS, KEY] if ours else [KEY, SOCKS]
    await any_redis.zadd(keys[0], {f"{ours}192.0.2.1:1": 100, f"{ours}192.0.2.2:1": 9})
    others = zip(many(3, first=100), [9, 8, 100], strict=True)
    await any_redis.zadd(keys[1], {theirs + member: score for member, score in others})
    store = Store(any_redis, Pool(max_size=5))
    await store.adopt()
    newcomers = [ours + member for member in many(4, first=200)]
    assert await store.add(candidates(*newcomers)) == Added(new=3, full=1)
    left = []
    for key in keys:
        rows: Any = await any_redis.zrange(key, 0, -1, withscores=True)
        left.append([score for _, score in rows])
    assert left == [[10, 10, 10, 100], [100]]


async def test_the_operators_own_proxies_are_never_replaced(any_redis: Redis) -> None:
    store = Store(any_redis, Pool(max_size=3))
    await store.add(candidates(*many(2), own=True), operator=True)
    await store.settle(ended(await store.claim(2, HOUR), Kind.TIMEOUT))
    await store.settle(ended(await store.claim(2, HOUR), Kind.TIMEOUT))
    await any_redis.zadd(KEY, {"192.0.2.50:80": 9.5})
    await any_redis.hset(side("records"), "192.0.2.50:80", b"\xc1 no record")
    assert await store.add(candidates(*many(2, first=100))) == Added(new=1, full=1)
    rows: Any = await any_redis.zrange(KEY, 0, -1)
    left = {name.decode() for name in rows}
    assert left == {*many(2), many(1, first=100)[0]}


async def test_what_is_never_to_be_checked_is_good_and_never_due(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    own = candidates("192.0.2.1:80", "socks5://192.0.2.1:80", own=True, never_check=True)
    assert await store.add(own, operator=True) == Added(new=2)
    assert await any_redis.zscore(KEY, "192.0.2.1:80") == 100
    assert await any_redis.zscore(SOCKS, "socks5://192.0.2.1:80") == 100
    assert await store.adopt() == 0
    assert await store.claim(BATCH, HOUR) == []
    seen = await store.http.version()
    assert await store.add(own, operator=True) == Added()
    assert await store.http.version() == seen
    assert await store.remove(["192.0.2.1:80"]) == 1


async def test_whether_a_proxy_is_checked_follows_the_settings(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    never = candidates("192.0.2.1:80", own=True, never_check=True)
    checked = candidates("192.0.2.1:80", own=True)
    await store.add(checked, operator=True)
    await check_all(store, Kind.TIMEOUT)
    await store.add(never, operator=True)
    assert await any_redis.zscore(KEY, "192.0.2.1:80") == 100
    assert await store.claim(BATCH, HOUR) == []
    assert await store.http.records(["192.0.2.1:80"]) == [Record(own=True, never_check=True)]
    await any_redis.zadd(KEY, {"192.0.2.1:80": 99})  # what traffic cost it
    await store.add(never, operator=True)
    assert await any_redis.zscore(KEY, "192.0.2.1:80") == 100
    await store.add(candidates("192.0.2.1:80"))
    assert await store.claim(BATCH, HOUR) == []
    await store.add(checked, operator=True)
    [check] = await store.claim(BATCH, HOUR)
    assert check.record == Record(own=True)


async def test_what_a_list_brought_first_becomes_the_operators_and_keeps_what_it_proved(
    any_redis: Redis,
) -> None:
    store = Store(any_redis, POOL)
    [member] = names = ["192.0.2.1:80"]
    await store.add(candidates(member, source="list", country="FR", added=7.0))
    await check_all(store, Kind.TIMEOUT)
    [late] = await store.claim(1, HOUR)
    before, [old] = await store.http.version(), await store.http.records(names)
    own = candidates(member, source="settings", own=True, country="DE", added=9.0)
    assert await store.add(own, operator=True) == Added()
    expected = msgspec.structs.replace(old, source="settings", own=True, country="DE")
    assert (old.failures, old.added) == (1, 7.0)
    assert await store.http.records(names) == [expected]
    assert await any_redis.zscore(KEY, member) == 9
    [seen] = (await store.http.changes(before.n)).members
    assert seen.record == expected
    assert await store.settle(ended([late], Kind.PASSED)) == Settled(void=1)
    assert [check.record for check in await store.claim(1, HOUR)] == [expected]
    before = await store.http.version()
    for known in (own, candidates(member, source="another list", country="US")):
        assert await store.add(known, operator=known is own) == Added()
    assert await store.http.version() == before
    elsewhere = candidates(member, source="settings", own=True)
    await store.add(elsewhere, operator=True)
    assert (await store.http.records(names))[0].country is None


@pytest.mark.parametrize("gone", [0, 1, BATCH, BATCH + 1])
async def test_what_others_removed_of_those_never_due_is_forgotten(
    any_redis: Redis, gone: int
) -> None:
    store = Store(any_redis, POOL)
    members = many(BATCH + 1)
    await store.add(candidates(*members, own=True, never_check=True), operator=True)
    await store.add(candidates("192.0.2.1:1"))
    if gone:
        await any_redis.zrem(KEY, *members[:gone])
    before = await store.http.version()
    assert await store.clean() == gone
    assert await store.clean() == 0
    left = BATCH + 2 - gone
    assert await any_redis.zcard(KEY) == await any_redis.zcard(side("due")) == left
    assert await any_redis.hlen(side("records")) == left
    assert (await store.http.version()).n - before.n == gone


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\x07"])
async def test_a_record_that_nobody_can_read_does_not_keep_it_from_the_operator(
    any_redis: Redis, raw: bytes
) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates("192.0.2.1:80"))
    await any_redis.hset(side("records"), "192.0.2.1:80", raw)
    await store.add(candidates("192.0.2.1:80", own=True), operator=True)
    assert await store.http.records(["192.0.2.1:80"]) == [Record(own=True)]


async def test_members_are_found_by_their_records(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates(*many(1500)))
    await store.add(candidates("192.0.2.9:1", "socks5://192.0.2.9:1", own=True), operator=True)
    found = await store.find(lambda record: record.own)
    assert found == {"192.0.2.9:1", "socks5://192.0.2.9:1"}


@pytest.mark.parametrize("count", [BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 1])
async def test_any_number_goes_in_and_comes_out_in_calls_of_a_thousand(
    redis: Redis, count: int
) -> None:
    store = Store(redis, POOL)
    assert await store.add(candidates(*many(count))) == Added(new=count)
    seen: list[str] = []
    while checks := await store.claim(10**6, HOUR):
        assert len(checks) <= BATCH
        seen += [check.member for check in checks]
        assert (await store.settle(ended(checks, Kind.TIMEOUT))).kept == len(checks)
    assert sorted(seen) == sorted(many(count))
    assert await store.remove(seen) == count
    assert await redis.zcard(side("tombs")) == count
    assert await redis.exists(KEY, side("due"), side("records")) == 0


async def test_who_is_due_is_counted(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates(*many(3), "socks5://192.0.2.9:1080"))
    assert await store.count_due() == 4
    assert len(await store.claim(2, HOUR)) == 2
    assert await store.count_due() == 2
    own = candidates("192.0.2.8:80", own=True, never_check=True)
    await store.add(own, operator=True)
    assert await store.count_due() == 2


# -- what others write -----------------------------------------------------------------------------


async def test_a_proxypool_database_is_taken_over_as_it_is(any_redis: Redis) -> None:
    old = {member: 100 - i % 95 for i, member in enumerate(many(1500))}
    await any_redis.zadd(KEY, old)
    store = Store(any_redis, Pool(check=Times(cycle=20.0)))
    assert await store.claim(BATCH, HOUR) == []
    assert await store.adopt() == 1500
    assert await store.adopt() == 0
    rows: Any = await any_redis.zrange(KEY, 0, -1, withscores=True)
    assert {name.decode(): score for name, score in rows} == old
    seconds, micros = await any_redis.time()
    now = seconds * 1000 + micros // 1000
    rows = await any_redis.zrange(side("due"), 0, -1, withscores=True)
    due = [when for _, when in rows]
    assert len(due) == 1500
    assert now - 5000 <= min(due) < now + 2000
    assert now + 10_000 < max(due) <= now + 20_000


async def test_what_others_add_after_we_removed_it_is_taken_as_their_wish(
    any_redis: Redis,
) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates("192.0.2.1:80"))
    await store.remove(["192.0.2.1:80"])
    await any_redis.zadd(KEY, {"192.0.2.1:80": 10})
    assert await store.adopt() == 1
    assert await any_redis.zcard(side("tombs")) == 0


UNREADABLE = [b"1.2.3.4:80:80", b"", b"\xff\xfe\x00", b"1.2.3.4:99999", "代理:80".encode()]


async def test_members_that_are_no_proxies_lose_their_score_like_any_other(
    any_redis: Redis,
) -> None:
    store = Store(any_redis, POOL)
    await any_redis.zadd(KEY, dict.fromkeys(UNREADABLE, 1))
    await store.adopt()
    await any_redis.zadd(side("due"), dict.fromkeys(UNREADABLE, 0))
    checks = await store.claim(9, HOUR)
    assert [check.proxy for check in checks] == [None] * len(UNREADABLE)
    assert await store.settle(ended(checks, Kind.UNUSABLE)) == Settled(removed=len(UNREADABLE))


async def test_a_url_in_the_first_set_is_settled_there(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await any_redis.zadd(KEY, {"socks5://192.0.2.1:80": 10})
    await store.adopt()
    checks = await store.claim(9, HOUR)
    assert await store.settle(ended(checks, Kind.PASSED)) == Settled(kept=1)
    assert await any_redis.zscore(KEY, "socks5://192.0.2.1:80") == 100
    assert await store.remove(["socks5://192.0.2.1:80"]) == 1


@pytest.mark.parametrize("raw", [b"\xc1", b"[]", msgspec.msgpack.encode({"last": "seen-later"})])
async def test_a_record_that_cannot_be_read_counts_as_unknown(any_redis: Redis, raw: bytes) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates("192.0.2.1:80", source="list"))
    await any_redis.hset(side("records"), "192.0.2.1:80", raw)
    [check] = await store.claim(1, HOUR)
    assert check.record == Record()


# -- sites, and what traffic shows ---------------------------------------------------------------


def consequences(effect: Effect, *members: str, delay: float = 0.0) -> list[Consequence]:
    return [Consequence(parse_proxy(member), effect, delay) for member in members]


async def test_each_site_has_keys_of_its_own(any_redis: Redis) -> None:
    stores = build_stores(
        any_redis, Pool(sites={"zhihu": Site(url=["http://a/"])}), prefix="fetchpool"
    )
    assert list(stores) == ["zhihu", "universal"] or list(stores) == ["universal", "zhihu"]
    await stores["universal"].add(candidates("192.0.2.1:80"))
    await stores["zhihu"].add(candidates("192.0.2.2:80", "socks5://192.0.2.2:80"))
    assert await any_redis.zrange(KEY, 0, -1) == [b"192.0.2.1:80"]
    assert await any_redis.zrange("proxies:zhihu", 0, -1) == [b"192.0.2.2:80"]
    assert await any_redis.zrange("proxies:zhihu:socks", 0, -1) == [b"socks5://192.0.2.2:80"]
    assert await any_redis.exists(side("due", "proxies:zhihu"), side("records", "proxies:zhihu"))


@pytest.mark.parametrize(
    ("score", "effect", "expected", "entered"),
    [
        (10, Effect.LIFT, 100, Entered(lifted=1)),
        (99, Effect.LIFT, 100, Entered(lifted=1)),
        (100, Effect.LIFT, 100, Entered()),
        (150, Effect.LIFT, 150, Entered()),
        (100, Effect.POINT, 99, Entered(lowered=1)),
        (150, Effect.POINT, 99, Entered(lowered=1)),
        (2, Effect.POINT, 1, Entered(lowered=1)),
        (1, Effect.POINT, None, Entered(removed=1)),
        (50, Effect.NONE, 50, Entered()),
    ],
)
async def test_traffic_moves_a_score_by_the_rules_of_checks(
    any_redis: Redis, score: float, effect: Effect, expected: float | None, entered: Entered
) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates("192.0.2.1:80"))
    await any_redis.zadd(KEY, {"192.0.2.1:80": score})
    before = (await store.http.version()).n
    assert await store.enter(consequences(effect, "192.0.2.1:80")) == entered
    assert await any_redis.zscore(KEY, "192.0.2.1:80") == expected
    assert (await store.http.version()).n - before == (entered != Entered())
    if expected is None:
        assert await store.add(candidates("192.0.2.1:80")) == Added(buried=1)


async def test_traffic_revives_nobody(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    for effect in Effect:
        assert await store.enter(consequences(effect, "192.0.2.1:80", delay=9.0)) == Entered()
    assert await any_redis.keys("proxies*") == []
    assert not await any_redis.exists(side("due"))


async def test_traffic_costs_one_point_a_cycle_however_many_report_it(any_redis: Redis) -> None:
    pool = Pool(check=Times(cycle=2.0))
    store, other = Store(any_redis, pool), Store(any_redis, pool)
    await store.add(candidates("192.0.2.1:80", "socks5://192.0.2.1:80"))
    both = consequences(Effect.POINT, "192.0.2.1:80", "socks5://192.0.2.1:80")
    entered = await asyncio.gather(*(one.enter([*both, *both]) for one in [store, other] * 10))
    assert sum(one.lowered for one in entered) == 2
    assert await any_redis.zscore(KEY, "192.0.2.1:80") == 9

    lowered = 0

    async def again() -> bool:
        nonlocal lowered  # their cycles may end some milliseconds apart
        lowered += (await store.enter(both)).lowered
        return lowered == 2

    await wait_until(again)
    assert await any_redis.zscore(SOCKS, "socks5://192.0.2.1:80") == 8


async def test_what_it_remembers_of_charges_is_forgotten(any_redis: Redis) -> None:
    store = Store(any_redis, Pool(check=Times(cycle=0.05)))
    await store.add(candidates("192.0.2.1:80"))
    await store.enter(consequences(Effect.POINT, "192.0.2.1:80"))

    async def is_gone() -> bool:
        return not await any_redis.exists(side("charged"))

    await wait_until(is_gone)


async def due(redis: Redis, member: str) -> float:
    """Seconds from now until its next check."""
    seconds, micros = await redis.time()
    when = await redis.zscore(side("due"), member)
    assert when is not None
    return float(when) / 1000 - seconds - micros / 1e6


@pytest.mark.parametrize(("before", "after"), [(0.0, 60.0), (30.0, 60.0), (90.0, 90.0)])
async def test_who_was_seen_is_checked_later_but_never_earlier(
    any_redis: Redis, before: float, after: float
) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates("192.0.2.1:80"))
    await store.settle(ended(await store.claim(1, HOUR), Kind.PASSED, delay=before))
    await store.enter(consequences(Effect.NONE, "192.0.2.1:80", delay=60.0))
    assert after - 2 < await due(any_redis, "192.0.2.1:80") <= after


@pytest.mark.parametrize("effect", list(Effect))
async def test_a_check_that_is_under_way_counts_whatever_traffic_says(
    any_redis: Redis, effect: Effect
) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates("192.0.2.1:80"))
    for _ in range(20):  # whatever the milliseconds
        claimed = await store.claim(1, 45.0)
        await store.enter(consequences(effect, "192.0.2.1:80", delay=HOUR))
        assert await store.settle(ended(claimed, Kind.PASSED, delay=0.0)) == Settled(kept=1)
    assert await store.claim(1, 45.0)
    assert await store.claim(1, 45.0) == []


async def test_nobody_loses_a_point_in_an_outage(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates("192.0.2.1:80"))
    assert (await store.http.changes(0)).outage is None
    await store.begin_outage("http://a/", 60.0)
    assert (await store.http.changes(0)).outage == "http://a/"
    assert (await store.http.changes((await store.http.version()).n)).outage == "http://a/"
    assert await store.enter(consequences(Effect.POINT, "192.0.2.1:80")) == Entered()
    await store.end_outage()
    assert (await store.http.changes(0)).outage is None
    assert await store.enter(consequences(Effect.POINT, "192.0.2.1:80")) == Entered(lowered=1)


async def test_an_outage_ends_by_itself_when_nobody_renews_it(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.begin_outage("http://a/", 0.05)

    async def is_over() -> bool:
        return (await store.http.changes(0)).outage is None

    await wait_until(is_over)


async def test_scores_are_told_of_those_that_are_there(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates("192.0.2.1:80"))
    assert await store.http.scores(["192.0.2.9:80", "192.0.2.1:80"]) == [None, 10.0]
    assert await store.http.scores([]) == []


async def test_who_is_removed_without_a_tomb_may_come_back(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates("192.0.2.1:80"))
    assert await store.remove(["192.0.2.1:80"], tombstone=0.0) == 1
    assert await store.add(candidates("192.0.2.1:80")) == Added(new=1)


async def test_who_is_never_checked_loses_nothing_by_traffic_either(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates("192.0.2.1:80", own=True, never_check=True), operator=True)
    for effect in Effect:
        assert await store.enter(consequences(effect, "192.0.2.1:80", delay=9.0)) == Entered()
    assert await any_redis.zscore(KEY, "192.0.2.1:80") == 100
    assert await any_redis.zscore(side("due"), "192.0.2.1:80") == float("inf")


@pytest.mark.parametrize(
    ("members", "removed", "left"),
    [
        (["192.0.2.1:80"], 1, {b"192.0.2.2:80"}),
        (["192.0.2.1:80", "192.0.2.2:80"], 2, set()),
        (["192.0.2.9:80"], 0, {b"192.0.2.1:80", b"192.0.2.2:80"}),
        ([], 0, {b"192.0.2.1:80", b"192.0.2.2:80"}),
    ],
)
async def test_what_leaves_universal_leaves_every_site(
    any_redis: Redis, members: list[str], removed: int, left: set[bytes]
) -> None:
    stores = [Store(any_redis, POOL), Store(any_redis, POOL, key="proxies:shop")]
    for store in stores:
        await store.add(candidates("192.0.2.1:80", "192.0.2.2:80"))
    assert await remove_everywhere(stores, members) == removed
    for key in (KEY, "proxies:shop"):
        assert set(await any_redis.zrange(key, 0, -1)) == left
