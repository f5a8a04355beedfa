import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fetcher.crawl import page_reader
from fetcher.crawl.callback.callbacks import Callbacks
from fetcher.crawl.canonical import LONGEST
from fetcher.crawl.life import decode_life
from fetcher.crawl.model import Flag, Item, Options, Page, Visited, url_id
from fetcher.crawl.page_reader import Found, PageReader
from fetcher.crawl.parser import Parser
from tests.standstill import Standstill

URL = "http://h/dir/page"
HTML = "text/html; charset=utf-8"

CALLBACK = """
def see(page):
    if page.url.endswith("/raise"):
        raise ValueError("bad page")
    if page.url.endswith("/item"):
        return {"title": "x"}
    return page.text.split("|")
"""


def options(**more: Any) -> Options:
    return Options(sources=("x",), **more)


@contextlib.asynccontextmanager
async def reading(callbacks: Callbacks | None = None, **more: Any) -> AsyncIterator[PageReader]:
    reader = PageReader(options(**more), callbacks)
    try:
        yield reader
    finally:
        await reader.close()


def page(html: str | bytes, url: str = URL, status: int = 200, headers: Any = None) -> Page:
    content = html if isinstance(html, bytes) else html.encode()
    fields = {"Content-Type": HTML, **(headers or {})}
    return Page(
        visited=Visited(url=url), status_code=status, headers=fields, content=content, body=content
    )


async def read(
    reader: PageReader, one: Page, depth: int = 0, flags: int = 0, guards: bool = False
) -> Found:
    return await reader.read(one, Item(url=one.visited.url, flags=flags), depth, guards=guards)


def queued(found: Found) -> list[str]:
    return [arrival.item.url for arrival in found.arrivals]


def skipped(found: Found) -> dict[str, str]:
    lives = [decode_life(value) for _, _, value in found.skips]
    return {life.url: life.reason for life in lives}


# -- what a page says ------------------------------------------------------------------------------


async def test_a_page_gets_its_title_and_its_links_are_queued_one_deeper() -> None:
    async with reading() as reader:
        one = page("<title>A  title</title><a href=x><a href=/y><a href=x#z>")
        found = await read(reader, one, depth=3)
    assert (one.title, one.links, one.text) == ("A title", 2, None)
    assert queued(found) == ["http://h/dir/x", "http://h/y"]
    first = found.arrivals[0]
    assert (first.id, first.host, first.depth) == (url_id("http://h/dir/x"), "h", 4)
    assert first.item == Item(url="http://h/dir/x", parent="/dir/page")
    assert first.item.parent_url == URL
    assert (found.counts, found.tally, found.skips) == ({}, {}, [])


@pytest.mark.parametrize(
    ("status", "flags", "number"),
    [
        (199, 0, 0),
        (200, 0, 1),
        (299, 0, 1),
        (300, 0, 0),
        (404, 0, 0),
        (599, 0, 0),
        (200, Flag.LEAF, 0),
        (200, Flag.LEAF | Flag.SEED, 0),
        (200, Flag.SEED, 1),
    ],
)
async def test_links_of_good_pages_are_followed_unless_it_is_a_leaf(
    status: int, flags: int, number: int
) -> None:
    async with reading() as reader:
        one = page("<title>t</title><a href=/x><a href=tel:1>", status=status)
        found = await read(reader, one, flags=flags)
    assert len(found.arrivals) == number
    assert len(found.skips) == number
    assert (one.title, one.links) == ("t", 1)


@pytest.mark.parametrize("guards", [False, True])
async def test_what_a_public_page_names_is_guarded(guards: bool) -> None:
    async with reading(scope="any") as reader:
        found = await read(reader, page("<a href=http://127.0.0.1/>"), guards=guards)
    assert [one.item.flags for one in found.arrivals] == [Flag.GUARDED if guards else 0]


async def test_flags_of_a_source_are_not_those_of_its_links() -> None:
    async with reading() as reader:
        flags = Flag.SEED | Flag.LIST | Flag.GUARDED
        found = await read(reader, page("<a href=/x>"), flags=flags)
    assert [one.item.flags for one in found.arrivals] == [0]


