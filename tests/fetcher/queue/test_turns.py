import random

import pytest

from fetcher.queue.turns import Turns


def ask(turns: Turns, name: str, host: str = "", *, alone: bool = False, running: int = 0) -> bool:
    begun = turns.ask(name.encode(), host, alone=alone, running=running)
    assert begun in ([], [name.encode()])
    return bool(begun)


def end(turns: Turns, name: str, running: int = 0) -> list[str]:
    return [lease.decode() for lease in turns.end(name.encode(), running)]


# -- to one host -----------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_at_most_so_many_of_one_host_begin_and_the_others_in_their_order(limit: int) -> None:
    turns = Turns(limit)
    names = "abcdefg"
    assert [ask(turns, name, "h") for name in names] == [n < limit for n in range(len(names))]
    assert turns.waiting == len(names) - limit
    begun = names[:limit]
    for name in names:
        begun += "".join(end(turns, name))
    assert begun == names
    assert turns.waiting == 0


def test_who_waits_for_one_host_holds_up_no_other() -> None:
    turns = Turns(1)
    assert ask(turns, "a", "one")
    assert not ask(turns, "b", "one")
    assert ask(turns, "c", "two")
    assert ask(turns, "d", "")
    assert ask(turns, "e", "")
    assert end(turns, "c") == []
    assert end(turns, "a") == ["b"]


@pytest.mark.parametrize(("limit", "is_open"), [(0, True), (1, False)])
def test_without_a_limit_nobody_need_ask(limit: int, is_open: bool) -> None:
    assert Turns(limit).is_open == is_open


def test_the_end_of_one_that_never_asked_lets_nobody_in() -> None:
    turns = Turns(1)
    assert ask(turns, "a", "h")
    assert not ask(turns, "b", "h")
    assert end(turns, "stranger") == []


# -- alone -----------------------------------------------------------------------------------


def test_who_has_to_runs_alone_and_the_others_go_on_after_it() -> None:
    turns = Turns()
    assert not ask(turns, "last", alone=True, running=2)
    assert (turns.is_open, turns.is_closed) == (False, True)
    assert not ask(turns, "late", running=2)
    assert end(turns, "early", running=1) == []
    assert end(turns, "earlier", running=0) == ["last"]
    assert turns.is_closed
    assert not ask(turns, "later", running=1)
    assert end(turns, "last") == ["late", "later"]
    assert (turns.is_open, turns.is_closed, turns.waiting) == (True, False, 0)


def test_several_run_alone_one_after_the_other() -> None:
    turns = Turns()
    assert ask(turns, "1", alone=True)
    assert not ask(turns, "2", alone=True, running=1)
    assert not ask(turns, "3", alone=True, running=1)
    assert [end(turns, name) for name in "123"] == [["2"], ["3"], []]
    assert turns.is_open


def test_while_one_runs_alone_no_place_at_a_host_is_given_away() -> None:
    turns = Turns(1)
    assert ask(turns, "a", "h")
    assert not ask(turns, "b", "h", running=1)
    assert not ask(turns, "last", "h", alone=True, running=1)
    assert end(turns, "a") == ["last"]
    assert end(turns, "last") == ["b"]
    assert not turns.is_open
    assert end(turns, "b") == []


def test_the_last_of_those_under_way_to_wait_lets_the_lone_one_in() -> None:
    turns = Turns()
    assert not ask(turns, "last", alone=True, running=1)
    assert turns.ask(b"other", "", alone=False, running=0) == [b"last"]
    assert turns.lone == b"last"
    assert end(turns, "last") == ["other"]


# -- no longer -------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 1])
def test_once_cleared_nobody_waits(limit: int) -> None:
    turns = Turns(limit)
    ask(turns, "a", "h")
    ask(turns, "b", "h", running=1)
    ask(turns, "last", alone=True, running=1)
    ask(turns, "behind", "h", running=1)
    waiting = {lease.decode() for lease in turns.clear()}
    assert waiting == ({"last", "behind"} | ({"b"} if limit else set()))
    assert (turns.waiting, turns.is_closed, turns.is_open) == (0, False, not limit)
    assert end(turns, "a") == []


def test_a_lone_one_stays_alone_when_the_others_are_cleared() -> None:
    turns = Turns()
    assert ask(turns, "last", alone=True)
    ask(turns, "behind", running=1)
    assert turns.clear() == [b"behind"]
    assert (turns.is_open, turns.is_closed) == (False, True)
    assert end(turns, "last") == []
    assert turns.is_open


# -- laws ------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_in_any_order_nobody_is_forgotten_and_no_rule_is_broken(limit: int) -> None:
    draw = random.Random(limit)
    turns = Turns(limit)
    hosts: dict[str, str] = {}
    lone: set[str] = set()
    running: set[str] = set()
    begun: list[str] = []

    def begin(names: list[str]) -> None:
        for name in names:
            running.add(name)
            begun.append(name)
            assert not lone & running or len(running) == 1
            same = [one for one in running if hosts[one] == hosts[name]]
            assert not limit or not hosts[name] or len(same) <= limit or name in lone

    for n in range(3000):
        name = str(n)
        if draw.random() < 0.5 or not running:
            hosts[name] = draw.choice(["", "a", "b", "c"])
            if is_last := draw.random() < 0.05:
                lone.add(name)
            if ask(turns, name, hosts[name], alone=is_last, running=len(running)):
                begin([name])
        else:
            ended = draw.choice(sorted(running))
            running.remove(ended)
            begin(end(turns, ended, len(running)))
        assert turns.waiting == len(hosts) - len(begun)
    while running:
        begin(end(turns, running.pop(), len(running)))
    assert sorted(begun) == sorted(hosts)
