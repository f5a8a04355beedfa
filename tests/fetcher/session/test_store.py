import pytest
from redis.asyncio import Redis

from fetcher.errors import RedisAway
from fetcher.proxy import Proxy, parse_proxy
from fetcher.session.store import Failing, Finding, Kept, SessionStore
from fetchpool.redis.connect import connect
from tests.redis_server import RedisServer

pytestmark = pytest.mark.timeout(30)

A, B, C = (Proxy("http", f"127.0.0.{n}", 8080) for n in (1, 2, 3))
BASE = "{p:sessions}:exit:"
INDEX = "{p:sessions}:exits"


@pytest.fixture
def store(any_redis: Redis) -> SessionStore:
    return SessionStore(any_redis, "p")


def new(proxy: Proxy, moves: int = 0) -> Kept:
    """Nobody has reached it yet."""
    return Kept(proxy, moves, is_new=True)


async def find(store: SessionStore, proposed: Proxy | None, record: str = "r") -> Kept:
    [kept] = await store.find([Finding(record, proposed)])
    return kept


async def fail(
    store: SessionStore, failed: Proxy, proposed: Proxy | None, *, is_strict: bool = False
) -> Kept:
    [kept] = await store.fail([Failing("r", failed, proposed, is_strict=is_strict)])
    return kept


async def has(store: SessionStore, proxy: Proxy) -> None:
    """The record has this exit, which works."""
    await find(store, proxy)
    await store.confirm({"r": proxy})


async def test_who_is_proposed_first_is_the_exit(store: SessionStore) -> None:
    assert await find(store, None) == Kept(None)
    assert await find(store, A) == new(A)
    assert await find(store, B) == new(A)
    assert await find(store, None) == new(A)


@pytest.mark.parametrize(
    "text", ["socks5://us%3Aer:p%40ss@[::1]:1080", "us%3Aer:p%40ss@h.test:8080", "https://h:443"]
)
async def test_an_exit_is_kept_as_it_is(store: SessionStore, text: str) -> None:
    proxy = parse_proxy(text)
    assert await find(store, proxy) == new(proxy)
    await store.confirm({"r": proxy})
    assert await find(store, A) == Kept(proxy, is_certain=True)


async def test_many_are_asked_in_one_call(store: SessionStore) -> None:
    asked = [Finding("r", A), Finding("q", None), Finding("r", B), Finding("s", C)]
    assert await store.find(asked) == [new(A), Kept(None), new(A), new(C)]
    failed = [Failing("r", A, B), Failing("r", A, C), Failing("s", C, None)]
    assert await store.fail(failed) == [new(B), new(B), Kept(None)]
    assert await store.find([]) == []


async def test_who_was_reached_is_certain_if_he_still_is_the_exit(store: SessionStore) -> None:
    await find(store, A)
    await store.confirm({"r": B, "nobody": A})
    assert await find(store, None) == new(A)
    await store.confirm({"r": A})
    assert await find(store, None) == Kept(A, is_certain=True)


async def test_an_exit_moves_when_it_was_not_reached_twice(store: SessionStore) -> None:
    await has(store, A)
    assert await fail(store, A, B) == Kept(A)
    assert await find(store, None) == Kept(A)
    assert await fail(store, A, B) == new(B, moves=1)
    assert await find(store, None) == new(B, moves=1)


async def test_only_failures_in_a_row_count(store: SessionStore) -> None:
    await has(store, A)
    for _ in range(3):
        assert await fail(store, A, B) == Kept(A)
        await store.confirm({"r": A})


async def test_one_who_comes_late_is_told_the_new_exit(store: SessionStore) -> None:
    await has(store, A)
    await fail(store, A, B)
    await fail(store, A, B)
    assert await fail(store, A, C) == new(B, moves=1)
    await store.confirm({"r": A})
    assert await find(store, None) == new(B, moves=1)
    await store.confirm({"r": B})
    assert await fail(store, A, C) == Kept(B, moves=1, is_certain=True)


async def test_an_exit_that_never_worked_is_replaced_at_once_and_uncounted(
    store: SessionStore,
) -> None:
    await find(store, A)
    assert await fail(store, A, B) == new(B)
    assert await fail(store, B, C) == new(C)
    await store.confirm({"r": C})
    await fail(store, C, A)
    assert await fail(store, C, A) == new(A, moves=1)
    assert await fail(store, A, B) == new(B, moves=1)


