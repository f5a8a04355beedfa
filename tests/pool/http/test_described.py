"""What is said that the pool's own routes take is what they take."""

from typing import Any

import msgspec
import pytest

from pool.check.proof import NONCE
from pool.http.api import OFFSET_MOST
from pool.http.described import ADD, FILTERS, JUDGE, REPORT, describe, name_values
from pool.http.listing import LIMIT, LIMIT_MOST
from pool.http.report import Report
from pool.snapshot.filters import NAMES, SWITCHES, FilterError, parse_filters

[PROXIES, *_] = describe().routes
LIST = {one.name: one for one in PROXIES.operations[0].parameters}


def is_described(type_: Any, text: str) -> bool:
    try:
        msgspec.convert(text, type_, strict=False)
    except msgspec.ValidationError:
        return False
    return True


def takes(name: str, text: str) -> bool:
    try:
        parse_filters(lambda asked: text if asked == name else "", {name})
    except FilterError:
        return False
    return True


@pytest.mark.parametrize(
    ("name", "text", "is_taken"),
    [
        ("connect", "1", True),
        ("connect", "true", True),
        ("connect", "0", False),
        ("connect", "", False),
        ("alive", "1", True),
        ("alive", "yes", False),
        ("alive", "", False),
        ("country", "", True),
        ("country", "D", False),
        ("country", "DE", True),
        ("country", "de, FR", True),
        ("country", "DE,", False),
        ("country", ",".join(["DE"] * 20), True),
        ("country", ",".join(["DE"] * 21), False),
        ("max_latency", "", True),
        ("max_latency", "0", False),
        ("max_latency", "0.0", False),
        ("max_latency", "0.1", True),
        ("max_latency", "999999999.999999999", True),
        ("max_latency", "1000000000", False),
        ("max_latency", "1e3", False),
        ("max_latency", "-1", False),
    ],
)
def test_a_filter_takes_what_is_said(name: str, text: str, is_taken: bool) -> None:
    assert takes(name, text) is is_taken
    assert is_described(LIST[name].type, text) is is_taken


@pytest.mark.parametrize("name", ["scheme", "anonymity"])
def test_a_filter_of_names_lists_those_that_it_takes(name: str) -> None:
    either = msgspec.json.schema(LIST[name].type)["anyOf"]
    [values] = [one["items"]["enum"] for one in either if one.get("type") == "array"]
    assert LIST[name].commas
    assert takes(name, ",".join(values))
    assert takes(name, "")
    assert not takes(name, "nonsense")


def test_all_filters_are_described_and_no_other() -> None:
    assert {one.name for one in FILTERS} == set(NAMES)
    assert set(NAMES) >= SWITCHES


@pytest.mark.parametrize(
    ("name", "text", "is_taken"),
    [
        ("limit", "0", False),
        ("limit", "1", True),
        ("limit", str(LIMIT_MOST), True),
        ("limit", str(LIMIT_MOST + 1), False),
        ("offset", "-1", False),
        ("offset", "0", True),
        ("offset", str(OFFSET_MOST), True),
        ("offset", str(OFFSET_MOST + 1), False),
    ],
)
def test_a_page_has_the_limits_that_are_said(name: str, text: str, is_taken: bool) -> None:
    assert is_described(LIST[name].type, text) is is_taken
    assert LIST["limit"].default == LIMIT


@pytest.mark.parametrize("text", ["", "a", "a1-_", "x" * 64, "x" * 65, "a b", "ä"])
def test_a_nonce_is_what_is_said(text: str) -> None:
    [nonce] = JUDGE.routes[0].operations[0].parameters
    assert is_described(nonce.type, text) is (NONCE.fullmatch(text) is not None)


def test_a_report_is_described_by_what_reads_it() -> None:
    assert REPORT.body is not None
    assert list(REPORT.body.content.values()) == [Report]


@pytest.mark.parametrize(
    ("text", "is_taken"),
    [
        ('"127.0.0.1:80"', True),
        ('["127.0.0.1:80", {"proxy": "127.0.0.1:81"}]', True),
        ("5", False),
        ("[]", False),
    ],
)
def test_proxies_are_given_as_is_said(text: str, is_taken: bool) -> None:
    assert ADD.body is not None
    type_ = ADD.body.content["application/json"]
    parts = [one for one in type_.__args__ if not hasattr(one, "__required_keys__")]
    fits = any(is_json(text, part) for part in parts)
    assert fits is is_taken


def is_json(text: str, type_: Any) -> bool:
    try:
        msgspec.json.decode(text, type=type_)
    except msgspec.ValidationError:
        return False
    return True


def test_values_are_named() -> None:
    assert msgspec.json.schema(name_values(("a", "b"))) == {"type": "string", "enum": ["a", "b"]}
