import asyncio
import contextlib
import io
import os
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from fetcher.crawl.frontier.frontier import Batch, Frontier, Outcome
from fetcher.crawl.model import Flag, Item, Options, url_id
from fetcher.crawl.seeding import Seeding, is_url
from fetcher.crawl.seeds.files import BATCH
from fetchpool.redis.connect import connect
from tests.redis_server import RedisServer
from tests.wait import wait_until

ROW = Flag.SEED | Flag.PAGE


async def entered(redis: Redis, *sources: str, worker: str = "w1", **more: Any) -> Frontier:
    frontier = Frontier(redis, "test", "c", worker)
    await frontier.create(Options(sources=sources, **more))
    await frontier.join()
    return frontier


async def seeding_of(frontier: Frontier, beat: float = 0.02) -> Seeding:
    info = await frontier.load()
    assert info is not None
    return Seeding(frontier, info.options, beat)


async def seeded(redis: Redis, *sources: str, **more: Any) -> tuple[list[Item], Seeding]:
    """All that one process queues of its sources."""
    frontier = await entered(redis, *sources, **more)
    seeding = await seeding_of(frontier)
    calls: list[None] = []
    async with asyncio.timeout(10):
        await seeding.run(lambda: calls.append(None))
    assert calls
    return await queued(frontier), seeding


async def queued(frontier: Frontier) -> list[Item]:
    items: list[Item] = []
    while leases := (await frontier.take(1000, delay=0)).leases:
        items += [lease.item for lease in leases]
        outcomes = [Outcome(lease=lease, what="s", reached=True) for lease in leases]
        await frontier.finish(Batch(outcomes=outcomes))
    return sorted(items, key=lambda item: item.url)


def urls(items: list[Item]) -> list[str]:
    return [item.url for item in items]


def written(folder: Path, text: str, name: str = "urls.txt") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def rows(number: int) -> str:
    return "".join(f"http://h/{at:05}\n" for at in range(number))


@contextlib.asynccontextmanager
async def standard_input(monkeypatch: pytest.MonkeyPatch, fd: int) -> AsyncIterator[None]:
    """What is read from `fd`; it has to end by itself."""
    with io.TextIOWrapper(os.fdopen(fd, "rb")) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield
        await wait_until(lambda: not _reading(), what="the thread to end")


def _reading() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("source ")]


@pytest_asyncio.fixture
async def pipe(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[io.FileIO]:
    """What is written there comes on standard input; a test may close it."""
    there, here = os.pipe()
    async with standard_input(monkeypatch, there):
        with io.FileIO(here, "wb") as pipe:
            yield pipe


# -- what sources name -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "is_one"),
    [
        ("http://h/", True),
        ("https://h/", True),
        ("ftp://h/", False),
        ("/http://h/", False),
        ("-", False),
    ],
)
def test_urls_are_told_from_files(source: str, is_one: bool) -> None:
    assert is_url(source) is is_one


@pytest.mark.parametrize(
    ("more", "flags"),
    [({}, Flag.SEED), ({"as_": "list"}, Flag.SEED | Flag.LIST), ({"as_": "page"}, Flag.SEED)],
)
async def test_a_page_is_a_source_itself(redis: Redis, more: dict[str, Any], flags: int) -> None:
    items, _ = await seeded(redis, "http://u:p@h/%7ea?b&a#c", **more)
    assert items == [Item(url="http://h/~a?b&a", flags=flags)]


@pytest.mark.parametrize(
    ("more", "flags"),
    [({}, ROW | Flag.LEAF), ({"depth": 0}, ROW), ({"follow": "x"}, ROW), ({"scope": "any"}, ROW)],
)
async def test_rows_of_a_file_are_pages_whose_links_are_followed_if_that_is_asked_for(
    redis: Redis, tmp_path: Path, more: dict[str, Any], flags: int
) -> None:
    items, _ = await seeded(redis, written(tmp_path, "http://h/x\n1,example.com\n"), **more)
    assert items == [
        Item(url="http://example.com/", flags=flags),
        Item(url="http://h/x", flags=flags),
    ]


async def test_an_index_in_a_file_names_sitemaps(redis: Redis, tmp_path: Path) -> None:
    index = "<sitemapindex><sitemap><loc>http://h/s.xml</loc></sitemap></sitemapindex>"
    items, _ = await seeded(redis, written(tmp_path, index, "index.xml"))
    assert items == [Item(url="http://h/s.xml", flags=Flag.SEED | Flag.LEAF | Flag.SITEMAP)]


async def test_the_robots_txt_of_a_page_is_asked_for_its_sitemaps(redis: Redis) -> None:
    items, _ = await seeded(redis, "https://h:81/a/b", sitemaps=True)
    robots = Flag.SEED | Flag.ROBOTS
    assert items == [
        Item(url="https://h:81/a/b", flags=Flag.SEED),
        Item(url="https://h:81/robots.txt", parent="https://h:81/a/b", flags=robots),
    ]
    assert items[1].parent_url == "https://h:81/a/b"


