import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from fetcher.errors import RedisAway
from fetcher.forward.store import roster as module
from fetcher.forward.store.roster import PATIENCE, Roster
from fetcher.forward.tunnels import Tunnels
from fetcher.redis.duties import end_all
from fetchpool.redis.connect import connect
from tests.fetcher.forward.opened import Opened
from tests.redis_server import RedisServer
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(30)

NOW = 100.0


class Worker:
    def __init__(self, redis: Redis, listener: Redis, prefix: str = "p") -> None:
        self.tunnels = Tunnels(clock=lambda: NOW)
        self.roster = Roster(redis, listener, prefix, self.tunnels)


@contextlib.asynccontextmanager
async def working(
    server: RedisServer, count: int, prefix: str = "p"
) -> AsyncIterator[list[Worker]]:
    """So many workers that listen, each with clients of its own."""
    async with contextlib.AsyncExitStack() as stack:
        workers, duties = [], []
        for _ in range(count):
            redis, listener = connect(server.url), connect(server.url, blocking=True)
            stack.push_async_callback(redis.aclose)
            stack.push_async_callback(listener.aclose)
            workers.append(Worker(redis, listener, prefix))
            duties.append(asyncio.create_task(workers[-1].roster.run()))
        stack.push_async_callback(end_all, duties)
        for worker in workers:
            await wait_until(worker.roster._listens.is_set)
        yield workers


async def test_whoever_is_asked_lists_those_of_all(every_redis: RedisServer) -> None:
    async with working(every_redis, 3) as workers:
        for age, worker in zip((3, 1, 2), workers, strict=True):
            Opened(began=NOW - age).enter(worker.tunnels)
        for worker in workers:
            found = await worker.roster.find(10)
            assert (found.total, found.silent) == (3, 0)
            assert [one.age for one in found.tunnels] == [3, 2, 1]
            first, third, second = (one.worker for one in found.tunnels)
            assert [first, second, third] == [one.tunnels.worker for one in workers]
            assert [one.age for one in (await worker.roster.find(2)).tunnels] == [3, 2]


async def test_one_alone_waits_for_nobody(one_redis: RedisServer) -> None:
    async with working(one_redis, 1) as [worker], working(one_redis, 1, "other"):
        Opened().enter(worker.tunnels)
        began = time.monotonic()
        found = await worker.roster.find(10)
        assert time.monotonic() - began < PATIENCE / 2
        assert (found.total, found.silent) == (1, 0)


async def test_a_tunnel_is_closed_by_whoever_has_it(every_redis: RedisServer) -> None:
    async with working(every_redis, 2) as [one, other]:
        theirs, ours = Opened().enter(other.tunnels), Opened().enter(one.tunnels)
        for name in [shown.id for shown in (await one.roster.find(10)).tunnels]:
            assert await one.roster.close(name) is True
            assert await one.roster.close(name) is False
        assert (theirs.closed, ours.closed) == (1, 1)
        assert await one.roster.close("00000000-0000000000000000") is False
        assert await one.roster.close("") is False
        assert await one.roster.close("*") is False


async def test_a_worker_that_hangs_holds_nobody_up(one_redis: RedisServer) -> None:
    async with working(one_redis, 2) as [one, other]:
        Opened().enter(one.tunnels)
        Opened().enter(other.tunnels)
        name = other.tunnels.find(1).tunnels[0].id

        async def hang(packed: bytes) -> None:
            await asyncio.Event().wait()

        other.roster._hear = hang  # type: ignore[method-assign]
        began = time.monotonic()
        found = await one.roster.find(10)
        assert (found.total, found.silent, len(found.tunnels)) == (1, 1, 1)
        assert await one.roster.close(name) is None
        assert time.monotonic() - began < 2 * (PATIENCE + 0.1)
        assert one.roster._asked == {}


async def test_strange_messages_are_passed_over(one_redis: RedisServer) -> None:
    async with working(one_redis, 2) as [one, other]:
        client = connect(one_redis.url)
        for message in (b"", b"\xc1", b"\x80", b"garbage"):
            await client.publish(one.roster._all, message)
            await client.publish(one.roster._own, message)
        await client.aclose()
        Opened().enter(other.tunnels)
        assert (await one.roster.find(10)).total == 1


async def test_redis_away_is_said_in_time(one_redis: RedisServer) -> None:
    away = connect("redis://127.0.0.1:1")
    worker = Worker(away, away)
    began = time.monotonic()
    with pytest.raises(RedisAway):
        await worker.roster.find(10)
    with pytest.raises(RedisAway):
        await worker.roster.close("00000000-0000000000000000")
    assert time.monotonic() - began < 1.2
    assert worker.roster._asked == {}
    await away.aclose()


async def test_it_listens_again_when_its_connection_was_lost(
    one_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY", 0.05)
    async with working(one_redis, 2) as [one, other]:
        Opened().enter(other.tunnels)
        client = connect(one_redis.url)
        await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await client.aclose()

        async def is_whole() -> bool:
            found = await one.roster.find(10)
            return found.total == 1 and not found.silent

        await wait_until(is_whole)
