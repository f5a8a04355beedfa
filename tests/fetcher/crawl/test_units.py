from datetime import UTC, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.crawl.units import (
    MOST_BYTES,
    YEAR,
    parse_duration,
    parse_size,
    show_bytes,
    show_count,
    show_rate,
    show_seconds,
    show_time,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("10B", 10),
        ("500MB", 500_000_000),
        ("500mb", 500_000_000),
        ("10 GB", 10_000_000_000),
        ("10G", 10_000_000_000),
        ("1.5k", 1500),
        ("2GiB", 2_147_483_648),
        (" 1TiB ", 2**40),
        ("1PB", 10**15),
        ("0.5", 0),
    ],
)
def test_a_size_has_a_unit_or_is_in_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "GB", "10XB", "-1", "1e9", "10iB", "1.GB", "1,000", "10 GB x"]
)
def test_what_is_no_size_is_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is no size: expected bytes, or such as 500MB"):
        parse_size(text)


def test_a_size_fits_into_a_number_of_redis() -> None:
    assert parse_size("8191PiB") < MOST_BYTES
    with pytest.raises(ValueError, match="too large"):
        parse_size("8192PiB")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("90", 90.0),
        ("0.5", 0.5),
        (".5", 0.5),
        ("90s", 90.0),
        ("500ms", 0.5),
        ("10m", 600.0),
        ("10min", 600.0),
        ("2h", 7200.0),
        ("1h30m", 5400.0),
        ("1h 30m 5s", 5405.0),
        ("1.5h", 5400.0),
        ("2D", 172_800.0),
        ("365d", YEAR),
    ],
)
def test_a_duration_has_units_or_is_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", " ", "h", "soon", "-1s", "1 h x", "x 1h", "1h30", "1w", "nan"]
)
def test_what_is_no_duration_is_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration: expected seconds, or such as"):
        parse_duration(text)


def test_no_duration_is_longer_than_a_year() -> None:
    with pytest.raises(ValueError, match="longer than a year"):
        parse_duration("31536001")


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.00 kB"),
        (9994, "9.99 kB"),
        (9995, "10.0 kB"),
        (99_940, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (31_400_000_000, "31.4 GB"),
        (10**18, "1.00 EB"),
    ],
)
def test_bytes_are_shown_in_three_digits(size: int, shown: str) -> None:
    assert show_bytes(size) == shown


@given(st.integers(0, MOST_BYTES))
def test_any_size_can_be_shown_and_is_short(size: int) -> None:
    assert len(show_bytes(size)) <= 9


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.0351, "35 ms"),
        (0.9994, "999 ms"),
        (0.9995, "1 s"),
        (1.42, "1.4 s"),
        (9.94, "9.9 s"),
        (9.95, "10 s"),
        (59.4, "59 s"),
        (59.5, "1 min"),
        (200, "3 min 20 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d"),
        (273_600, "3 d 4 h"),
    ],
)
def test_durations_are_shown_in_two_units(seconds: float, shown: str) -> None:
    assert show_seconds(seconds) == shown


@pytest.mark.parametrize(
    ("rate", "shown"),
    [(0.0, "0.00"), (0.254, "0.25"), (3.44, "3.4"), (99.9, "99.9"), (1250.4, "1,250")],
)
def test_rates_are_shown_as_exactly_as_one_reads_them(rate: float, shown: str) -> None:
    assert show_rate(rate) == shown
    assert show_count(1250) == "1,250"


def test_a_time_is_that_of_the_day_and_of_the_zone() -> None:
    now = 1_796_040_000.0  # 2026-11-30 12:00 UTC
    assert show_time(now + 7500, now, UTC) == "14:05"
    assert show_time(now + 86_400, now, UTC) == "1 Dec 12:00"
    assert show_time(now + 7500, now, timezone(timedelta(hours=10))) == "1 Dec 00:05"
