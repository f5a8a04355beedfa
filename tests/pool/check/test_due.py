import pytest

from fetcher.errors import Outcome
from fetcher.model import Request, Response
from pool.check.due import DAY, DayBudget, TokenBucket, estimate_bytes, next_check
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


def test_what_was_spent_beyond_the_bucket_has_to_be_waited_for() -> None:
    bucket = TokenBucket(10.0)
    assert bucket.room(50, now=0.0) == 10
    bucket.spend(15)  # ten checks, and what followed on them
    assert [bucket.room(50, now=at) for at in (0.0, 0.5, 0.61)] == [0, 0, 1]


MIDNIGHT = 20_000 * DAY


@pytest.mark.parametrize(
    ("at", "spent", "room"),
    [
        # An hour's worth of 7.2 MB is 300 kB: a hundred checks of 3 kB.
        (0.0, 0, 100),
        (0.0, 150_000, 50),
        (0.0, 297_000, 1),
        (0.0, 297_001, 0),
        (0.0, 9_000_000, 0),
        (3600.0, 300_000, 100),
        (43_200.0, 0, 500),
        (DAY - 1, 7_197_000, 1),
        (DAY - 1, 7_197_001, 0),
    ],
)
def test_a_days_bytes_are_spread_over_the_day(at: float, spent: int, room: int) -> None:
    assert DayBudget(7_200_000).room(500, spent, MIDNIGHT + at) == room


def test_what_is_under_way_is_held_to_be_spent_and_sizes_are_learned() -> None:
    budget = DayBudget(7_200_000)
    budget.under_way += 60
    assert budget.room(500, 0, MIDNIGHT) == 40
    for _ in range(60):
        budget.note(1000)
    assert budget.under_way == 0
    assert 250 < budget.room(500, 0, MIDNIGHT) < 300


@pytest.mark.parametrize(("size", "room"), [(0, 100), (1, 500)])
def test_checks_that_sent_nothing_tell_nothing_of_others(size: int, room: int) -> None:
    budget = DayBudget(7_200_000)
    for _ in range(20_000):
        budget.under_way += 1
        budget.note(size)
    assert budget.room(500, 0, MIDNIGHT) == room
    assert budget.under_way == 0


def test_without_a_limit_bytes_do_not_count() -> None:
    assert DayBudget(0).room(500, 10**12, MIDNIGHT) == 500


@pytest.mark.parametrize(
    ("url", "address", "size"),
    [
        ("http://x/", "192.0.2.1", 400 + 9 + 5 + 30 + 7),
        ("https://x/", "192.0.2.1", 5400 + 10 + 5 + 30 + 7),
        ("https://x/", "", 400 + 10 + 5 + 30 + 7),
    ],
)
def test_a_transfer_costs_what_it_says_and_what_the_network_adds(
    url: str, address: str, size: int
) -> None:
    request = Request(url=url, headers=(b"A: ",))
    response = Response(
        url=url, outcome=Outcome.ANSWERED, head=b"h" * 30, body=b"b" * 7, address=address
    )
    assert estimate_bytes(request, response) == size
