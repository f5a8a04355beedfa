import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetcher.model import Fetch, Result, Task
from fetcher.stats.windows import (
    MAX_NAME,
    NO_NAME,
    OTHERS,
    WINDOWS,
    Share,
    Stats,
    name_of,
    sum_shares,
)

START = 1_000_020.0  # a full minute, and so the start of a bucket in both windows


def counted(stats: Stats, window: str, now: float, project: str = "p") -> float:
    return stats.read(window, "sum", now).get(project, {}).get("200", 0.0)


@pytest.mark.parametrize(
    ("status", "key"),
    [
        (100, "100"),
        (199, "100"),
        (200, "200"),
        (204, "200"),
        (304, "300"),
        (404, "400"),
        (500, "500"),
        (598, "500"),
        (599, "599"),
        (600, "600"),
        (999, "900"),
        (1000, "0"),
        (0, "0"),
        (-1, "0"),
    ],
)
def test_a_status_counts_for_its_class_and_599_for_itself(status: int, key: str) -> None:
    stats = Stats()
    stats.record("p", status, 0.0, 5, START)
    assert stats.read("5m", "sum", START) == {"p": {key: 1.0}}


def test_speeds_and_times_of_all_tasks_are_added_up() -> None:
    stats = Stats()
    stats.record("p", 200, 0.5, 1_000, START)
    stats.record("p", 200, 2.0, 1_000, START)
    stats.record("p", 404, 0.0, 1_000, START)
    stats.record("q", 200, 1.0, 0, START)
    for window in ("5m", "1h"):
        assert stats.read(window, "sum", START) == {
            "p": {"200": 2.0, "400": 1.0, "speed": 2_500.0, "time": 2.5},
            "q": {"200": 1.0, "speed": 0.0, "time": 1.0},
        }


@pytest.mark.parametrize(("window", "length", "interval"), [("5m", 300, 10), ("1h", 3_600, 60)])
def test_a_record_leaves_the_window_with_its_bucket(
    window: str, length: int, interval: int
) -> None:
    for offset in (0.0, interval / 2, interval - 0.25):
        stats = Stats()
        stats.record("p", 200, 0.0, 0, START + offset)
        assert counted(stats, window, START + length - 0.25) == 1.0
        assert counted(stats, window, START + length) == 0.0
        assert stats.read(window, "sum", START + length) == {}


def test_the_windows_forget_each_on_its_own() -> None:
    stats = Stats()
    for minute in range(120):
        stats.record("p", 200, 0.0, 0, START + 60 * minute)
        assert counted(stats, "5m", START + 60 * minute) == min(minute + 1, 5)
        assert counted(stats, "1h", START + 60 * minute) == min(minute + 1, 60)


def test_a_long_silence_empties_both() -> None:
    stats = Stats()
    stats.record("p", 200, 0.0, 0, START)
    assert stats.read("1h", "sum", START + 1e6) == {}
    assert stats.read("5m", "avg", START + 1e6) == {}
    stats.record("p", 200, 0.0, 0, START + 1e6)
    assert counted(stats, "1h", START + 1e6) == 1.0


@pytest.mark.parametrize(
    ("window", "since", "span"),
    [
        ("5m", 0.0, 1.0),
        ("5m", 0.5, 1.0),
        ("5m", 1.0, 1.0),
        ("5m", 20.0, 20.0),
        ("5m", 299.0, 299.0),
        ("1h", 20.0, 20.0),
        ("1h", 3_599.0, 3_599.0),
    ],
)
def test_an_average_is_per_second_since_the_first_record(
    window: str, since: float, span: float
) -> None:
    stats = Stats()
    for _ in range(3):
        stats.record("p", 200, 0.5, 100, START)
    now = START + since
    assert stats.read(window, "avg", now) == {
        "p": {"200": 3 / span, "speed": 600 / span, "time": 1.5 / span}
    }


