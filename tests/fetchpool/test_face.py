"""The fetcher of Python programs, on the pool that a service keeps."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest
import yaml
from redis.asyncio import Redis

from fetcher.client.chromium.processes import command_of, is_alive
from fetcher.errors import RedisAway, TaskError
from fetchpool import BlockingFetcher, Fetcher
from fetchpool.config.settings import SettingsError
from fetchpool.farm import Farm, Kind
from fetchpool.redis.connect import RedisURLError, connect
from fetchpool.redis.embedded import EmbeddedRedis
from tests.redis_server import RedisServer
from tests.rendering import paging, program
from tests.wait import wait_until

UNIVERSAL = "proxies:universal"


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Of a service whose pool may hold loopback proxies, and is read often."""
    file = tmp_path / "mine.yaml"
    tree = {
        "redis": {"data_dir": str(tmp_path / "data")},
        "fetcher": {"timeout": 10, "proxy": "pool"},
        "pool": {"allow_private": True, "resync": 0.1},
    }
    file.write_text(yaml.safe_dump(tree))
    return file


async def test_a_program_fetches_through_the_pool_of_a_service(
    one_redis: RedisServer, redis: Redis, settings: Path
) -> None:
    async with Farm({Kind.GOOD: 1}, tls=False) as farm:
        [proxy] = farm.proxies
        await redis.zadd(UNIVERSAL, {proxy.address: 100})
        async with Fetcher.with_pool(one_redis.url, settings=settings) as fetcher:
            result = await fetcher.fetch(f"{farm.origin.url}/ip")
            assert (result.status_code, result.proxy) == (200, f"http://{proxy.address}")
            result = await fetcher.fetch(f"{farm.origin.url}/ip", proxy="direct")
            assert (result.status_code, result.proxy) == (200, None)
        assert proxy.requests == 1


async def test_it_follows_what_changes_in_the_pool(
    one_redis: RedisServer, redis: Redis, settings: Path
) -> None:
    async with (
        Farm({Kind.GOOD: 1}, tls=False) as farm,
        Fetcher.with_pool(one_redis.url, settings=settings) as fetcher,
    ):
        result = await fetcher.fetch(f"{farm.origin.url}/ip")
        assert result.error == "HTTP 599: no proxy in the pool (0 alive of 0)"
        await redis.zadd(UNIVERSAL, {farm.proxies[0].address: 100})

        async def is_there() -> bool:
            return (await fetcher.fetch(f"{farm.origin.url}/ip")).status_code == 200

        await wait_until(is_there, what="the new proxy to be known")


async def test_what_its_traffic_shows_is_entered_at_the_latest_when_it_ends(
    one_redis: RedisServer, redis: Redis, settings: Path
) -> None:
    async with Farm({Kind.REFUSING: 1}, tls=False) as farm:
        [proxy] = farm.proxies
        await redis.zadd(UNIVERSAL, {proxy.address: 100})
        async with Fetcher.with_pool(one_redis.url, settings=settings) as fetcher:
            assert (await fetcher.fetch(f"{farm.origin.url}/ip")).status_code == 599
        assert await redis.zscore(UNIVERSAL, proxy.address) == 99


async def test_delays_are_kept_by_the_clock_of_all(one_redis: RedisServer, redis: Redis) -> None:
    async with Farm(tls=False) as farm:
        async with Fetcher.with_pool(one_redis.url, proxy="direct") as fetcher:
            result = await fetcher.fetch(f"{farm.origin.url}/ip", delay=30)
            assert result.status_code == 200
        assert await redis.keys("{fetchpool:clock}:of:*")


async def test_the_embedded_redis_of_a_service_is_shared(settings: Path, tmp_path: Path) -> None:
    async with Farm({Kind.GOOD: 1}, tls=False) as farm:
        server = await asyncio.to_thread(EmbeddedRedis.start, tmp_path / "data")
        with server:
            async with connect(server.url) as redis:
                await redis.zadd(UNIVERSAL, {farm.proxies[0].address: 100})
            async with Fetcher.with_pool("embedded", settings=settings) as fetcher:
                assert (await fetcher.fetch(f"{farm.origin.url}/ip")).status_code == 200