@pytest.mark.parametrize(
    ("content_type", "content", "is_read"),
    [
        ("", b"<!doctype html><title>t</title>", True),
        ("", b"\x00" * 3000, False),
        ("application/xhtml+xml", b"<title>t</title>", True),
        ("image/png", b"<!doctype html><title>t</title>", False),
        ("text/plain", b"<title>t</title>", False),
    ],
)
async def test_pages_are_what_says_so_or_looks_so(
    content_type: str, content: bytes, is_read: bool
) -> None:
    async with reading() as reader:
        one = page(content, headers={"Content-Type": content_type})
        await read(reader, one)
    assert one.title == ("t" if is_read else "")


@pytest.mark.parametrize(
    ("content_type", "content", "text"),
    [
        (HTML, b"<p>a<p>b", "a\nb"),
        ("text/plain; charset=latin1", b"\xe9", "\u00e9"),
        ("text/css", b"x" * 1_000_001, "x" * 1_000_000),
        ("image/png", b"x", None),
    ],
)
async def test_the_text_is_read_where_it_was_asked_for(
    content_type: str, content: bytes, text: str | None
) -> None:
    async with reading(text=True) as reader:
        one = page(content, headers={"Content-Type": content_type})
        await read(reader, one)
        assert one.text == text
        reader.change(options())
        one = page(content, headers={"Content-Type": content_type})
        await read(reader, one)
        assert one.text is None


# -- which links are followed ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("html", "headers", "is_followed"),
    [
        ("<a href=/x>", {}, True),
        ("<a href=/x rel='external NoFollow'>", {}, False),
        ("<meta name=robots content='noindex, nofollow'><a href=/x>", {}, False),
        ("<meta name=ROBOTS content=none><a href=/x>", {}, False),
        ("<meta name=robots content=noindex><a href=/x>", {}, True),
        ("<a href=/x>", {"X-Robots-Tag": "noarchive, nofollow"}, False),
        ("<a href=/x>", {"X-Robots-Tag": "googlebot: nofollow"}, True),
        ("<a href=/x>", {"X-Robots-Tag": "googlebot: nofollow, *: none"}, False),
    ],
)
async def test_nofollow_is_obeyed_unless_it_is_switched_off(
    html: str, headers: dict[str, str], is_followed: bool
) -> None:
    async with reading() as reader:
        found = await read(reader, page(html, headers=headers))
    assert skipped(found) == ({} if is_followed else {"http://h/x": "nofollow"})
    assert queued(found) == ["http://h/x"] * is_followed
    async with reading(nofollow=False) as reader:
        assert queued(await read(reader, page(html, headers=headers))) == ["http://h/x"]


async def test_each_link_that_is_not_followed_is_told_with_its_reason() -> None:
    html = """<a href=/yes><a href=/yes/no><a href=/other><a href=http://elsewhere/yes>
        <a href=tel:1><a href=http://><a href=/yes/a/a/a/a><a href=/yes/nf rel=nofollow>"""
    async with reading(follow="/yes", exclude=("no",)) as reader:
        found = await read(reader, page(html, url="http://h/"))
    assert queued(found) == ["http://h/yes"]
    assert skipped(found) == {
        "tel:1": "scheme",
        "http://": "invalid",
        "http://h/yes/no": "exclude",
        "http://h/other": "follow",
        "http://elsewhere/yes": "scope",
        "http://h/yes/a/a/a/a": "trap",
        "http://h/yes/nf": "nofollow",
    }
    assert found.counts == {"skipped": 7}
    assert found.tally == {f"skip:{reason}": 1 for reason in skipped(found).values()}
    life = decode_life(found.skips[-1][2])
    assert (life.parent, life.depth) == ("http://h/", 1)


@pytest.mark.parametrize(("depth", "is_followed"), [(0, True), (1, True), (2, False), (3, False)])
async def test_depth_is_counted_from_the_source(depth: int, is_followed: bool) -> None:
    async with reading(depth=2) as reader:
        found = await read(reader, page("<a href=/x>"), depth=depth)
    assert bool(found.arrivals) is is_followed


