import pytest

from pool.check.outage import AGAIN, CHECKS, CYCLES, SELDOM, OutageWatch, proves_by_site
from pool.model import Kind

CYCLE = 20.0
FAILED = Kind.TIMEOUT


def watch(*kinds: Kind, cycle: float = CYCLE) -> OutageWatch:
    seen = OutageWatch(cycle)
    seen.note(kinds, 0.0)
    return seen


@pytest.mark.parametrize(
    ("failures", "doubtful"), [(0, False), (CHECKS - 1, False), (CHECKS, True), (CHECKS + 1, True)]
)
def test_fifty_checks_without_a_pass_put_a_site_in_doubt(failures: int, doubtful: bool) -> None:
    assert watch(Kind.PASSED, *[FAILED] * failures).is_doubtful(0.0) is doubtful


@pytest.mark.parametrize(
    ("now", "doubtful"), [(0.0, False), (CYCLES * CYCLE, False), (CYCLES * CYCLE + 0.1, True)]
)
def test_so_does_a_time_in_which_a_small_pool_would_have_seen_a_pass(
    now: float, doubtful: bool
) -> None:
    assert watch(Kind.PASSED, FAILED).is_doubtful(now) is doubtful


def test_what_never_passed_is_in_doubt_and_one_pass_ends_it() -> None:
    seen = watch(*[FAILED] * 200)
    assert seen.is_doubtful(0.0)
    seen.note([FAILED, Kind.PASSED], 1.0)
    assert not seen.is_doubtful(1.0)


@pytest.mark.parametrize(
    ("kind", "proves"),
    [(Kind.PASSED, False), (Kind.OURS, False), (Kind.UNUSABLE, False)]
    + [(kind, True) for kind in Kind if kind not in (Kind.PASSED, Kind.OURS, Kind.UNUSABLE)],
)
def test_only_what_may_be_the_sites_or_ours_counts(kind: Kind, proves: bool) -> None:
    assert proves_by_site(kind) is proves
    assert watch(Kind.PASSED, *[kind] * CHECKS).is_doubtful(0.0) is proves


@pytest.mark.parametrize(
    ("cycle", "later", "due"),
    [
        (20.0, 19.9, False),
        (20.0, 20.0, True),
        (3600.0, SELDOM - 0.1, False),
        (3600.0, SELDOM, True),
    ],
)
def test_the_canary_is_asked_once_a_cycle_or_a_minute(
    cycle: float, later: float, due: bool
) -> None:
    seen = watch(FAILED, cycle=cycle)
    assert seen.is_canary_due(0.0)
    seen.hear(works=True, now=5.0)
    assert seen.is_canary_due(5.0 + later) is due


def test_an_outage_begins_with_the_canarys_failure_and_ends_with_it() -> None:
    seen = watch(FAILED)
    assert not seen.is_outage
    seen.hear(works=False, now=0.0)
    assert seen.is_outage
    seen.hear(works=True, now=20.0)
    assert not seen.is_outage


def test_a_pass_ends_an_outage_and_the_canary_is_asked_anew_at_the_next_doubt() -> None:
    seen = watch(FAILED)
    seen.hear(works=False, now=0.0)
    seen.note([Kind.PASSED], 1.0)
    assert not seen.is_outage
    assert seen.is_canary_due(1.0)


@pytest.mark.parametrize(
    ("kind", "ended", "passed", "due"),
    [
        (FAILED, None, 5.0, False),
        (Kind.PASSED, None, 5.0, True),
        (Kind.PASSED, 5.0, 5.0, False),
        (Kind.PASSED, 5.0, 5.0 + AGAIN - 0.1, False),
        (Kind.PASSED, 5.0, 5.0 + AGAIN, True),
        (FAILED, 5.0, 99.0, False),
    ],
)
def test_passes_end_the_outages_of_others_once_in_a_while(
    kind: Kind, ended: float | None, passed: float, due: bool
) -> None:
    seen = watch()
    if ended is not None:
        seen.note([Kind.PASSED], ended)
        seen.note_end(ended)
    seen.note([kind], passed)
    assert seen.is_end_due is due


def test_who_has_begun_an_outage_himself_ends_none() -> None:
    seen = watch(Kind.PASSED, *[FAILED] * CHECKS)
    seen.hear(works=False, now=0.0)
    assert not seen.is_end_due


@pytest.mark.parametrize(("draw", "expected"), [(0.0, 20.0), (0.5, 30.0)])
def test_in_an_outage_proxies_are_checked_more_slowly(draw: float, expected: float) -> None:
    assert watch().pause(draw) == expected


@pytest.mark.parametrize(("cycle", "expected"), [(20.0, 60.0), (0.01, 3.0)])
def test_others_believe_in_an_outage_until_they_hear_no_more_of_it(
    cycle: float, expected: float
) -> None:
    assert watch(cycle=cycle).holds == expected
