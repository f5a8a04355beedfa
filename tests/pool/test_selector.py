"""Selectors with attributes."""

import lxml.html
import pytest

from pool.selector import MAX_TEXT, Selector, compile_rows, compile_selector

ROW = lxml.html.fromstring(
    '<div><p data-ip=" 8.8.4.1 ">\n <b>one</b> two</p><p>three</p><a href="x@y">four</a></div>'
)


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ("p", "one two"),
        ("p b", "one"),
        ("p:nth-child(2)", "three"),
        ("p:eq(1)", "three"),
        ("p@data-ip", "8.8.4.1"),
        ("b@data-ip", None),
        ("i", None),
        ('a[href="x@y"]', "four"),
        ('a[href="x@y"]@href', "x@y"),
    ],
)
def test_the_first_element_gives_its_text_or_attribute(selector: str, text: str | None) -> None:
    assert compile_selector(selector).text(ROW) == text


def test_a_bare_attribute_is_the_rows_own() -> None:
    assert compile_selector("@data-ip").text(ROW[0]) == "8.8.4.1"


def test_rows_are_looked_for_from_the_root_on() -> None:
    assert [row.tag for row in compile_rows("div, p").elements(ROW)] == ["div", "p", "p"]


@pytest.mark.parametrize("size", [MAX_TEXT - 1, MAX_TEXT, MAX_TEXT + 1])
def test_a_long_text_is_cut(size: int) -> None:
    row = lxml.html.fromstring(f"<div><p>{' ' * MAX_TEXT}<b></b>{'x' * size}<i>y</i></p></div>")
    assert len(compile_selector("p b, p").text(row) or "") == min(MAX_TEXT, size + 1)


@pytest.mark.parametrize("selector", ["td[", "td:nope", ":", "td >", "td::before"])
def test_what_is_no_selector_is_said(selector: str) -> None:
    with pytest.raises(ValueError, match="is not a CSS selector"):
        Selector(selector)
