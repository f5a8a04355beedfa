from collections import Counter

import pytest

from fetcher.crawl.model import Page, Visited
from fetcher.crawl.summary import LATENCIES, MAX_ERRORS, MAX_TYPES, read_tally
from fetcher.crawl.tally import (
    MAX_FIELDS,
    MAX_SENTENCE,
    MAX_SMALL,
    PER_CLASS,
    Tally,
    column_of,
    host_of,
    kind_of_error,
    media_type,
)

START = 1000.0


def page(
    url: str = "http://a.example/",
    status: int = 200,
    seconds: float = 0.03,
    body: bytes = b"12345",
    error: str | None = None,
    **headers: str,
) -> Page:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Page(
        visited=Visited(url=url),
        status_code=status,
        time=seconds,
        body=body,
        error=error,
        headers=named,
    )


def failure(error: str | None, url: str = "http://a.example/") -> Page:
    return page(url, 599, body=b"", error=error)


def stored(*grown: dict[str, int]) -> dict[bytes, bytes]:
    """What is in Redis after all of them."""
    total = Counter[str]()
    for fields in grown:
        total.update(fields)
    return {name.encode(): str(number).encode() for name, number in total.items()}


def test_an_answer_adds_to_its_fields() -> None:
    got = Tally(START).fields_of([page(Content_Type="text/HTML; charset=x")] * 2, START + 25)
    assert got == {
        "status:200": 2,
        "at:20:done": 2,
        "latency:50": 2,
        "type:text/html": 2,
        "bytes": 10,
        "host:a.example:pages": 2,
        "host:a.example:ms": 60,
        "host:a.example:bytes": 10,
    }


def test_a_failure_adds_to_other_fields() -> None:
    assert Tally(START).fields_of([failure("HTTP 599: port 80"), failure(None)], START - 5) == {
        "status:599": 2,
        "at:0:failed": 2,
        "error:port N": 1,
        "error:no answer": 1,
        "host:a.example:failed": 2,
    }


def test_what_several_processes_count_adds_up() -> None:
    one, other = Tally(START), Tally(START)
    got = read_tally(
        stored(
            one.fields_of([page(seconds=1.0), page("http://b.example/")], START),
            other.fields_of([page(seconds=3.0), failure("x")], START + 10),
        )
    )
    assert got.statuses == {200: 3, 599: 1}
    [slow, _] = got.slowest
    assert (slow.name, slow.pages, slow.failed, slow.seconds) == ("a.example", 2, 1, 2.0)
    assert [(point.done, point.failed) for point in got.points] == [(2, 0), (1, 1)]


@pytest.mark.parametrize(
    ("ms", "column"),
    [(0, "1"), (1, "1"), (2, "2"), (3, "5"), (300_000, "300000"), (300_001, "more")],
)
def test_an_answer_is_in_the_column_that_it_does_not_exceed(ms: int, column: str) -> None:
    assert column_of(ms) == column


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({}, "none"),
        ({"Content-Type": " "}, "none"),
        ({"content-TYPE": "Text/HTML"}, "text/html"),
        ({"Content-Type": " application/rss+xml ;charset=utf-8;x=\n"}, "application/rss+xml"),
        ({"Content-Type": "html"}, "other"),
        ({"Content-Type": "text/html, text/html"}, "other"),
        ({"Content-Type": "text/<script>"}, "other"),
        ({"Content-Type": "a/" + "b" * 60}, "a/" + "b" * 60),
        ({"Content-Type": "a/" + "b" * 61}, "other"),
    ],
)
def test_a_media_type_is_one(headers: dict[str, str], kind: str) -> None:
    assert media_type(headers) == kind


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://a.example/b", "a.example"),
        ("https://a.example:8080/b?c@d", "a.example"),
        ("http://u:p@a.example/", "a.example"),
        ("http://[::1]:80/", "[::1]"),
        ("http://[::1]/", "[::1]"),
    ],
)
def test_a_host_has_no_port(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("sentence", "kind"),
    [
        (
            "HTTP 599: Failed to connect to 127.0.0.1 port 4711 after 3 ms: Couldn't connect",
            "Failed to connect to HOST port N after N ms: Couldn't connect",
        ),
        ("Could not resolve host: no.such.example", "Could not resolve host: HOST"),
        ("timed out after 1,5.3 ms", "timed out after N ms"),
        ("connect to [::1]:80 failed", "connect to HOST failed"),
        ("connect to 2001:db8::1 failed", "connect to HOST failed"),
        ("proxy http://u:secret@h:1/x?y=1 said no", "proxy URL said no"),
        ("robots.txt of a.example:80 is away", "robots.txt of HOST is away"),
        ("BrowserType.launch: gone", "BrowserType.launch: gone"),
        ("(fetcher.renderer.sandbox: false)", "(fetcher.renderer.sandbox: false)"),
        ("fetcher.example.org is away", "HOST is away"),
        ("stream 0x1f2e3d4c5b was reset", "stream N was reset"),
        ("a\n b\t c", "a b c"),
        ("é" * (MAX_SENTENCE + 1), "é" * MAX_SENTENCE),
        ("", ""),
    ],
)
def test_errors_of_one_kind_are_one(sentence: str, kind: str) -> None:
    assert kind_of_error(sentence) == kind


