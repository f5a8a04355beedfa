import asyncio
import gzip
import io
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from fetcher.crawl import list_answers
from fetcher.crawl.frontier.frontier import Batch, Frontier, Outcome
from fetcher.crawl.list_answers import MOST_LEVELS, ListAnswers
from fetcher.crawl.model import Flag, Item, Options, Page, Visited, short_parent, url_id
from fetchpool.redis.connect import connect
from tests.redis_server import RedisServer
from tests.standstill import Standstill
from tests.wait import wait_until

ROW = Flag.SEED | Flag.PAGE
FOUND = Flag.SITEMAP | Flag.SEED | Flag.JUDGED  # a sitemap that a robots.txt names

URLSET = b"<urlset><url><loc>http://h/a</loc></url></urlset>"
INDEX = b"<sitemapindex><sitemap><loc>http://h/s.xml</loc></sitemap></sitemapindex>"
FEED = b"<rss><channel><item><link>http://h/a</link></item></channel></rss>"
HTML = b"<!doctype html><html><a href=/x>http://h/x\nwww.example.com"


def page(content: bytes, url: str = "http://h/list", status: int = 200, kind: str = "") -> Page:
    headers = {"Content-Type": kind} if kind else {}
    return Page(visited=Visited(url=url), status_code=status, headers=headers, content=content)


async def listing(redis: Redis, **more: Any) -> tuple[ListAnswers, Frontier]:
    frontier = Frontier(redis, "test", "c", "w1")
    options = Options(sources=("x",), **more)
    await frontier.create(options)
    return ListAnswers(frontier, options), frontier


async def queued(frontier: Frontier) -> dict[str, Item]:
    items: dict[str, Item] = {}
    while leases := (await frontier.take(1000, delay=0)).leases:
        items |= {lease.item.url: lease.item for lease in leases}
        outcomes = [Outcome(lease=lease, what="s", reached=True) for lease in leases]
        await frontier.finish(Batch(outcomes=outcomes))
    return items


async def read(
    lists: ListAnswers, one: Page, flags: int, guards: bool = False, **more: Any
) -> tuple[str, int]:
    item = Item(url=one.visited.url, flags=flags, **more)
    kind = lists.kind(item, one)
    return kind, await lists.read(kind, one, item, 0, guards=guards) if kind else 0


# -- what an answer is -----------------------------------------------------------------------------


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("list.csv", content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "content_type", "kinds"),
    [
        # As a source, as a page of a list, as a sitemap, and with --as list.
        (b"http://h/a\n", "text/plain", ("text", "", "sitemap", "text")),
        (b"1,h.com\n", "text/csv", ("csv", "", "sitemap", "csv")),
        (URLSET, "text/xml", ("sitemap", "", "sitemap", "sitemap")),
        (INDEX, "", ("sitemapindex", "", "sitemapindex", "sitemapindex")),
        (FEED, "application/rss+xml", ("", "", "feed", "feed")),
        (zipped(b"1,h.com\n"), "text/html", ("zip", "", "sitemap", "zip")),
        (gzip.compress(URLSET), "text/html", ("gzip", "", "sitemap", "gzip")),
        (HTML, "text/html", ("", "", "page", "page")),
        (HTML, "text/plain", ("", "", "page", "page")),
        (b"h.com\n", "application/json", ("", "", "sitemap", "text")),
        (b"", "text/html", ("", "", "page", "page")),
    ],
)
async def test_an_answer_is_a_list_where_one_may_be(
    redis: Redis, content: bytes, content_type: str, kinds: tuple[str, ...]
) -> None:
    lists, _ = await listing(redis)
    one = page(content, kind=content_type)
    for flags, kind in zip(
        (Flag.SEED, ROW, Flag.SITEMAP, Flag.SEED | Flag.LIST), kinds, strict=True
    ):
        assert lists.kind(Item(url=one.visited.url, flags=flags), one) == kind
    assert lists.kind(Item(url=one.visited.url), one) == ""
    robots = Item(url=one.visited.url, flags=Flag.SEED | Flag.ROBOTS)
    assert lists.kind(robots, one) == "robots.txt"


