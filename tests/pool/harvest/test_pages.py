"""Pages from a real site through a real fetcher."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from fetcher.client.curl import CurlClient
from fetcher.model import Result, Trust
from fetcher.run.fetcher import Fetcher
from fetcher.task.request import Defaults
from fetchpool.farm import Farm
from pool.harvest.pages import IN_PLACE, Pages, SourceError, Unreached, is_quick
from pool.model import Validators
from pool.settings import Harvest
from pool.source import Source
from tests.fetcher.fetchers import build_fetcher
from tests.raw_origin import Endless, RawOrigin
from tests.standstill import Standstill

pytestmark = pytest.mark.timeout(30)

LIST = b"8.8.8.8:3128\n8.8.4.4:3128\n"
DATE = "Sat, 22 Aug 2026 10:00:00 GMT"


@contextlib.asynccontextmanager
async def fetching() -> AsyncIterator[Fetcher]:
    client = CurlClient(force_instance=True)
    try:
        yield build_fetcher(
            {Trust.OPEN: client, Trust.GUARDED: client}, Defaults(user_agent="test")
        )
    finally:
        client.close()


def answer(*headers: str, body: bytes = LIST, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextlib.asynccontextmanager
async def reading(harvest: Harvest | None = None) -> AsyncIterator[tuple[RawOrigin, Pages]]:
    async with RawOrigin() as origin, fetching() as fetcher:
        pages = Pages(fetcher.fetch, harvest or Harvest(), pause=0.0)
        try:
            yield origin, pages
        finally:
            await pages.close()


def make(url: str, **fields: Any) -> Source:
    return Source(name="one", url=url, **fields)


# -- what has not changed -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], None),
        (['ETag: "abc"'], Validators(etag='"abc"')),
        (['etag: W/"abc"'], Validators(etag='W/"abc"')),
        ([f"Last-Modified: {DATE}"], Validators(last_modified=DATE)),
        (['ETag: "a"', f"Last-Modified: {DATE}"], Validators(etag='"a"', last_modified=DATE)),
        (["ETag: " + "x" * 511], Validators(etag="x" * 511)),
        (["ETag: " + "x" * 512], Validators(etag="x" * 512)),
        (["ETag: " + "x" * 513], None),
        (["ETag: \x01"], None),
        (["ETag: \xe9"], None),
        (["ETag:"], None),
    ],
)
async def test_what_a_server_gives_to_ask_again_is_kept(
    headers: list[str], expected: Validators | None
) -> None:
    async with reading() as (origin, pages):
        url = origin.add(answer(*headers))
        page = await pages.read(make(url), url)
        assert (len(page.found), page.unchanged, page.validators) == (2, False, expected)


async def test_only_get_is_asked_again() -> None:
    async with reading() as (origin, pages):
        url = origin.add(answer('ETag: "abc"'))
        page = await pages.read(make(url, method="POST", body="x"), url)
        assert (len(page.found), page.validators) == (2, None)


@pytest.mark.parametrize(
    ("known", "sent"),
    [
        (Validators(etag='"abc"'), {"If-None-Match": '"abc"'}),
        (Validators(last_modified=DATE), {"If-Modified-Since": DATE}),
        (
            Validators(etag='"abc"', last_modified=DATE),
            {"If-None-Match": '"abc"', "If-Modified-Since": DATE},
        ),
        (None, {}),
    ],
)
async def test_they_are_sent_and_an_answer_in_full_replaces_them(
    known: Validators | None, sent: dict[str, str]
) -> None:
    async with Farm(tls=False) as farm, fetching() as fetcher:
        farm.origin.lists["/list"] = ("text/plain", LIST)
        url = f"{farm.origin.url}/list"
        page = await Pages(fetcher.fetch, Harvest(), pause=0.0).read(make(url), url, known)
        [seen] = farm.origin.requests
        names = ("If-None-Match", "If-Modified-Since")
        assert {name: seen.get(name) for name in names if seen.get(name)} == sent
        assert (len(page.found), page.unchanged) == (2, False)


async def test_not_modified_is_no_failure_if_it_was_asked_for() -> None:
    async with reading() as (origin, pages):
        url = origin.add(answer(body=b"", status="304 Not Modified"))
        known = Validators(etag='"abc"', found=2, read=1.0)
        page = await pages.read(make(url), url, known)
        assert (page.found, page.unchanged, page.validators) == ([], True, known)
        with pytest.raises(SourceError, match="304"):
            await pages.read(make(url), url)


# -- politeness -----------------------------------------------------------------------------------


class Site:
    """Answers when it is told to, and remembers who was there at once."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.at_once: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self.asked: list[tuple[str, float]] = []

    async def fetch(self, task: dict[str, Any]) -> Result:
        host = task["url"].split("/")[2]
        self.asked.append((host, asyncio.get_running_loop().time()))
        self.at_once[host] = self.at_once.get(host, 0) + 1
        self.most[host] = max(self.most.get(host, 0), self.at_once[host])
        await self.go_on.wait()
        self.at_once[host] -= 1
        return Result(status_code=200, orig_url=task["url"], url=task["url"], content=LIST)


