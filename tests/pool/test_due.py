import pytest

from pool.due import TokenBucket, next_check
from pool.model import Kind, Record
from pool.settings import Check

TIMES = Check(cycle=20.0, backoff_max=900.0)
MOST = 0.999999999


def failing(kind: Kind, failures: int) -> Record:
    return Record(last=kind, failures=failures)


def test_an_unchecked_proxy_is_due_at_once() -> None:
    assert next_check(Record(), TIMES, MOST) == 0.0


def test_a_good_proxy_is_seen_again_after_a_cycle_exactly() -> None:
    assert next_check(Record(last=Kind.PASSED), TIMES, 0.0) == 20.0
    assert next_check(Record(last=Kind.PASSED), TIMES, MOST) == 20.0


@pytest.mark.parametrize(
    ("kind", "failures", "longest"),
    [
        (Kind.TIMEOUT, 1, 20),
        (Kind.TIMEOUT, 2, 40),
        (Kind.TIMEOUT, 6, 640),
        (Kind.TIMEOUT, 7, 900),
        (Kind.BROKEN, 1, 20),
        (Kind.RULE, 1, 40),
        (Kind.REFUSED, 1, 60),
        (Kind.REFUSED, 4, 480),
        (Kind.REFUSED, 5, 900),
        (Kind.AUTH, 1, 120),
        (Kind.GARBAGE, 3, 480),
        (Kind.UNUSABLE, 3, 480),
        (Kind.TIMEOUT, 10**9, 900),
        (Kind.TIMEOUT, 0, 20),  # a record that somebody else wrote
    ],
)
def test_failing_proxies_wait_longer_each_time(kind: Kind, failures: int, longest: float) -> None:
    record = failing(kind, failures)
    assert next_check(record, TIMES, 0.0) == longest / 2
    assert next_check(record, TIMES, MOST) == pytest.approx(longest)


def test_without_back_off_failing_ones_are_seen_every_cycle() -> None:
    times = Check(cycle=20.0, backoff_max=0.0)
    assert next_check(failing(Kind.REFUSED, 9), times, 0.3) == 20.0


def test_the_bucket_holds_one_second_and_fills_at_its_rate() -> None:
    bucket = TokenBucket(10.0)
    assert bucket.room(50, now=0.0) == 10
    bucket.spend(10)
    assert bucket.room(50, now=0.0) == 0
    assert bucket.room(50, now=0.09) == 0
    assert bucket.room(50, now=0.11) == 1
    bucket.spend(1)
    assert bucket.room(3, now=1.0) == 3
    assert bucket.room(50, now=100.0) == 10


def test_what_is_not_spent_stays() -> None:
    bucket = TokenBucket(10.0)
    assert [bucket.room(50, now=0.0) for _ in range(3)] == [10, 10, 10]


def test_rates_below_one_a_second_still_let_one_begin() -> None:
    bucket = TokenBucket(0.5)
    assert bucket.room(5, now=0.0) == 1
    bucket.spend(1)
    assert bucket.room(5, now=1.9) == 0
    assert bucket.room(5, now=2.1) == 1


def test_rate_zero_is_no_limit() -> None:
    bucket = TokenBucket(0.0)
    bucket.spend(10**6)
    assert bucket.room(500, now=0.0) == 500


def test_a_clock_that_stands_still_or_goes_back_fills_nothing() -> None:
    bucket = TokenBucket(1.0)
    bucket.room(1, now=5.0)
    bucket.spend(1)
    assert bucket.room(1, now=4.0) == 0
