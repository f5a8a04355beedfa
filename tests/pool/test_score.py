import pytest

from pool.model import Kind, Record
from pool.score import SEVERITY, average, next_record, next_score, rank
from pool.settings import Score

SCALE = Score()
FAILURES = sorted(set(Kind) - {Kind.PASSED, Kind.OURS}, key=lambda kind: kind.value)


@pytest.mark.parametrize(
    ("score", "kind", "expected"),
    [
        (10, Kind.PASSED, 100),
        (1, Kind.PASSED, 100),
        (100, Kind.PASSED, 100),
        (250, Kind.PASSED, 100),
        (100, Kind.TIMEOUT, 99),
        (10, Kind.TIMEOUT, 9),
        (2, Kind.REFUSED, 1),
        (1, Kind.REFUSED, None),
        (0.5, Kind.REFUSED, None),
        (1.5, Kind.RULE, 0.5),
        (0, Kind.RULE, None),
        (-7, Kind.RULE, None),
        (250, Kind.RULE, 99),
        (10, Kind.OURS, 10),
        (250, Kind.OURS, 250),
    ],
)
def test_scores_follow_proxypools_rule(score: float, kind: Kind, expected: float | None) -> None:
    assert next_score(score, kind, SCALE) == expected


@pytest.mark.parametrize("kind", FAILURES)
def test_a_new_proxy_goes_with_its_tenth_failure_whatever_the_kind(kind: Kind) -> None:
    score: float | None = SCALE.initial
    for _ in range(9):
        assert score is not None
        score = next_score(score, kind, SCALE)
    assert score == 1
    assert next_score(score, kind, SCALE) is None


def test_other_bounds_are_kept_too() -> None:
    scale = Score(initial=5, max=20, min=2)
    assert next_score(5, Kind.PASSED, scale) == 20
    assert next_score(4, Kind.GARBAGE, scale) == 3
    assert next_score(3, Kind.GARBAGE, scale) is None


def test_a_pass_ends_a_row_of_failures_and_keeps_their_count() -> None:
    record = Record(failures=3, failed={"timeout": 3}, last=Kind.TIMEOUT, checked=5.0)
    passed = next_record(record, Kind.PASSED, now=9.0, seconds=0.25)
    assert passed == Record(
        failures=0, failed={"timeout": 3}, last=Kind.PASSED, checked=9.0, passed=9.0, latency=0.25
    )


@pytest.mark.parametrize(
    ("known", "newest", "expected"),
    [
        (None, None, None),
        (None, 2.0, 2.0),
        (2.0, None, 2.0),
        (2.0, 2.0, 2.0),
        (1.0, 2.0, 1.3),
        (2.0, 0.0, 1.4),
    ],
)
def test_the_newest_time_counts_three_tenths(
    known: float | None, newest: float | None, expected: float | None
) -> None:
    assert average(known, newest) == pytest.approx(expected)


def test_times_are_averaged_over_passes_and_failures_have_none() -> None:
    record = Record()
    for kind, seconds, connect in (
        (Kind.PASSED, 1.0, 0.1),
        (Kind.TIMEOUT, 15.0, 5.0),
        (Kind.PASSED, 2.0, None),
        (Kind.PASSED, 1.3, 0.2),
    ):
        record = next_record(record, kind, now=1.0, seconds=seconds, connect=connect)
    assert record.latency == pytest.approx(1.3)
    assert record.connect_time == pytest.approx(0.13)


def test_a_failure_keeps_what_the_last_pass_showed() -> None:
    record = Record(passed=5.0, latency=0.25, last=Kind.PASSED, source="list", country="DE")
    once = next_record(record, Kind.TIMEOUT, now=9.0, seconds=15.0)
    twice = next_record(once, Kind.TIMEOUT, now=30.0, seconds=15.0)
    assert (twice.passed, twice.latency, twice.source, twice.country) == (5.0, 0.25, "list", "DE")
    assert (twice.failures, twice.failed, twice.checked) == (2, {"timeout": 2}, 30.0)
    assert record.failed == {}


def test_what_is_our_own_fault_leaves_no_trace() -> None:
    record = Record(source="list")
    assert next_record(record, Kind.OURS, now=9.0, seconds=1.0) is record


def test_each_verdict_has_its_severity() -> None:
    assert set(SEVERITY) == {kind for kind in Kind if kind.counts}


def test_rank_goes_by_score_then_by_the_kind_of_the_last_failure() -> None:
    best_first = [
        (101.0, Record(last=Kind.REFUSED)),
        (100, Record(last=Kind.PASSED)),
        (99, Record(last=Kind.REFUSED)),
        (10, Record()),
        (10, Record(last=Kind.TIMEOUT)),
        (10, Record(last=Kind.RULE)),
        (10, Record(last=Kind.GARBAGE)),
        (9, Record()),
    ]
    ranks = [rank(score, record, SCALE) for score, record in best_first]
    assert ranks == sorted(ranks, reverse=True)
    assert len(set(ranks)) == len(ranks)


def test_the_maximum_is_one_rank_whatever_an_old_record_says() -> None:
    assert rank(100, Record(last=Kind.TIMEOUT), SCALE) == rank(100.0, Record(), SCALE) == (100, 0)
