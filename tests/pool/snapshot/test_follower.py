import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio
from msgspec.structs import replace
from redis.asyncio import Redis

from fetcher.proxy import parse_proxy
from fetchpool.redis.connect import connect
from pool.model import Candidate, Checked, Entry, Kind, Record
from pool.score import next_record
from pool.settings import Pool
from pool.snapshot.follower import Follower
from pool.snapshot.snapshot import Snapshot
from pool.store import BATCH, Store
from tests.redis_server import RedisServer, find_binary
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(30)

KEY = "proxies:universal"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Following:
    """A follower whose steps and clock the test moves."""

    def __init__(self, redis: Redis) -> None:
        self.client = redis
        self.clock = Clock()
        self.store = Store(redis, Pool())
        self.snapshot = Snapshot(Pool().score)
        self.follower = Follower(self.store, self.snapshot, resync=60.0, clock=self.clock)

    async def add(self, *members: str, **known: str) -> None:
        await self.store.add(
            Candidate(parse_proxy(member), Record(source="list", **known))  # type: ignore[arg-type]
            for member in members
        )

    async def settle(self, kind: Kind) -> None:
        checks = await self.store.claim(BATCH, 60.0)
        await self.store.settle(
            Checked(one, kind, next_record(one.record, kind, now=1.0, seconds=0.5), 0.0)
            for one in checks
        )

    def scores(self) -> dict[str, float]:
        members = self.snapshot.members()
        return {member: entry.score for member in members if (entry := self.snapshot.get(member))}


@pytest_asyncio.fixture
async def following(redis: Redis) -> AsyncIterator[Following]:
    yield Following(redis)


async def test_the_first_step_reads_everything(following: Following) -> None:
    members = [f"192.0.{i // 250}.{i % 250}:80" for i in range(2 * BATCH + 1)]
    await following.add(*members, "socks5://192.0.2.1:80", country="DE")
    assert not following.follower.ready.is_set()
    await following.follower.step()
    assert following.follower.ready.is_set()
    assert following.scores() == dict.fromkeys([*members, "socks5://192.0.2.1:80"], 10)
    assert len(following.snapshot.http.country("DE")) == len(members)


async def test_countries_are_those_of_exits_where_they_are_known(redis: Redis) -> None:
    def locate(record: Record) -> tuple[Record, bool]:
        known = {"192.0.2.9": "NL"}.get(record.exit or "")
        return (replace(record, country=known), False) if known else (record, True)

    store, snapshot = Store(redis, Pool()), Snapshot(Pool().score)
    follower = Follower(store, snapshot, 60.0, locate=locate)
    for member, exit in [("192.0.2.1:80", "192.0.2.9"), ("192.0.2.2:80", None)]:
        record = Record(country="DE", exit=exit)
        await store.add([Candidate(parse_proxy(member), record)])
    await follower.step()
    assert [one.member for one in snapshot.http.country("NL").entries] == ["192.0.2.1:80"]
    assert [one.member for one in snapshot.http.country("DE").entries] == ["192.0.2.2:80"]
    claimed = {one.member: one.claimed for one in snapshot.every.every.entries}
    assert claimed == {"192.0.2.1:80": False, "192.0.2.2:80": True}


async def test_our_own_writes_are_followed_without_reading_everything(
    following: Following,
) -> None:
    await following.follower.step()
    await following.add("192.0.2.1:80", "192.0.2.2:80", "socks4://192.0.2.3:80")
    await following.follower.step()
    assert set(following.scores().values()) == {10}
    await following.settle(Kind.PASSED)
    await following.follower.step()
    assert following.scores() == {
        "192.0.2.1:80": 100,
        "192.0.2.2:80": 100,
        "socks4://192.0.2.3:80": 100,
    }
    entry = following.snapshot.get("192.0.2.1:80")
    assert entry is not None
    assert entry.record.latency == 0.5
    await following.store.remove(["192.0.2.2:80", "socks4://192.0.2.3:80"])
    await following.follower.step()
    assert following.scores() == {"192.0.2.1:80": 100}


async def test_steps_without_changes_ask_two_short_questions(following: Following) -> None:
    await following.add("192.0.2.1:80")
    await following.follower.step()
    await following.follower.step()
    before = await following.client.info("commandstats")
    await following.follower.step()
    after = await following.client.info("commandstats")

    def calls(stats: dict[str, dict[str, int]], name: str) -> int:
        return stats.get(f"cmdstat_{name}", {}).get("calls", 0)

    assert calls(after, "evalsha") - calls(before, "evalsha") == 2
    for name in ("zscan", "zrangebyscore", "zscore", "hget"):
        assert calls(after, name) == calls(before, name)


