import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from redis.asyncio import Redis

from fetcher.connect import connect
from fetcher.proxy import parse_proxy
from pool.model import (
    Added,
    Candidate,
    Check,
    Checked,
    Effect,
    Entered,
    Found,
    Kind,
    Record,
    Settled,
    SourceAccount,
    Validators,
)
from pool.score import next_record, next_score
from pool.settings import Check as Times
from pool.settings import Pool, Score, Site
from pool.store import BATCH, Judging, Member, Sources, Store, StoreAway, build_stores
from tests.redis_server import RedisServer
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)

KEY = "proxies:universal"
SOCKS = f"{KEY}:socks"
POOL = Pool()
HOUR = 3600.0


def candidates(*members: str, **known: Any) -> list[Candidate]:
    return [Candidate(parse_proxy(member), Record(**known)) for member in members]


def many(count: int, first: int = 0) -> list[str]:
    return [f"192.0.{i // 250}.{i % 250}:8080" for i in range(first, first + count)]


def verdicts(checks: Sequence[Check], kind: Kind, delay: float = HOUR) -> list[Checked]:
    return [
        Checked(check, kind, next_record(check.record, kind, now=1.0, seconds=0.5), delay)
        for check in checks
    ]


def side(name: str, key: str = KEY) -> str:
    return f"fetchpool:{{{key}}}:{name}"


async def check_all(store: Store, kind: Kind, delay: float = 0.0) -> Settled:
    return await store.settle(verdicts(await store.claim(BATCH, HOUR), kind, delay))


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
    await store.settle(verdicts(await store.claim(3, HOUR), Kind.TIMEOUT))
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
    await store.settle(verdicts(await store.claim(2, HOUR), Kind.TIMEOUT))
    await store.settle(verdicts(await store.claim(2, HOUR), Kind.TIMEOUT))
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
        assert (await store.settle(verdicts(checks, Kind.TIMEOUT))).kept == len(checks)
    assert sorted(seen) == sorted(many(count))
    assert await store.remove(seen) == count
    assert await redis.zcard(side("tombs")) == count
    assert await redis.exists(KEY, side("due"), side("records")) == 0


# -- claiming ------------------------------------------------------------------------------------


async def test_two_checkers_never_get_the_same_member(any_redis: Redis) -> None:
    one, two = Store(any_redis, POOL), Store(any_redis, POOL)
    await one.add(candidates(*many(300), *(f"socks5://{member}" for member in many(100))))
    seen: list[str] = []

    async def claim(store: Store) -> None:
        while checks := await store.claim(17, HOUR):
            seen.extend(check.member for check in checks)

    await asyncio.gather(claim(one), claim(two), claim(one), claim(two))
    assert len(seen) == len(set(seen)) == 400


