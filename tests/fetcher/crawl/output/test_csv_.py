import csv
import io

import pytest

from fetcher.crawl.output.csv_ import Csv, fit_title
from tests.fetcher.crawl.output.pages import FAILED, REDIRECT, make_page


def test_pages_are_lines_below_a_heading() -> None:
    table = Csv()
    data = table.begin("pages.csv", 0.0)
    for page in (make_page("http://example.com/?a=1,2", b"12345", time=0.12345, title="A"), FAILED):
        line, records = table.encode(page)
        assert records == 1
        data += line
    assert data.decode() == (
        "url,status_code,bytes,seconds,title\r\n"
        '"http://example.com/?a=1,2",200,5,0.123,A\r\n'
        "http://example.com/,599,0,0.000,\r\n"
    )


def test_redirects_are_no_lines() -> None:
    assert Csv().encode(REDIRECT) == (b"", 0)


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Plain, ü", "Plain, ü"),
        (" two\r\nlines\t and\x00more\u2028 ", "two lines and more"),
        ("=1+1", "'=1+1"),
        ("\t=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("1=1", "1=1"),
        ("half \ud800 character", "half character"),
        ("", ""),
    ],
)
def test_titles_are_one_line_and_no_formula(title: str, expected: str) -> None:
    assert fit_title(title) == expected


@pytest.mark.parametrize("title", ['say "hi", twice', "a;b", "'", '"', ",,,"])
def test_what_is_quoted_is_read_as_it_was(title: str) -> None:
    line, _ = Csv().encode(make_page(title=title))
    assert line.count(b"\n") == 1
    (row,) = csv.reader(io.StringIO(line.decode(), newline=""))
    assert row[-1] == title