async def test_the_prefix_scope_knows_what_is_told_later() -> None:
    async with reading(scope="prefix") as reader:
        found = await read(reader, page("<a href=x>"))
        assert skipped(found) == {"http://h/dir/x": "scope"}
        reader.prefixes |= {"h/dir/"}
        assert queued(await read(reader, page("<a href=x>"))) == ["http://h/dir/x"]


async def test_changed_options_hold_from_the_next_page_on() -> None:
    async with reading(exclude=("x",)) as reader:
        assert queued(await read(reader, page("<a href=x>"))) == []
        reader.change(options(exclude=("y",)))
        assert queued(await read(reader, page("<a href=x>"))) == ["http://h/dir/x"]


# -- what is known ---------------------------------------------------------------------------------


async def test_what_is_queued_is_not_queued_again() -> None:
    async with reading() as reader:
        first = await read(reader, page("<a href=/x><a href=/y>"))
        reader.remember(queued(first))
        again = await read(reader, page("<a href=/x><a href=/z><a href=/y>", url="http://h/2"))
    assert queued(again) == ["http://h/z"]
    assert again.counts == {"duplicates": 2}


async def test_what_every_page_of_a_site_repeats_is_told_once() -> None:
    html = """<a href=http://elsewhere/><a href=mailto:me@h><a href=http://><a href=/private>
        <a href=/sort?b=1&amp;a=2&private>"""
    async with reading(exclude=("private",)) as reader:
        first = await read(reader, page(html))
        again = await read(reader, page(html, url="http://h/2"))
        other = await read(reader, page("<a href=/sort?a=2&amp;b=1&private>", url="http://h/3"))
    assert first.counts == {"skipped": 5}
    assert sum(first.tally.values()) == len(first.skips) == 5
    for found in (again, other):
        assert (found.counts, found.tally, found.skips, found.arrivals) == ({}, {}, [], [])


async def test_a_url_that_was_skipped_may_be_followed_from_elsewhere() -> None:
    async with reading(depth=2) as reader:
        assert skipped(await read(reader, page("<a href=/x>"), depth=2)) == {"http://h/x": "depth"}
        assert queued(await read(reader, page("<a href=/x>"), depth=1)) == ["http://h/x"]


@pytest.mark.parametrize(("number", "is_known"), [(3, True), (4, True), (5, False)])
async def test_only_so_much_is_remembered(
    number: int, is_known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_reader, "_KNOWN", 4)
    async with reading() as reader:
        reader.remember(f"http://h/{at}" for at in range(number))
        again = await read(reader, page("<a href=/0>"))
        assert bool(again.arrivals) is not is_known
        away = [f"http://away/{at}" for at in range(number)]
        for url in away:
            await read(reader, page(f"<a href={url}>"))
        again = await read(reader, page(f"<a href={away[0]}>"))
        assert bool(again.skips) is not is_known


@pytest.mark.parametrize(("length", "is_known"), [(299, True), (300, True), (301, False)])
async def test_long_urls_are_not_remembered(length: int, is_known: bool) -> None:
    url = "http://h/".ljust(length, "x")
    async with reading() as reader:
        reader.remember([url])
        found = await read(reader, page(f"<a href={url}>"))
    assert bool(found.arrivals) is not is_known


# -- hostile pages ---------------------------------------------------------------------------------


async def test_a_page_that_cannot_be_read_in_time_is_a_page_all_the_same() -> None:
    async with reading() as reader:
        reader._parser = Parser(0.3)
        one = page(b"<title>t</title>" + b"<div>" * 1_000_000 + b"<a href=/x>")
        with Standstill() as standstill:
            found = await read(reader, one)
    assert (one.title, one.links, found.arrivals) == ("", 0, [])
    assert found.tally == {"unread:it was not read within 0.3 s": 1}
    assert standstill.longest < 0.25