@pytest.mark.parametrize("status", [199, 300, 304, 404, 500, 599])
@pytest.mark.parametrize("flags", [Flag.SEED, Flag.SITEMAP, Flag.ROBOTS, Flag.LIST])
async def test_only_a_good_answer_is_a_list(redis: Redis, status: int, flags: int) -> None:
    lists, _ = await listing(redis)
    one = page(b"http://h/a\n", status=status, kind="text/plain")
    assert lists.kind(Item(url="http://h/list", flags=flags), one) == ""


async def test_as_page_is_for_sources_and_not_for_sitemaps(redis: Redis) -> None:
    lists, _ = await listing(redis, as_="page", sitemaps=True)
    one = page(URLSET)
    assert lists.kind(Item(url="http://h/list", flags=Flag.SEED), one) == ""
    assert lists.kind(Item(url="http://h/list", flags=FOUND), one) == "sitemap"


# -- what a list names -----------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [Flag.SEED, Flag.SEED | Flag.LIST])
@pytest.mark.parametrize(("more", "leaf"), [({}, Flag.LEAF), ({"depth": 1}, 0)])
async def test_what_a_source_names_are_pages(
    redis: Redis, flags: int, more: dict[str, Any], leaf: int
) -> None:
    lists, frontier = await listing(redis, **more)
    content = b"http://h/a\nhttp://h/next.txt\nhttps://other/\n???\n"
    assert await read(lists, page(content, kind="text/plain"), flags) == ("text", 3)
    items = await queued(frontier)
    assert sorted(items) == ["http://h/a", "http://h/next.txt", "https://other/"]
    assert items["http://h/a"] == Item(url="http://h/a", parent="/list", flags=ROW | leaf)
    assert items["https://other/"].parent_url == "http://h/list"
    # A list without end is none: what it names is no list, also not the next part of it.
    again = page(b"http://h/3.txt\n", "http://h/next.txt", kind="text/plain")
    assert lists.kind(items["http://h/next.txt"], again) == ""


@pytest.mark.parametrize("guards", [False, True])
async def test_what_a_public_list_names_is_guarded(redis: Redis, guards: bool) -> None:
    lists, frontier = await listing(redis)
    await read(lists, page(b"http://127.0.0.1/\n", kind="text/plain"), Flag.SEED, guards)
    await read(lists, page(INDEX, "http://h/i.xml"), Flag.SEED, guards)
    await read(lists, page(b"Sitemap: /s", "http://h/robots.txt"), Flag.ROBOTS, guards)
    items = await queued(frontier)
    assert len(items) == 3
    assert {bool(item.flags & Flag.GUARDED) for item in items.values()} == {guards}


async def test_an_index_names_sitemaps_and_they_name_pages(redis: Redis) -> None:
    lists, frontier = await listing(redis)
    assert await read(lists, page(INDEX, "http://h/i.xml"), Flag.SEED) == ("sitemapindex", 1)
    [sitemap] = (await queued(frontier)).values()
    flags = Flag.SEED | Flag.LEAF | Flag.SITEMAP
    assert sitemap == Item(url="http://h/s.xml", parent="/i.xml", flags=flags, hops=1)
    assert await read(lists, page(gzip.compress(URLSET), sitemap.url), sitemap.flags) == (
        "sitemap",
        1,
    )
    [item] = (await queued(frontier)).values()
    assert item == Item(url="http://h/a", parent="/s.xml", flags=ROW | Flag.LEAF)


@pytest.mark.parametrize(
    ("hops", "number"), [(MOST_LEVELS - 1, 1), (MOST_LEVELS, 0), (MOST_LEVELS + 1, 0)]
)
async def test_sitemaps_name_others_a_few_levels_deep(redis: Redis, hops: int, number: int) -> None:
    lists, frontier = await listing(redis)
    _, new = await read(lists, page(INDEX), Flag.SITEMAP, hops=hops)
    assert new == number == len(await queued(frontier))


