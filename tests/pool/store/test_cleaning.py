import math
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from pool.model import Kind, Record, SourceAccount
from pool.store.cleaning import (
    ADDRESS,
    ERROR,
    KINDS,
    LATEST,
    LONGEST,
    MARK,
    MOST,
    NAME,
    clean_account,
    clean_record,
)

FULL = Record(
    source="docip/géonode",
    shared=True,
    country="DE",
    region="中国 广东",
    added=1_796_040_000.0,
    checked=LATEST,
    passed=1_796_040_000.5,
    latency=0.25,
    connect_time=LONGEST,
    last=Kind.PASSED,
    failures=MOST,
    failed={"timeout": 3, "a later version's": MOST},
    proven=1_796_040_001.0,
    connect=True,
    anonymity="elite",
    exit="2001:db8::1",
)


@pytest.mark.parametrize("record", [Record(), FULL])
def test_what_is_fit_stays_as_it_is(record: Record) -> None:
    assert clean_record(record) is record


@pytest.mark.parametrize("name", ["added", "checked", "passed"])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e308, -1.0, LATEST + 1])
def test_a_time_that_no_calendar_shows_is_never(name: str, value: float) -> None:
    assert clean_record(replace(Record(), **{name: value})) == Record()


@pytest.mark.parametrize("name", ["latency", "connect_time", "proven"])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e308, -1.0])
def test_seconds_that_nothing_takes_are_not_known(name: str, value: float) -> None:
    assert clean_record(replace(Record(), **{name: value})) == Record()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"latency": LONGEST + 1}, {}),
        ({"proven": LATEST + 1}, {}),
        ({"country": "de"}, {"country": "DE"}),
        ({"country": "D"}, {}),
        ({"country": "D1"}, {}),
        ({"country": "ß"}, {}),
        ({"country": "ßa"}, {}),
        ({"country": "DE\n"}, {}),
        ({"country": "\x1b[" * 2500}, {}),
        ({"failures": -1}, {}),
        ({"failures": MOST + 1}, {}),
        ({"source": "a\x1b[2Jb\n"}, {"source": "a?[2Jb?"}),
        ({"source": "x" * NAME}, {"source": "x" * NAME}),
        ({"source": "x" * (NAME + 1)}, {"source": "x" * (NAME - 3) + "..."}),
        ({"region": "x\x00" * NAME}, {"region": "x?" * (NAME // 2 - 2) + "x..."}),
        ({"source": "shared"}, {"source": "shared"}),
        ({"source": "æsharedé"}, {"source": "æ?é"}),
        ({"region": "a æshared\xff"}, {"region": "a æ?\xff"}),
        ({"exit": "1" * ADDRESS}, {"exit": "1" * ADDRESS}),
        ({"exit": "1" * (ADDRESS + 1)}, {}),
        ({"exit": "æsharedé"}, {}),
        ({"exit": "\x1b"}, {}),
        ({"failed": {"rule": -1, "timeout": 2}}, {"failed": {"timeout": 2}}),
        ({"failed": {"rule": MOST + 1}}, {}),
        ({"failed": {"\x1b": 1, "æsharedé": 1, "x" * (ADDRESS + 1): 1}}, {}),
        (
            {"failed": {f"k{n}": n for n in range(KINDS + 1)}},
            {"failed": {f"k{n}": n for n in range(KINDS)}},
        ),
    ],
)
def test_what_cannot_be_is_not_known_and_texts_only_show(
    given: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert clean_record(Record(**given)) == Record(**expected)


@pytest.mark.parametrize("name", ["source", "region", "exit"])
def test_no_text_looks_like_the_mark_of_what_is_shared(name: str) -> None:
    given = replace(Record(), **{name: "æsharedé"})
    assert MARK == b"\xa6shared\xc3"
    assert MARK in msgspec.msgpack.encode(given)
    assert MARK not in msgspec.msgpack.encode(clean_record(given))
    assert MARK in msgspec.msgpack.encode(Record(shared=True))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"found": 3, "last_success": 5.0, "last_error": "HTTP 404"}, None),
        ({"last_success": math.inf, "paused_until": 1e308, "answered": math.nan}, {}),
        ({"found": -1, "total_new": MOST + 1}, {}),
        ({"last_error": "\x1b[31m"}, {"last_error": "?[31m"}),
        ({"last_error": "x" * ERROR}, {"last_error": "x" * ERROR}),
        ({"last_error": "x" * (ERROR + 1)}, {"last_error": "x" * (ERROR - 3) + "..."}),
    ],
)
def test_accounts_are_made_fit_as_well(
    given: dict[str, Any], expected: dict[str, Any] | None
) -> None:
    account = SourceAccount(**given)
    assert clean_account(account) == SourceAccount(**(given if expected is None else expected))
