import pytest

from fetcher.model import Timing
from fetcher.stats.phases import BOUNDS, PHASES, SIZE, Histogram, Phases


def buckets(histogram: Histogram) -> dict[float, int]:
    """End of a bucket -> how many lie in it; infinity for the last."""
    ends = [*BOUNDS, float("inf")]
    return {end: n for end, n in zip(ends, histogram.counts, strict=True) if n}


@pytest.mark.parametrize(
    ("seconds", "end"),
    [
        (0.0, 0.001),
        (0.001, 0.001),  # a bucket holds its end
        (0.0011, 0.0025),
        (0.25, 0.25),
        (119.9, 120.0),
        (120.0, 120.0),
        (120.1, float("inf")),
    ],
)
def test_a_histogram_counts_by_the_ends_of_its_buckets(seconds: float, end: float) -> None:
    histogram = Histogram()
    histogram.add(seconds)
    assert buckets(histogram) == {end: 1}
    assert histogram.seconds == seconds


def test_two_histograms_are_added_up_and_left_as_they_are() -> None:
    one, other = Histogram(), Histogram()
    for seconds in (0.001, 3.0):
        one.add(seconds)
    other.add(3.0)
    both = one.plus(other)
    assert buckets(both) == {0.001: 1, 5.0: 2}
    assert both.seconds == pytest.approx(6.001)
    assert sum(one.counts) == 2


@pytest.mark.parametrize("turned", [False, True])
def test_a_histogram_of_another_version_may_have_other_buckets(turned: bool) -> None:
    one, other = Histogram([1, 2], 1.0), Histogram([1, 2, 3], 2.0)
    both = other.plus(one) if turned else one.plus(other)
    assert both == Histogram([2, 4, 3], 3.0)


def test_every_phase_is_counted_by_its_own_seconds() -> None:
    phases = Phases()
    timing = Timing(dns=0.002, connect=0.02, tls=0.2, first_byte=2.0, total=20.0)
    phases.record(timing, 0.0004)
    read = phases.read()
    assert list(read) == list(PHASES)
    assert {name: buckets(one) for name, one in read.items()} == {
        "queue": {0.001: 1},
        "dns": {0.0025: 1},
        "connect": {0.025: 1},
        "tls": {0.25: 1},
        "first_byte": {2.5: 1},
        "total": {30.0: 1},
    }
    sums = [one.seconds for one in read.values()]
    assert sums == [0.0004, 0.002, 0.02, 0.2, 2.0, 20.0]


@pytest.mark.parametrize(
    ("timing", "queue", "counted"),
    [
        (Timing(), 0.0, set()),
        (Timing(), -0.001, set()),  # clocks of two sorts were compared
        (Timing(first_byte=0.1, total=0.2), 0.0, {"first_byte", "total"}),
        (Timing(connect=0.1, total=0.2), 0.1, {"queue", "connect", "total"}),
        (Timing(dns=0.1, total=0.1), 0.0, {"dns", "total"}),  # the name was not found
    ],
)
def test_a_phase_that_there_was_not_does_not_count(
    timing: Timing, queue: float, counted: set[str]
) -> None:
    phases = Phases()
    phases.record(timing, queue)
    assert {name for name, one in phases.read().items() if sum(one.counts)} == counted


def test_what_was_read_does_not_change_later() -> None:
    phases = Phases()
    read = phases.read()
    phases.record(Timing(total=1.0))
    assert read["total"].counts == [0] * SIZE
