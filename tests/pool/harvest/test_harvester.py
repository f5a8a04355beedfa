import asyncio
import contextlib
import gc
import threading
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from fetcher.client.curl import CurlClient
from fetcher.errors import RedisAway
from fetcher.model import Result, Trust
from fetcher.proxy import parse_proxy
from fetcher.run.fetcher import Fetcher
from fetcher.task.request import Defaults
from fetchpool.farm import LISTS, Farm
from fetchpool.farm import Kind as FarmKind
from fetchpool.redis.connect import connect
from pool.harvest.accounts import PATIENCE, build_version
from pool.harvest.harvester import CRAWLS, LEASE, Harvester
from pool.harvest.plugins import Plugin
from pool.model import SourceAccount
from pool.settings import Harvest, Pool
from pool.source import Source
from pool.store import Sources, Store
from tests.fetcher.fetchers import build_fetcher
from tests.raw_origin import RawOrigin
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(30)

KEY = "proxies:universal"


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Harvesting:
    """A harvester over a real fetcher; its clocks are the test's."""

    def __init__(self, redis: Redis, fetcher: Fetcher, pool: Pool, *plugins: Plugin) -> None:
        self.redis = redis
        self.store, self.sources = Store(redis, pool), Sources(redis)
        self.clock, self.now = Clock(0.0), Clock(1_700_000_000.0)
        self.harvester = Harvester(
            self.store,
            self.sources,
            fetcher.fetch,
            pool,
            pause=0.0,
            clock=self.clock,
            now=self.now,
            plugins=plugins,
        )

    async def let_pass(self, seconds: float) -> None:
        """Time goes by, for the claims on sources too."""
        self.clock.now += seconds
        self.now.now += seconds
        for key in await self.redis.keys("fetchpool:source:*"):
            left = await self.redis.pttl(key) - round(seconds * 1000)
            await self.redis.pexpire(key, max(left, 0))

    async def accounts(self) -> dict[str, SourceAccount]:
        return await self.sources.accounts()


@contextlib.asynccontextmanager
async def fetching() -> AsyncIterator[Fetcher]:
    client = CurlClient(force_instance=True)
    try:
        yield build_fetcher(
            {Trust.OPEN: client, Trust.GUARDED: client}, Defaults(user_agent="fetchpool-test")
        )
    finally:
        client.close()


def settings(*sources: Source, **more: Any) -> Pool:
    return Pool(sources=list(sources), **{"allow_private": True} | more)


async def members(redis: Redis) -> set[str]:
    rows = [*await redis.zrange(KEY, 0, -1), *await redis.zrange(f"{KEY}:socks", 0, -1)]
    return {row.decode() for row in rows}


@pytest.mark.parametrize("path", LISTS)
async def test_a_source_of_each_kind_fills_the_pool(redis: Redis, path: str) -> None:
    # A table's column of schemes is for `select`; the tolerant reader takes all for http.
    others = FarmKind.REFUSING if path.endswith("html") else FarmKind.SOCKS5
    kinds = {FarmKind.GOOD: 5, FarmKind.HANGING: 3, others: 2}
    async with Farm(kinds, tls=False) as farm, fetching() as fetcher:
        source = Source(name="farm", url=farm.origin.url + path)
        one = Harvesting(redis, fetcher, settings(source))
        await one.harvester.step()
        expected = {parse_proxy(proxy.url()).member for proxy in farm.proxies}
        assert await members(redis) == expected
        assert await one.accounts() == {
            "farm": SourceAccount(
                found=10,
                new=10,
                last_run=one.now.now,
                last_success=one.now.now,
                answered=one.now.now,
                total_new=10,
                version=build_version(source),
            )
        }
        [check, *_] = await one.store.claim(1, 1.0)
        assert (check.record.source, check.record.added) == ("farm", one.now.now)


async def test_what_two_sources_list_is_unique_to_neither(redis: Redis) -> None:
    async with Farm(tls=False) as farm, fetching() as fetcher:
        farm.origin.lists["/one"] = ("text/plain", b"127.0.0.1:81\n127.0.0.1:82\n")
        farm.origin.lists["/two"] = ("text/plain", b"127.0.0.1:82\n127.0.0.1:83\n")
        sources = [Source(name=name, url=f"{farm.origin.url}/{name}") for name in ("one", "two")]
        one = Harvesting(redis, fetcher, settings(*sources))
        for source in (*sources, *sources):
            await one.harvester.harvest(source)
        known = await one.store.http.records([f"127.0.0.1:{port}" for port in (81, 82, 83)])
        assert [record.shared for record in known] == [False, True, False]
        assert [record.source for record in known] == ["one", "one", "two"]


