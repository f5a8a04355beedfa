"""Pages as they are, and as people write them who mean harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.crawl.canonical import LONGEST, canonical
from fetcher.crawl.links import (
    MAX_LINKS,
    MAX_METAS,
    MAX_TITLE,
    Link,
    Robots,
    is_html,
    parse_robots,
    read_page,
)
from fetcher.urls import MAX_URL

URL = "http://h.example/dir/page?q=1"


def urls(html: str, url: str = URL) -> list[str]:
    return [link.url for link in read_page(html, url).links]


@pytest.mark.parametrize(
    ("href", "url"),
    [
        ("/a/b", "http://h.example/a/b"),
        ("/a?b=2&amp;a=1#f", "http://h.example/a?b=2&a=1"),
        ("x", "http://h.example/dir/x"),
        ("../x", "http://h.example/x"),
        ("?y", "http://h.example/dir/page?y"),
        (" \n/x ", "http://h.example/x"),
        ("//other.example/x", "http://other.example/x"),
        ("/\\other.example/x", "http://other.example/x"),
        ("/\t/other.example/x", "http://other.example/x"),
        ("https://other.example", "https://other.example/"),
        ("http://u:p@other.example/", "http://other.example/"),
        ("HTTP://Other.Example/", "http://other.example/"),
        ("http:x", "http://h.example/dir/x"),
        ("https:other.example/x", "https://other.example/x"),
        ("/%7euser", "http://h.example/~user"),
        ("/" + "x" * 500, "http://h.example/" + "x" * 500),
        ("/b\u00fccher", "http://h.example/b%C3%BCcher"),
    ],
)
def test_a_reference_leads_where_browsers_go(href: str, url: str) -> None:
    assert urls(f'<a href="{href}">') == [url]
    assert urls(f'<a href="{href}">') == [url]  # and from memory


@pytest.mark.parametrize(
    ("href", "skipped"),
    [
        ("mailto:a@b", {"scheme": 1}),
        ("JavaScript:void(0)", {"scheme": 1}),
        ("\x01javascript:1", {"scheme": 1}),
        ("java\tscript:1", {"scheme": 1}),
        ("ftp://h/", {"scheme": 1}),
        ("http://", {"invalid": 1}),
        ("http://a b/", {"invalid": 1}),
        ("http://h:99999/", {"invalid": 1}),
        ("//a+b/", {"invalid": 1}),
        ("/" + "x" * (LONGEST - len("http://h.example/")), {}),
        ("/" + "x" * (LONGEST - len("http://h.example/") + 1), {"long": 1}),
        ("x" * (MAX_URL + 1), {"long": 1}),
        ("#top", {}),
        ("", {}),
    ],
)
def test_what_is_no_web_url_is_named_with_the_reason(href: str, skipped: dict[str, int]) -> None:
    reading = read_page(f'<a href="{href}">', URL)
    assert reading.skipped == {href[:300]: reason for reason in skipped}
    assert bool(reading.links) == (not skipped and len(href) > 4)


def test_each_reference_that_is_skipped_is_named_once() -> None:
    html = '<a href="tel:1"><a href="tel:2"><a href="tel:1"><a href="http://">'
    skipped = {"tel:1": "scheme", "tel:2": "scheme", "http://": "invalid"}
    assert read_page(html, URL).skipped == skipped


@pytest.mark.parametrize("count", [MAX_LINKS - 1, MAX_LINKS, MAX_LINKS + 1])
def test_those_that_are_skipped_have_the_same_limit(count: int) -> None:
    html = "<a href=/x>" + "".join(f"<a href=tel:{number}>" for number in range(count - 1))
    reading = read_page(html, URL)
    assert len(reading.links) + len(reading.skipped) == min(count, MAX_LINKS)
    assert reading.beyond == max(count - MAX_LINKS, 0)


def test_links_come_once_in_the_order_of_the_page() -> None:
    html = """<link rel="stylesheet" href=/css><link rel=next href=2><link rel="x PREV" href=0>
        <link rel=canonical href=/page><link rel=alternate hreflang=de href=/de>
        <link rel=alternate type=rss href=/rss><link rel=next><a>none</a><a href=/b>b</a>
        <a href=/a>a</a><a href=/b#x>again</a><map><area href=/area></map><a href=/c></a>"""
    paths = [url.removeprefix("http://h.example") for url in urls(html)]
    assert paths == ["/dir/2", "/dir/0", "/page", "/de", "/b", "/a", "/c", "/area"]


def test_a_link_is_followed_if_one_of_its_kind_may_be() -> None:
    html = """<a href=/no rel="noopener NoFollow"><a href=/no rel=nofollow>
        <a href=/yes rel=nofollow><a href=/yes><a href=/also rel=me><a href=/also rel=nofollow>
        <area href=/area rel=nofollow>"""
    assert read_page(html, "http://h/").links == [
        Link("http://h/no", True),
        Link("http://h/yes"),
        Link("http://h/also"),
        Link("http://h/area", True),
    ]


