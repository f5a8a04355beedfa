import pytest

from fetcher.forward.hedge import LENT, LONGEST, MOST, SHORTEST, UNKNOWN, Hedge


def learned(*setups: float) -> float:
    hedge = Hedge(0.1)
    for seconds in setups:
        hedge.learn(seconds)
    return hedge.after


@pytest.mark.parametrize(
    ("setups", "after"),
    [
        ([], UNKNOWN),
        ([0.1] * 19, UNKNOWN),
        ([0.1] * 20, 0.1),
        ([0.001] * 40, SHORTEST),
        ([9.0] * 40, LONGEST),
        ([0.1] * 38 + [0.2] * 2, 0.2),
        ([0.1] * 39 + [0.2], 0.1),
        # However slow the slow ones are.
        ([0.1, 5.0, 0.1] * 20, LONGEST),
        # Only what was lately counts.
        ([5.0] * 200 + [0.1] * 200, 0.1),
    ],
)
def test_slow_is_what_takes_longer_than_nearly_all_did_lately(
    setups: list[float], after: float
) -> None:
    assert learned(*setups) == pytest.approx(after)


def test_racers_are_a_share_of_all_and_those_lent_count() -> None:
    hedge = Hedge(0.1)
    spent = 0
    for number in range(1, 1001):
        hedge.begin()
        spent += hedge.spend()
        assert spent <= max(LENT, number * 0.1 + 1e-9)
    assert (hedge.connects, hedge.spent) == (1000, spent)
    assert 99 <= spent <= 100


@pytest.mark.parametrize(("share", "granted"), [(0.0, 0), (0.1, int(LENT))])
def test_some_are_lent_at_the_start(share: float, granted: int) -> None:
    hedge = Hedge(share)
    assert sum(hedge.spend() for _ in range(100)) == granted


def test_what_is_saved_up_is_bounded() -> None:
    hedge = Hedge(0.5)
    for _ in range(10_000):
        hedge.begin()
    assert sum(hedge.spend() for _ in range(1000)) == MOST + LENT