async def test_a_source_that_is_missing_or_empty_keeps_no_other_from_being_read(
    redis: Redis, tmp_path: Path
) -> None:
    good, more = written(tmp_path, "http://h/x\n"), written(tmp_path, "http://h/y\n", "more.txt")
    bad = [str(tmp_path / "none"), written(tmp_path, "", "empty"), str(tmp_path), "http://"]
    html = written(tmp_path, "<!doctype html><html>", "page.html")
    items, seeding = await seeded(redis, bad[0], good, bad[1], html, bad[2], bad[3], more)
    assert urls(items) == ["http://h/x", "http://h/y"]
    assert len(seeding.problems) == 5
    for problem, what in zip(
        seeding.problems, ("none", "empty", "HTML", "directory", ""), strict=True
    ):
        assert what in problem


async def test_a_source_that_is_broken_in_the_middle_gives_what_came_before(
    redis: Redis, tmp_path: Path
) -> None:
    sitemap = "<urlset><url><loc>http://h/a</loc></url><url><loc>http://h/b</loc></broken>"
    items, seeding = await seeded(redis, written(tmp_path, sitemap, "s.xml"))
    assert urls(items) == ["http://h/a", "http://h/b"]
    assert seeding.problems == []


async def test_rows_that_are_no_urls_are_counted(redis: Redis, tmp_path: Path) -> None:
    items, seeding = await seeded(redis, written(tmp_path, "http://h/a\n???\nmailto:x\n# no\n"))
    assert urls(items) == ["http://h/a"]
    assert (seeding.refused, seeding.problems) == (2, [])


async def test_what_is_excluded_is_excluded_also_where_a_source_names_it(
    redis: Redis, tmp_path: Path
) -> None:
    source = written(tmp_path, "http://h/a\nhttp://h/private\n")
    items, seeding = await seeded(redis, source, "http://h/private", exclude=("private",))
    assert urls(items) == ["http://h/a"]
    assert seeding.refused == 1
    assert seeding.problems == ["http://h/private: --exclude 'private' matches it"]


async def test_each_source_has_its_prefix_but_not_its_robots_txt(
    redis: Redis, tmp_path: Path
) -> None:
    frontier = await entered(
        redis, "http://h/docs/x", written(tmp_path, "http://www.i/a/b\nhttp://i/\n"),
        scope="prefix", sitemaps=True,
    )  # fmt: skip
    await (await seeding_of(frontier)).run(lambda: None)
    assert await frontier.scopes() == {"h/docs/", "i/a/", "i/"}


# -- several processes -----------------------------------------------------------------------------


async def test_only_one_process_reads_and_the_other_watches_until_it_is_done(
    redis: Redis, pipe: io.FileIO
) -> None:
    one = await entered(redis, "-")
    other = await entered(redis, "-", worker="w2")
    reading = asyncio.create_task((await seeding_of(one)).run(lambda: None))
    await wait_until(lambda: redis.exists(one.key("seeder")))
    watching = asyncio.create_task((await seeding_of(other)).run(lambda: None))
    pipe.write(b"http://h/1\n")
    await wait_until(lambda: one.is_member("seen", url_id("http://h/1")))
    assert not watching.done() and not reading.done()
    pipe.close()
    async with asyncio.timeout(5):
        await asyncio.gather(reading, watching)
    assert urls(await queued(one)) == ["http://h/1"]


async def test_who_waits_for_a_silent_standard_input_is_not_taken_for_dead(
    redis: Redis, pipe: io.FileIO
) -> None:
    frontier = await entered(redis, "-")
    reading = asyncio.create_task((await seeding_of(frontier)).run(lambda: None))
    await wait_until(lambda: redis.exists(frontier.key("seeder")))
    for _ in range(3):
        await redis.pexpire(frontier.key("seeder"), 5000)
        await wait_until(lambda: _is_renewed(redis, frontier), what="the role to be renewed")
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def _is_renewed(redis: Redis, frontier: Frontier) -> bool:
    return int(await redis.pttl(frontier.key("seeder"))) > 20_000


async def test_what_comes_on_standard_input_need_not_wait_for_more(
    redis: Redis, pipe: io.FileIO
) -> None:
    frontier = await entered(redis, "-")
    woken = asyncio.Event()
    reading = asyncio.create_task((await seeding_of(frontier)).run(woken.set))
    for number in range(3):
        woken.clear()
        pipe.write(b"http://h/%d\nhttp://h/half" % number)
        async with asyncio.timeout(5):
            await woken.wait()
        pipe.write(b"-%d\n" % number)
    pipe.close()
    async with asyncio.timeout(5):
        await reading
    halves = [f"http://h/half-{number}" for number in range(3)]
    assert urls(await queued(frontier)) == [*(f"http://h/{number}" for number in range(3)), *halves]


