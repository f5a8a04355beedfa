import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from fetcher.forward.model import Caller, Steering, session_of
from fetcher.model import Cancellable
from fetcher.proxy import Proxy
from fetcher.session import sessions as module
from fetcher.session.model import NoExit, Session, Sticky
from fetcher.session.sessions import BATCH, KeptSessions
from fetcher.session.store import SessionStore
from fetchpool.farm.kinds import Kind
from fetchpool.redis.connect import connect as connect_redis
from tests.fetcher.forward.tunnelled import TARGET, built, close, connect, farmed, fetch, opened
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.timeout(30), pytest.mark.usefixtures("nothing_breaks_on_the_loop")]

A, B, C = (Proxy("http", f"127.0.0.{n}", 8080) for n in (1, 2, 3))
ONE = Session("session:s::")
STRICT = Session("session:s::", is_strict=True)
TUNNELLER = Caller(steering=Steering(session="s"))


@pytest_asyncio.fixture
async def workers(one_redis: RedisServer, redis: Redis) -> AsyncIterator[list[KeptSessions]]:
    """Of two processes, as far as Redis can tell."""
    clients = [connect_redis(one_redis.url) for _ in range(2)]
    workers = [KeptSessions(SessionStore(client, "p")) for client in clients]
    yield workers
    for worker in workers:
        worker.close()
    for client in clients:
        await client.aclose()


@pytest.fixture
def kept(workers: list[KeptSessions]) -> KeptSessions:
    return workers[0]


def new(proxy: Proxy, moves: int = 0) -> Sticky:
    """Nobody has reached it yet."""
    return Sticky(proxy, moves, is_new=True)


def says(proxy: Proxy | None) -> Callable[[], Proxy | None]:
    return lambda: proxy


async def find(
    worker: KeptSessions, proxy: Proxy | None, session: Session = ONE
) -> Sticky | NoExit:
    told: asyncio.Future[Sticky | NoExit] = asyncio.get_running_loop().create_future()
    worker.find(session, says(proxy), told.set_result)
    assert not told.done()  # later, from the loop
    return await told


async def fail(
    worker: KeptSessions, failed: Proxy, proxy: Proxy | None, session: Session = ONE
) -> Sticky | NoExit:
    told: asyncio.Future[Sticky | NoExit] = asyncio.get_running_loop().create_future()
    worker.fail(session, failed, says(proxy), told.set_result)
    assert not told.done()
    return await told


async def calls(redis: Redis) -> int:
    """Scripts that were run since the server's counters were reset."""
    stats = await redis.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])


async def test_a_session_keeps_its_exit_whichever_worker_is_asked(workers) -> None:
    assert await find(workers[0], A) == new(A)
    assert await find(workers[1], B) == new(A)
    workers[1].confirm(ONE, A)
    await find(workers[1], C)  # behind it
    for worker in workers * 2:
        worker.confirm(ONE, A)
        assert await find(worker, C) == Sticky(A)


async def test_two_who_come_at_once_agree(workers) -> None:
    found = await asyncio.gather(
        *(find(worker, proxy) for proxy in (A, B, C) for worker in workers)
    )
    assert found[0] in (new(A), new(B), new(C))
    assert found == [found[0]] * 6


async def test_a_session_moves_once_however_many_see_its_proxy_die(workers) -> None:
    await find(workers[0], A)
    workers[0].confirm(ONE, A)
    told = await asyncio.gather(*(fail(worker, A, B) for worker in workers * 5))
    assert told.count(Sticky(A)) == 1
    assert told.count(new(B, moves=1)) == 9
    for worker in workers:
        assert await find(worker, C) == new(B, moves=1)


async def test_an_exit_that_is_reached_again_has_not_failed(workers) -> None:
    await find(workers[0], A)
    workers[0].confirm(ONE, A)
    for _ in range(3):
        assert await fail(workers[0], A, B) == Sticky(A)
        assert await find(workers[1], C) == Sticky(A)
        workers[1].confirm(ONE, A)
        await find(workers[1], C)  # behind it


async def test_one_whose_proxy_has_left_the_pool_moves(kept) -> None:
    # The pool gives none where only that one is wished for, so nothing is ever reached.
    await find(kept, A)
    kept.confirm(ONE, A)
    assert await fail(kept, A, B) == Sticky(A)
    assert await fail(kept, A, B) == new(B, moves=1)


async def test_a_strict_session_ends_in_words(kept) -> None:
    await find(kept, A, STRICT)
    kept.confirm(STRICT, A)
    assert await fail(kept, A, B, STRICT) == Sticky(A)
    assert await fail(kept, A, B, STRICT) is NoExit.STRICT
    assert await find(kept, B, STRICT) == Sticky(A)


async def test_where_nobody_is_proposed_there_is_none(kept) -> None:
    assert await find(kept, None) == Sticky(None)
    assert await find(kept, A) == new(A)


async def test_who_has_left_hears_nothing_and_may_leave_twice(kept) -> None:
    told: list[Sticky | NoExit] = []
    asking = kept.find(ONE, says(A), told.append)
    failing = kept.fail(ONE, A, says(B), told.append)
    for one in (asking, failing) * 2:
        one.cancel()
    assert await find(kept, C) == new(C)
    assert told == []


async def test_one_who_leaves_when_the_answer_is_on_its_way_hears_nothing(kept) -> None:
    told: list[str] = []
    later: list[Cancellable] = []

    def first(sticky: Sticky | NoExit) -> None:
        told.append("first")
        later[0].cancel()

    kept.find(ONE, says(A), first)
    later.append(kept.find(ONE, says(A), lambda sticky: told.append("second")))
    await find(kept, A)
    assert told == ["first"]


