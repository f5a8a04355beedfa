import click
import pytest

from fetchpool.commands.cli.numbers import Number, Whole


@pytest.mark.parametrize(("value", "expected"), [("0.5", 0.5), ("1e3", 1000.0), (2, 2.0)])
def test_a_number_is_read(value: str | float, expected: float) -> None:
    assert Number(0.5).convert(value, None, None) == expected


@pytest.mark.parametrize(("value", "expected"), [("1", 1), ("20", 20), (3, 3)])
def test_a_whole_number_is_read(value: str | int, expected: int) -> None:
    assert Whole(1).convert(value, None, None) == expected


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (Number(0.5), "abc", "'abc' is no number"),
        (Number(0.5), "", "'' is no number"),
        (Number(0.5), "nan", "'nan' is no number"),
        (Number(0.5), "inf", "'inf' is no number"),
        (Number(0.5), "0.4", "0.4 is too small: expected 0.5 or more"),
        (Whole(1), "x", "'x' is no whole number"),
        (Whole(1), "1.0", "'1.0' is no whole number"),
        (Whole(1), "0", "0 is too small: expected 1 or more"),
    ],
)
def test_what_it_may_not_be_is_said(kind: Number | Whole, value: str, said: str) -> None:
    with pytest.raises(click.BadParameter) as raised:
        kind.convert(value, None, None)
    assert raised.value.message == said