async def test_pages_may_be_named_at_any_level(redis: Redis) -> None:
    lists, frontier = await listing(redis)
    await read(lists, page(URLSET), Flag.SITEMAP, hops=MOST_LEVELS)
    assert [item.hops for item in (await queued(frontier)).values()] == [0]


async def test_what_was_to_be_a_list_and_is_a_page_names_nothing(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    lists, frontier = await listing(redis)
    for flags in (Flag.SITEMAP, Flag.SEED | Flag.LIST):
        assert await read(lists, page(HTML), flags) == ("page", 0)
    assert await queued(frontier) == {}
    assert caplog.text.count("http://h/list: http://h/list is an HTML page") == 2


async def test_a_list_that_is_read_again_names_nothing_new(redis: Redis) -> None:
    lists, _ = await listing(redis)
    one = page(b"".join(b"http://h/%d\n" % number for number in range(2500)), kind="text/plain")
    assert await read(lists, one, Flag.SEED) == ("text", 2500)
    assert await read(lists, one, Flag.SEED) == ("text", 0)


async def test_a_broken_list_gives_what_came_before_and_says_so(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    lists, frontier = await listing(redis)
    broken = gzip.compress(b"http://h/a\n" * 10_000)[:-20]
    _, new = await read(lists, page(broken, "http://u:p@h/l"), Flag.SEED)
    assert new == 1
    assert len(await queued(frontier)) == 1
    assert "it was read no further" in caplog.text
    assert "u:p" not in caplog.text


async def test_a_long_list_stops_nobody(redis: Redis) -> None:
    lists, _ = await listing(redis)
    content = b"".join(b"<url><loc>http://h/%d</loc></url>" % number for number in range(20_000))
    started = time.monotonic()
    with Standstill() as standstill:
        _, new = await read(lists, page(b"<urlset>" + content + b"</urlset>"), Flag.SITEMAP)
    assert new == 20_000
    assert standstill.longest < (time.monotonic() - started) / 2


# -- robots.txt ------------------------------------------------------------------------------------

ROBOTS = b"""\xef\xbb\xbfUser-agent: *
Disallow: /private
sitemap: http://h/a.xml
Sitemap: /b.xml # relative
SITEMAP:c.xml
Sitemap: https://cdn/d.xml.gz
Sitemap: javascript:x
Sitemap: http://
Sitemap:
Sitemap: http://h/a.xml
"""


async def test_a_robots_txt_names_sitemaps(redis: Redis) -> None:
    lists, frontier = await listing(redis, sitemaps=True)
    kind, new = await read(lists, page(ROBOTS, "http://h/robots.txt"), Flag.SEED | Flag.ROBOTS)
    items = await queued(frontier)
    assert (kind, new, sorted(items)) == (
        "robots.txt",
        4,
        ["http://h/a.xml", "http://h/b.xml", "http://h/c.xml", "https://cdn/d.xml.gz"],
    )
    assert {item.flags for item in items.values()} == {FOUND}
    assert {item.parent_url for item in items.values()} == {"http://h/robots.txt"}


async def judged(lists: ListAnswers, frontier: Frontier, *urls: str) -> dict[str, Item]:
    """What is queued of a sitemap on another host that a robots.txt of h names."""
    inner = "".join(f"<url><loc>{url}</loc></url>" for url in urls).encode()
    sitemap, root = "http://cdn/s.xml", "http://h/robots.txt"
    parent = short_parent(root, sitemap)
    await read(lists, page(b"<urlset>" + inner + b"</urlset>", sitemap), FOUND, parent=parent)
    return await queued(frontier)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, ["http://h/docs/a", "http://h/x", "http://www.h/"]),
        ({"scope": "page"}, ["http://h/docs/a", "http://h/x", "http://www.h/"]),
        ({"depth": 0}, ["http://h/docs/a", "http://h/x", "http://www.h/"]),
        ({"scope": "any"}, ["http://else/", "http://h/docs/a", "http://h/x", "http://www.h/"]),
        ({"scope": "prefix"}, ["http://h/docs/a"]),
        ({"follow": "docs"}, ["http://h/docs/a"]),
        ({"exclude": ("docs", "www")}, ["http://h/x"]),
    ],
)
async def test_pages_that_a_sites_sitemaps_name_are_judged_like_links_of_its_robots_txt(
    redis: Redis, more: dict[str, Any], expected: list[str]
) -> None:
    lists, frontier = await listing(redis, sitemaps=True, **more)
    await frontier.add_scopes(["h/docs/"])
    urls = ["http://h/docs/a", "http://h/x", "http://www.h/", "http://else/"]
    items = await judged(lists, frontier, *urls)
    assert sorted(items) == expected
    # No sources: they are no lists, and where they redirect to is judged.
    assert {item.flags for item in items.values()} == {0}
    assert {item.parent_url for item in items.values()} == {"http://cdn/s.xml"}
    assert await frontier.scopes() == {"h/docs/"}


