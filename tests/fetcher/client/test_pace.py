"""Transfers that were ahead wait for others, for as long as those need it and no longer."""

import asyncio
import time
from contextlib import closing

import pytest

from fetcher.client.pace import AHEAD, REST, Pace

SOON = time.monotonic() + 1000  # so that no rest ends for its time


class Transfers:
    def __init__(self) -> None:
        self.pace = Pace(asyncio.get_running_loop(), self.go_on)
        self.turns = 0
        self.went_on: list[int] = []

    def go_on(self) -> None:
        assert self.pace.rest == 0
        self.went_on.append(self.turns)

    async def let_turns_pass(self, count: int = REST + 2) -> None:
        for _ in range(count):
            await asyncio.sleep(0)
            self.turns += 1

    def close(self) -> None:
        self.pace.close()


@pytest.mark.parametrize(
    ("first", "gap", "second", "rests"),
    [
        (0.99 * AHEAD, 0.0, 0.0, False),
        (1.01 * AHEAD, 0.0, 0.0, True),
        (0.6 * AHEAD, 0.0, 0.6 * AHEAD, True),
        (0.6 * AHEAD, 0.1 * AHEAD, 0.6 * AHEAD, True),
        # what others have had meanwhile makes up for it
        (0.6 * AHEAD, 0.3 * AHEAD, 0.6 * AHEAD, False),
        (0.9 * AHEAD, 100 * AHEAD, 0.9 * AHEAD, False),
    ],
)
async def test_a_rest_begins_when_they_are_ahead(
    first: float, gap: float, second: float, rests: bool
) -> None:
    with closing(Transfers()) as transfers:
        transfers.pace.count(SOON, SOON + first)
        transfers.pace.count(SOON + first + gap, SOON + first + gap + second)
        assert transfers.pace.rest == (REST if rests else 0)


async def test_it_is_over_after_so_many_turns_where_nobody_has_anything_to_do() -> None:
    with closing(Transfers()) as transfers:
        transfers.pace.count(SOON, SOON + 100)
        await transfers.let_turns_pass()
        assert transfers.went_on in ([REST - 1], [REST])
        transfers.pace.count(SOON + 100, SOON + 100 + 0.9 * AHEAD)
        assert transfers.pace.rest == 0  # nothing is left of it


async def test_it_is_over_when_others_have_had_as_much_time() -> None:
    with closing(Transfers()) as transfers:
        now = time.monotonic()
        transfers.pace.count(now - 0.05, now)
        while not transfers.went_on:
            until = time.monotonic() + 0.02
            while time.monotonic() < until:
                pass
            await transfers.let_turns_pass(1)
        assert transfers.turns <= 4


async def test_what_is_counted_in_a_rest_makes_it_no_second_one() -> None:
    with closing(Transfers()) as transfers:
        for number in range(3):
            transfers.pace.count(SOON + number, SOON + number + 1)
        await transfers.let_turns_pass()
        assert len(transfers.went_on) == 1


async def test_closed_it_goes_on_no_more() -> None:
    transfers = Transfers()
    transfers.pace.count(SOON, SOON + 100)
    transfers.close()
    transfers.pace.count(SOON, SOON + 100)
    await transfers.let_turns_pass()
    assert (transfers.went_on, transfers.pace.rest) == ([], 0)
    transfers.close()
