import pytest

from fetcher.forward import shunned as module
from fetcher.forward.shunned import FACTOR, FIRST, FORGOTTEN, LONGEST, Shunned
from fetcher.proxy import parse_proxy

ONE, OTHER = parse_proxy("192.0.2.1:1"), parse_proxy("192.0.2.2:1")


def test_a_failure_costs_seconds() -> None:
    shunned = Shunned()
    assert ONE not in shunned
    shunned.blame(ONE, 100.0)
    assert ONE in shunned
    assert OTHER not in shunned
    shunned.look(100.0 + FIRST - 0.01)
    assert ONE in shunned
    shunned.look(100.0 + FIRST)
    assert ONE not in shunned
    assert len(shunned) == 0


def length(shunned: Shunned, now: float) -> float:
    """Seconds that a failure at `now` costs."""
    shunned.blame(ONE, now)
    for half in range(1, 10_000):
        shunned.look(now + half / 2)
        if ONE not in shunned:
            return half / 2
    raise AssertionError("for ever")


def test_each_further_one_costs_more_up_to_a_limit() -> None:
    shunned, now, times = Shunned(), 0.0, []
    for _ in range(20):
        times.append(length(shunned, now))
        now += times[-1]
    assert times[:2] == [FIRST, FIRST * FACTOR]
    assert times[2:] == [LONGEST] * 18


def test_what_happened_at_once_counts_once() -> None:
    shunned = Shunned()
    for at in range(8):
        shunned.blame(ONE, at / 10)
    shunned.look(FIRST)
    assert ONE not in shunned


def test_a_success_or_much_time_makes_it_forgotten() -> None:
    shunned = Shunned()
    shunned.forgive(ONE)
    shunned.blame(ONE, 0.0)
    shunned.forgive(ONE)
    assert ONE not in shunned
    assert length(shunned, 1.0) == FIRST
    assert length(shunned, 1.0 + FORGOTTEN) == FIRST * FACTOR
    assert length(shunned, 3.0 + 2 * FORGOTTEN) == FIRST


def test_who_is_waited_for_is_left_alone_for_so_long() -> None:
    shunned = Shunned()
    shunned.begin_waiting(ONE)
    shunned.begin_waiting(ONE)
    shunned.end_waiting(ONE)
    assert ONE in shunned
    assert OTHER not in shunned
    shunned.end_waiting(ONE)
    assert ONE not in shunned
    with pytest.raises(KeyError):
        shunned.end_waiting(ONE)


def test_each_has_its_own_time() -> None:
    shunned = Shunned()
    shunned.blame(ONE, 0.0)
    shunned.blame(OTHER, 5.0)
    shunned.look(FIRST)
    assert (ONE in shunned, OTHER in shunned) == (False, True)
    shunned.look(FIRST + 5.0)
    assert OTHER not in shunned


@pytest.mark.parametrize(("count", "kept"), [(2, True), (3, True), (4, False)])
def test_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch, count: int, kept: bool) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    shunned = Shunned()
    for port in range(1, count + 1):
        shunned.blame(parse_proxy(f"192.0.2.9:{port}"), 0.0)
    assert (parse_proxy("192.0.2.9:1") in shunned) is kept
    assert len(shunned) == min(count, 3)
