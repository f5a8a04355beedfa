from collections.abc import Sequence

import pytest

from fetchpool.commands.tables import FOLDED, Table, cut, fit, plain, yes_or_no


@pytest.mark.parametrize(("known", "word"), [(True, "yes"), (False, "no"), (None, "-")])
def test_what_is_known_is_told_in_words(known: bool | None, word: str) -> None:
    assert yes_or_no(known) == word


def test_a_table_has_columns() -> None:
    table = Table(("name", "n"), [("a", "1,000"), ("bcdefg", "2")], frozenset({1}))
    assert plain(table) == ["name        n", "a       1,000", "bcdefg      2"]
    assert plain(Table(("a", "b"), [("x", "")], frozenset())) == ["a  b", "x"]
    assert plain(Table(("a", "b"), [], frozenset({1}))) == ["a  b"]
    assert plain("a line") == ["a line"]


# Its columns are 1, 2, 3 and 4 wide, 16 with what lies between them.
ROW = ("a", "bb", "ccc", "dddd")


@pytest.mark.parametrize(
    ("width", "left", "gone"),
    [
        (17, "a bb ccc dddd", []),
        (16, "a bb ccc dddd", []),
        (15, "a bb dddd", ["CCC"]),
        (11, "a bb dddd", ["CCC"]),
        (10, "bb dddd", ["A", "CCC"]),  # in their order, whichever went first
        (7, "bb dddd", ["A", "CCC"]),
        (1, "bb dddd", ["A", "CCC"]),
    ],
)
def test_columns_go_where_there_is_no_room(width: int, left: str, gone: list[str]) -> None:
    headings = [text.upper() for text in ROW]
    table = Table(headings, [ROW], frozenset({2, 3}), spare=(2, 0), folds=frozenset({1}))
    got, missing = fit(table, width)
    assert (" ".join(got.rows[0]), missing) == (left, gone)
    assert [text.upper() for text in got.rows[0]] == list(got.headings)
    names: Sequence[str] = got.headings
    assert {names[one] for one in got.numbers} == {"CCC", "DDDD"}.difference(gone)
    assert {names[one] for one in got.folds} == {"BB"}


@pytest.mark.parametrize(("width", "gone"), [(FOLDED + 3, []), (FOLDED + 2, ["b"])])
def test_what_folds_is_counted_as_so_wide(width: int, gone: list[str]) -> None:
    table = Table(("a", "b"), [("x" * 99, "y")], frozenset(), spare=(1,), folds=frozenset({0}))
    assert fit(table, width)[1] == gone


@pytest.mark.parametrize(
    ("length", "shown"), [(9, "a sentence"[:6] + "..."), (10, "a sentence"), (11, "a sentence")]
)
def test_a_text_is_cut_to_a_length(length: int, shown: str) -> None:
    assert cut("a sentence", length) == shown


@pytest.mark.parametrize(
    ("width", "length", "gone"),
    [
        (43, 40, []),
        (42, 39, []),
        (FOLDED + 3, FOLDED, []),
        (FOLDED + 2, FOLDED + 2, ["b"]),  # what went makes room
        (FOLDED - 1, FOLDED, ["b"]),
    ],
)
def test_what_may_be_cut_has_one_line(width: int, length: int, gone: list[str]) -> None:
    rows: list[Sequence[str]] = [("x" * 40, "y"), ("short", "z")]
    table = Table(("a", "b"), rows, frozenset(), spare=(1,), cuts=frozenset({0}))
    got, missing = fit(table, width)
    assert missing == gone
    assert [row[0] for row in got.rows] == [cut("x" * 40, length), "short"]