async def test_one_host_is_asked_for_one_page_after_the_other() -> None:
    site = Site()
    pages = Pages(site.fetch, Harvest(), pause=0.0)
    urls = [f"http://{host}.example/{page}" for host in ("a", "b") for page in range(3)]
    reads = [asyncio.create_task(pages.read(make(url), url)) for url in urls]
    await asyncio.wait(reads, timeout=0.01)
    assert site.at_once == {"a.example": 1, "b.example": 1}
    site.go_on.set()
    assert [len(page.found) for page in await asyncio.gather(*reads)] == [2] * 6
    assert site.most == {"a.example": 1, "b.example": 1}


@pytest.mark.parametrize("hosts", [8, 9])
async def test_so_many_hosts_are_asked_at_once(hosts: int) -> None:
    site = Site()
    pages = Pages(site.fetch, Harvest(), pause=0.0)
    urls = [f"http://{host}.example/" for host in range(hosts)]
    reads = [asyncio.create_task(pages.read(make(url), url)) for url in urls]
    await asyncio.wait(reads, timeout=0.01)
    assert len(site.at_once) == 8
    site.go_on.set()
    await asyncio.gather(*reads)
    assert len(site.most) == hosts


async def test_between_two_pages_of_a_host_there_is_a_pause_whatever_came() -> None:
    site = Site()
    site.go_on.set()
    pages = Pages(site.fetch, Harvest(), pause=0.05)
    urls = ["http://a.example/1", "http://A.example/2", "http://b.example/"]
    await asyncio.gather(*(pages.read(make(url), url) for url in urls))
    hosts = [host for host, _ in site.asked]
    assert hosts == ["a.example", "b.example", "A.example"]
    assert site.asked[2][1] - site.asked[0][1] >= 0.05


async def test_a_page_that_was_given_up_holds_up_no_other() -> None:
    site = Site()
    pages = Pages(site.fetch, Harvest(), pause=0.0)
    url = "http://a.example/"
    first = asyncio.create_task(pages.read(make(url), url))
    await asyncio.wait([first], timeout=0.01)
    first.cancel()
    await asyncio.wait([first])
    site.go_on.set()
    assert len((await pages.read(make(url), url)).found) == 2


@pytest.mark.parametrize("url", ["http://a.example:99999/", "http://[::1/", "http://"])
async def test_a_url_that_is_none_is_the_sources_error(url: str) -> None:
    async with fetching() as fetcher:
        with pytest.raises(SourceError):
            await Pages(fetcher.fetch, Harvest(), pause=0.0).read(make("http://a.example"), url)


# -- limits and bad bodies ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("harvest", "own", "fits"),
    [
        (len(LIST), None, True),
        (len(LIST) - 1, None, False),
        (len(LIST) - 1, len(LIST), True),
        (len(LIST), len(LIST) - 1, False),
        (len(LIST) - 1, 0, True),
        (0, None, True),
    ],
)
async def test_no_longer_answer_is_taken_than_the_limit(
    harvest: int, own: int | None, fits: bool
) -> None:
    async with reading(Harvest(max_bytes=harvest)) as (origin, pages):
        url = origin.add(answer())
        source = make(url, max_bytes=own)
        if fits:
            assert len((await pages.read(source, url)).found) == 2
        else:
            with pytest.raises(SourceError, match=f"over the limit of {len(LIST) - 1} bytes"):
                await pages.read(source, url)


@pytest.mark.parametrize(
    ("harvest", "own", "count"),
    [(1, None, 1), (2, None, 2), (3, None, 2), (2, 1, 1), (1, 2, 2), (1, 0, 2), (0, None, 2)],
)
async def test_no_more_is_taken_of_an_answer_than_the_limit(
    harvest: int, own: int | None, count: int
) -> None:
    async with reading(Harvest(max_items=harvest)) as (origin, pages):
        url = origin.add(answer())
        assert len((await pages.read(make(url, max_items=own), url)).found) == count


