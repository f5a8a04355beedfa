"""Sitemaps as sites serve them, and as they are built to hurt."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.crawl.seeds.rows import Account
from fetcher.crawl.seeds.sitemap import (
    MAX_DEPTH,
    MAX_SILENCE,
    MAX_SIZE,
    MAX_URLS,
    SitemapReader,
)
from fetcher.urls import MAX_URL

HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
NS = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


def read(
    data: bytes, url: str = "", size: int = 65_536, skip: int = 0
) -> tuple[list[tuple[str, bool]], Account]:
    account = Account()
    reader = SitemapReader(account, url, skip)
    rows = [
        row
        for start in range(0, len(data), size)
        for row in reader.feed(data[start : start + size])
    ]
    rows.extend(reader.close())
    assert reader.is_over
    assert account.rows == len(rows)
    return [(row.url, row.is_sitemap) for row in rows], account


A, B = ("http://h/a", False), ("http://h/b?y=1&x", False)
URLSET = f"""{HEAD}
<!-- made by hand -->
<urlset {NS} xmlns:image="i"><url><loc> http://h/a </loc><lastmod>2026-01-01</lastmod>
<image:image><image:loc>http://no/</image:loc></image:image></url>
<url><loc><![CDATA[http://h/b?y=1]]>&amp;x#f</loc><loc/></url><loc>http://no/</loc></urlset>
"""


@pytest.mark.parametrize("size", [1, 9, 65_536])
@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (URLSET.encode(), [A, B]),
        (b" \n" + URLSET.encode(), [A, B]),
        (b"\xef\xbb\xbf" + URLSET.encode(), [A, B]),
        (gzip.compress(URLSET.encode()), [A, B]),
        (URLSET.replace("UTF-8", "UTF-16").encode("utf-16"), [A, B]),
        (URLSET.replace("UTF-8", "windows-1251").encode("cp1251"), [A, B]),
        (b"<s:urlset xmlns:s='x'><s:url><s:loc>http://h/a</s:loc></s:url></s:urlset>", [A]),
        (
            b"<sitemapindex><sitemap><loc>http://h/1.xml</loc></sitemap></sitemapindex>",
            [("http://h/1.xml", True)],
        ),
        (
            b"<rss><channel><link>http://no/</link><item><link>http://h/a</link></item></channel></rss>",
            [A],
        ),
        (
            b"<rdf:RDF xmlns:rdf='r'><item><link>http://h/a</link></item></rdf:RDF>",
            [A],
        ),
        (
            b"<feed><link href='http://no/'/><entry><link rel='self' href='http://no/'/>"
            b"<link href='http://h/a'/><link rel='alternate' href='/b?y=1&amp;x'/></entry></feed>",
            [A, B],
        ),
        (b"http://h/a\nhttp://h/b?y=1&x\n", [A, B]),
        (gzip.compress(b"http://h/a\n"), [A]),
        (b"", []),
        (b"a.b", [("http://a.b/", False)]),
        (b"<urlset/>", []),
    ],
)
def test_sitemaps_in_all_their_forms_name_urls(
    data: bytes, rows: list[tuple[str, bool]], size: int
) -> None:
    found, account = read(data, "http://h/sitemap.xml", size)
    assert found == [row for row in rows if row[0] != "http://a.b/"] or data == b"a.b"
    assert data != b"a.b" or account.refused == 1
    assert data == b"a.b" or (account.refused, account.problems) == (0, [])


def located(url: str) -> bytes:
    return f"<urlset><url><loc>{url}</loc></url></urlset>".encode()


@pytest.mark.parametrize(
    ("url", "base", "row", "problem"),
    [
        ("/x", "http://h/d/s.xml", "http://h/x", None),
        ("//o/x", "https://h/s.xml", "https://o/x", None),
        ("/x", "", None, "line 1: '/x': it is no absolute URL"),
        ("o.com", "", None, "line 1: 'o.com': it is no absolute URL"),
        ("HTTP://O", "", "http://o/", None),
        ("http://a b/", "http://h/", None, "line 1: 'http://a b/': it is no URL"),
        ("http://u:p@a b/", "", None, None),
        ("mailto:x", "http://h/", None, None),
        ("http://h/" + "x" * (MAX_URL - 9), "", "http://h/" + "x" * (MAX_URL - 9), None),
        ("http://h/" + "x" * (MAX_URL - 8), "", None, None),
        ("http://h/" + "x" * 300_000, "", None, None),
    ],
)
def test_what_is_no_url_is_counted(
    url: str, base: str, row: str | None, problem: str | None
) -> None:
    found, account = read(located(url), base)
    assert found == ([(row, False)] if row else [])
    assert account.refused == (row is None)
    assert "u:p" not in "".join(account.problems)
    assert problem is None or account.problems == [problem]


STOPPED = "it was read no further: "


@pytest.mark.parametrize(
    ("data", "rows", "problem"),
    [
        (URLSET.partition("<lastmod")[0].encode(), 1, "line 3: no element found"),
        (located("http://h/a") + b"<x/>", 1, "line 1: junk after document element"),
        (b"<urlset><url><loc>http://h/a</loc></url><b", 1, "line 1: unclosed token"),
        (b"<urlset><url></loc>", 0, "line 1: mismatched tag"),
        (b"<urlset><url><loc>&x;</loc>", 0, "line 1: undefined entity"),
        (b"<!DOCTYPE html><html>", 0, "it has a document type, and no sitemap needs one"),
        (b"<html></html>", 0, "<html> is no root of a sitemap, nor of a feed"),
        (b"<?xml version='1.0' encoding='zip'?><urlset>", 0, "its encoding 'zip' is not known"),
        (gzip.compress(URLSET.encode())[:-20], None, "the gzip data are cut off"),
        (b"\x1f\x8b\x08" + b"\xff" * 50, 0, "the gzip data are broken"),
        (b"<a>", 0, "<a> is no root of a sitemap, nor of a feed"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 65_536])
def test_a_broken_sitemap_gives_what_came_before(
    data: bytes, rows: int | None, problem: str, size: int
) -> None:
    found, account = read(data, size=size)
    assert rows is None or len(found) == rows
    assert account.problems == [STOPPED + problem]


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1])
def test_elements_lie_only_so_deep(depth: int) -> None:
    inner = depth - 1
    data = b"<urlset>" + b"<a>" * inner + b"</a>" * inner + located("http://h/a")[8:]
    found, _ = read(data)
    assert len(found) == (depth <= MAX_DEPTH)


@pytest.mark.parametrize("count", [MAX_URLS - 1, MAX_URLS, MAX_URLS + 1])
@pytest.mark.parametrize("row", [b"<url><loc>http://h/</loc></url>", b"http://h/\n"])
def test_a_sitemap_has_fifty_thousand_urls_at_most(count: int, row: bytes) -> None:
    data = row * count
    found, account = read(b"<urlset>" + data + b"</urlset>" if row[:1] == b"<" else data)
    assert len(found) == min(count, MAX_URLS)
    assert account.beyond == max(count - MAX_URLS, 0)


def test_what_was_dealt_with_is_not_given_again() -> None:
    data = b"<urlset>" + b"".join(
        b"<url><loc>%s</loc></url>" % url for url in (b"http://h/a", b"x", b"http://h/b")
    )
    assert read(data, skip=2)[0] == [("http://h/b", False)]
    assert read(b"http://h/a\nx\nhttp://h/b", skip=2)[0] == [("http://h/b", False)]


@pytest.mark.parametrize("size", [MAX_SILENCE - 65_536, MAX_SILENCE + 131_072])
def test_what_says_nothing_for_long_is_not_read_on(size: int) -> None:
    data = b"<urlset><!--" + b"x" * size + b"-->" + located("http://h/a")[8:]
    assert bool(read(data)[0]) == (size < MAX_SILENCE)


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_a_sitemap_has_fifty_megabytes_at_most(extra: int) -> None:
    part = b"<a/>" + b" " * 399_996
    whole, left = divmod(MAX_SIZE + extra - len(b"<urlset></urlset>"), len(part))
    data = b"<urlset>" + part * whole + b" " * left + b"</urlset>"
    _, account = read(data)
    expected = [f"{STOPPED}it has more than {MAX_SIZE} bytes"] if extra > 0 else []
    assert account.problems == expected


def gzip_of_zeros(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(b" " * 1_000_000) for _ in range(megabytes))


LEVELS = range(64)


@pytest.mark.parametrize(
    "bomb",
    [
        gzip_of_zeros(200),
        b"<!DOCTYPE x [" + b"".join(b"<!ENTITY a%d '&a%d;&a0;'>" % (n + 1, n) for n in LEVELS),
        b"<urlset>" + b"<a>" * 2_000_000,
        b"<urlset " + b"a" * 5_000_000,
        b"<urlset x='" + b"a" * 5_000_000,
        b"<urlset><url><loc>" + b"a" * 5_000_000,
        b"<urlset><![CDATA[" + b"a" * 5_000_000,
        b"<urlset " + b" ".join(b"a%d=''" % n for n in range(300_000)),
    ],
)  # fmt: skip
def test_a_bomb_is_reported_and_takes_no_memory(bomb: bytes) -> None:
    tracemalloc.start()
    try:
        found, account = read(bomb)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == []
    assert account.problems
    assert peak < 10_000_000


@given(
    st.lists(st.sampled_from([b"<url>", b"</url>", b"<loc>", b"</loc>", b"http://h/a", b"&", b"<"]))
)
def test_no_xml_is_an_exception(parts: list[bytes]) -> None:
    found, _ = read(b"<urlset>" + b"".join(parts))
    assert all(row == A for row in found)