async def test_threads_have_it_too(one_redis: RedisServer, redis: Redis, settings: Path) -> None:
    async with Farm({Kind.GOOD: 1}, tls=False) as farm:
        await redis.zadd(UNIVERSAL, {farm.proxies[0].address: 100})

        def work() -> int:
            with BlockingFetcher.with_pool(one_redis.url, settings=settings) as fetcher:
                return fetcher.fetch(f"{farm.origin.url}/ip").status_code

        assert await asyncio.to_thread(work) == 200
        assert farm.proxies[0].requests == 1


async def test_one_without_a_pool_says_which_has_one() -> None:
    async with Fetcher.from_settings(proxy="pool") as fetcher:
        result = await fetcher.fetch("http://127.0.0.1:9/")
    assert result.error == (
        "HTTP 599: this fetcher knows no pool: Fetcher.with_pool(redis=...) makes one that does"
    )


async def test_a_redis_that_is_not_there_is_named() -> None:
    with pytest.raises(RedisAway, match=r"127\.0\.0\.1:1"):
        async with Fetcher.with_pool("redis://127.0.0.1:1/0"):
            pass
    with pytest.raises(RedisAway, match=r"127\.0\.0\.1:1"):
        await asyncio.to_thread(BlockingFetcher.with_pool, "redis://127.0.0.1:1/0")


async def test_what_is_wrong_with_its_arguments_is_said(tmp_path: Path) -> None:
    with pytest.raises(RedisURLError, match="it must have the form redis://"):
        async with Fetcher.with_pool("http://127.0.0.1"):
            pass
    with pytest.raises(SettingsError, match="there is no such file"):
        async with Fetcher.with_pool(settings=tmp_path / "none.yaml"):
            pass


async def test_a_setting_that_is_none_is_named(one_redis: RedisServer, redis: Redis) -> None:
    with pytest.raises(TaskError, match="timeot"):
        async with Fetcher.with_pool(one_redis.url, timeot=3):
            pass


@pytest.mark.parametrize("turn", range(5))
async def test_it_can_be_left_at_once(one_redis: RedisServer, redis: Redis, turn: int) -> None:
    def work() -> None:
        with BlockingFetcher.with_pool(one_redis.url):
            pass

    async with asyncio.timeout(10):
        await asyncio.to_thread(work)


async def test_whoever_is_cancelled_while_leaving_leaves_nothing_behind(
    one_redis: RedisServer, redis: Redis
) -> None:
    async def visit() -> None:
        async with Fetcher.with_pool(one_redis.url):
            await asyncio.sleep(0)

    loop = asyncio.get_running_loop()
    before = asyncio.all_tasks()
    for turns in range(12):
        task = loop.create_task(visit())
        await wait_until(lambda: len(asyncio.all_tasks() - before) > 1, what="its duties")
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == before


PAGE = "<p id=a></p><script>document.getElementById('a').textContent = 'written'</script>"


def renderer() -> dict[str, object]:
    return {"chromium": program(), "sandbox": os.geteuid() != 0}


def pids_in(folder: Path) -> list[int]:
    own = os.fsencode(folder)
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    return [pid for pid in pids if own in command_of(pid) and is_alive(pid)]


@pytest.mark.parametrize("how", ["async with", "close"])
async def test_a_program_has_pages_rendered_and_nothing_is_left_of_that(
    short_folder: Path, how: str
) -> None:
    async with paging({"/": PAGE}) as site:
        fetcher = Fetcher.from_settings(renderer=renderer(), proxy=False)
        result = await fetcher.fetch(site.url(), fetch_type="js", js_wait="load")
        assert result.rendered is True and b">written</p>" in result.content
        assert pids_in(short_folder)
        if how == "close":
            fetcher.close()
        else:
            async with fetcher:
                pass
        await wait_until(lambda: pids_in(short_folder) == [], 5)
        assert os.listdir(short_folder) == []
        fetcher.close()
    # playwright's own have heard of it, too.
    await wait_until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, 5)


async def test_threads_have_pages_rendered(short_folder: Path) -> None:
    def work(url: str) -> bytes:
        with BlockingFetcher(renderer=renderer(), proxy=False) as fetcher:
            return fetcher.fetch(url, fetch_type="js", js_wait="load").content

    async with paging({"/": PAGE}) as site:
        assert b">written</p>" in await asyncio.to_thread(work, site.url())
    assert pids_in(short_folder) == [] and os.listdir(short_folder) == []