@pytest.mark.parametrize(("plain", "socks", "n"), [(50, 50, 20), (3, 50, 20), (50, 3, 20)])
async def test_neither_set_starves_the_other(
    any_redis: Redis, plain: int, socks: int, n: int
) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates(*many(plain), *(f"socks5://{member}" for member in many(socks))))
    for _ in range(2):
        checks = await store.claim(n, 0.0)
        assert len(checks) == n
        keys = [check.key for check in checks]
        assert keys.count(KEY) >= min(plain, n // 2)
        assert keys.count(SOCKS) >= min(socks, n // 2)


async def test_no_room_means_no_claim(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates(*many(3)))
    assert await store.claim(0, HOUR) == await store.claim(-1, HOUR) == []


async def test_the_oldest_due_come_first(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates(*many(3)))
    await any_redis.zadd(side("due"), {many(3)[2]: 5, many(3)[0]: 7, many(3)[1]: 6})
    checks = await store.claim(3, HOUR)
    assert [check.member for check in checks] == [many(3)[2], many(3)[1], many(3)[0]]


async def test_what_a_dead_checker_claimed_comes_back(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates("192.0.2.1:80"))
    [lost] = await store.claim(5, 0.05)
    assert await store.claim(5, HOUR) == []
    [again] = await wait_until(lambda: store.claim(5, HOUR))
    assert again.member == lost.member
    assert again.claim > lost.claim


async def test_a_checker_that_came_too_late_counts_for_nothing(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates("192.0.2.1:80"))
    late = await store.claim(1, 0.0)
    [again] = await wait_until(lambda: store.claim(1, HOUR))
    assert await store.settle(verdicts(late, Kind.PASSED)) == Settled(void=1)
    assert await any_redis.zscore(KEY, again.member) == 10
    assert await store.settle(verdicts([again], Kind.TIMEOUT)) == Settled(kept=1)
    assert await any_redis.zscore(KEY, again.member) == 9


async def test_claims_given_back_are_due_at_once_but_only_our_own(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates(*many(2), "socks4://192.0.2.1:80"))
    claimed = await store.claim(3, HOUR)
    forged = [replace(check, claim=check.claim + 1) for check in claimed]
    assert await store.give_back(forged) == 0
    assert await store.claim(3, HOUR) == []
    assert await store.give_back(claimed) == 3
    assert len(await store.claim(3, HOUR)) == 3


# -- settling ------------------------------------------------------------------------------------


async def test_verdicts_set_score_record_and_due_time(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates(*many(3)))
    passed, failed, ours = await store.claim(3, HOUR)
    batch = [
        *verdicts([passed], Kind.PASSED, delay=0.0),
        *verdicts([failed], Kind.REFUSED, delay=0.0),
        *verdicts([ours], Kind.OURS, delay=0.0),
    ]
    assert await store.settle(batch) == Settled(kept=3)
    scores = [await any_redis.zscore(KEY, one.member) for one in (passed, failed, ours)]
    assert scores == [100, 9, 10]
    records = {check.member: check.record for check in await store.claim(3, HOUR)}
    assert records[passed.member].last is Kind.PASSED
    assert records[failed.member].failed == {"refused": 1}
    assert records[ours.member] == Record()


async def test_a_settled_batch_may_be_sent_again(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates(*many(3)))
    batch = verdicts(await store.claim(3, HOUR), Kind.TIMEOUT, delay=60.0)
    assert await store.settle(batch) == Settled(kept=3)
    assert await store.settle(batch) == Settled(void=3)
    assert await any_redis.zrange(KEY, 0, -1, withscores=True, desc=True) == [
        (member.encode(), 9.0) for member in reversed(many(3))
    ]


async def test_the_tenth_failure_removes_and_leaves_a_tomb(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates("192.0.2.1:80"))
    for score in range(9, 0, -1):
        assert await check_all(store, Kind.TIMEOUT) == Settled(kept=1)
        assert await any_redis.zscore(KEY, "192.0.2.1:80") == score
    assert await check_all(store, Kind.TIMEOUT) == Settled(removed=1)
    assert await any_redis.exists(KEY, side("due"), side("records")) == 0
    assert await store.add(candidates("192.0.2.1:80")) == Added(buried=1)
    assert await any_redis.exists(KEY) == 0


async def test_a_tomb_closes_by_itself(any_redis: Redis) -> None:
    store = Store(any_redis, Pool(tombstone=0.05))
    await store.add(candidates("192.0.2.1:80"))
    assert await store.remove(["192.0.2.1:80", "192.0.2.9:80"]) == 1
    assert await store.add(candidates("192.0.2.1:80")) == Added(buried=1)

    async def add() -> bool:
        return await store.add(candidates("192.0.2.1:80")) == Added(new=1)

    await wait_until(add)


@pytest.mark.parametrize("kind", list(Kind))
async def test_no_verdict_revives_what_was_removed_meanwhile(any_redis: Redis, kind: Kind) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates(*many(2)))
    ours, foreign = await store.claim(2, HOUR)
    await store.remove([ours.member])
    await any_redis.zrem(KEY, foreign.member)  # ProxyPool's own delete
    assert await store.settle(verdicts([ours, foreign], kind)) == Settled(void=2)
    assert await any_redis.exists(KEY) == 0


async def test_what_others_removed_is_forgotten_when_it_is_due(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates(*many(2)))
    await any_redis.zrem(KEY, many(2)[0])
    assert [check.member for check in await store.claim(5, HOUR)] == [many(2)[1]]
    assert await any_redis.zcard(side("due")) == 1
    assert await any_redis.hlen(side("records")) == 1


@pytest.mark.parametrize(
    ("score", "kind", "expected"),
    [
        (57.25, Kind.TIMEOUT, 56.25),
        (0.1 + 0.2 + 10, Kind.TIMEOUT, 0.1 + 0.2 + 9),
        (1.5, Kind.TIMEOUT, 0.5),
        (1.0, Kind.TIMEOUT, None),
        (0.5, Kind.TIMEOUT, None),
        (-3, Kind.TIMEOUT, None),
        (1e300, Kind.TIMEOUT, 99),
        (float("inf"), Kind.TIMEOUT, 99),
        (float("-inf"), Kind.TIMEOUT, None),
        (float("inf"), Kind.PASSED, 100),
        (-3, Kind.PASSED, 100),
    ],
)
async def test_scores_that_others_wrote_are_handled(
    any_redis: Redis, score: float, kind: Kind, expected: float | None
) -> None:
    store = Store(any_redis, POOL)
    await any_redis.zadd(KEY, {"192.0.2.1:80": score})
    await store.adopt()
    await check_all(store, kind)
    left = await any_redis.zscore(KEY, "192.0.2.1:80")
    assert left == (None if expected is None else pytest.approx(expected))


KINDS = st.sampled_from([Kind.PASSED, Kind.TIMEOUT, Kind.GARBAGE, Kind.OURS])
RULES = st.sampled_from([Score(), Score(initial=2, max=3, min=0), Score(initial=5, max=9, min=3)])
STEPS = st.lists(st.one_of(KINDS, st.sampled_from(["add", "remove"])), max_size=30)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rule=RULES, steps=STEPS)
def test_any_sequence_keeps_the_score_in_range_and_what_is_gone_gone(
    one_redis: RedisServer, rule: Score, steps: list[Kind | str]
) -> None:
    """The scripts against the rule itself."""

    async def run() -> None:
        redis = connect(one_redis.url)
        await redis.flushall()
        store = Store(redis, Pool(score=rule))
        score: float | None = None
        buried = False
        for step in steps:
            if step == "add":
                await store.add(candidates("192.0.2.1:80"))
                if score is None and not buried:
                    score = rule.initial
            elif step == "remove":
                await store.remove(["192.0.2.1:80"])
                buried, score = buried or score is not None, None
            elif isinstance(step, Kind):
                await check_all(store, step)
                if score is not None:
                    score = next_score(score, step, rule)
                    buried = score is None
            assert await redis.zscore(KEY, "192.0.2.1:80") == score
            assert score is None or rule.min < score <= rule.max
        await redis.aclose()

    asyncio.run(run())


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
    assert await store.settle(verdicts(checks, Kind.UNUSABLE)) == Settled(removed=len(UNREADABLE))


