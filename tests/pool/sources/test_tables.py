"""Tables under a line of names."""

import csv

import pytest

from pool.sources.beside import CELL, COLUMN
from pool.sources.found import Found
from pool.sources.tables import read_header, scan_tables, split_row


def members(*rows: str, scheme: str = "http") -> list[str]:
    taken = scan_tables(rows, scheme)
    return [
        one.proxy.member if isinstance(one, Found) else "unclear"
        for n in sorted(taken)
        for one in taken[n]
    ]


def html(*cells: str) -> str:
    return CELL + "".join(f"{COLUMN}{cell}{CELL}" for cell in cells)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            ('"ip","anonymityLevel","asn","country","port","protocols"',
             '"8.8.4.1","elite","AS1","US","1080","socks5"'),
            ["socks5://8.8.4.1:1080"],
        ),
        (("IP;Country;Port", "8.8.4.1;US;80", "8.8.4.2;DE;81"), ["8.8.4.1:80", "8.8.4.2:81"]),
        (("Port\tProxy IP", "80\t8.8.4.1"), ["8.8.4.1:80"]),
        (("user,pass,host,port", "u,p,gw.example.com,80"), ["u:p@gw.example.com:80"]),
        (("ip,port,login,password", "8.8.4.1,80,,"), ["8.8.4.1:80"]),
        (("ip,port,login,password", "8.8.4.1,80,,s3cret"), ["unclear"]),
        (("| IP | CC | Port |", "|----|:--:|-----|", "| 8.8.4.1 | US | 80 |"), ["8.8.4.1:80"]),
        (("proxy,type", "8.8.4.1:80,socks5"), ["socks5://8.8.4.1:80"]),
        (("ip,type", "8.8.4.1:80,socks5"), ["socks5://8.8.4.1:80"]),
        (("IP地址,国家,端口,用户名,密码", "8.8.4.1,CN,80,u,p"), ["u:p@8.8.4.1:80"]),
        ((html("IP", "CC", "Port"), html("8.8.4.1", "US", "80"), "", html("8.8.4.2", "-", "81")),
         ["8.8.4.1:80", "8.8.4.2:81"]),
        # They end, and another begins.
        (("ip,port", "8.8.4.1,80", "", "8.8.4.2,81", "the end", "8.8.4.3,82"),
         ["8.8.4.1:80", "8.8.4.2:81"]),
        (("ip,cc,port", "8.8.4.1,US,80", "port,cc,ip", "81,US,8.8.4.2"),
         ["8.8.4.1:80", "8.8.4.2:81"]),
        # Others read these, or nobody.
        (("ip,port", "8.8.4.1,80,user,s3cret"), []),
        (("ip,port", "8.8.4.1,x"), []),
        (("country,port", "US,80"), []),
        (("8.8.4.1:80,ip,port", "8.8.4.2,80"), []),
        (("our ip, 4 times", "8.8.4.1,80"), []),
        (("ip, 4 times", "8.8.4.1,80"), []),
        (("x" * 600 + ",ip,port", "x,8.8.4.1,80"), []),
        (("ip", "8.8.4.1"), []),
    ],
)  # fmt: skip
def test_columns_are_found_by_their_names(rows: tuple[str, ...], expected: list[str]) -> None:
    assert members(*rows) == expected


def test_the_scheme_given_is_for_rows_that_name_none() -> None:
    assert members("ip,port", "8.8.4.1,80", scheme="socks4") == ["socks4://8.8.4.1:80"]


def test_a_cell_of_a_megabyte_is_no_cell() -> None:
    with pytest.raises(csv.Error):
        members("ip,port", '"' + "8" * 1_000_000 + '",80')


def test_rows_are_split_by_what_parts_the_names() -> None:
    header = read_header("ip;port")
    assert header is not None
    assert header.separator == ";"
    assert split_row('"a;b"; c', ";") == ["a;b", "c"]
    assert split_row("|a | b|", "|") == ["a", "b"]