async def test_a_page_of_nothing_but_links_stops_nobody() -> None:
    html = "".join(f"<a href=/{number}?{'&'.join('xyz')}>" for number in range(20_000))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with reading(exclude=("q$", "[0-9]{7}"), follow="h/") as reader:
        counting = asyncio.create_task(count())
        one = page(html)
        found = await read(reader, one)
        counting.cancel()
    assert (len(found.arrivals), one.links) == (10_000, 20_000)
    assert turns >= 10  # that others had, while the links were judged


@pytest.mark.parametrize(
    "html",
    [
        b"",
        b"\x00" * 1000,
        b"<a href='\xff\xfe\xed\xa0\x80'>",
        b"<a href='&#xd800;&#0;x'><title>&#xd800;</title>",
        b"<a href=http://[::1><a href=//><a href='http://a b/'><a href=http://%00/>",
        b"<base href='javascript:x'><a href=x>",
        b"<base href='http://u:p@elsewhere/'><a href=x>",
        b"<a href='" + b"x" * 200_000 + b"'>",
        b"<a href='data:" + b"x" * 200_000 + b"'>",
        b"<meta name=robots content='" + b"," * 100_000 + b"'>",
        b"<a " + b"href=x " * 1000 + b">",
        b"\xff\xfe\x00\xd8\x00\xd8",
    ],
)
async def test_whatever_a_page_has_in_it_is_read_and_bounded(html: bytes) -> None:
    async with reading() as reader:
        found = await read(reader, page(html))
    assert all(len(one.item.url) <= LONGEST and "@" not in one.item.url for one in found.arrivals)
    assert all(len(value) < 2 * LONGEST for _, _, value in found.skips)


# -- callbacks -------------------------------------------------------------------------------------


@pytest.fixture
async def callbacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callbacks]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs.py").write_text(CALLBACK)
    callbacks = Callbacks("theirs:see")
    try:
        await callbacks.start()
        yield callbacks
    finally:
        await callbacks.close()


async def test_links_of_a_callback_are_judged_like_others_whatever_they_are(
    callbacks: Callbacks,
) -> None:
    given = (
        "x|/y#z|HTTP://H/z|http://u:p@h/p|mailto:me|http://elsewhere/|http://a b/|http://h:99999/"
        "|javascript:x|ftp://h/|http:///|"
    )
    async with reading(callbacks) as reader:
        found = await read(reader, page(given, headers={"Content-Type": "text/plain"}))
    assert queued(found) == ["http://h/dir/x", "http://h/y", "http://h/z", "http://h/p", URL]
    assert sorted(skipped(found).values()) == [
        "invalid", "invalid", "invalid", "scheme", "scheme", "scheme", "scope",
    ]  # fmt: skip
    assert found.counts == {"items": 0, "skipped": 7}


async def test_what_a_callback_gives_to_write_is_the_pages(callbacks: Callbacks) -> None:
    async with reading(callbacks) as reader:
        one = page("", url="http://h/item")
        found = await read(reader, one)
    assert one.items == [{"title": "x"}]
    assert found.counts == {"items": 1}


async def test_an_exception_of_a_callback_is_the_pages_and_is_counted(
    callbacks: Callbacks,
) -> None:
    async with reading(callbacks) as reader:
        found = await read(reader, page("<a href=/x>", url="http://h/raise"))
    assert found.counts == {"items": 0, "callback_errors": 1}
    [field] = found.tally
    assert field.startswith("callback:") and "bad page" in field and len(field) <= 129
    assert queued(found) == ["http://h/x"]


async def test_a_visit_that_is_cancelled_meanwhile_disturbs_nobody(callbacks: Callbacks) -> None:
    async with reading(callbacks) as reader:
        given_up = asyncio.create_task(
            read(reader, page("x", headers={"Content-Type": "text/plain"}))
        )
        await asyncio.sleep(0)
        given_up.cancel()
        found = await read(reader, page("y", headers={"Content-Type": "text/plain"}))
        assert queued(found) == ["http://h/dir/y"]
        assert given_up.cancelled()
    assert callbacks.errors == 0