async def test_a_url_in_the_first_set_is_settled_there(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await any_redis.zadd(KEY, {"socks5://192.0.2.1:80": 10})
    await store.adopt()
    checks = await store.claim(9, HOUR)
    assert await store.settle(verdicts(checks, Kind.PASSED)) == Settled(kept=1)
    assert await any_redis.zscore(KEY, "socks5://192.0.2.1:80") == 100
    assert await store.remove(["socks5://192.0.2.1:80"]) == 1


@pytest.mark.parametrize("raw", [b"\xc1", b"[]", msgspec.msgpack.encode({"last": "seen-later"})])
async def test_a_record_that_cannot_be_read_counts_as_unknown(any_redis: Redis, raw: bytes) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates("192.0.2.1:80", source="list"))
    await any_redis.hset(side("records"), "192.0.2.1:80", raw)
    [check] = await store.claim(1, HOUR)
    assert check.record == Record()


# -- changes and cleaning --------------------------------------------------------------------------


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
    monkeypatch.setattr("pool.store.GRACE", 0.0)
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
    monkeypatch.setattr("pool.store.TOMBS_MAX", most)
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
    monkeypatch.setattr("pool.store.GRACE", 0.0)
    await wait_until(store.clean)
    assert await any_redis.zcard(side("changes")) == 1


