import asyncio
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from redis.asyncio import Redis

from fetchpool.redis.connect import connect
from pool.model import Added, Checked, Kind, Record, Settled
from pool.score import next_score
from pool.settings import Pool, Score
from pool.store import Store
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
from tests.redis_server import RedisServer
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)

ONE: Final = "192.0.2.1:80"
LONG: Final = "a-source-with-a-name-of-more-than-31-letters"  # which is packed in another way


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
    assert await store.settle(ended(late, Kind.PASSED)) == Settled(void=1)
    assert await any_redis.zscore(KEY, again.member) == 10
    assert await store.settle(ended([again], Kind.TIMEOUT)) == Settled(kept=1)
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
        *ended([passed], Kind.PASSED, delay=0.0),
        *ended([failed], Kind.REFUSED, delay=0.0),
        *ended([ours], Kind.OURS, delay=0.0),
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
    batch = ended(await store.claim(3, HOUR), Kind.TIMEOUT, delay=60.0)
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
    assert await store.settle(ended([ours, foreign], kind)) == Settled(void=2)
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
SCALES = st.sampled_from([Score(), Score(initial=2, max=3, min=0), Score(initial=5, max=9, min=3)])
STEPS = st.lists(st.one_of(KINDS, st.sampled_from(["add", "remove"])), max_size=30)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(scale=SCALES, steps=STEPS)
def test_any_sequence_keeps_the_score_in_range_and_what_is_gone_gone(
    one_redis: RedisServer, scale: Score, steps: list[Kind | str]
) -> None:
    """The scripts against the rule itself."""

    async def run() -> None:
        redis = connect(one_redis.url)
        await redis.flushall()
        store = Store(redis, Pool(score=scale))
        score: float | None = None
        buried = False
        for step in steps:
            if step == "add":
                await store.add(candidates("192.0.2.1:80"))
                if score is None and not buried:
                    score = scale.initial
            elif step == "remove":
                await store.remove(["192.0.2.1:80"])
                buried, score = buried or score is not None, None
            elif isinstance(step, Kind):
                await check_all(store, step)
                if score is not None:
                    score = next_score(score, step, scale)
                    buried = score is None
            assert await redis.zscore(KEY, "192.0.2.1:80") == score
            assert score is None or scale.min < score <= scale.max
        await redis.aclose()

    asyncio.run(run())


# -- what several sources have ---------------------------------------------------------------------


async def record_of(store: Store, member: str = ONE) -> Record:
    [record] = await store.http.records([member])
    return record


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("first", "second", True),
        ("first", "firs", True),
        ("firs", "first", True),
        ("first", LONG, True),
        ("first", "first", False),
        (LONG, LONG, False),
        (LONG, "first", True),
        ("", "second", False),  # nobody knows which source had it
        ("first", "", False),  # what is led back into the pool comes from no source
    ],
)
async def test_who_comes_from_two_sources_is_shared(
    any_redis: Redis, first: str, second: str, shared: bool
) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates(ONE, source=first, country="DE"))
    assert await store.add(candidates(ONE, source=second)) == Added()
    assert await record_of(store) == Record(source=first, country="DE", shared=shared)


async def test_who_is_given_by_a_caller_or_the_operator_is_not_shared(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates(ONE, source="list"))
    await store.add(candidates(ONE, source="cli"), caller=True)
    assert not (await record_of(store)).shared
    own = candidates(ONE, source="settings", own=True)
    await store.add(own, operator=True)
    await store.add(candidates(ONE, source="list"))
    assert [await record_of(store)] == [one.record for one in own]


async def test_the_mark_is_written_once_and_followed(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates(ONE, source="first"))
    seen = await store.http.changes(0)
    for source in ("first", "second", "first", "second", "third"):
        await store.add(candidates(ONE, source=source))
    changes = await store.http.changes(seen.last)
    assert changes.newest.n == seen.newest.n + 1
    [member] = changes.members
    assert (member.score, member.record) == (10, Record(source="first", shared=True))


@pytest.mark.parametrize("kind", [Kind.PASSED, Kind.REFUSED, Kind.OURS])
async def test_a_check_that_was_under_way_keeps_the_mark(any_redis: Redis, kind: Kind) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates(ONE, source="first", country="DE"))
    for _ in range(2):  # the second one knows of it
        checks = await store.claim(1, HOUR)
        await store.add(candidates(ONE, source="second"))
        assert await store.settle(ended(checks, kind, 0.0)) == Settled(kept=1)
        known = await record_of(store)
        assert (known.shared, known.source, known.country) == (True, "first", "DE")
    assert known.last is (None if kind is Kind.OURS else kind)
    assert known.failed == ({"refused": 2} if kind is Kind.REFUSED else {})


async def test_all_that_is_known_of_a_proxy_survives_the_mark(any_redis: Redis) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates(ONE, source="first"))
    known = Record(
        source="first",
        region="浙江",
        added=1_796_040_000.25,
        checked=1_796_040_001.0,
        latency=0.1 + 0.2,
        connect_time=0.0,
        last=Kind.PASSED,
        failures=3,
        failed={"refused": 3},
        proven=1_796_040_001.0,
        connect=True,
        tls=False,
        anonymity="elite",
        exit="2001:db8::1",
    )
    checks = await store.claim(1, HOUR)
    await store.settle([Checked(check, Kind.PASSED, known, 0.0) for check in checks])
    await store.add(candidates(ONE, source="second"))
    assert await record_of(store) == replace(known, shared=True)


async def test_who_leaves_and_comes_back_begins_unshared(any_redis: Redis) -> None:
    store = Store(any_redis, Pool(tombstone=0.0))
    await store.add(candidates(ONE, source="first"))
    await store.add(candidates(ONE, source="second"))
    await store.remove([ONE])
    await store.add(candidates(ONE, source="second"))
    assert await record_of(store) == Record(source="second")


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\x01"])
async def test_a_record_that_cannot_be_read_is_left_alone(any_redis: Redis, raw: bytes) -> None:
    store = Store(any_redis, POOL)
    await store.add(candidates(ONE))
    await any_redis.hset(side("records"), ONE, raw)
    assert await store.add(candidates(ONE, source="second")) == Added()
    assert await any_redis.hget(side("records"), ONE) == raw