@pytest.mark.parametrize(
    ("count", "scripts"), [(1, 1), (BATCH - 1, 1), (BATCH, 1), (BATCH + 1, 2), (3 * BATCH, 3)]
)
async def test_all_who_ask_in_one_turn_cost_one_call(kept, redis, count, scripts) -> None:
    await find(kept, A)  # the script is loaded
    await redis.config_resetstat()
    sessions = [Session(f"session:s{n}::") for n in range(count)]
    found = await asyncio.gather(*(find(kept, A, session) for session in sessions))
    assert found == [new(A)] * count
    assert await calls(redis) == scripts


async def test_what_is_certain_is_not_confirmed_again(kept, redis) -> None:
    await find(kept, A)
    kept.confirm(ONE, A)
    await find(kept, A)
    await redis.config_resetstat()
    for _ in range(5):
        assert await find(kept, A) == Sticky(A)
        kept.confirm(ONE, A)
        kept.confirm(ONE, A)
    assert await calls(redis) == 5
    await fail(kept, A, B)
    kept.confirm(ONE, A)
    await find(kept, A)
    assert await calls(redis) == 8


@pytest.mark.parametrize("extra", [-1, 0, 1])
async def test_only_so_many_doubts_are_remembered(kept, redis, monkeypatch, extra) -> None:
    monkeypatch.setattr(module, "DOUBTFUL", 3)
    await find(kept, A)
    for n in range(2 + extra):
        await find(kept, A, Session(f"session:s{n}::"))
    await redis.config_resetstat()
    kept.confirm(ONE, A)  # the oldest
    await find(kept, A)
    assert await calls(redis) == (1 if extra > 0 else 2)


async def test_redis_away_is_said_in_words_and_over_when_it_is_back(tmp_path) -> None:
    with RedisServer.start(tmp_path) as server:
        client = connect_redis(server.url)
        kept = KeptSessions(SessionStore(client, "p"))
        assert await find(kept, A) == new(A)
    kept.confirm(ONE, A)
    for _ in range(2):
        assert await find(kept, A) is NoExit.AWAY
        assert await fail(kept, A, B) is NoExit.AWAY
    with RedisServer.start(tmp_path):
        assert await find(kept, B) == new(B)
    kept.close()
    await client.aclose()


async def test_what_redis_refuses_is_logged_once_without_the_proxy(kept, redis, caplog) -> None:
    secret = Proxy("http", "127.0.0.1", 1, "user", "hunter2")
    await redis.set("{p:sessions}:exit:session:s::", "no hash")
    for _ in range(2):
        assert await find(kept, secret) is NoExit.AWAY
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "sessions are refused: Redis failed: " in record.getMessage()
    assert "hunter2" not in caplog.text


async def test_who_waits_at_the_end_hears_nothing(workers) -> None:
    told: list[Sticky | NoExit] = []
    workers[0].find(ONE, says(A), told.append)
    workers[0].fail(ONE, A, says(A), told.append)
    workers[0].close()
    workers[0].close()
    await find(workers[1], B)
    assert told == []


# -- tunnels of a session ------------------------------------------------------------------------


def tunnelling(kept: KeptSessions, *kinds: Kind) -> Any:
    return farmed(*kinds, sessions=kept, attempt_timeout=0.4, attempt_connect=0.4, retries=5)


@pytest.mark.parametrize(
    "kind",
    [
        Kind.REFUSING,
        Kind.HANGING,
        Kind.BAD_GATEWAY,
        Kind.NO_CONNECT,
        Kind.RESETTING,
        Kind.SILENT,
        Kind.PORTAL,
    ],
)
async def test_a_new_session_takes_an_exit_that_is_of_use(kept, kind: Kind) -> None:
    async with tunnelling(kept, kind, kind, Kind.GOOD) as (farm, pool, door):
        door.caller = TUNNELLER
        for _ in range(2):
            assert b"127.77.0.3" in await fetch(door, farm.ca_file)
        assert await find(kept, None, session_of(TUNNELLER, TARGET)) == Sticky(pool.proxies[2])
        assert [moves for _, moves in door.granted] == [0, 0]


@pytest.mark.parametrize("kind", [Kind.REFUSING, Kind.SILENT, Kind.RESETTING])
async def test_a_session_moves_once_when_its_proxy_dies(workers, kind: Kind) -> None:
    async with (
        tunnelling(workers[0], Kind.GOOD, Kind.GOOD) as (farm, pool, door),
        built(pool, sessions=workers[1], ca_file=farm.ca_file, attempt_timeout=0.4) as means,
        opened(means) as other,
    ):
        for one in (door, other):
            one.caller = TUNNELLER
            for _ in range(5):
                assert b"127.77.0.1" in await fetch(one, farm.ca_file)
        farm.proxies[0].kind = kind
        for one in (door, other):
            for _ in range(5):
                assert b"127.77.0.2" in await fetch(one, farm.ca_file)
        moved = Sticky(pool.proxies[1], moves=1)
        assert await find(workers[0], None, session_of(TUNNELLER, TARGET)) == moved


async def test_what_the_exit_of_a_session_refuses_moves_nothing(kept) -> None:
    async with tunnelling(kept, Kind.GOOD, Kind.GOOD) as (farm, pool, door):
        door.caller = TUNNELLER
        await fetch(door, farm.ca_file)
        farm.proxies[0].kind = Kind.BAD_GATEWAY
        for _ in range(3):
            head, _, writer = await connect(door)
            await close(writer)
            assert head.startswith(b"HTTP/1.1 502")
        assert await find(kept, None, session_of(TUNNELLER, TARGET)) == Sticky(pool.proxies[0])
