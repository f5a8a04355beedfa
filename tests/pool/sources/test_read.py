"""Bodies as bytes, read as their source says; the addresses are invented."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pool.admission import admit
from pool.source import Source
from pool.sources.read import read


def make(**fields: Any) -> Source:
    return msgspec.convert({"name": "one", "url": "https://lists.example/", **fields}, Source)


WAYS: list[dict[str, Any]] = [
    {},
    {"select": {"row": "tr", "host": "td:eq(0)", "port": "td:eq(1)"}},
    {"json": {"items": "data", "port": "port"}},
    {"pattern": r"(?P<host>[\d.]+)\D+(?P<port>\d+)"},
]
BODIES = [
    b"8.8.4.1:80\n8.8.4.2:80\n8.8.4.2:80\n8.8.4.3:80",
    b"<table>"
    + b"".join(b"<tr><td>8.8.4.%d</td><td>80</td></tr>" % n for n in (1, 2, 2, 3))
    + b"</table>",
    b'{"data": [' + b",".join(b'{"ip": "8.8.4.%d", "port": 80}' % n for n in (1, 2, 2, 3)) + b"]}",
    b"8.8.4.1 80, 8.8.4.2 80, 8.8.4.2 80, 8.8.4.3 80",
]


@pytest.mark.parametrize(("way", "body"), list(zip(WAYS, BODIES, strict=True)))
@pytest.mark.parametrize("limit", [0, 1, 2, 3, 4])
def test_each_way_of_reading_gives_different_proxies_up_to_the_limit(
    way: dict[str, Any], body: bytes, limit: int
) -> None:
    found = read(make(**way, scheme="socks5"), body, "", limit)
    expected = [f"socks5://8.8.4.{n}:80" for n in (1, 2, 3)]
    assert [one.proxy.member for one in found] == expected[:limit]


def test_a_scheme_in_the_settings_is_taken_literally() -> None:
    (found,) = read(make(scheme="https"), b"8.8.4.1:80", "", 9)
    assert found.proxy.scheme == "https"
    (listed,) = read(make(scheme="https"), b"https://8.8.4.1:80", "", 9)
    assert listed.proxy.scheme == "http"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0" * 9_999,
        b"\xff\xfe\xff",
        bytes(range(256)) * 99,
        b"<div>" * 20_000,
        b'{"data": [{"ip"',
    ],
)
def test_bad_bodies_give_nothing(way: dict[str, Any], body: bytes) -> None:
    assert read(make(**way), body, "text/html", 9) == []


@given(st.binary(), st.text(), st.sampled_from(WAYS))
@settings(max_examples=300, deadline=None)
def test_no_body_raises(body: bytes, content_type: str, way: dict[str, Any]) -> None:
    for found in read(make(**way), body, content_type, 9):
        assert admit(found.proxy, allow_private=True) is None