@pytest.mark.parametrize(("window", "seconds"), [("5m", 300), ("1h", 3_600)])
def test_an_average_is_over_the_window_at_most(window: str, seconds: int) -> None:
    stats = Stats()
    for second in range(2 * seconds):
        stats.record("p", 200, 0.0, 0, START + second)
    average = stats.read(window, "avg", START + 2 * seconds - 0.5)["p"]["200"]
    assert average == pytest.approx(1.0, rel=0.01)


def test_each_project_has_its_own_beginning() -> None:
    stats = Stats()
    stats.record("old", 200, 0.0, 0, START)
    stats.record("new", 200, 0.0, 0, START + 100)
    averages = stats.read("5m", "avg", START + 110)
    assert averages == {"old": {"200": 1 / 110}, "new": {"200": 1 / 10}}


@pytest.mark.parametrize(("projects", "others"), [(2, 0), (3, 0), (4, 1), (10, 7)])
def test_names_beyond_the_limit_share_one(projects: int, others: int) -> None:
    stats = Stats(max_projects=3)
    for _ in range(2):
        for number in range(projects):
            stats.record(f"p{number}", 200, 0.0, 0, START)
    sums = stats.read("5m", "sum", START)
    assert sums.pop(OTHERS, {}) == ({"200": 2.0 * others} if others else {})
    assert sums == {f"p{number}": {"200": 2.0} for number in range(projects - others)}


def test_a_name_is_free_again_an_hour_after_its_last_record() -> None:
    stats = Stats(max_projects=1)
    stats.record("first", 200, 0.0, 0, START)
    stats.record("second", 200, 0.0, 0, START + 3_599)
    assert stats.read("5m", "sum", START + 3_599).keys() == {OTHERS}
    stats.record("second", 200, 0.0, 0, START + 3_600)
    assert stats.read("5m", "sum", START + 3_600) == {
        OTHERS: {"200": 1.0},
        "second": {"200": 1.0},
    }


@pytest.mark.parametrize(
    ("length", "kept"), [(MAX_NAME - 1, True), (MAX_NAME, True), (MAX_NAME + 1, False)]
)
def test_a_name_has_a_length_that_is_kept(length: int, kept: bool) -> None:
    stats = Stats()
    stats.record("n" * length, 200, 0.0, 0, START)
    assert stats.read("5m", "sum", START).keys() == {"n" * length if kept else OTHERS}


def test_a_clock_that_steps_back_loses_nothing() -> None:
    stats = Stats()
    stats.record("p", 200, 0.0, 0, START)
    stats.record("p", 200, 0.0, 0, START - 1_000)
    assert counted(stats, "5m", START - 500) == counted(stats, "1h", START) == 2.0
    assert stats.read("5m", "avg", START - 1_000)["p"]["200"] == 2.0


@pytest.mark.parametrize(
    ("url", "fetch", "timed"),
    [
        ("http://127.0.0.1/", None, True),
        ("http://127.0.0.1/", Fetch(), True),
        ("http://127.0.0.1/", Fetch(fetch_type="js"), True),
        ("http://127.0.0.1/", Fetch(fetch_type="phantomjs"), True),
        ("http://127.0.0.1/", Fetch(fetch_type="splash"), False),
        ("http://127.0.0.1/", Fetch(fetch_type="puppeteer"), False),
        ("http://127.0.0.1/", Fetch(fetch_type="no such type"), True),
        ("data:,hello", None, False),
        ("DATA:,hello", Fetch(), False),
    ],
)
def test_only_plain_and_phantomjs_fetches_have_a_time(
    url: str, fetch: Fetch | None, timed: bool
) -> None:
    stats = Stats()
    result = Result(status_code=200, orig_url=url, url=url, content=b"12345", time=0.5)
    stats.record_result(Task(url=url, fetch=fetch, project="p"), result, START)
    expected = {"200": 1.0} | ({"speed": 10.0, "time": 0.5} if timed else {})
    assert stats.read("5m", "sum", START) == {"p": expected}


