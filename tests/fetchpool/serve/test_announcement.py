import asyncio

from fetchpool.redis.connect import connect
from fetchpool.serve.announcement import build_announcement, say_status
from fetchpool.serve.roles import ALL, Roles
from pool.settings import Score
from pool.snapshot.follower import Follower
from pool.snapshot.snapshot import Snapshot
from pool.store import Store
from tests.fetchpool.given import settings
from tests.wait import wait_until


def test_a_start_says_what_it_serves_and_no_secret() -> None:
    urls = {"api": "http://a:1", "fetcher.rpc": "http://b:2"}
    lines = build_announcement(settings(), ALL, urls, "redis://:secret@h:1/0")
    assert [line.split("  ")[0] for line in lines] == [
        "HTTP API",
        "XML-RPC",
        "Redis queue",
        "Proxy pool",
    ]
    assert "http://a:1/  (" in lines[0]
    assert lines[1].endswith(" http://b:2/")
    assert "secret" not in "".join(lines)


def test_what_is_switched_off_is_not_announced() -> None:
    lines = build_announcement(settings(queue__enabled=False), Roles(queue=True), {}, "unused")
    assert lines == []


async def test_a_pool_says_how_it_is_once_it_has_been_read() -> None:
    given = settings().pool
    redis, snapshot = connect("redis://127.0.0.1:1/0"), Snapshot(Score())
    follower = Follower(Store(redis, given), snapshot, given.resync)
    said: list[str] = []
    saying = asyncio.create_task(say_status(follower, snapshot, said.append))
    await asyncio.sleep(0)
    assert said == []
    follower.ready.set()
    await wait_until(lambda: said)
    assert said == [str(snapshot.status())]
    saying.cancel()
    await asyncio.wait([saying])
    await redis.aclose()
