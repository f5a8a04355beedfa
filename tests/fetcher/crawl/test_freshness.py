"""What the cache keeps, and for how long it holds."""

import pytest

from fetcher.crawl.freshness import (
    MOST_BODY,
    MOST_VALIDATOR,
    Cached,
    is_kept,
    without_cookies,
)
from fetcher.crawl.model import Page, Visited

HEAD = b"HTTP/1.1 200 OK\r\nETag: %s\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n"
VISITED = Visited(url="http://a/")


def cached(head: bytes = b"", renewed: float = 100.0) -> Cached:
    return Cached(head=head, body=b"", fetched=1.0, renewed=renewed)


@pytest.mark.parametrize(
    ("now", "seconds", "expected"),
    [
        (99.9, 60, False),  # somebody's clock is wrong
        (100.0, 60, True),
        (159.9, 60, True),
        (160.0, 60, False),
        (160.1, 60, False),
        (100.0, 0, False),
    ],
)
def test_a_page_is_fresh_while_it_is_younger(now: float, seconds: float, expected: bool) -> None:
    assert cached().is_fresh(now, seconds) is expected


@pytest.mark.parametrize(
    ("sent", "etag"),
    [
        (b'"abc"', '"abc"'),
        (b'W/"abc"', 'W/"abc"'),
        (b'"\xe9"', '"\udce9"'),
        (b"", None),
        (b'"a\rb"', None),
        (b'"a\0b"', None),
        (b"x" * (MOST_VALIDATOR - 1), "x" * (MOST_VALIDATOR - 1)),
        (b"x" * MOST_VALIDATOR, "x" * MOST_VALIDATOR),
        (b"x" * (MOST_VALIDATOR + 1), None),
    ],
)
def test_validators_are_as_they_were_sent(sent: bytes, etag: str | None) -> None:
    kept = cached(HEAD % sent)
    assert kept.etag == etag
    assert kept.last_modified == "Thu, 01 Jan 2026 00:00:00 GMT"
    assert cached(b"HTTP/1.1 200 OK\r\n\r\n").last_modified is None


def test_it_becomes_a_page_that_is_not_new() -> None:
    kept = Cached(head=HEAD % b'"abc"', body=b"x", fetched=1.0, renewed=2.0)
    page = kept.page(VISITED)
    assert (page.visited, page.head, page.body) == (VISITED, kept.head, b"x")
    assert (page.status_code, page.headers["Etag"], page.is_new) == (200, '"abc"', False)


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (Page(visited=VISITED), True),
        (Page(visited=VISITED, status_code=404), False),
        (Page(visited=VISITED, status_code=304), False),
        (Page(visited=VISITED, status_code=203), False),
        (Page(visited=VISITED, error="the body is over the limit"), False),
        (Page(visited=VISITED, request=b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), True),
        (Page(visited=VISITED, request=b"GET / HTTP/1.1\r\nCOOKIE: a=b\r\n\r\n"), False),
        (Page(visited=VISITED, request=b"GET / HTTP/1.1\r\nauthorization: x\r\n\r\n"), False),
        (Page(visited=Visited(url="http://me:pw@a/")), False),
        (Page(visited=Visited(url="http://a/@b")), True),
    ],
)
def test_only_whole_answers_that_are_for_all_are_kept(page: Page, expected: bool) -> None:
    assert is_kept(page) is expected


@pytest.mark.volume
@pytest.mark.parametrize(
    ("size", "expected"), [(MOST_BODY - 1, True), (MOST_BODY, True), (MOST_BODY + 1, False)]
)
def test_bodies_have_a_limit(size: int, expected: bool) -> None:
    assert is_kept(Page(visited=VISITED, body=bytes(size))) is expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nSET-cookie: a\r\nA: b\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"),
        (b"H\r\nSet-Cookie: a\r\n ;b\r\n\tc\r\nA: b\r\n c\r\n\r\n", b"H\r\nA: b\r\n c\r\n\r\n"),
        (b"H\nSet-Cookie : a\nSet-Cookie2: a\n\n", b"H\n\n"),
        (b"H\r\nSet-Cookie: a\rb\r\n\r\n", b"H\r\n\r\n"),
        (b"H\r\nX-Set-Cookie: a\r\n\r\n", b"H\r\nX-Set-Cookie: a\r\n\r\n"),
    ],
)
def test_cookies_leave_no_trace(head: bytes, expected: bytes) -> None:
    assert without_cookies(head) == expected
