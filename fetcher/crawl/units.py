"""Sizes and durations as people write them, and all that a crawl shows as they read it.

A decision module: text in, numbers out, and back. Sizes are decimal, as disks and links are sold:
1 kB is 1,000 bytes; KiB, MiB and so on are powers of 1,024.
"""

import re
from datetime import datetime, tzinfo
from typing import Final

YEAR: Final = 31_536_000.0  # seconds; a longer duration is a mistake in the unit
MOST_BYTES: Final = 2**63 - 1  # what a number in Redis can be

_DAY: Final = 86_400.0
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([kmgtp]?)(i?)b?)", re.IGNORECASE)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min|m|h|d)\s*", re.IGNORECASE)
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": _DAY}
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+")
_NAMES: Final = ("kB", "MB", "GB", "TB", "PB", "EB")
# Below how many seconds a duration is shown in which unit, and its rest in which other.
_LONG: Final = (
    (3_600.0, 60, "min", 1, "s"),
    (_DAY, 3_600, "h", 60, "min"),
    (float("inf"), 86_400, "d", 3_600, "h"),
)


def parse_size(text: str) -> int:
    """Bytes of ``500MB``, ``10 GB``, ``1.5GiB`` or ``4096``. Raises ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or (match[3] and not match[2]):
        raise ValueError(f"{text!r} is no size: expected bytes, or such as 500MB, 10GB, 2GiB")
    size = int(float(match[1]) * (1024 if match[3] else 1000) ** _POWERS[match[2].lower()])
    if size > MOST_BYTES:
        raise ValueError(f"{text!r} is too large a size")
    return size


def parse_duration(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``10m``, ``1h30m`` or ``500ms``. Raises ValueError."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        seconds = float(text)
    else:
        seconds, end = 0.0, 0
        for part in _PART.finditer(text):
            if part.start() != end:
                break
            seconds += float(part[1]) * _SECONDS[part[2].lower()]
            end = part.end()
        if not text or end != len(text):
            raise ValueError(
                f"{text!r} is no duration: expected seconds, or such as 500ms, 90s, 10m, 1h30m, 2d"
            )
    if seconds > YEAR:
        raise ValueError(f"{text!r} is longer than a year")
    return seconds


def show_count(number: int) -> str:
    return f"{number:,}"


def show_rate(rate: float) -> str:
    """``0.25``, ``3.4``, ``1,250``: pages or the like a second."""
    if rate < 1:
        return f"{rate:.2f}"
    return f"{rate:.1f}" if rate < 100 else f"{rate:,.0f}"


def show_bytes(size: int) -> str:
    """Three digits and a unit: ``980 bytes``, ``1.25 MB``, ``31.4 GB``."""
    if size < 1000:
        return "1 byte" if size == 1 else f"{size} bytes"
    value = float(size)
    power = 0
    while value >= 999.5:
        value /= 1000
        power += 1
    return f"{_three(value)} {_NAMES[power - 1]}"


def _three(value: float) -> str:
    if value < 9.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def show_seconds(seconds: float) -> str:
    """In two units at most: ``35 ms``, ``1.4 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms" if seconds else "0 s"
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    _, size, name, part, smaller = next(row for row in _LONG if whole < row[0])
    more = whole % size // part
    return f"{whole // size} {name}" + (f" {more} {smaller}" if more else "")


def show_time(at: float, now: float, zone: tzinfo) -> str:
    """The time of day, and the day if it is not today's: ``14:05``, ``3 Dec 14:05``."""
    then, today = datetime.fromtimestamp(at, zone), datetime.fromtimestamp(now, zone)
    clock = f"{then:%H:%M}"
    return clock if then.date() == today.date() else f"{then.day} {then:%b} {clock}"