@pytest.mark.parametrize("proposed", [None, A])
async def test_where_there_is_no_other_there_is_none(
    store: SessionStore, proposed: Proxy | None
) -> None:
    await find(store, A)
    assert await fail(store, A, proposed) == Kept(None)
    await store.confirm({"r": A})
    assert await fail(store, A, proposed) == Kept(A)
    assert await fail(store, A, proposed) == Kept(None)
    assert await find(store, B) == Kept(A)
    assert await fail(store, A, B) == new(B, moves=1)


async def test_a_strict_session_has_no_other_exit(store: SessionStore) -> None:
    await find(store, A)
    assert await fail(store, A, B, is_strict=True) == new(B)  # A had been nobody's
    await store.confirm({"r": B})
    assert await fail(store, B, C, is_strict=True) == Kept(B)
    for _ in range(2):
        assert await fail(store, B, C, is_strict=True) == Kept(None, is_over=True)
    assert await find(store, C) == Kept(B)
    await store.confirm({"r": B})
    assert await fail(store, B, C, is_strict=True) == Kept(B)


async def test_a_session_that_has_ended_meanwhile_begins_anew(
    store: SessionStore, any_redis: Redis
) -> None:
    await has(store, A)
    await any_redis.delete(BASE + "r")
    assert await fail(store, A, None) == Kept(None)
    assert await fail(store, A, B) == new(B)
    assert await find(store, None) == new(B)


# -- how long ------------------------------------------------------------------------------------


async def left(redis: Redis, key: str) -> float:
    return float(await redis.pttl(key)) / 1000


async def test_all_keys_lie_in_one_slot_of_a_cluster_and_leave_by_themselves(
    store: SessionStore, any_redis: Redis
) -> None:
    await has(store, A)
    await store.find([Finding("week", B, lifetime=604_800.0)])
    assert sorted(await any_redis.keys()) == sorted(
        [INDEX.encode(), BASE.encode() + b"r", BASE.encode() + b"week"]
    )
    for key, seconds in ((BASE + "r", 600), (BASE + "week", 604_800), (INDEX, 604_800)):
        assert seconds - 5 < await left(any_redis, key) <= seconds


async def test_a_use_puts_the_end_off_but_not_that_of_a_lifetime(any_redis: Redis) -> None:
    store = SessionStore(any_redis, "p", touch=0)
    await store.find([Finding("idle", A), Finding("lasts", A, lifetime=60)])
    for key in (BASE + "idle", BASE + "lasts", INDEX):
        await any_redis.expire(key, 10)
    await store.find([Finding("idle", A), Finding("lasts", A, lifetime=60)])
    assert await left(any_redis, BASE + "idle") > 590
    assert await left(any_redis, BASE + "lasts") <= 10
    assert await left(any_redis, INDEX) > 590


async def test_a_move_puts_off_no_end(store: SessionStore, any_redis: Redis) -> None:
    await has(store, A)
    await any_redis.expire(BASE + "r", 10)
    for _ in range(3):
        await fail(store, A, B)
    assert await left(any_redis, BASE + "r") <= 10


async def test_a_use_is_not_written_down_each_time(store: SessionStore, any_redis: Redis) -> None:
    await find(store, A)
    await any_redis.expire(BASE + "r", 10)
    await find(store, A)
    assert await left(any_redis, BASE + "r") <= 10
    await any_redis.zincrby(INDEX, -5000, "r")  # five seconds ago
    await find(store, A)
    assert await left(any_redis, BASE + "r") > 590


# -- how many ------------------------------------------------------------------------------------


async def test_beyond_the_most_the_least_recently_used_go(any_redis: Redis) -> None:
    store = SessionStore(any_redis, "p", most=3, touch=0)
    for n, record in enumerate("abc"):
        await find(store, A, record)
        await any_redis.zadd(INDEX, {record: n + 1})
    await find(store, B, "a")
    assert await any_redis.exists(*(BASE + name for name in "abc")) == 3
    await find(store, A, "d")
    assert sorted(await any_redis.keys(BASE + "*")) == [
        BASE.encode() + name for name in (b"a", b"c", b"d")
    ]
    assert await any_redis.zcard(INDEX) == 3


async def test_what_has_ended_leaves_the_index(store: SessionStore, any_redis: Redis) -> None:
    for record in "abcd":
        await find(store, A, record)
    await any_redis.delete(*(BASE + record for record in "abc"))
    await find(store, A, "e")
    await find(store, A, "f")
    assert await any_redis.zrange(INDEX, 0, -1) == [b"d", b"e", b"f"]


async def test_redis_away_has_its_name(tmp_path) -> None:
    with RedisServer.start(tmp_path) as server:
        client = connect(server.url)
    with pytest.raises(RedisAway):
        await find(SessionStore(client, "p"), A)
    await client.aclose()