# -- sources --------------------------------------------------------------------------------------


async def test_a_source_is_claimed_by_one_until_its_time_is_over(any_redis: Redis) -> None:
    one, two = Sources(any_redis), Sources(any_redis)
    assert await one.claim("list {a}", 0.05)
    assert not await two.claim("list {a}", HOUR)
    assert await two.claim("another", HOUR)
    assert await wait_until(lambda: two.claim("list {a}", HOUR))
    await two.give_back("list {a}")
    assert await one.claim("list {a}", HOUR)


async def test_a_pause_binds_one_version_of_a_declaration(any_redis: Redis) -> None:
    one, two = Sources(any_redis), Sources(any_redis)
    assert await one.claim("list", HOUR, "old")
    assert not await two.claim("list", HOUR, "new")
    await one.pause("list", 2 * HOUR, "old")
    assert HOUR < await any_redis.ttl("fetchpool:source:list") <= 2 * HOUR
    assert not await one.claim("list", HOUR, "old")
    assert await two.claim("list", HOUR, "new")
    assert await any_redis.ttl("fetchpool:source:list") <= HOUR
    for version in ("old", "new", "third", ""):
        assert not await two.claim("list", HOUR, version)


async def test_of_many_who_see_a_pause_that_binds_none_of_them_one_claims(
    any_redis: Redis,
) -> None:
    several = [Sources(any_redis) for _ in range(20)]
    await several[0].pause("list", HOUR, "old")
    claims = await asyncio.gather(*(one.claim("list", HOUR, "new") for one in several))
    assert sum(claims) == 1


async def test_validators_are_remembered_for_a_while(any_redis: Redis) -> None:
    sources = Sources(any_redis)
    assert await sources.validators("list") == {}
    pages = {"1": Validators(etag='"a"', found=3, read=1.5), "2": Validators(last_modified="x")}
    await sources.remember("list", pages, HOUR)
    assert await sources.validators("list") == pages
    assert await sources.validators("other") == {}
    assert HOUR - 10 < await any_redis.ttl("fetchpool:validators:list") <= HOUR
    await any_redis.set("fetchpool:validators:list", b"\xc1")
    assert await sources.validators("list") == {}
    await sources.remember("list", pages, 0.0)
    assert await wait_until(lambda: _is_gone(any_redis, "fetchpool:validators:list"))
    await sources.remember("list", pages, HOUR)
    await sources.remember("list", {}, HOUR)
    assert await any_redis.exists("fetchpool:validators:list") == 0


async def _is_gone(redis: Redis, key: str) -> bool:
    return not await redis.exists(key)


async def test_accounts_are_kept_and_unknown_ones_are_empty(any_redis: Redis) -> None:
    sources = Sources(any_redis)
    account = SourceAccount(found=7, new=3, last_error="HTTP 404")
    await sources.save("list", account)
    assert await sources.account("list") == account
    assert await sources.account("other") == SourceAccount()
    await any_redis.hset("fetchpool:sources", "broken", b"\xc1")
    assert await sources.accounts() == {"list": account, "broken": SourceAccount()}


async def test_the_judges_secret_is_whose_came_first(any_redis: Redis) -> None:
    one, two = Judging(any_redis), Judging(any_redis)
    assert await one.secret(b"one") == b"one"
    assert await two.secret(b"two") == b"one"
    assert await Judging(any_redis, "other").secret(b"three") == b"three"