async def test_what_others_write_is_seen_at_the_next_full_reading(following: Following) -> None:
    await following.add("192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80")
    await following.follower.step()
    await following.client.zadd(KEY, {"192.0.2.1:80": 100, "192.0.2.9:80": 50})
    await following.client.zrem(KEY, "192.0.2.2:80")
    following.clock.now = 59.9
    await following.follower.step()
    assert set(following.scores().values()) == {10}
    following.clock.now = 60.0
    await following.follower.step()
    assert following.scores() == {"192.0.2.1:80": 100, "192.0.2.3:80": 10, "192.0.2.9:80": 50}
    entry = following.snapshot.get("192.0.2.1:80")
    assert entry is not None
    assert entry.record.source == "list"


async def test_members_that_are_no_proxies_are_never_given_out(following: Following) -> None:
    await following.client.zadd(KEY, {b"1.2.3.4:80:80": 100, b"\xff": 100, b"192.0.2.1:80": 1})
    await following.follower.step()
    assert following.scores() == {"192.0.2.1:80": 1}


async def test_a_redis_that_lost_its_contents_is_read_anew(following: Following) -> None:
    await following.add("192.0.2.1:80", "192.0.2.2:80")
    await following.follower.step()
    await following.client.flushall()
    await following.add("192.0.2.3:80")
    await following.follower.step()
    assert following.scores() == {"192.0.2.3:80": 10}


async def test_following_survives_a_restart_of_redis(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory, binary = tmp_path_factory.mktemp("r"), find_binary("newest")
    with RedisServer.start(directory, binary) as server:
        client = connect(server.url)
        following = Following(client)
        running = asyncio.create_task(following.follower.run())
        await following.add("192.0.2.1:80")
        await wait_until(lambda: len(following.snapshot) == 1)
    with RedisServer.start(directory, binary):
        other = connect(server.url)
        again = Store(other, Pool())
        candidates = [Candidate(parse_proxy(f"192.0.2.{i}:80"), Record()) for i in (2, 3)]
        await again.add(candidates)
        await other.aclose()
        await wait_until(lambda: set(following.scores()) == {"192.0.2.2:80", "192.0.2.3:80"}, 15)
        following.follower.stop()
        await asyncio.wait_for(running, 5)
        await client.aclose()


async def test_after_a_loss_records_are_read_anew_even_where_scores_agree(
    following: Following,
) -> None:
    await following.add("192.0.2.1:80")
    await following.follower.step()
    beside = "fetchpool:{proxies:universal}"
    record = msgspec.msgpack.encode(Record(source="another"))
    await following.client.hset(f"{beside}:records", "192.0.2.1:80", record)
    await following.client.delete(f"{beside}:version", f"{beside}:changes")
    await following.follower.step()
    entry = following.snapshot.get("192.0.2.1:80")
    assert entry is not None
    assert entry.record.source == "another"


async def test_a_site_knows_what_judges_told_of_its_proxies(redis: Redis) -> None:
    universal = Snapshot(Pool().score)
    told = Record(proven=5.0, connect=True, tls=True, anonymity="elite", exit="192.0.2.7")
    universal.put(Entry("192.0.2.1:80", parse_proxy("192.0.2.1:80"), 100, told))
    store = Store(redis, Pool(), key="proxies:zhihu")
    snapshot = Snapshot(Pool().score)
    follower = Follower(store, snapshot, 60.0, universal=universal)
    await store.add(
        Candidate(parse_proxy(member), Record(latency=0.5))
        for member in ("192.0.2.1:80", "192.0.2.2:80")
    )
    await follower.step()
    known, other = snapshot.get("192.0.2.1:80"), snapshot.get("192.0.2.2:80")
    assert known is not None and other is not None
    assert (known.record.latency, known.record.tls, known.record.exit) == (0.5, True, "192.0.2.7")
    assert other.record == Record(latency=0.5)


async def test_an_outage_shows_within_a_step(following: Following) -> None:
    await following.follower.step()
    assert following.follower.outage is None
    await following.store.begin_outage("http://a/", 60.0)
    await following.follower.step()
    assert following.follower.outage == "http://a/"
    await following.store.end_outage()
    await following.follower.step()
    assert following.follower.outage is None
