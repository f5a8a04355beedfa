from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from fetcher.task.script_result import (
    MAX_DEPTH,
    MAX_TEXT,
    MAX_THINGS,
    TooMuch,
    fit_script_result,
)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -(2**63), 2**64 - 1, 1.5, "", "中", [], {}, [1, [2, {"a": None}]],
        nested(MAX_DEPTH), ["x" * MAX_TEXT], [0] * (MAX_THINGS - 1),
    ],
)  # fmt: skip
def test_what_can_be_carried_stays_as_it_is(value: Any) -> None:
    fit = fit_script_result(value)
    assert fit == value
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(fit)) == value


@pytest.mark.parametrize(
    ("value", "fit"),
    [
        ("a\ud800b", "a?b"),
        ({"\udfff": "中\ud800"}, {"?": "中?"}),
        (2**64, float(2**64)),
        (-(2**63) - 1, float(-(2**63) - 1)),
        (10**400, float("inf")),
        (-(10**400), float("-inf")),
        ((1, 2), [1, 2]),
        ({5: 1}, {"5": 1}),
        (datetime(2026, 11, 30, tzinfo=UTC), "2026-11-30 00:00:00+00:00"),
    ],
)
def test_what_cannot_is_told_in_another_way(value: Any, fit: Any) -> None:
    assert fit_script_result(value) == fit


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (nested(MAX_DEPTH + 1), f"more than {MAX_DEPTH} deep"),
        (nested(100_000), f"more than {MAX_DEPTH} deep"),
        ([0] * MAX_THINGS, f"more than {MAX_THINGS} things"),
        (["x" * MAX_TEXT, "x"], f"more than {MAX_TEXT} characters"),
        ({"x" * (MAX_TEXT + 1): 1}, f"more than {MAX_TEXT} characters"),
    ],
)
def test_what_is_too_much_is_not_carried(value: Any, words: str) -> None:
    with pytest.raises(TooMuch, match=words):
        fit_script_result(value)
