"""A crawl's process out of settings and options; and nothing of it that stays."""

import os
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from fetcher.crawl.callback.find import CallbackError
from fetcher.crawl.frontier.frontier import Frontier, Info
from fetcher.crawl.machine import machine
from fetcher.crawl.model import Options
from fetcher.crawl.output.names import OutputError
from fetcher.errors import TaskError
from fetcher.route.route import Direct, Pool
from fetcher.settings import Fetcher as FetcherSettings
from fetcher.settings import Redis as RedisSettings
from fetchpool.config.settings import Settings
from fetchpool.serve import build_crawl
from fetchpool.serve.build_crawl import cache_path, open_crawl
from tests.resources import open_files
from tests.wait import wait_until

SOURCES = ("http://127.0.0.1:1/",)


async def created(redis: Redis, **options: Any) -> tuple[Frontier, Info]:
    frontier = Frontier(redis, "fetchpool", "c", "w")
    assert await frontier.create(Options(**{"sources": SOURCES, **options}))
    info = await frontier.load()
    assert info is not None
    return frontier, info


def settings_of(tmp_path: Path, **fetcher: Any) -> Settings:
    return Settings(
        redis=RedisSettings(data_dir=str(tmp_path), url="redis://x"),
        fetcher=FetcherSettings(**fetcher),
    )


async def test_what_is_opened_is_closed_again(redis: Redis, tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    out = (str(tmp_path / "a.warc.gz"), f"{tmp_path}/pages/")
    frontier, info = await created(redis, out=out, cache=5.0)
    async with open_crawl(settings, redis, frontier, info):
        pass  # what is opened once for all is open now
    before = open_files()
    async with open_crawl(settings, redis, frontier, info) as crawl:
        assert open_files() > before
        means = crawl._means
        assert means.archives and means.cache is not None and means.reader.callbacks is None
        assert await frontier.marks() != {}
        assert {key.partition(":")[0] for key in await frontier.marks()} == {machine()}
        await means.cache.get("http://a/")
        assert cache_path(settings).exists()
    await wait_until(lambda: open_files() <= before)


async def test_the_options_go_before_the_settings(redis: Redis, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, proxy="http://127.0.0.1:2", user_agent="us")
    frontier, info = await created(redis, proxy="direct", user_agent="bot", limit_host=3)
    async with open_crawl(settings, redis, frontier, info) as crawl:
        assert crawl._means.route == (Direct(),)
        assert crawl._means.user_agent == "bot"
        assert frontier.limit_host == 3


async def test_what_the_options_leave_open_the_settings_say(redis: Redis, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, proxy="http://127.0.0.1:2", user_agent="us")
    frontier, info = await created(redis)
    async with open_crawl(settings, redis, frontier, info) as crawl:
        assert len(crawl._means.route) == 1 and not crawl._means.is_direct
        assert crawl._means.user_agent == "us"
        assert not crawl._means.archives and crawl._means.cache is None


async def test_a_route_through_the_pool_has_a_chooser(redis: Redis, tmp_path: Path) -> None:
    frontier, info = await created(redis, proxy="pool")
    async with open_crawl(settings_of(tmp_path), redis, frontier, info) as crawl:
        assert any(isinstance(way, Pool) for way in crawl._means.route)
        assert crawl._means.fetcher.shared.policy.ways.chooser is not None


async def test_the_window_is_what_open_files_can_carry(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_crawl, "raise_file_limit", lambda: 300)
    frontier, info = await created(redis, concurrency=5000)
    async with open_crawl(settings_of(tmp_path), redis, frontier, info) as crawl:
        assert crawl._means.options.concurrency == 50


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"callback": "nowhere:see"}, CallbackError, "nowhere"),
        ({"out": ("/no/such/folder/a.jsonl",)}, OutputError, "make its folder first"),
        ({"proxy": "http://:0"}, TaskError, "proxy"),
    ],
)
async def test_what_cannot_be_had_is_an_error_and_leaves_nothing_open(
    redis: Redis, tmp_path: Path, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    frontier, info = await created(redis, **options)
    with pytest.raises(error, match=said):
        async with open_crawl(settings_of(tmp_path), redis, frontier, info):
            pass
    assert await frontier.marks() == {}


async def test_a_part_that_is_somebody_else_s_is_free_again(redis: Redis, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    out.write_text("{}\n")
    frontier, info = await created(redis, out=(str(out),))
    for _ in range(2):
        with pytest.raises(OutputError, match="exists, and this crawl has not written it"):
            async with open_crawl(settings_of(tmp_path), redis, frontier, info):
                pass
    os.remove(out)
    async with open_crawl(settings_of(tmp_path), redis, frontier, info):
        assert list(await frontier.marks()) == [f"{machine()}:{out}"]