async def test_bytes_are_counted_by_day_and_forgotten(any_redis: Redis) -> None:
    one, two = Judging(any_redis), Judging(any_redis)
    assert await one.spend(20_000, 500) == 500
    assert await two.spend(20_000, 70) == 570
    assert await two.spend(20_001, 0) == 0
    assert 86_400 < await any_redis.ttl("fetchpool:check-bytes:20000") <= 172_800


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
            Judging(redis).secret(b"x"),
            Judging(redis).spend(1, 1),
        ):
            with pytest.raises(StoreAway, match="Redis failed"):
                await call
        await redis.aclose()


# -- sites, and what traffic shows ---------------------------------------------------------------


def findings(effect: Effect, *members: str, delay: float = 0.0) -> list[Found]:
    return [Found(parse_proxy(member), effect, delay) for member in members]


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
    assert await store.enter(findings(effect, "192.0.2.1:80")) == entered
    assert await any_redis.zscore(KEY, "192.0.2.1:80") == expected
    assert (await store.http.version()).n - before == (entered != Entered())
    if expected is None:
        assert await store.add(candidates("192.0.2.1:80")) == Added(buried=1)


async def test_traffic_revives_nobody(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    for effect in Effect:
        assert await store.enter(findings(effect, "192.0.2.1:80", delay=9.0)) == Entered()
    assert await any_redis.keys("proxies*") == []
    assert not await any_redis.exists(side("due"))


async def test_traffic_costs_one_point_a_cycle_however_many_report_it(any_redis: Redis) -> None:
    pool = Pool(check=Times(cycle=2.0))
    store, other = Store(any_redis, pool), Store(any_redis, pool)
    await store.add(candidates("192.0.2.1:80", "socks5://192.0.2.1:80"))
    both = findings(Effect.POINT, "192.0.2.1:80", "socks5://192.0.2.1:80")
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
    await store.enter(findings(Effect.POINT, "192.0.2.1:80"))

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
    await store.settle(verdicts(await store.claim(1, HOUR), Kind.PASSED, delay=before))
    await store.enter(findings(Effect.NONE, "192.0.2.1:80", delay=60.0))
    assert after - 2 < await due(any_redis, "192.0.2.1:80") <= after


@pytest.mark.parametrize("effect", list(Effect))
async def test_a_check_that_is_under_way_counts_whatever_traffic_says(
    any_redis: Redis, effect: Effect
) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates("192.0.2.1:80"))
    for _ in range(20):  # whatever the milliseconds
        claimed = await store.claim(1, 45.0)
        await store.enter(findings(effect, "192.0.2.1:80", delay=HOUR))
        assert await store.settle(verdicts(claimed, Kind.PASSED, delay=0.0)) == Settled(kept=1)
    assert await store.claim(1, 45.0)
    assert await store.claim(1, 45.0) == []


async def test_nobody_loses_a_point_while_the_set_is_frozen(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates("192.0.2.1:80"))
    assert (await store.http.changes(0)).frozen is None
    await store.freeze("http://a/", 60.0)
    assert (await store.http.changes(0)).frozen == "http://a/"
    assert (await store.http.changes((await store.http.version()).n)).frozen == "http://a/"
    assert await store.enter(findings(Effect.POINT, "192.0.2.1:80")) == Entered()
    await store.thaw()
    assert (await store.http.changes(0)).frozen is None
    assert await store.enter(findings(Effect.POINT, "192.0.2.1:80")) == Entered(lowered=1)


async def test_a_freeze_ends_by_itself_when_nobody_renews_it(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.freeze("http://a/", 0.05)

    async def is_over() -> bool:
        return (await store.http.changes(0)).frozen is None

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
        assert await store.enter(findings(effect, "192.0.2.1:80", delay=9.0)) == Entered()
    assert await any_redis.zscore(KEY, "192.0.2.1:80") == 100
    assert await any_redis.zscore(side("due"), "192.0.2.1:80") == float("inf")