async def test_another_process_goes_on_behind_what_is_queued(redis: Redis, tmp_path: Path) -> None:
    path = written(tmp_path, rows(5 * BATCH + 1))
    one = await entered(redis, path, "http://last/")
    calls = 0

    def wake() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            reading.cancel()

    reading = asyncio.create_task((await seeding_of(one)).run(wake))
    await asyncio.gather(reading, return_exceptions=True)
    assert reading.cancelled()
    source, row = await one.read_position()
    assert (source, row) in ((0, 2 * BATCH), (0, 3 * BATCH))
    await redis.delete(one.key("seeder"))  # its time is over
    other = await entered(redis, worker="w2")
    await (await seeding_of(other)).run(lambda: None)
    counts = await other.counts()
    assert (counts.queued, counts.duplicates) == (5 * BATCH + 2, 3 * BATCH - row)


async def test_who_is_displaced_reads_no_further(redis: Redis, pipe: io.FileIO) -> None:
    one = await entered(redis, "-")
    reading = asyncio.create_task((await seeding_of(one)).run(lambda: None))
    pipe.write(b"http://h/1\n")
    await wait_until(lambda: one.is_member("seen", url_id("http://h/1")))
    await redis.set(one.key("seeder"), "w2", px=30_000)
    pipe.write(b"http://h/2\n")
    await redis.hset(one.key("meta"), "seeded", "1")  # that one has done it
    async with asyncio.timeout(5):
        await reading
    assert await redis.get(one.key("seeder")) == b"w2"


async def test_standard_input_of_a_process_that_is_gone_is_not_asked_of_a_person(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    frontier = await entered(redis, "-", "http://h/")
    await frontier.save_position(0, 1000)
    ours, theirs = os.openpty()
    async with standard_input(monkeypatch, theirs):
        seeding = await seeding_of(frontier)
        async with asyncio.timeout(5):
            await seeding.run(lambda: None)
    os.close(ours)
    assert urls(await queued(frontier)) == ["http://h/"]
    [problem] = seeding.problems
    assert "up to line 1000" in problem


async def test_nothing_of_standard_input_is_lost_while_redis_is_away(
    tmp_path: Path, pipe: io.FileIO
) -> None:
    durable = ("--appendonly", "yes")
    with RedisServer.start(tmp_path, None, *durable) as server:
        redis = connect(server.url)
        frontier = await entered(redis, "-")
        seeding = await seeding_of(frontier)
        reading = asyncio.create_task(seeding.run(lambda: None))
        pipe.write(b"http://h/1\n")
        await wait_until(lambda: frontier.is_member("seen", url_id("http://h/1")))
        server.kill()
    pipe.write(b"http://h/2\nhttp://h/3\n")
    pipe.close()
    await wait_until(lambda: not _reading(), what="all to be read")
    with RedisServer.start(tmp_path, None, *durable):
        async with asyncio.timeout(10):
            await reading
        assert urls(await queued(frontier)) == ["http://h/1", "http://h/2", "http://h/3"]
        assert seeding.problems == []
        await redis.aclose()


# -- the end ---------------------------------------------------------------------------------------


async def test_a_crawl_that_is_gone_or_read_needs_no_seeding(redis: Redis) -> None:
    gone = Seeding(Frontier(redis, "test", "c", "w1"), Options(sources=("http://h/",)))
    await gone.run(lambda: None)
    frontier = await entered(redis, "http://h/")
    await frontier.say_seeded()
    await (await seeding_of(frontier)).run(lambda: None)
    assert await queued(frontier) == []


def test_a_thread_that_reads_says_nothing_when_the_loop_has_gone(
    one_redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[object] = []
    monkeypatch.setattr(threading, "excepthook", said.append)
    source = written(tmp_path, rows(20 * BATCH))

    async def begin() -> None:
        redis = connect(one_redis.url)
        await redis.flushall()
        frontier = await entered(redis, source)

        def wake() -> None:
            reading.cancel()

        reading = asyncio.create_task((await seeding_of(frontier)).run(wake))
        await asyncio.gather(reading, return_exceptions=True)
        await redis.aclose()

    before = set(threading.enumerate())
    asyncio.run(begin())
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()
    assert said == []


async def test_an_error_that_nobody_foresaw_ends_the_source_and_not_the_crawl(
    redis: Redis, tmp_path: Path
) -> None:
    items, seeding = await seeded(redis, f"{tmp_path}/\0", "http://h/")
    assert urls(items) == ["http://h/"]
    assert len(seeding.problems) == 1