async def test_that_holds_however_deep_the_sitemaps_lie(redis: Redis) -> None:
    lists, frontier = await listing(redis, sitemaps=True)
    await read(lists, page(INDEX, "http://cdn/i.xml"), FOUND, parent="http://h/robots.txt", hops=1)
    [sitemap] = (await queued(frontier)).values()
    assert sitemap.parent_url == "http://h/robots.txt"
    assert (sitemap.flags, sitemap.hops) == (FOUND, 2)


async def test_what_a_users_list_names_is_excluded_only(redis: Redis) -> None:
    lists, frontier = await listing(redis, follow="x", exclude=("private",))
    content = b"http://h/a\nhttp://else/\nhttp://h/private\n"
    assert await read(lists, page(content, kind="text/plain"), Flag.SEED) == ("text", 2)
    assert sorted(await queued(frontier)) == ["http://else/", "http://h/a"]


async def test_options_that_were_changed_hold_for_the_next_list(redis: Redis) -> None:
    lists, frontier = await listing(redis)
    await frontier.change(Options(sources=("x",), exclude=("a",)))
    assert await read(lists, page(b"http://h/a\n", kind="text/plain"), Flag.SEED) == ("text", 0)


async def test_what_a_users_list_names_is_in_the_prefix_scope(redis: Redis) -> None:
    lists, frontier = await listing(redis, scope="prefix")
    content = b"http://h/docs/a\nhttp://www.else/\n"
    await read(lists, page(content, kind="text/plain"), Flag.SEED)
    await read(lists, page(INDEX, "http://h/i/i.xml"), Flag.SEED)
    assert await frontier.scopes() == {"h/docs/", "else/"}


# -- Redis -----------------------------------------------------------------------------------------


async def test_a_list_is_read_to_its_end_whenever_redis_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(list_answers, "_AGAIN", 0.02)
    with RedisServer.start(tmp_path) as server:
        redis = connect(server.url)
        lists, frontier = await listing(redis)
        server.kill()
    content = b"".join(b"http://h/%d\n" % number for number in range(1500))
    reading = asyncio.create_task(read(lists, page(content, kind="text/plain"), Flag.SEED))
    await wait_until(lambda: "trying again" in caplog.text)
    given_up = asyncio.create_task(read(lists, page(content, kind="text/plain"), Flag.SEED))
    await wait_until(lambda: caplog.text.count("trying again") > 3)
    given_up.cancel()
    await asyncio.wait([given_up])
    assert given_up.cancelled()
    with RedisServer.start(tmp_path):
        async with asyncio.timeout(5):
            assert await reading == ("text", 1500)
        assert await frontier.is_member("seen", url_id("http://h/1499"))
        await redis.aclose()