async def test_private_addresses_are_refused_unless_allowed(redis: Redis) -> None:
    async with Farm(tls=False) as farm, fetching() as fetcher:
        body = b"127.0.0.1:6379\n10.0.0.1:80\n192.168.0.1:80\n8.8.8.8:3128\n1.1.1.1:99999\n"
        farm.origin.lists["/list"] = ("text/plain", body)
        pool = settings(Source(name="list", url=f"{farm.origin.url}/list"), allow_private=False)
        one = Harvesting(redis, fetcher, pool)
        await one.harvester.step()
        assert await members(redis) == {"8.8.8.8:3128"}
        account = (await one.accounts())["list"]
        assert (account.found, account.new, account.refused) == (4, 1, 3)


async def test_a_bad_source_is_told_of_and_the_others_go_on(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    async with Farm({FarmKind.GOOD: 2}, tls=False) as farm, fetching() as fetcher:
        at = farm.origin.url
        pool = settings(
            Source(name="gone", url=f"{at}/status/404"),
            Source(name="empty", url=f"{at}/html"),
            Source(name="silent", url=f"{at}/never"),
            Source(name="long", url=f"{at}/bytes/300000"),
            Source(
                name="secret", url=at.replace("http://", "http://me:pass-word@") + "/status/500"
            ),
            Source(name="off", url=f"{at}{LISTS[0]}", enabled=False),
            Source(name="good", url=f"{at}{LISTS[0]}"),
            harvest=Harvest(timeout=0.5, max_bytes=100_000),
        )
        one = Harvesting(redis, fetcher, pool)
        await one.harvester.step()
        accounts = await one.accounts()
        assert sorted(accounts) == ["empty", "gone", "good", "long", "secret", "silent"]
        errors = {name: account.last_error for name, account in accounts.items()}
        assert errors.pop("good") is None
        for name, words in {
            "gone": "404",
            "empty": "no proxy in 80 bytes of text/html; charset=utf-8",
            "silent": "timed out",
            "long": "over the limit of 100000 bytes",
            "secret": "500",
        }.items():
            assert words in (errors[name] or ""), name
            assert f"source {name}: {errors[name]}" in caplog.messages
        assert "pass-word" not in caplog.text + str(errors)
        assert accounts["gone"].consecutive_failures == 1
        assert await redis.zcard(KEY) == 2


async def test_failures_count_until_a_success(redis: Redis) -> None:
    async with Farm({FarmKind.GOOD: 1}, tls=False) as farm, fetching() as fetcher:
        source = Source(name="list", url=f"{farm.origin.url}/list")
        one = Harvesting(redis, fetcher, settings(source))
        for count in (1, 2):
            account = await one.harvester.harvest(source)
            assert (account.consecutive_failures, account.last_success) == (count, 0.0)
        farm.origin.lists["/list"] = farm.origin.lists[LISTS[0]]
        account = await one.harvester.harvest(source)
        assert (account.consecutive_failures, account.last_error, account.new) == (0, None, 1)
        account = await one.harvester.harvest(source)
        assert (account.found, account.new, account.total_new) == (1, 0, 1)
        del farm.origin.lists["/list"]
        account = await one.harvester.harvest(source)
        assert (account.found, account.last_success) == (1, one.now.now)
        assert account.consecutive_failures == 1


async def test_pages_add_up_and_one_bad_page_does_not_spoil_the_rest(redis: Redis) -> None:
    async with Farm(tls=False) as farm, fetching() as fetcher:
        farm.origin.lists["/page/1"] = ("text/plain", b"8.8.8.8:1\n8.8.8.8:2\n")
        farm.origin.lists["/page/3"] = ("text/plain", b"8.8.8.8:2\n8.8.8.8:3\n")
        source = Source(name="pages", url=f"{farm.origin.url}/page/{{page}}", pages=(1, 3))
        one = Harvesting(redis, fetcher, settings(source))
        account = await one.harvester.harvest(source)
        assert (account.found, account.consecutive_failures) == (3, 0)
        assert "/page/2" in (account.last_error or "")


async def test_the_request_is_what_the_source_says(redis: Redis) -> None:
    async with Farm(tls=False) as farm, fetching() as fetcher:
        source = Source(
            name="form",
            url=f"{farm.origin.url}/post?day=%Y-%m-%d",
            dated=True,
            method="POST",
            headers={"Referer": "http://list.example/"},
            body="page=1",
        )
        one = Harvesting(redis, fetcher, settings(source))
        await one.harvester.harvest(source)
        [seen] = farm.origin.requests
        assert (seen.method, seen.target, seen.body) == ("POST", "/post?day=2023-11-14", b"page=1")
        assert seen.get("Referer") == "http://list.example/"


async def test_a_source_is_harvested_once_a_cycle_by_one_of_many(redis: Redis) -> None:
    async with Farm({FarmKind.GOOD: 1}, tls=False) as farm, fetching() as fetcher:
        url = farm.origin.url + LISTS[0]
        pool = settings(Source(name="slow", url=url, every=3600.0), Source(name="usual", url=url))
        several = [Harvesting(redis, fetcher, pool) for _ in range(3)]
        await asyncio.gather(*(one.harvester.step() for one in several))
        assert farm.origin.hits[LISTS[0]] == 2
        assert await redis.pttl("fetchpool:source:slow") > 3_500_000
        assert 95_000 < await redis.pttl("fetchpool:source:usual") <= 100_000
        await redis.delete("fetchpool:source:slow", "fetchpool:source:usual")
        await several[0].harvester.step()
        for one in several:
            one.clock.now = 100.0
            await one.harvester.step()
        assert farm.origin.hits[LISTS[0]] == 4  # the slow one by those who did not have it


async def test_run_harvests_and_stops(redis: Redis) -> None:
    async with Farm({FarmKind.GOOD: 4}, tls=False) as farm, fetching() as fetcher:
        pool = settings(Source(name="farm", url=farm.origin.url + LISTS[2]))
        one = Harvesting(redis, fetcher, pool)
        running = asyncio.create_task(one.harvester.run())

        async def filled() -> bool:
            return len(await members(redis)) == 4

        await wait_until(filled)
        one.harvester.stop()
        await asyncio.wait_for(running, 5)


async def test_a_source_that_is_being_read_is_claimed_for_a_short_while_and_as_long_as_it_takes(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed gives nothing back."""
    async with Farm({FarmKind.GOOD: 1}, tls=False) as farm, fetching() as fetcher:
        source = Source(name="silent", url=f"{farm.origin.url}/never", every=3600.0)
        one = Harvesting(redis, fetcher, settings(source))
        running = asyncio.create_task(one.harvester.step())
        await wait_until(lambda: farm.origin.requests)
        assert 0 < await redis.pttl("fetchpool:source:silent") <= LEASE * 1000
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

        monkeypatch.setattr("pool.harvest.harvester.LEASE", 0.3)
        renewed: list[float] = []

        class Noting(Sources):
            async def renew(self, name: str, seconds: float) -> None:
                renewed.append(await redis.pttl(f"fetchpool:source:{name}"))
                await super().renew(name, seconds)

        harvester = Harvester(one.store, Noting(redis), fetcher.fetch, settings(source))
        running = asyncio.create_task(harvester.step())
        await wait_until(lambda: len(renewed) == 6)
        assert all(0 < left <= 300 for left in renewed)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_whoever_empties_redis_has_the_sources_asked_at_their_next_turn(
    redis: Redis,
) -> None:
    async with Farm({FarmKind.GOOD: 3}, tls=False) as farm, fetching() as fetcher:
        source = Source(name="farm", url=farm.origin.url + LISTS[0], every=3600.0)
        one = Harvesting(redis, fetcher, settings(source))
        await one.harvester.step()
        await one.let_pass(10)
        await one.harvester.step()
        assert farm.origin.hits[LISTS[0]] == 1
        await redis.flushall()
        await one.let_pass(9.9)
        await one.harvester.step()
        assert await members(redis) == set()
        await one.let_pass(0.1)
        await one.harvester.step()
        assert len(await members(redis)) == 3


async def test_an_outage_of_our_own_line_is_held_against_no_source(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    async with Farm({FarmKind.GOOD: 1}, tls=False) as farm, fetching() as fetcher:
        unreachable = [Source(name=f"list {n}", url="http://127.0.0.1:9/") for n in range(2)]
        one = Harvesting(redis, fetcher, settings(*unreachable))

        async def turns(count: int) -> list[int]:
            for _ in range(count):
                await one.let_pass(100)
                await one.harvester.step()
            accounts = await one.accounts()
            return [accounts[source.name].consecutive_failures for source in unreachable]

        assert await turns(PATIENCE + 1) == [0, 0]
        [said] = caplog.messages
        assert said.startswith("none of the 2 sources can be reached: http://127.0.0.1:9/: ")
        caplog.set_level("INFO")
        answering = Source(name="other", url=f"{farm.origin.url}/status/404")
        await one.harvester.harvest(answering)
        assert caplog.messages.count("the sources can be reached again") == 1
        assert await turns(1) == [1, 1]
        assert await turns(1) == [1, 1]


async def test_a_source_that_alone_cannot_be_reached_is_paused(redis: Redis) -> None:
    async with Farm({FarmKind.GOOD: 1}, tls=False) as farm, fetching() as fetcher:
        gone = Source(name="gone", url="http://127.0.0.1:9/")
        other = Source(name="other", url=farm.origin.url + LISTS[0])
        one = Harvesting(redis, fetcher, settings(other, gone))
        await one.harvester.harvest(other)
        for _ in range(PATIENCE):
            await one.let_pass(100)
            await one.harvester.step()
        account = (await one.accounts())["gone"]
        assert account.consecutive_failures == PATIENCE
        assert account.paused_until == one.now.now + 200


async def test_of_several_pages_one_that_answered_tells_why_there_is_nothing(redis: Redis) -> None:
    async with Farm(tls=False) as farm, fetching() as fetcher:
        urls = ["http://127.0.0.1:9/", f"{farm.origin.url}/status/404", "http://127.0.0.1:9/b"]
        source = Source(name="list", url=urls)
        one = Harvesting(redis, fetcher, settings(source))
        account = await one.harvester.harvest(source)
        assert "404" in (account.last_error or "")
        assert (account.consecutive_failures, account.answered) == (1, one.now.now)


async def test_a_harvest_cut_short_is_left_to_others(redis: Redis) -> None:
    async with Farm(tls=False) as farm, fetching() as fetcher:
        pool = settings(Source(name="silent", url=f"{farm.origin.url}/never"))
        one = Harvesting(redis, fetcher, pool)
        running = asyncio.create_task(one.harvester.step())
        await wait_until(lambda: farm.origin.requests)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await redis.exists("fetchpool:source:silent") == 0


async def test_a_failing_store_ends_the_round_and_frees_the_source(redis: Redis) -> None:
    async with Farm({FarmKind.GOOD: 1}, tls=False) as farm, fetching() as fetcher:
        pool = settings(Source(name="farm", url=farm.origin.url + LISTS[0]))
        one = Harvesting(redis, fetcher, pool)
        await redis.set(KEY, "no sorted set")
        with pytest.raises(RedisAway):
            await one.harvester.step()
        assert await redis.exists("fetchpool:source:farm") == 0
        await redis.delete(KEY)
        one.clock.now = 25.0
        await one.harvester.step()
        assert await redis.zcard(KEY) == 1


async def test_a_bug_in_reading_is_logged_with_its_traceback(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(task: dict[str, Any]) -> Result:
        raise ZeroDivisionError("a bug")

    pool = settings(Source(name="list", url="http://127.0.0.1:9/"))
    harvester = Harvester(Store(redis, pool), Sources(redis), broken, pool)
    await harvester.step()
    assert (await Sources(redis).account("list")).last_error == "a bug"
    assert any(record.exc_info for record in caplog.records)


async def test_own_proxies_are_kept_whether_or_not_sources_are_asked(redis: Redis) -> None:
    for enabled in (True, False):
        async with fetching() as fetcher:
            pool = settings(proxies=["10.0.0.1:8000"], harvest=Harvest(enabled=enabled))
            await Harvesting(redis, fetcher, pool).harvester.step()
        assert await members(redis) == {"10.0.0.1:8000"}
        await redis.flushall()


async def test_switched_off_no_source_is_asked(redis: Redis) -> None:
    async with Farm({FarmKind.GOOD: 1}, tls=False) as farm, fetching() as fetcher:
        source = Source(name="farm", url=farm.origin.url + LISTS[0])
        one = Harvesting(redis, fetcher, settings(source, harvest=Harvest(enabled=False)))
        await one.harvester.step()
        assert (len(farm.origin.requests), await members(redis)) == (0, set())


async def test_a_plug_in_is_a_source_with_an_account(redis: Redis) -> None:
    def crawl_few():
        yield "8.8.8.8", 80
        yield "10.0.0.1", 80

    pool = settings(allow_private=False)
    async with fetching() as fetcher:
        one = Harvesting(redis, fetcher, pool, Plugin("own.crawl_few", crawl_few))
        await one.harvester.step()
        assert await members(redis) == {"8.8.8.8:80"}
        account = (await one.accounts())["own.crawl_few"]
        assert (account.found, account.new, account.refused) == (2, 1, 1)
        assert (account.plugin, account.last_error) == (True, None)
        [check] = await one.store.claim(9, 1.0)
        assert check.record.source == "own.crawl_few"


async def test_what_came_before_a_plug_in_failed_is_taken(redis: Redis) -> None:
    def crawl_half():
        yield "8.8.8.8:80"
        raise LookupError("gone")

    async with fetching() as fetcher:
        one = Harvesting(redis, fetcher, settings(), Plugin("own.crawl_half", crawl_half))
        await one.harvester.step()
        account = (await one.accounts())["own.crawl_half"]
        assert (account.new, account.consecutive_failures) == (1, 0)
        assert account.last_error == "LookupError: gone"


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (2, 2), (3, 2), (0, 2)])
async def test_no_more_is_taken_of_a_plug_in_than_the_limit(
    redis: Redis, limit: int, count: int
) -> None:
    plugin = Plugin("own.crawl_two", lambda: ["8.8.8.8:80", "8.8.4.4:80"])
    async with fetching() as fetcher:
        pool = settings(harvest=Harvest(max_items=limit))
        account = await Harvesting(redis, fetcher, pool, plugin).harvester.harvest(plugin)
        assert account.found == count


async def test_a_plug_in_that_hangs_hurts_nobody(redis: Redis) -> None:
    go_on = threading.Event()

    def crawl_hanging():
        go_on.wait(20)
        yield "8.8.8.8:80"

    hanging = [Plugin(f"own.crawl_{n}", lambda: crawl_hanging()) for n in range(CRAWLS + 1)]
    async with Farm({FarmKind.GOOD: 2}, tls=False) as farm, fetching() as fetcher:
        source = Source(name="farm", url=farm.origin.url + LISTS[0])
        pool = settings(source, harvest=Harvest(cycle=0.2))
        one = Harvesting(redis, fetcher, pool, *hanging)
        await one.harvester.step()
        go_on.set()
        accounts = await one.accounts()
        assert accounts.pop("farm").new == 2
        assert {account.last_error for account in accounts.values()} <= {
            "it is not done after 0.2 s",
            None,
        }
        assert sum(account.last_error is not None for account in accounts.values()) >= CRAWLS


async def test_a_source_of_the_settings_goes_before_a_plug_in_of_its_name(redis: Redis) -> None:
    async with Farm({FarmKind.GOOD: 1}, tls=False) as farm, fetching() as fetcher:
        source = Source(name="own.crawl_x", url=farm.origin.url + LISTS[0])
        plugin = Plugin("own.crawl_x", lambda: ["8.8.8.8:80"])
        one = Harvesting(redis, fetcher, settings(source), plugin)
        await one.harvester.step()
        assert await members(redis) == {parse_proxy(farm.proxies[0].url()).member}


async def test_a_plug_in_that_fails_is_an_error_in_its_account(redis: Redis) -> None:
    def crawl_none():
        raise LookupError("gone")

    async with fetching() as fetcher:
        one = Harvesting(redis, fetcher, settings(), Plugin("own.crawl_none", crawl_none))
        await one.harvester.step()
        account = (await one.accounts())["own.crawl_none"]
        assert (account.last_error, account.consecutive_failures) == ("LookupError: gone", 1)


async def test_a_paused_source_is_said_once_and_a_success_ends_it(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    yields: list[str] = []
    plugin = Plugin("own.crawl_some", lambda: yields)
    async with fetching() as fetcher:
        one = Harvesting(redis, fetcher, settings(harvest=Harvest(cycle=100)), plugin)

        async def turns(count: int, seconds: float) -> None:
            for _ in range(count):
                await one.let_pass(seconds)
                await one.harvester.step()

        await turns(PATIENCE, 100)
        assert caplog.text.count("asked ever more seldom") == 1
        await turns(1, 100)
        assert (await one.accounts())["own.crawl_some"].consecutive_failures == PATIENCE
        await turns(1, 100)
        assert (await one.accounts())["own.crawl_some"].consecutive_failures == PATIENCE + 1
        yields.append("8.8.8.8:80")
        await turns(1, 400)
        assert (await one.accounts())["own.crawl_some"].consecutive_failures == 0
        assert caplog.text.count("asked ever more seldom") == 1


async def test_a_pause_binds_all_processes_but_not_a_corrected_declaration(redis: Redis) -> None:
    async with Farm({FarmKind.GOOD: 1}, tls=False) as farm, fetching() as fetcher:
        source = Source(name="list", url=f"{farm.origin.url}/list", every=100.0)
        one = Harvesting(redis, fetcher, settings(source))
        for _ in range(PATIENCE):
            account = await one.harvester.harvest(source)
        assert account.paused_until == one.now.now + 200
        assert 190_000 < await redis.pttl("fetchpool:source:list") <= 200_000
        farm.origin.lists["/list"] = farm.origin.lists[LISTS[0]]
        await Harvesting(redis, fetcher, settings(source)).harvester.step()
        assert farm.origin.hits["/list"] == PATIENCE
        corrected = Source(name="list", url=f"{farm.origin.url}/list?right", every=100.0)
        another = Harvesting(redis, fetcher, settings(corrected))
        await another.harvester.step()
        account = (await another.accounts())["list"]
        assert (account.new, account.consecutive_failures, account.paused_until) == (1, 0, 0.0)
        assert 90_000 < await redis.pttl("fetchpool:source:list") <= 100_000


async def test_a_corrected_declaration_that_is_wrong_too_begins_to_count_anew(
    redis: Redis,
) -> None:
    async with Farm(tls=False) as farm, fetching() as fetcher:
        wrong, also = (Source(name="list", url=f"{farm.origin.url}/{n}") for n in "ab")
        one = Harvesting(redis, fetcher, settings(wrong))
        for _ in range(PATIENCE):
            await one.harvester.harvest(wrong)
        another = Harvesting(redis, fetcher, settings(also))
        await another.harvester.step()
        account = (await another.accounts())["list"]
        assert (account.consecutive_failures, account.paused_until) == (1, 0.0)


# -- pages that have not changed -------------------------------------------------------------------


def answer(*lines: str, status: str = "200 OK", etag: str = "") -> bytes:
    """A list of proxies on 8.8.8.8 with these ports."""
    body = "".join(f"8.8.8.8:{line}\n" for line in lines)
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    head += [f'ETag: "{etag}"'] if etag else []
    return "\r\n".join([*head, "", body]).encode()


UNCHANGED = answer(status="304 Not Modified")  # an error to whoever has not asked for it


@contextlib.asynccontextmanager
async def listing(redis: Redis, **more: Any) -> AsyncIterator[tuple[Harvesting, Source]]:
    """After a first harvest of two proxies; from then on the page has not changed."""
    async with RawOrigin() as origin, fetching() as fetcher:
        source = Source(name="list", url=origin.add(answer("1", "2", etag="a")))
        one = Harvesting(redis, fetcher, settings(source, **more))
        assert (await one.harvester.harvest(source)).found == 2
        [path] = origin.scripts
        origin.scripts[path] = (UNCHANGED,)
        yield one, source


async def test_a_page_that_has_not_changed_is_a_success_with_nothing_new(redis: Redis) -> None:
    async with listing(redis) as (one, source):
        first = (await one.accounts())["list"]
        one.now.now += 100
        account = await one.harvester.harvest(source)
        now = one.now.now
        assert account == msgspec.structs.replace(
            first, new=0, last_run=now, last_success=now, answered=now
        )
        assert account.found == 2


@pytest.mark.parametrize(
    ("later", "tombstone", "is_asked"),
    [(299, 0, True), (300, 0, False), (3599, 3600, True), (3600, 3600, False)],
)
async def test_now_and_then_it_is_read_in_full(
    redis: Redis, later: float, tombstone: float, is_asked: bool
) -> None:
    async with listing(redis, tombstone=tombstone) as (one, source):
        ttl = await redis.pttl("fetchpool:validators:list")
        assert 0 <= max(tombstone, 300) * 1000 - ttl < 10_000
        one.now.now += later
        account = await one.harvester.harvest(source)
        assert (account.last_error is None) == is_asked


async def test_while_the_pool_is_empty_it_is_read_in_full(redis: Redis) -> None:
    async with listing(redis) as (one, source):
        await redis.delete(KEY)
        account = await one.harvester.harvest(source)
        assert "304" in (account.last_error or "")


async def test_what_found_no_room_is_offered_again(redis: Redis) -> None:
    async with listing(redis, max_size=1) as (one, source):
        assert await redis.zcard(KEY) == 1
        account = await one.harvester.harvest(source)
        assert "304" in (account.last_error or "")


@pytest.mark.parametrize("change", [{"scheme": "socks5"}, {"max_items": 1}])
async def test_who_would_take_something_else_from_it_reads_it_in_full(
    redis: Redis, change: dict[str, Any]
) -> None:
    async with listing(redis) as (one, source):
        changed = msgspec.structs.replace(source, **change)
        account = await one.harvester.harvest(changed)
        assert "304" in (account.last_error or "")


async def test_pages_that_have_changed_add_to_those_that_have_not(redis: Redis) -> None:
    async with RawOrigin() as origin, fetching() as fetcher:
        urls = [origin.add(answer(*ports, etag="a")) for ports in ("12", "3", "4")]
        source = Source(name="list", url=urls)
        one = Harvesting(redis, fetcher, settings(source))
        assert (await one.harvester.harvest(source)).found == 4
        same, other, broken = origin.scripts
        origin.scripts[same] = (UNCHANGED,)
        origin.scripts[other] = (answer("3", "5", "6"),)
        origin.scripts[broken] = (answer(status="500 No"),)
        account = await one.harvester.harvest(source)
        assert (account.found, account.new, account.total_new) == (5, 2, 6)
        assert (account.consecutive_failures, "500" in (account.last_error or "")) == (0, True)
        origin.scripts[other] = (UNCHANGED,)  # which now nobody asks for, as it had no ETag
        account = await one.harvester.harvest(source)
        assert (account.found, account.new, account.consecutive_failures) == (5, 0, 0)


# -- side by side ---------------------------------------------------------------------------------


async def test_a_silent_source_holds_up_no_other_and_is_handed_on(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pool.harvest.harvester.ROUND", 0.01)
    async with Farm({FarmKind.GOOD: 1}, tls=False) as farm, fetching() as fetcher:
        quick = farm.origin.url + LISTS[0]
        silent = farm.origin.url.replace("127.0.0.1", "localhost") + "/never"
        pool = settings(Source(name="silent", url=silent), Source(name="quick", url=quick))
        one = Harvesting(redis, fetcher, pool)
        running = asyncio.create_task(one.harvester.run())

        async def is_put_off() -> bool:
            return await redis.pttl("fetchpool:source:quick") > LEASE * 1000

        await wait_until(is_put_off)  # until its next turn: its first is over
        await redis.delete("fetchpool:source:quick")
        one.clock.now = 100.0
        await wait_until(is_put_off)
        assert farm.origin.hits[LISTS[0]] == 2
        assert farm.origin.hits["/never"] == 1
        one.harvester.stop()
        await asyncio.wait_for(running, 5)
        assert await redis.exists("fetchpool:source:silent") == 0
        assert await redis.exists("fetchpool:source:quick") == 1


async def test_an_absent_redis_is_said_by_others_however_many_sources_miss_it(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pool.harvest.harvester.ROUND", 0.01)
    caplog.set_level("INFO")
    absent = connect("redis://127.0.0.1:1/0")
    claims = 0

    class Counting(Sources):
        async def claim(self, *args: Any) -> bool:
            nonlocal claims
            claims += 1
            return await super().claim(*args)

    pool = settings(*(Source(name=f"list {n}", url="http://127.0.0.1:9/") for n in range(5)))
    async with fetching() as fetcher:
        harvester = Harvester(Store(redis, pool), Counting(absent), fetcher.fetch, pool)
        running = asyncio.create_task(harvester.run())
        await wait_until(lambda: claims >= 15)
        harvester.stop()
        await asyncio.wait_for(running, 5)
    await absent.aclose()
    gc.collect()  # an exception that nobody has looked at would be told of now
    assert caplog.messages == []
