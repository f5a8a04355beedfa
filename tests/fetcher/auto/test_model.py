import pytest

from fetcher.auto.model import Look, Need, has_changed

LONG = " ".join(f"word{n}" for n in range(300))


def seen(text: str = "", links: int = 0, *, is_whole: bool = True) -> Look:
    return Look(Need.LIKELY, "", text, frozenset(f"/{n}" for n in range(links)), is_whole)


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        (seen("a b c"), seen("c b\n a"), False),
        (seen(""), seen("one two three four"), False),
        (seen(""), seen("one two three four five"), True),
        (seen("one two three four five"), seen(""), True),
        (seen("12:00:01 x"), seen("12:00:02 x"), False),
        # On a long page more may differ: 2 % of 300 words.
        (seen(LONG), seen(LONG + " a b c d e f"), False),
        (seen(LONG), seen(LONG + " a b c d e f g"), True),
        # A word that is said again is one more.
        (seen("a"), seen("a a a a a a"), True),
        (seen("x", 0), seen("x", 2), False),
        (seen("x", 0), seen("x", 3), True),
        (seen("x", 3), seen("x", 0), False),
        (seen("x", 100), seen("x", 105), False),
        (seen("x", 100), seen("x", 106), True),
        (seen("x", is_whole=False), seen("y " * 99), None),
        (seen("x"), seen("y " * 99, is_whole=False), None),
    ],
)
def test_a_rendering_has_changed_a_page_if_a_reader_sees_more_than_a_clock(
    before: Look, after: Look, changed: bool | None
) -> None:
    assert has_changed(before, after) is changed