@pytest.mark.parametrize("size", [IN_PLACE, IN_PLACE + 1])
async def test_large_lists_are_read_too(size: int) -> None:
    body = b"8.8.8.8:3128\n".ljust(size - 13) + b"\n8.8.4.4:3128"
    assert len(body) == size
    async with reading() as (origin, pages):
        url = origin.add(answer(body=body))
        assert len((await pages.read(make(url), url)).found) == 2


@pytest.mark.parametrize(
    ("size", "way", "expected"),
    [
        (IN_PLACE, {}, True),
        (IN_PLACE + 1, {}, False),
        (IN_PLACE, {"json": {"items": "data"}}, True),
        (1, {"select": {"row": "tr", "host": "td"}}, False),
        (1, {"pattern": "(?P<host>.)"}, False),
    ],
)
def test_what_may_take_long_is_not_read_on_the_loop(
    size: int, way: dict[str, Any], expected: bool
) -> None:
    source = msgspec.convert({"name": "one", "url": "http://list.test", **way}, Source)
    assert is_quick(source, size) is expected


M10 = 10_000_000
EVIL: dict[str, tuple[bytes, dict[str, Any], int | None]] = {
    "ampersands": (b"&" * M10, {}, 0),
    "broken JSON": (b'{"a":[' * (M10 // 6), {}, 0),
    "JSON's brackets": (b"[" * M10, {}, 0),
    "one proxy a million times": (b"8.8.4.1:80\n" * 1_000_000, {}, 1),
    "one proxy a million times, then others": (
        b"8.8.4.1:80\n" * 100_000 + b"8.8.4.2:80\n" + b"8.8.4.1:80\n" * 800_000, {}, 2,
    ),
    "JSON lines of nothing": (b"{}\n" * (M10 // 3), {}, None),
    "a number of 5,000 digits": (b"8.8.4.1:80 &#" + b"5" * 5000 + b"; 8.8.4.2:80", {}, 2),
    "many such numbers": (b"8.8.4.1:80\n" + (b"&#" + b"5" * 5000) * 1999, {}, 1),
    "cells side by side": (
        b"<table><tr>" + b"<td>" * 60_000,
        {"select": {"row": "tr", "host": "td:nth-child(1)"}},
        None,
    ),
    "a pattern that looks far ahead": (
        b"1" * 600_000, {"pattern": r"(?P<host>\d)(?:.*x)?"}, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.timeout(60)
async def test_no_list_holds_up_the_loop(name: str) -> None:
    """None: whether it can be read in time depends on the machine."""
    body, way, expected = EVIL[name]
    async with reading(
        Harvest(timeout=15.0 if expected is not None else 1.0, max_bytes=20_000_000)
    ) as (origin, pages):
        url = origin.add(answer(body=body))
        source = msgspec.convert({"name": "one", "url": url, **way}, Source)
        found = None
        with Standstill() as standstill:
            try:
                found = len((await pages.read(source, url)).found)
            except SourceError as error:
                assert re.search("no proxy in|not read within|memory|timed out", str(error))
        assert standstill.longest < 0.2
        if expected is not None:
            assert (found or 0) == expected


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    ],
    ids=["announced", "without a length"],
)
async def test_a_hundred_megabytes_are_cut_off_at_the_limit(head: bytes) -> None:
    async with reading(Harvest(max_bytes=1_000_000)) as (origin, pages):
        url = origin.add(head, Endless(b"8.8.8.8:3128\n" * 1000))
        with pytest.raises(SourceError, match="over the limit of 1000000 bytes"):
            await pages.read(make(url), url)


BOMBS: list[tuple[str, bytes]] = [
    ("text/html", b"<div>" * 200_000),
    ("text/html", b"<table><tr><td>" * 60_000 + b"8.8.8"),
    ("application/json", b"[" * 1_000_000),
    ("application/json", b'{"a":' * 200_000),
    ("text/html", b'<!DOCTYPE a [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><p>&c;</p>'),
    ("application/octet-stream", bytes(range(256)) * 4000),
    ("image/png", b"\x89PNG\r\n\x1a\n" + b"\0" * 300_000),
    ("text/plain", b"\0" * 300_000),
    ("text/plain; charset=utf-7", b"+AGE-" * 60_000),
    ("", b""),
]


@pytest.mark.parametrize(("kind", "body"), BOMBS)
@pytest.mark.parametrize(
    "way",
    [
        {},
        {"select": {"row": "tr", "host": "td"}},
        {"json": {"items": "data"}},
        {"pattern": r"(?P<host>[\d.]+):(?P<port>\d+)"},
    ],
    ids=["any", "select", "json", "pattern"],
)
async def test_bombs_and_rubbish_are_the_sources_error(
    kind: str, body: bytes, way: dict[str, Any]
) -> None:
    async with reading() as (origin, pages):
        url = origin.add(answer(f"Content-Type: {kind}", body=body))
        source = msgspec.convert({"name": "one", "url": url, **way}, Source)
        with pytest.raises(SourceError, match=f"no proxy in {len(body)} bytes of"):
            await pages.read(source, url)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("127.0.0.1:6379", ["127.0.0.1:6379"]),  # whether it is admitted is asked later
        ("0.0.0.0:0", []),
        ("0.0.0.0:80", ["0.0.0.0:80"]),
        ("1.2.3.4:99999", []),
        ("1.2.3.4:65535", ["1.2.3.4:65535"]),
        ("1.2.3.4:65536", []),
        ("1.2.3.4:80:80", []),
        ("[2606:4700::1]:80", ["[2606:4700::1]:80"]),
        ("[2606:4700:0:0::1]:80 [2606:4700::1]:80", ["[2606:4700::1]:80"]),
        ("[::ffff:1.2.3.4]:80 1.2.3.4:80", ["1.2.3.4:80"]),
        ("1.2.3.4:80 http://1.2.3.4:80/ https://1.2.3.4:80 1.2.3.4\t80", ["1.2.3.4:80"]),
        ("http://A.Example:80 http://a.example.:80", ["a.example:80"]),
        ("u%3Aser:p%40ss%2F@1.2.3.4:80", ["u%3Aser:p%40ss%2F@1.2.3.4:80"]),
        ("1.2.3.4:80:us-er+1:p@s$!", ["us-er%2B1:p%40s%24%21@1.2.3.4:80"]),
        ("http://%C3%A9:%F0%9F%94%91@1.2.3.4:80", ["%C3%A9:%F0%9F%94%91@1.2.3.4:80"]),
        ("http://u:%0d%0aHost@1.2.3.4:80", []),
    ],
)
async def test_lines_of_every_kind_are_taken_once_or_not_at_all(
    line: str, expected: list[str]
) -> None:
    async with reading() as (origin, pages):
        body = f"9.9.9.9:9\n{line}\n{line}\n".encode()
        url = origin.add(answer(body=body))
        found = (await pages.read(make(url), url)).found
        assert [one.proxy.member for one in found] == ["9.9.9.9:9", *expected]


@pytest.mark.parametrize("status", ["500 No", "200 OK"])
async def test_credentials_in_a_url_stand_in_no_error(status: str) -> None:
    async with reading() as (origin, pages):
        plain = origin.add(answer(status=status, body=b""))
        url = plain.replace("//", "//me:pass-word@") + "?format=txt&auth=pass-word?"
        with pytest.raises(SourceError) as refused:
            await pages.read(make(url), url)
        assert str(refused.value).startswith(f"{plain}?...: ")
        assert "pass-word" not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("text/x\x1b]0;owned\x07\x1b[2J", "text/x?]0;owned??[2J"),
        ("text/\x9b31m", "text/?31m"),
        ("text/" + "x" * 5000, "text/" + "x" * 72 + "..."),
        ("", "an unknown type"),
    ],
)
async def test_an_error_only_shows_what_a_server_calls_its_page(kind: str, said: str) -> None:
    async with reading() as (origin, pages):
        url = origin.add(answer(f"Content-Type: {kind}", body=b"nothing"))
        with pytest.raises(SourceError) as refused:
            await pages.read(make(url), url)
        assert str(refused.value) == f"{url}: no proxy in 7 bytes of {said}"


async def test_a_very_long_url_leaves_room_for_the_reason() -> None:
    async with reading() as (origin, pages):
        url = origin.add(answer(status="500 No", body=b"")) + "/" * 5000
        with pytest.raises(SourceError) as refused:
            await pages.read(make(url), url)
        assert str(refused.value) == f"{url[:197]}...: HTTP 404: Not Found"


@pytest.mark.parametrize(
    ("given", "is_reached"),
    [
        (answer(status="404 Not Found"), True),
        (answer(status="599 Odd"), True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut", True),
        (b"", False),
    ],
)
async def test_who_sends_any_answer_has_been_reached(given: bytes, is_reached: bool) -> None:
    async with reading() as (origin, pages):
        url = origin.add(given)
        with pytest.raises(SourceError) as refused:
            await pages.read(make(url), url)
        assert isinstance(refused.value, Unreached) is not is_reached


async def test_where_nobody_listens_nobody_has_been_reached() -> None:
    async with reading() as (_, pages):
        with pytest.raises(Unreached):
            await pages.read(make("http://127.0.0.1:9/"), "http://127.0.0.1:9/")
