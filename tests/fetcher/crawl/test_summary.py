import pytest

from fetcher.crawl.summary import (
    INTERVAL,
    LATENCIES,
    MAX_ERRORS,
    MAX_HOSTS,
    MAX_POINTS,
    MAX_TYPES,
    Point,
    Summary,
    read_tally,
    width_at,
)


def read(**fields: int) -> Summary:
    """Of fields with "_" for ":"."""
    return read_named({name.replace("_", ":"): value for name, value in fields.items()})


def read_named(fields: dict[str, int]) -> Summary:
    return read_tally({name.encode(): str(value).encode() for name, value in fields.items()})


def test_of_nothing_there_is_nothing() -> None:
    got = read_tally({})
    assert got == Summary()
    assert got.latency(0.5) is None


def test_the_most_frequent_comes_first() -> None:
    got = read(status_200=5, status_404=7, status_301=5, skip_scope=1, skip_robots=2, bytes=9)
    assert list(got.statuses.items()) == [(404, 7), (200, 5), (301, 5)]
    assert list(got.skips.items()) == [("robots", 2), ("scope", 1)]
    assert got.bytes == 9


@pytest.mark.parametrize(
    "field",
    [
        *("status:x", "status:", "latency:3", "latency:", "at:x:done", "at:1:other", "at:done"),
        *("host:a:other", "host:pages", "nonsense", "", "bytes:1", "at:1234567890:done"),
        "status:٣",
    ],
)
def test_a_field_that_is_none_is_passed_over(field: str) -> None:
    assert read_named({field: 1}) == Summary()


@pytest.mark.parametrize("value", [b"", b"x", b"-1", b"1.5", b"9" * 20, "٣".encode()])
def test_a_value_that_is_no_number_is_passed_over(value: bytes) -> None:
    assert read_tally({b"bytes": value, b"\xff": value, b"type:a/b": value}) == Summary()


@pytest.mark.parametrize(("kind", "most"), [("error", MAX_ERRORS), ("type", MAX_TYPES)])
def test_kinds_beyond_the_limit_are_together(kind: str, most: int) -> None:
    def kinds(number: int) -> dict[str, int]:
        got = read_named({f"{kind}:{n}": n + 2 for n in range(number)} | {f"{kind}:other": 1})
        return got.errors if kind == "error" else got.types

    assert len(kinds(most - 1)) == most
    assert kinds(most)["other"] == 1
    assert len(kinds(most)) == most + 1
    assert kinds(most + 1)["other"] == 1 + 2  # the rarest has gone into it
    assert len(kinds(most + 1)) == most + 1


def test_latencies_are_columns() -> None:
    got = read(latency_1=1, latency_500=2, latency_more=3)
    assert (got.latencies[0], got.latencies[LATENCIES.index(500)], got.latencies[-1]) == (1, 2, 3)
    assert sum(got.latencies) == 6


@pytest.mark.parametrize(
    ("numbers", "share", "seconds"),
    [
        ({"latency:100": 10}, 0.5, 0.075),  # half way between 50 and 100 ms
        ({"latency:100": 10}, 1.0, 0.1),
        ({"latency:1": 4}, 0.5, 0.0005),
        ({"latency:100": 10, "latency:1000": 10}, 0.75, 0.75),
        ({"latency:more": 1}, 0.5, 300.0),
        ({"latency:2": 4, "latency:10": 1}, 0.0, 0.001),
    ],
)
def test_a_share_of_the_answers_came_within(
    numbers: dict[str, int], share: float, seconds: float
) -> None:
    assert read_named(numbers).latency(share) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("age", "width"),
    [(0, 10), (4999.9, 10), (5000, 20), (9999.9, 20), (10_000, 40), (604_800, 1280)],
)
def test_buckets_of_time_grow_with_the_age(age: float, width: int) -> None:
    assert width_at(age) == width


@pytest.mark.parametrize("last", [0, 4990, 5000, 10_000, 31_536_000])
def test_points_are_as_wide_as_the_last_and_not_too_many(last: int) -> None:
    fields: dict[str, int] = {}
    at = 0
    while at <= last:
        fields |= {f"at:{at}:done": 3, f"at:{at}:failed": 1}
        at += width_at(at)
    got = read_named(fields)
    assert len(got.points) <= MAX_POINTS
    assert got.width == width_at(last)
    assert [point.at for point in got.points] == [n * got.width for n in range(len(got.points))]
    assert sum(point.done for point in got.points) == 3 * len(fields) / 2
    assert sum(point.failed for point in got.points) == len(fields) / 2


def test_where_nothing_came_there_is_a_point_too() -> None:
    got = read_named({"at:20:done": 1, "at:50:failed": 2})
    assert got.width == INTERVAL
    assert got.points == [Point(20, 1, 0), Point(30), Point(40), Point(50, 0, 2)]


def test_hosts_are_the_slowest_and_the_largest() -> None:
    got = read_named(
        {
            "host:slow.example:pages": 2,
            "host:slow.example:ms": 9000,
            "host:[::1]:pages": 10,
            "host:[::1]:ms": 10,
            "host:[::1]:bytes": 7,
            "host:down.example:failed": 5,
        }
    )
    assert [(host.name, host.seconds) for host in got.slowest] == [
        ("slow.example", 4.5),
        ("[::1]", 0.001),
    ]
    assert [host.name for host in got.largest] == ["[::1]", "down.example", "slow.example"]
    assert (got.largest[0].bytes, got.largest[1].seconds) == (7, 0.0)


def test_not_all_hosts_are_shown() -> None:
    got = read_named({f"host:h{n}:pages": n + 1 for n in range(MAX_HOSTS + 1)})
    assert (len(got.slowest), len(got.largest)) == (MAX_HOSTS, MAX_HOSTS)
    assert got.largest[0].name == f"h{MAX_HOSTS}"