def letters(number: int) -> str:
    """A word for a number, without digits."""
    return "x" + "".join(chr(ord("g") + int(digit)) for digit in str(number))


def test_kinds_of_errors_are_limited_whoever_found_them() -> None:
    tally = Tally(START)
    got = tally.fields_of([failure(letters(n)) for n in range(MAX_ERRORS - 1)], START)
    assert "error:other" not in got
    tally.learn({b"error:elsewhere": b"1", b"bytes": b"9"})
    got = tally.fields_of([failure("new"), failure(letters(1)), failure("elsewhere")], START)
    assert (got["error:other"], got[f"error:{letters(1)}"], got["error:elsewhere"]) == (1, 1, 1)
    assert "error:new" not in got


def test_media_types_are_limited() -> None:
    pages = [page(Content_Type=f"a/{n}") for n in range(MAX_TYPES + 1)]
    got = Tally(START).fields_of(pages, START)
    assert (got[f"type:a/{MAX_TYPES - 1}"], got["type:other"]) == (1, 1)


def hosts(*grown: dict[str, int]) -> dict[str, int]:
    return {host.name: host.pages + host.failed for host in read_tally(stored(*grown)).largest}


def test_slow_hosts_are_there_after_many_fast_ones() -> None:
    tally = Tally(START)
    fast = [page(f"http://fast{n}/") for n in range(3 * PER_CLASS)]
    slow = [page(f"http://slow{n}/", seconds=5.0) for n in range(PER_CLASS)]
    got = read_tally(stored(tally.fields_of(fast, START), tally.fields_of(slow, START)))
    # The fast ones have the places of the smallest size, and of their own slowness.
    assert len(got.slowest) == 3 * PER_CLASS
    assert {host.name for host in got.slowest[:PER_CLASS]} == {f"slow{n}" for n in range(PER_CLASS)}


def test_large_hosts_are_there_with_all_that_was_counted() -> None:
    tally = Tally(START)
    small = [page(f"http://small{n}/") for n in range(3 * PER_CLASS)]
    first = tally.fields_of([*small, page("http://large/")], START)
    assert "large" not in hosts(first)
    later = tally.fields_of(
        [page("http://large/", seconds=0.05), failure("x", "http://large/")], START
    )
    assert hosts(first, later)["large"] == 3
    assert (later["host:large:pages"], later["host:large:ms"]) == (2, 80)
    assert tally.fields_of([page("http://large/")], START)["host:large:pages"] == 1


def test_failures_alone_are_in_classes_of_size() -> None:
    tally = Tally(START)
    got = tally.fields_of([failure("x", f"http://h{n}/") for n in range(PER_CLASS + 1)], START)
    assert len(hosts(got)) == PER_CLASS


def test_hosts_that_others_gave_fields_to_have_them() -> None:
    full = {f"host:h{n}:pages".encode(): b"1" for n in range(MAX_FIELDS - 1)}
    tally = Tally(START, full)
    got = tally.fields_of([page("http://new/"), page("http://late/"), page("http://h0/")], START)
    assert hosts(got) == {"new": 1, "h0": 1}


def test_small_hosts_are_forgotten_the_oldest_first() -> None:
    tally = Tally(START)
    tally.fields_of([page(f"http://first{n}/") for n in range(2 * PER_CLASS)], START)
    pages = [page(f"http://h{n}/") for n in range(MAX_SMALL + 1)]
    assert hosts(tally.fields_of(pages, START)) == {}
    again = tally.fields_of([page("http://h1/"), page("http://h0/")], START)
    assert hosts(again) == {"h1": 2}  # of h0 only the second is known, and of one there are enough


def test_the_columns_are_classes() -> None:
    pages = [
        page(f"http://h{place}-{n}/", seconds=edge / 1000)
        for place, edge in enumerate((*LATENCIES, 400_000))
        for n in range(2 * PER_CLASS)
    ]
    got = Tally(START).fields_of(pages, START)
    named = [name for name in got if name.startswith("host:") and name.endswith(":pages")]
    assert len(named) == PER_CLASS * (len(LATENCIES) + 1 + 1)
