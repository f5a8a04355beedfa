"""Lists in the shapes that are published, and in shapes that are rubbish."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.crawl.seeds.lists import LONGEST, MAX_COLUMNS, ListReader
from fetcher.crawl.seeds.rows import Account


def read(data: bytes, size: int = 100_000, skip: int = 0) -> tuple[list[tuple[str, int]], Account]:
    account = Account()
    reader = ListReader(account, skip)
    rows = [
        row
        for start in range(0, len(data), size)
        for row in reader.feed(data[start : start + size])
    ]
    rows.extend(reader.close())
    assert account.rows == len(rows)
    return [(row.url, row.number) for row in rows], account


A, B = "http://a.com/", "http://b.com/"

SHAPES = [
    (b"", []),
    (b"a.com", [(A, 1)]),
    (b"a.com\nb.com\n", [(A, 1), (B, 2)]),
    (b"a.com\r\nb.com\r\n", [(A, 1), (B, 2)]),
    (b"a.com\rb.com", [(A, 1), (B, 2)]),
    (b"# sites\n\n  a.com  \n\t\n#b.com\nB.com\n", [(A, 3), (B, 6)]),
    (b"http://a.com\nhttps://b.com?b=1&a=2#f words\n", [(A, 1), ("https://b.com/?b=1&a=2", 2)]),
    (b"http://a.com/x,y;z\n", [("http://a.com/x,y;z", 1)]),
    (b"1,a.com\n2,b.com\n", [(A, 1), (B, 2)]),
    (b"1;a.com\n2;b.com\n", [(A, 1), (B, 2)]),
    (b"1\ta.com\n2\tb.com\n", [(A, 1), (B, 2)]),
    (b"1,a.com,x,b.com\n2,,b.com\n", [(A, 1), (B, 2)]),
    (b'"1","a.com","9.5"\n"2","b.com","9"\n', [(A, 1), (B, 2)]),
    (b'"Rank","Domain","Open Page Rank"\r\n"1","a.com","10.00"\r\n', [(A, 2)]),
    (b"GlobalRank,TldRank,Domain,TLD\n1,1,a.com,com\n2,2,B.com,com\n", [(A, 2), (B, 3)]),
    (b"origin,rank\nhttps://a.com,1000\nb.com,5\n", [("https://a.com/", 2), (B, 3)]),
    (b"domain\na.com\n", [(A, 2)]),
    (b"Rank\tRoot Domain\n1\ta.com\n", [(A, 2)]),
    (b"id,colour\n1,a.com\n", [(A, 2)]),
    (b"www.a.com:8080/x y\n1.2.3.4\n1.2.3.4:81/x\n[::1]\n", [
        ("http://www.a.com:8080/x", 1), ("http://1.2.3.4/", 2), ("http://1.2.3.4:81/x", 3),
        ("http://[::1]/", 4),
    ]),
    (b"xn--bcher-kva.de\nb\xc3\xbccher.de\n", [
        ("http://xn--bcher-kva.de/", 1), ("http://xn--bcher-kva.de/", 2),
    ]),
    ("\ufeffa.com\nb.com".encode(), [(A, 1), (B, 2)]),
    ("a.com\r\nb.com\r\n".encode("utf-16"), [(A, 1), (B, 2)]),
    (b"\xfe\xff" + "a.com\nb.com".encode("utf-16-be"), [(A, 1), (B, 2)]),
]  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 7, 100_000])
@pytest.mark.parametrize(("data", "rows"), SHAPES)
def test_lists_are_read_as_they_are_published(
    data: bytes, rows: list[tuple[str, int]], size: int
) -> None:
    found, account = read(data, size)
    assert found == rows
    assert account.refused == 0


FTP = "Protocol 'ftp' is not enabled: expected one of http, https"
BROWSERS = "the host of the URL is one for browsers only: no domain name is spelled so"
UNREAD = "the URL cannot be read: the host 'a\\x00b.com' is neither a domain name nor an address"
NEITHER = "there is neither a URL nor a domain in it"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"hello", f"line 2: 'hello': {NEITHER}"),
        (b"localhost:80", f"line 2: 'localhost:80': {NEITHER}"),
        (b"/etc/passwd.txt", f"line 2: '/etc/passwd.txt': {NEITHER}"),
        (b"1,2,3.5", f"line 2: '1,2,3.5': {NEITHER}"),
        (b'x"' + b"y" * 140_000, None),
        (b"ftp://a.com/", "line 2: 'ftp://a.com/': " + FTP),
        (b"http://u:secret@a+b.com/", "line 2: '***@a+b.com/': " + BROWSERS),
        (b"a\0b.com", "line 2: 'a\\x00b.com': " + UNREAD),
        (b"\xff\xfe\xfd", "line 2: '\\ufffd\\ufffd\\ufffd': " + NEITHER),
        (b"user@a.com", "line 2: '***@a.com': " + NEITHER),
    ],
)  # fmt: skip
def test_rubbish_is_counted_and_the_list_goes_on(line: bytes, problem: str | None) -> None:
    found, account = read(b"a.com\n" + line + b"\nb.com\n")
    assert found == [(A, 1), (B, 3)]
    assert account.refused == 1
    assert problem is None or account.problems == [problem]


def test_a_column_that_a_row_does_not_have_is_a_refusal() -> None:
    found, account = read(b"rank,id,domain\n1,2\n1,2,a.com\n1,2,7\n")
    assert found == [(A, 3)]
    assert account.refused == 2


@pytest.mark.parametrize("column", [MAX_COLUMNS - 1, MAX_COLUMNS])
def test_a_table_has_a_thousand_columns_at_most(column: int) -> None:
    found, _ = read(b"1," * column + b"a.com\n")
    assert found == ([(A, 1)] if column < MAX_COLUMNS else [])


@pytest.mark.parametrize(
    ("length", "is_read"), [(LONGEST - 1, True), (LONGEST, True), (LONGEST + 1, False)]
)
def test_a_line_without_end_is_dropped(length: int, is_read: bool) -> None:
    line = b"http://a.com/" + b" " * (length - 13)
    found, account = read(line + b"\nb.com", 4096)
    assert found == ([(A, 1), (B, 2)] if is_read else [(B, 2)])
    assert account.refused == (not is_read)


def test_a_million_characters_cost_one_refusal() -> None:
    found, account = read(b"x" * 1_000_000 + b"\na.com\n" + b"y" * 1_000_000, 5000)
    assert found == [(A, 2)]
    assert account.refused == 2
    assert account.problems[1].endswith(f"the line has more than {LONGEST} characters")
    assert account.problems[1].startswith("line 3: ")


def test_what_was_dealt_with_is_neither_given_nor_told_again() -> None:
    found, account = read(b"a.com\nrubbish\nb.com\nhttp://c.com/\n", skip=2)
    assert found == [(B, 3), ("http://c.com/", 4)]
    assert account.refused == 0


@given(st.binary(max_size=200), st.integers(1, 50))
def test_whatever_the_bytes_and_the_pieces_the_rows_are_the_same(data: bytes, size: int) -> None:
    assert read(data, size) == read(data)
