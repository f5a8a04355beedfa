"""What is kept in Redis, made fit for use: anybody who reaches it can have written there.

A decision module: values in, values out. What cannot be is as if it were not known; what is shown
is one line of bounded length. Values that are as they should be stay the same objects.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import replace

from pool.model import Record, SourceAccount
from pool.printable import printable

LATEST: Final = 2.0**33  # the year 2242: every calendar can show it
LONGEST: Final = 86_400.0  # seconds that a check may have taken
MOST: Final = 2**53  # as an integer that JSON's readers keep whole

NAME: Final = 200  # characters of a source's name, and of a region
ADDRESS: Final = 64
ERROR: Final = 1000
KINDS: Final = 32  # ways in which checks end

# By these bytes the scripts see that a record is marked as shared without unpacking it: the field's
# name and what follows it. A text may not look like that from within: "æsharedé" does.
MARK: Final = msgspec.msgpack.encode({"shared": True})[1:]

_COUNTRY: Final = re.compile(r"[A-Z]{2}")

T = TypeVar("T", Record, SourceAccount)


def clean_record(record: Record) -> Record:
    return _clean(record, _OF_RECORD)


def clean_account(account: SourceAccount) -> SourceAccount:
    return _clean(account, _OF_ACCOUNT)


def _clean(value: T, rules: Mapping[str, Callable[[Any], Any]]) -> T:
    # What is empty, zero or None is not known, and most is; the rest of a full record takes 3 us.
    changed = {
        name: fit
        for name, rule in rules.items()
        if (given := getattr(value, name)) and (fit := rule(given)) is not given
    }
    return replace(value, **changed) if changed else value


def _time(seconds: float) -> float:
    return seconds if 0.0 <= seconds <= LATEST else 0.0


def _time_or_none(seconds: float) -> float | None:
    return seconds if 0.0 <= seconds <= LATEST else None


def _duration(seconds: float) -> float | None:
    return seconds if 0.0 <= seconds <= LONGEST else None


def _count(number: int) -> int:
    return number if 0 <= number <= MOST else 0


def _country(code: str) -> str | None:
    if _COUNTRY.fullmatch(code):
        return code
    code = code.upper() if len(code) == 2 else ""
    return code if _COUNTRY.fullmatch(code) else None


def _name(text: str) -> str:
    text = printable(text, NAME)
    if "shared" in text and MARK in text.encode():
        return text.replace("shared", "?")
    return text


def _error(text: str) -> str:
    return printable(text, ERROR)


def _address(text: str) -> str | None:
    return text if len(text) <= ADDRESS and text.isascii() and text.isprintable() else None


def _by_kind(counts: dict[str, int]) -> dict[str, int]:
    if len(counts) <= KINDS and all(map(_is_kind, counts, counts.values())):
        return counts
    fit = {kind: count for kind, count in counts.items() if _is_kind(kind, count)}
    return dict(list(fit.items())[:KINDS])


def _is_kind(kind: str, count: int) -> bool:
    return 0 <= count <= MOST and len(kind) <= ADDRESS and kind.isascii() and kind.isprintable()


_OF_RECORD: Final[dict[str, Callable[[Any], Any]]] = {
    "source": _name,
    "country": _country,
    "region": _name,
    "added": _time,
    "checked": _time,
    "passed": _time,
    "latency": _duration,
    "connect_time": _duration,
    "failures": _count,
    "failed": _by_kind,
    "proven": _time_or_none,
    "exit": _address,
}
_OF_ACCOUNT: Final[dict[str, Callable[[Any], Any]]] = {
    "found": _count,
    "new": _count,
    "refused": _count,
    "last_run": _time,
    "last_success": _time,
    "answered": _time,
    "last_error": _error,
    "consecutive_failures": _count,
    "total_new": _count,
    "paused_until": _time,
    "version": _name,
}
