"""What may be declared as a source, and which URLs it means."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import msgspec
import pytest

from fetcher.proxy import SCHEMES
from pool.source import MAX_PAGES, Path, Scheme, Select, Source

NOW = datetime(2026, 3, 4, 23, 30, tzinfo=timezone(-timedelta(hours=2)))
URL = "https://lists.example/p.txt"


def make(**fields: Any) -> Source:
    return msgspec.convert({"name": "one", "url": URL, **fields}, Source)


def test_the_schemes_are_those_of_proxies() -> None:
    assert get_args(Scheme) == SCHEMES


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"url": [URL, "http://lists.example:8080/?a=b"]},
        {"scheme": "socks5"},
        {"max_bytes": 0, "max_items": 1},
        {"pages": [0, 9], "url": "https://lists.example/{page}"},
        {"pages": [1, MAX_PAGES], "url": "https://lists.example/{page}"},
        {"dated": True, "url": "https://lists.example/%Y"},
        {"headers": {"X-Requested-With": "é"}, "method": "POST", "body": "{}"},
        {"pattern": r"(?P<host>\S+)"},
        {"pattern": r"(?P<host>\S+) (?P<port>\d+) (?P<scheme>\w+) (?P<country>\w+)"},
        {"json": {"items": "data", "port": "port"}},
        {"select": {"row": "tr:gt(0)", "host": "td@data-ip", "port": "td:eq(1)"}},
    ],
)
def test_what_makes_sense_is_taken(fields: dict[str, Any]) -> None:
    assert make(**fields).name == "one"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"url": []}, "name at least one URL"),
        ({"url": "lists.example/p.txt"}, "no http:// or https:// URL"),
        ({"url": "file:///etc/passwd"}, "no http:// or https:// URL"),
        ({"url": "http://a.example/b c"}, "no http:// or https:// URL"),
        ({"name": ""}, "length >= 1"),
        ({"every": 0}, "> 0.0"),
        ({"max_bytes": -1}, ">= 0"),
        ({"max_items": -1}, ">= 0"),
        ({"scheme": "ftp"}, "Invalid enum value 'ftp'"),
        ({"colour": 1}, "unknown field `colour`"),
        ({"json": {}, "pattern": "(?P<host>.)"}, "json and pattern exclude each other"),
        ({"json": {}, "select": {"row": "a", "host": "b"}}, "select and json exclude"),
        ({"select": {"row": "tr[", "host": "td"}}, "is not a CSS selector"),
        ({"select": {"row": "tr", "host": "td["}}, "is not a CSS selector"),
        ({"pages": [2, 1], "url": "http://a.example/{page}"}, "in this order"),
        ({"pages": [-1, 1], "url": "http://a.example/{page}"}, "in this order"),
        ({"pages": [1, MAX_PAGES + 1], "url": "http://a.example/{page}"}, "more than 100"),
        ({"pages": [1, 2]}, "needs {page} in every URL"),
        ({"pages": [1, 2], "url": [URL, "http://a.example/{page}"]}, "needs {page} in every URL"),
        ({"dated": True}, "dated needs one of %Y %m %d %H"),
        ({"dated": True, "url": "http://a.example/%d0%90"}, "dated needs one of"),
        ({"method": "GET /"}, "not an HTTP method"),
        ({"headers": {"A: b": "c"}}, "not a header's name"),
        ({"headers": {"A": "b\r\nC: d"}}, "must be one line"),
        ({"headers": {"A": "b\n"}}, "must be one line"),
        ({"pattern": "(?P<host>"}, "not a regular expression"),
        ({"url": []}, "url is an empty list"),
        ({"pattern": r"(?P<port>\d+)"}, "needs the group (?P<host>...)"),
        ({"pattern": r"(?P<host>.)(?P<ip>.)"}, "groups ['ip'] mean nothing"),
    ],
)
def test_what_makes_none_is_refused_with_what_would_be_right(
    fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        make(**fields)
    assert reason in str(refused.value)


def test_built_in_python_it_raises_the_same() -> None:
    with pytest.raises(ValueError, match="source 'one': json and pattern exclude"):
        Source(name="one", url=URL, json=Path(), pattern="(?P<host>.)")
    with pytest.raises(ValueError, match="CSS"):
        Select(row="tr", host="[")


@pytest.mark.parametrize(
    ("fields", "urls"),
    [
        ({}, [URL]),
        ({"url": [URL, URL + "?2"]}, [URL, URL + "?2"]),
        ({"url": URL + "?{page}"}, [URL + "?1"]),
        ({"url": URL + "?{page}", "pages": [0, 2]}, [URL + "?0", URL + "?1", URL + "?2"]),
        ({"url": URL + "?%Y{x}{page}"}, [URL + "?%Y{x}1"]),
        ({"url": URL + "?%Y-%m-%d/%H%d0", "dated": True}, [URL + "?2026-03-05/01%d0"]),
        ({"url": [URL, URL + "?%d"], "dated": True}, [URL, URL + "?05"]),
    ],
)
def test_pages_and_dates_are_filled_in(fields: dict[str, Any], urls: list[str]) -> None:
    assert make(**fields).urls(NOW) == urls


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        make().urls(datetime.now(UTC).replace(tzinfo=None))
