import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.http.host_turns import HostTurns


@pytest.mark.parametrize("most", [1, 2, 5])
def test_so_many_begin_at_once_and_the_next_stands_in_line(most: int) -> None:
    turns = HostTurns[int](most)
    assert [turns.ask("a", n) for n in range(most + 1)] == [True] * most + [False]
    assert turns.ask("b", 100)


def test_who_came_first_is_next() -> None:
    turns = HostTurns[str](1)
    assert turns.ask("a", "one")
    assert not turns.ask("a", "two")
    assert not turns.ask("a", "three")
    assert turns.leave("a", "one") == "two"
    assert turns.leave("a", "two") == "three"
    assert turns.leave("a", "three") is None
    assert turns.ask("a", "four")


def test_who_waits_may_leave_and_has_no_turn_to_give() -> None:
    turns = HostTurns[str](1)
    assert turns.ask("a", "one")
    assert not turns.ask("a", "two")
    assert not turns.ask("a", "three")
    assert turns.leave("a", "two") is None
    assert turns.leave("a", "one") == "three"


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 3))
def test_there_are_never_too_many_and_nobody_is_forgotten(steps: list[int], most: int) -> None:
    """Each step: whoever of ten is neither here nor there asks, else leaves."""
    turns = HostTurns[int](most)
    running, waiting = set[int](), set[int]()
    for one in steps:
        if one in running | waiting:
            running.discard(one)
            waiting.discard(one)
            following = turns.leave("a", one)
            if following is not None:
                waiting.remove(following)
                running.add(following)
        elif turns.ask("a", one):
            running.add(one)
        else:
            waiting.add(one)
        assert len(running) <= most
        assert not waiting or len(running) == most
    for one in [*waiting, *running]:
        turns.leave("a", one)
    assert turns.__dict__["_lines"] == turns.__dict__["_under_way"] == {}
