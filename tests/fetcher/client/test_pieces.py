"""Small pieces: so many in a turn of the loop, and then it is the others' turn."""

import asyncio

import pytest

from fetcher.client.pieces import PIECES, Pieces


class Taker:
    waits_for_turn = False


class Turns:
    """`so_many` go on in a turn; who did is in `went`."""

    def __init__(self, so_many: int = 100) -> None:
        self.pieces: Pieces[Taker] = Pieces(asyncio.get_running_loop(), self.go_on)
        self.so_many = so_many
        self.went: list[list[Taker]] = []

    def go_on(self) -> None:
        turn = []
        for taker in self.pieces.turns():
            turn.append(taker)
            if len(turn) == self.so_many:
                break
        self.went.append(turn)
        self.pieces.end_turn()

    def spend(self) -> None:
        taker = Taker()
        for _ in range(PIECES):
            assert self.pieces.take(taker)


async def next_turn() -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize("taken", [PIECES - 1, PIECES, PIECES + 1])
async def test_so_many_pieces_may_be_taken_in_a_turn_by_all_together(taken: int) -> None:
    turns, takers = Turns(), [Taker(), Taker()]
    got = [turns.pieces.take(takers[number % 2]) for number in range(taken)]
    assert got == [number < PIECES for number in range(taken)]
    assert any(taker.waits_for_turn for taker in takers) == (taken > PIECES)
    await next_turn()
    assert len(turns.went) == (taken > PIECES)
    turns.pieces.close()


async def test_who_waits_goes_on_in_the_next_turn_and_may_take_again() -> None:
    turns, taker = Turns(), Taker()
    turns.spend()
    assert not turns.pieces.take(taker)
    assert not turns.pieces.take(taker)
    await next_turn()
    assert (turns.went, taker.waits_for_turn) == ([[taker]], False)
    assert turns.pieces.take(taker)
    await next_turn()
    assert len(turns.went) == 1


async def test_who_was_told_to_wait_by_others_has_his_turn_too() -> None:
    turns, takers = Turns(), [Taker(), Taker()]
    for taker in takers:
        turns.pieces.wait(taker)
        turns.pieces.wait(taker)
    assert all(taker.waits_for_turn for taker in takers)
    await next_turn()
    await next_turn()
    assert turns.went == [takers]
    assert not any(taker.waits_for_turn for taker in takers)


async def test_those_for_whom_a_turn_has_no_time_come_first_in_the_next() -> None:
    turns, takers = Turns(so_many=2), [Taker() for _ in range(5)]
    turns.spend()
    for taker in takers:
        turns.pieces.take(taker)
    for _ in range(3):
        await next_turn()
    assert turns.went == [takers[:2], takers[2:4], takers[4:]]


async def test_who_has_to_wait_again_has_the_last_turn() -> None:
    turns, first, second = Turns(so_many=1), Taker(), Taker()
    turns.spend()
    turns.pieces.take(first)
    turns.pieces.take(second)
    await next_turn()
    turns.pieces.left = 0
    turns.pieces.take(first)
    for _ in range(2):
        await next_turn()
    assert turns.went == [[first], [second], [first]]


async def test_who_has_ended_meanwhile_is_left_out() -> None:
    turns, ended, other = Turns(), Taker(), Taker()
    turns.spend()
    turns.pieces.take(ended)
    turns.pieces.take(other)
    ended.waits_for_turn = False
    await next_turn()
    assert turns.went == [[other]]


async def test_a_turn_ends_when_all_is_closed_in_its_middle() -> None:
    turns = Turns()
    turns.spend()
    takers = [Taker(), Taker()]
    for taker in takers:
        turns.pieces.take(taker)
    went = []
    for taker in turns.pieces.turns():
        went.append(taker)
        turns.pieces.close()
    assert went == takers[:1]


async def test_a_closed_one_lets_nobody_go_on() -> None:
    turns = Turns()
    turns.spend()
    turns.pieces.take(Taker())
    turns.pieces.close()
    await next_turn()
    assert turns.went == []
    turns.pieces.close()
