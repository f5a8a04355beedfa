from pool.harvest.line import NOTHING, PATIENCE, Line, Told


def fail(
    line: Line, name: str, *, at: float, began: float | None = None, answered: float = 0.0
) -> Told:
    began = at if began is None else began
    return line.fail(name, f"source {name}", f"no {name}", began=began, answered=answered, now=at)


def test_when_no_source_can_be_reached_one_sentence_says_so_with_the_first_reason() -> None:
    line = Line(3)
    assert [fail(line, name, at=1.0) for name in "ab"] == [NOTHING, NOTHING]
    assert fail(line, "c", at=2.0) == Told(down="none of the 3 sources can be reached: no a")
    assert [fail(line, name, at=100.0) for name in "abc"] == [NOTHING] * 3


def test_it_is_said_before_all_have_been_asked_if_that_takes_long() -> None:
    line = Line(38)
    assert fail(line, "a", at=1.0) == NOTHING
    assert fail(line, "b", at=0.9 + PATIENCE) == NOTHING
    assert fail(line, "c", at=1.0 + PATIENCE) == Told(
        down="none of the 3 sources asked so far can be reached: no a"
    )
    assert fail(line, "d", at=2.0 + PATIENCE) == NOTHING


def test_its_end_is_said_once_and_it_may_begin_anew() -> None:
    line = Line(2)
    for name in "ab":
        fail(line, name, at=1.0)
    assert line.answer(5.0) == Told(up=True)
    assert line.answer(6.0) == NOTHING
    assert fail(line, "b", at=7.0) == NOTHING
    assert fail(line, "a", at=8.0) == Told(down="none of the 2 sources can be reached: no b")


def test_single_ones_are_told_of_once_another_has_answered() -> None:
    line = Line(5)
    fail(line, "a", at=1.0)
    fail(line, "b", at=2.0)
    assert line.answer(3.0) == Told(("source a", "source b"))
    assert line.answer(4.0) == NOTHING
    assert fail(line, "a", at=5.0, began=4.0) == Told(("source a",))  # the line was up meanwhile
    assert fail(line, "a", at=5.0, began=4.1) == NOTHING  # it may be down now


def test_the_same_source_is_held_back_once() -> None:
    line = Line(2)
    assert [fail(line, "a", at=float(n)) for n in range(1, 10)] == [NOTHING] * 9
    assert line.answer(10.0) == Told(("source a",))


def test_what_other_processes_have_seen_counts() -> None:
    line = Line(2)
    fail(line, "a", at=1.0)
    assert fail(line, "b", at=3.0, answered=3.0) == Told(("source a", "source b"))
    for name in "ab":
        fail(line, name, at=5.0)
    assert fail(line, "a", at=7.0, answered=8.0) == Told(("source a",), up=True)


def test_a_source_that_has_no_other_is_told_of_by_itself_once() -> None:
    line = Line(1)
    assert fail(line, "a", at=1.0) == Told(("source a",))
    assert fail(line, "a", at=2.0) == NOTHING
    assert line.answer(3.0) == Told(up=True)
    assert fail(line, "a", at=4.0) == Told(("source a",))
