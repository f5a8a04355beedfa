from fetcher.politeness.clock import Clock
from fetcher.politeness.slots import Slot, Starts, Turn


def test_the_clock_is_one_that_gives_starts(redis) -> None:
    starts: Starts = Clock(redis, "p")
    assert callable(starts.ask) and callable(starts.block_soon)


def test_a_slot_and_a_turn_are_values() -> None:
    assert Slot("a", 1.0) == Slot("a", 1.0) != Slot("b", 1.0)
    turn = Turn(granted=True, wait=0.5, at=1.5, blocked=False)
    assert (turn.granted, turn.wait, turn.at, turn.blocked) == (True, 0.5, 1.5, False)