@pytest.mark.parametrize(
    ("project", "name"), [("p", "p"), ("", ""), (None, NO_NAME), (5, NO_NAME), ([], NO_NAME)]
)
def test_a_project_that_is_no_text_has_no_name(project: object, name: str) -> None:
    assert name_of(project) == name
    stats = Stats()
    result = Result(status_code=200, orig_url="http://h/", url="http://h/")
    stats.record_result(Task(url="http://h/", project=project), result, START)
    assert stats.read("5m", "sum", START) == {name: {"200": 1.0}}


@pytest.mark.parametrize(
    ("window", "first", "expected"),
    [
        ("5m", 0, {6: 1, 7: 2, 12: 1}),
        ("5m", 6, {6: 1, 7: 2, 12: 1}),
        ("5m", 7, {7: 2, 12: 1}),
        ("5m", 12, {12: 1}),
        ("5m", 13, {}),
        ("1h", 0, {1: 3, 2: 1}),
        ("1h", 2, {2: 1}),
        ("1h", 3, {}),
    ],
)
def test_shares_are_told_from_a_bucket_on(
    window: str, first: int, expected: dict[int, float]
) -> None:
    stats = Stats()
    for at in (60, 70, 79, 120):
        stats.record("p", 200, 0.0, 0, at)
    shares = stats.shares(window, first, 120)
    assert shares == {n: {"p": Share(60, {"200": count})} for n, count in expected.items()}
    assert stats.shares(window, first, 120) == shares


def test_a_minute_that_is_under_way_has_all_its_records() -> None:
    stats = Stats()
    for at in (60, 70, 80):
        stats.record("p", 200, 0.0, 0, at)
        assert stats.shares("1h", 0, at)[1]["p"].tally["200"] == (at - 50) / 10


def test_shares_of_many_are_added_and_their_averages_are_since_the_first_record() -> None:
    buckets = [
        {"p": Share(START, {"200": 3.0}), "q": Share(START + 5, {"200": 1.0})},
        {"p": Share(START - 5, {"200": 1.0, "time": 3.0})},
        {},
    ]
    assert sum_shares(buckets, "5m", "sum", START + 5) == {
        "p": {"200": 4.0, "time": 3.0},
        "q": {"200": 1.0},
    }
    assert sum_shares(buckets, "5m", "avg", START + 5) == {
        "p": {"200": 0.4, "time": 0.3},
        "q": {"200": 1.0},
    }
    assert buckets[0]["p"].tally == {"200": 3.0}


def test_an_unknown_window_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Stats().read("1d", "sum", START)


records = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 4_000),
        st.sampled_from([200, 304, 404, 599]),
    ),
    max_size=60,
)


@settings(max_examples=100, deadline=None)
@given(records, st.integers(0, 4_000))
def test_a_window_holds_what_lies_in_its_buckets_and_nothing_else(
    events: list[tuple[str, int, int]], later: int
) -> None:
    stats = Stats(max_projects=3)
    events = sorted(events, key=lambda event: event[1])
    for project, at, status in events:
        stats.record(project, status, 0.0, 0, START + at)
    now = int(START) + (events[-1][1] if events else 0) + later
    for window, interval, count in (("5m", 10, 30), ("1h", 60, 60)):
        oldest = (now // interval - count + 1) * interval
        expected = sum(START + at >= oldest for _, at, _ in events)
        sums = stats.read(window, "sum", now)
        assert sum(sum(tally.values()) for tally in sums.values()) == expected


@settings(max_examples=100, deadline=None)
@given(records, st.integers(2, 4))
def test_many_who_share_the_records_tell_what_one_would(
    events: list[tuple[str, int, int]], number: int
) -> None:
    one, many = Stats(), [Stats() for _ in range(number)]
    events = sorted(events, key=lambda event: event[1])
    now = START + (events[-1][1] if events else 0)
    for index, (project, at, status) in enumerate(events):
        one.record(project, status, 0.0, 0, START + at)
        many[index % number].record(project, status, 0.0, 0, START + at)
    for window in WINDOWS:
        shares = [share for each in many for share in each.shares(window, 0, now).values()]
        assert sum_shares(shares, window, "sum", now) == one.read(window, "sum", now)
