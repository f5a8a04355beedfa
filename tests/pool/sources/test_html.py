"""HTML bodies; the addresses are invented."""

import pytest

from pool.source import Select
from pool.sources.beside import CELL, COLUMN, ROW
from pool.sources.found import Found
from pool.sources.html import clean_text, find_rows, visible_text
from pool.sources.text import HEADING

TABLE = """<?xml version="1.0" encoding="gb2312"?><!DOCTYPE html><html><body>
<div class="fpl-list"><table><thead><tr><th>IP</th><th>Port</th></tr></thead><tbody>
<tr><td>8.8.4.1</td><td> 80 </td><td>US</td><td>elite proxy</td><td data-type="socks5">x</td></tr>
<!-- <tr><td>8.8.4.8</td><td>80</td></tr> -->
<tr><td>8.8.4.2</td><td>99999</td></tr>
<tr><td colspan=9>advertisement</td></tr>
<tr><td><span>8.8.4.3</span><td>81<td>China<td>透明<td data-type="http">x
</tbody></table></div>"""
SELECT = Select(
    row="div.fpl-list tr",
    host="td:nth-child(1)",
    port="td:nth-child(2)",
    country="td:nth-child(3)",
    anonymity="td:nth-child(4)",
    scheme="td:nth-child(5)@data-type",
)


def rows(text: str, select: Select = SELECT, limit: int = 99) -> list[Found]:
    return list(find_rows(text, select, "http", limit))


def test_rows_are_read_by_their_selectors() -> None:
    assert [(one.proxy.member, one.country, one.anonymity) for one in rows(TABLE)] == [
        ("socks5://8.8.4.1:80", "US", "elite"),
        ("8.8.4.3:81", None, "transparent"),
    ]


def test_attributes_of_the_row_itself_are_read() -> None:
    select = Select(row="li", host="@data-ip", port="b@data-port")
    text = '<ul><li data-ip="8.8.4.1"><b data-port=80></b></li><li>8.8.4.2</li></ul>'
    assert [one.proxy.member for one in rows(text, select)] == ["8.8.4.1:80"]


def test_a_host_may_hold_the_port() -> None:
    text = "<ul><li>8.8.4.1:80</li><li>socks5://8.8.4.2:81</li><li>8.8.4.3</li></ul>"
    assert [one.proxy.member for one in rows(text, Select(row="li", host="@title"))] == []
    by_text = Select(row="ul li", host=":root li, b")
    assert [one.proxy.member for one in rows(text, by_text)] == []
    wrapped = text.replace("<li>", "<li><b>")
    assert [one.proxy.member for one in rows(wrapped, Select(row="li", host="b"))] == [
        "8.8.4.1:80",
        "socks5://8.8.4.2:81",
    ]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_twice_as_many_rows_as_the_limit_are_looked_at(limit: int) -> None:
    text = "".join(f"<p><b>8.8.4.{n}:80</b></p>" for n in range(9))
    assert len(rows(text, Select(row="p", host="b"), limit)) == 2 * limit


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "\0\0",
        "<!-- -->",
        "\x00\xff\x7fELF" * 999,
        "<div>" * 20_000,
        "<" * 99_999,
        "<!--" * 9_999,
        "<div class='fpl-list'>" + "<table><tr><td>" * 5_000,
        "&amp" * 9_999,
        '<!DOCTYPE a [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><p>&c;</p>',
    ],
)
def test_bombs_and_rubbish_have_no_rows(text: str) -> None:
    assert rows(text) == []


def test_what_stands_before_the_cut_is_read() -> None:
    assert [one.proxy.port for one in rows(TABLE[: TABLE.index("<tr><td colspan")])] == [80]


@pytest.mark.parametrize("digits", [8, 99, 100, 4300, 4301, 50_000])
@pytest.mark.parametrize("sign", ["&#", "&#x"])
def test_a_reference_to_no_character_loses_nothing_else(sign: str, digits: int) -> None:
    text = f"8.8.4.1:80 {sign}{'9' * digits}; 8.8.4.2:80 &#56;"
    assert visible_text(text) == "8.8.4.1:80 \ufffd 8.8.4.2:80 8"


def test_the_visible_text_has_cells_for_tags() -> None:
    assert visible_text("<td>8.8.4.1</td><td>80&nbsp;</td>") == (
        f"{COLUMN}8.8.4.1{CELL}{COLUMN}80 {CELL}"
    )
    assert visible_text("<TR class=a>8.8.4.1</tr><track>") == f"{ROW}8.8.4.1{ROW}{CELL}"
    assert visible_text("<h2>SOCKS5</h2>") == f"{HEADING}SOCKS5{HEADING}"
    assert visible_text("<Proxy US [HTTP] 8.8.4.1:80>") == "\nProxy US [HTTP] 8.8.4.1:80\n"
    assert visible_text("8.8.4.1:80<u:p><br>") == f"8.8.4.1:80(u:p){CELL}"
    assert visible_text("8.8.4.1:80 < 5 & more") == "8.8.4.1:80 < 5 & more"
    assert visible_text("8.8.4.1:80&amp;81") == "8.8.4.1:80&81"
    assert visible_text("8.8.4.1:80") == "8.8.4.1:80"


def test_control_characters_are_blanks() -> None:
    assert clean_text("a\0b\x1fc\n\t\r") == "a b c\n\t\r"
