import pytest

from fetcher.html.heavy import LONG, MAX_ATTRIBUTES, MAX_DEPTH, is_heavy

PLAIN = "<p>Words and a <a href='/x'>link</a>, <br>more of them</p>\n"
FILL = "x" * 8192


def attributes(count: int) -> str:
    return "<a " + " ".join(f"a{number}" for number in range(count)) + ">"


@pytest.mark.parametrize(
    ("html", "heavy"),
    [
        ("", False),
        (PLAIN * 2000, False),
        ("x" * LONG, False),
        ("x" * (LONG + 1), True),
        ("<b>" * 2000, False),  # not long enough to hurt
        (FILL + "<div>" * MAX_DEPTH, False),
        (FILL + "<div>" * (MAX_DEPTH + 1), True),
        (FILL + "<DIV>x</div>" * 9000, False),
        (FILL + "<br>" * 9000, False),
        (FILL + "</p>" * 9000, False),
        (FILL + attributes(MAX_ATTRIBUTES), False),
        (FILL + attributes(MAX_ATTRIBUTES + 1), True),
        (FILL + "<a/" + "/" * 5000 + ">", False),
        (FILL + f"<img src='data:{'x' * 9000}'>", False),
        (FILL + "<a " + 'a="1"' * 600, True),
        (FILL + "<a =" + " =x" * 1100, True),
        # An end tag that ends nothing where it stands.
        (FILL + "<div><object></div></object>" * 1001, True),
        (FILL + "</x><div>" * 1001, True),
        # What a comment makes look like an attribute.
        (FILL + '<!-- <a x=" -->' + "<ul><li>" * 1000 + '">', True),
        (FILL + '<!-- <a x=" -->' + "<b>" * 200 + '">', False),
        (FILL + '<!-- <a x=" --><b>">' * 501, True),
        (FILL + "<a x='" * 2000, True),
        (FILL + "<" * 9000, False),
    ],
)
def test_a_page_is_heavy_if_it_is_long_deep_or_has_a_tag_of_many_attributes(
    html: str, heavy: bool
) -> None:
    assert is_heavy(html) is heavy