@pytest.mark.parametrize("count", [MAX_LINKS - 1, MAX_LINKS, MAX_LINKS + 1])
def test_a_page_has_ten_thousand_links_at_most(count: int) -> None:
    reading = read_page("".join(f"<a href={number}>x</a>" for number in range(count)), URL)
    assert len(reading.links) == min(count, MAX_LINKS)
    assert reading.beyond == max(count - MAX_LINKS, 0)


@pytest.mark.parametrize(
    ("base", "link"),
    [
        ("<base href=/other/>", "http://h.example/other/x"),
        ("<base target=_top><base href='https://o.example/a/b'>", "https://o.example/a/x"),
        ("<base href=/1/><base href=/2/>", "http://h.example/1/x"),
        ("<base href='javascript:1'>", "http://h.example/dir/x"),
        ("<base href='http://a b/'>", "http://h.example/dir/x"),
        ("<base href='http://a+b/'>", "http://h.example/dir/x"),
        ("<base href=''>", "http://h.example/dir/x"),
    ],
)
def test_relative_links_are_joined_to_the_base_that_the_page_names(base: str, link: str) -> None:
    assert urls(base + "<a href=x>") == [link]


@pytest.mark.parametrize(
    ("html", "title"),
    [
        ("", ""),
        ("<title>A  page\n of &amp; mine </title>", "A page of & mine"),
        ("<title>One</title><title>Two</title>", "One"),
        ("<title></title>", ""),
        ("<title>" + "x" * MAX_TITLE, "x" * MAX_TITLE),
        ("<title>" + "x" * (MAX_TITLE + 1), "x" * MAX_TITLE),
        ("<title>" + "x" * (MAX_TITLE - 1) + " y", "x" * (MAX_TITLE - 1)),
        ("<title><b>no tags here</b></title>", "<b>no tags here</b>"),
    ],
)
def test_the_title_is_short_and_on_one_line(html: str, title: str) -> None:
    assert read_page(html, URL).title == title


@pytest.mark.parametrize(
    ("html", "nofollow", "noindex"),
    [
        ("", False, False),
        ("<meta name=ROBOTS content='NoIndex, follow'>", False, True),
        ("<meta name=robots content=nofollow><meta name=robots content=noindex>", True, True),
        ("<meta name=robots content=none>", True, True),
        ("<meta name=robots>", False, False),
        ("<meta name=googlebot content=none>", False, False),
        ("<meta charset=x>" * (MAX_METAS - 1) + "<meta name=robots content=none>", True, True),
        ("<meta charset=x>" * MAX_METAS + "<meta name=robots content=none>", False, False),
    ],
)
def test_a_page_says_what_robots_may_do(html: str, nofollow: bool, noindex: bool) -> None:
    reading = read_page(html, URL)
    assert (reading.nofollow, reading.noindex) == (nofollow, noindex)


@pytest.mark.parametrize(
    ("rules", "robots"),
    [
        ("", Robots()),
        ("noindex", Robots(noindex=True)),
        ("noarchive, NOFOLLOW", Robots(nofollow=True)),
        ("none", Robots(True, True)),
        ("all", Robots()),
        ("googlebot: none", Robots()),
        ("googlebot: noarchive, nofollow", Robots()),
        ("*: nofollow", Robots(nofollow=True)),
        ("nofollow, googlebot: noindex", Robots(nofollow=True)),
        ("unavailable_after: 25 Jun 2030 15:00:00 GMT, nofollow", Robots(nofollow=True)),
        ("max-snippet:20, noindex", Robots(noindex=True)),
    ],
)
def test_rules_for_another_robot_are_not_ours(rules: str, robots: Robots) -> None:
    assert parse_robots(rules) == robots


def test_text_is_read_where_it_is_asked_for() -> None:
    assert read_page("<p>a<p>b", URL).text is None
    assert read_page("<p>a<p>b", URL, want_text=True).text == "a\nb"


@pytest.mark.parametrize(
    ("content_type", "start", "html"),
    [
        ("text/html", b"", True),
        ("Text/HTML; charset=utf-8", b"x", True),
        ("application/xhtml+xml", b"", True),
        ("", b"\xef\xbb\xbf\n<!DOCTYPE html>", True),
        ("", b"<?xml version='1.0'?><html xmlns=x>", True),
        ("*/*", b"<!-- x --><Body>", True),
        ("", b"<article>", False),
        ("", b"<!-- " + b"x" * 2000 + b"--><p>", False),
        ("", b"words <p>", False),
        ("", b"", False),
        ("text/plain", b"<html>", False),
        ("image/png", b"<html>", False),
    ],
)
def test_what_is_a_page_says_so_or_looks_so(content_type: str, start: bytes, html: bool) -> None:
    assert is_html(content_type, start) is html


@given(st.text(alphabet="/\\.:?#@ab\t\n %", max_size=12))
def test_what_is_remembered_is_what_would_be_found(href: str) -> None:
    """The same reference from two pages of an origin, in memory and not."""
    html = f'<base href="http://h/d/e?f"><a href="{href}">'
    first, again = read_page(html, "http://h/x"), read_page(html, "http://h/x")
    assert first.links == again.links
    assert all(canonical(link.url) == link.url for link in first.links)
