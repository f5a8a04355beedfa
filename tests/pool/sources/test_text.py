"""Spellings of proxies in text, and what only looks like one."""

import pytest

from fetcher.proxy import Proxy
from pool.sources.beside import CELL, ROW
from pool.sources.found import Found
from pool.sources.text import UNCLEAR, find_text, scan_text, split_groups


def members(text: str, scheme: str = "http") -> list[str]:
    return [found.proxy.member for found in find_text(text, scheme)]


@pytest.mark.parametrize(
    ("text", "member"),
    [
        ("8.8.4.1:80", "8.8.4.1:80"),
        ("8.8.4.1:1", "8.8.4.1:1"),
        ("8.8.4.1:65535", "8.8.4.1:65535"),
        ("http://8.8.4.1:80", "8.8.4.1:80"),
        ("http://8.8.4.1:80/", "8.8.4.1:80"),
        ("HTTPS://8.8.4.1:80", "8.8.4.1:80"),
        ("socks4://8.8.4.1:80", "socks4://8.8.4.1:80"),
        ("socks4a://8.8.4.1:80", "socks4a://8.8.4.1:80"),
        ("socks5h://8.8.4.1:80", "socks5h://8.8.4.1:80"),
        ("user:pass@8.8.4.1:80", "user:pass@8.8.4.1:80"),
        ("user@8.8.4.1:80", "user@8.8.4.1:80"),
        ("http://us%40er:pa%3Ass@8.8.4.1:80", "us%40er:pa%3Ass@8.8.4.1:80"),
        ("socks5://user:pass@8.8.4.1:80", "socks5://user:pass@8.8.4.1:80"),
        ("8.8.4.2:80@8.8.4.1:81", "8.8.4.2:80@8.8.4.1:81"),
        ("8.8.4.1:80:user:pass", "user:pass@8.8.4.1:80"),
        ("8.8.4.1:80:123:pa:ss", "123:pa%3Ass@8.8.4.1:80"),
        ("8.8.4.1:80:socks5", "socks5://8.8.4.1:80"),
        ("8.8.4.1:80:socks4:US", "socks4://8.8.4.1:80"),
        ("8.8.4.1:80@HTTP#[高匿]", "8.8.4.1:80"),
        ("8.8.4.1:80@SOCKS5", "socks5://8.8.4.1:80"),
        ("u:p:8.8.4.1:80", "u:p@8.8.4.1:80"),
        ("socks5://u:p:8.8.4.1:80", "socks5://u:p@8.8.4.1:80"),
        ("HTTP:8.8.4.1:80", "8.8.4.1:80"),
        ("SOCKS5: 8.8.4.1:80", "socks5://8.8.4.1:80"),
        ("8.8.4.1:80@u:p", "u:p@8.8.4.1:80"),
        ("8.8.4.1:80##u:p", "u:p@8.8.4.1:80"),
        ("8.8.4.1:80 u:p", "u:p@8.8.4.1:80"),
        ("8.8.4.1:80:u:p,US", "u:p@8.8.4.1:80"),
        ("8.8.4.1:80:u:p|SOCKS5", "socks5://u:p@8.8.4.1:80"),
        ("8.8.4.1:80:socks5:u:p", "socks5://u:p@8.8.4.1:80"),
        ("gw.example.com:80:u:p", "u:p@gw.example.com:80"),
        ("socks5 8.8.4.1 1080", "socks5://8.8.4.1:1080"),
        ("".join(chr(ord(sign) + 0xFEE0) for sign in "8.8.4.1:80"), "8.8.4.1:80"),
        ("8.8.4.1:80\u3000SOCKS5", "socks5://8.8.4.1:80"),
        ("[2606:4700::1]:80", "[2606:4700::1]:80"),
        ("http://[2606:4700:0::1]:80", "[2606:4700::1]:80"),
        ("socks5://u:p@[2606:4700::1]:80", "socks5://u:p@[2606:4700::1]:80"),
        ("http://proxy.example.com:80", "proxy.example.com:80"),
        ("http://u:p@Proxy.Example.com:80", "u:p@proxy.example.com:80"),
        ("(8.8.4.1:80)", "8.8.4.1:80"),
        ("the proxy 8.8.4.1:80.", "8.8.4.1:80"),
        ("proxy=8.8.4.1:80&x", "8.8.4.1:80"),
        ("8.8.4.1 : 80", "8.8.4.1:80"),
        ("8.8.4.1\t80", "8.8.4.1:80"),
        ("8.8.4.1    80", "8.8.4.1:80"),
        ("8.8.4.1,80,US", "8.8.4.1:80"),
        ("8.8.4.1;80", "8.8.4.1:80"),
        ("| 8.8.4.1 | 80 | US |", "8.8.4.1:80"),
        ('"8.8.4.1","80"', "8.8.4.1:80"),
        ("['8.8.4.1', 80]", "8.8.4.1:80"),
        ('"ip": "8.8.4.1", "ms": 9, "port": "80"', "8.8.4.1:80"),
        ("ip: '8.8.4.1', Port: 80,", "8.8.4.1:80"),
        (f"{CELL}8.8.4.1{CELL}\n  {CELL}80{CELL}", "8.8.4.1:80"),
        (f"8.8.4.1{CELL}:{CELL}80", "8.8.4.1:80"),
        (f"{CELL}8.8.4.1{CELL}80{ROW}", "8.8.4.1:80"),
    ],
)
def test_every_usual_spelling_is_read(text: str, member: str) -> None:
    assert members(text) == [member]
    assert members(f"# list\r\n{text}\r\nend") == [member]


@pytest.mark.parametrize(
    "text",
    [
        "8.8.4.1",
        "8.8.4.1:",
        "8.8.4.1:0",
        "8.8.4.1:080",
        "8.8.4.1:65536",
        "8.8.4.1:99999",
        "8.8.4.1:808080",
        "8.8.4.1:80:80",
        "8.8.4.1:80:80:80",
        "8.8.4.1:80:8.8.4.2:80",
        "8.8.4.1:80/24",
        "8.8.4.1:80-90",
        "8.8.4.1:80.5",
        "8.8.4.1:80x",
        "8.8.4.1:80%41",
        "8.8.4.1:80@nowhere",
        "8.8.4.1:80@ftps",
        "http://8.8.4.1:80/list.html",
        "/8.8.4.1:80",
        "1.2.3.4.5:80",
        "v1.2.3.4:80",
        "x-8.8.4.1:80",
        "256.8.4.1:80",
        "8.8.4.01:80",
        "0177.0.0.1:80",
        "8.8.4:80",
        "1:8.8.4.1:80",
        "::ffff:8.8.4.1:80",
        "vmess://8.8.4.1:80",
        "://8.8.4.1:80",
        "u:p@u:p@8.8.4.1:80",
        "@8.8.4.1:80",
        "u:p@8.8.4.1:80:u:p",
        "u%0d%0a:p@8.8.4.1:80",
        "proxy.example.com:80",
        "me@proxy.example.com:80",
        "http://proxy.example.com/",
        "http://localhost.:80/x",
        "http://2130706433:80",
        "http://-a.example:80",
        "[1:2]:80",
        "[12:30:59]:80",
        "x" * 2000 + "@8.8.4.1:80",
        "8.8.4.1 80",
        "8.8.4.1\t07:58:01",
        "8.8.4.1\t12:30",
        "8.8.4.1\t2026-08-22",
        "8.8.4.1\t24 Aug 2026",
        "8.8.4.1\t22/08/2026",
        "8.8.4.1, 80 ms",
        "8.8.4.1  80%",
        "8.8.4.1\n80",
        "8.8.4.1, 8.8.4.2",
        "22.08.2026 18:36:51",
        "Fri, 24 Mar 23 07:58:01 +0300",
        '"ip": "8.8.4.1"}, {"port": 80}',
        '"ip": "8.8.4.1", "port": 0',
        '"ip": "8.8.4.1", "support": 80',
        f"8.8.4.1{CELL}{ROW}{CELL}80{CELL}",
    ],
)
def test_what_only_looks_like_a_proxy_is_left(text: str) -> None:
    assert members(text) == []
    assert members(f"8.8.4.7:80\n{text}\n8.8.4.8:80") == ["8.8.4.7:80", "8.8.4.8:80"]


@pytest.mark.parametrize(
    ("text", "country", "anonymity"),
    [
        ("8.8.4.1:80:United States", None, None),
        ("8.8.4.1:80:South Korea", None, None),
        ("8.8.4.1:80:Côte d'Ivoire (CI)", None, None),
        ("8.8.4.1:80: works", None, None),
        ("8.8.4.1:80:Korea, Republic of", None, None),
        ("8.8.4.1:80:US", "US", None),
        ("8.8.4.1:80#DE", "DE", None),
        ("8.8.4.1:80 CO-N-S! + ", "CO", "transparent"),
        ("8.8.4.1:80 US-H-S +", "US", "elite"),
        ("8.8.4.1:80 GB-A! + ", "GB", "anonymous"),
        ("8.8.4.1:80 US-HK", None, None),
        ("8.8.4.1:80@HTTP#[高匿]中国", None, "elite"),
    ],
)
def test_what_follows_is_a_claim(text: str, country: str, anonymity: str) -> None:
    expected = Found(Proxy("http", "8.8.4.1", 80), country, anonymity)  # type: ignore[arg-type]
    assert list(find_text(text, "http")) == [expected]


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("8.8.4.1\t80\tSOCKS5\tUS\telite", ["socks5", "US", "elite"]),
        ("8.8.4.1    80    socks4    DE    Anonymous", ["socks4", "DE", "anonymous"]),
        ("8.8.4.1,80,https,,transparent proxy", ["http", None, "transparent"]),
        ("8.8.4.1;80;High Anonymous;SOCKS5;KR", ["socks5", "KR", "elite"]),
        ("| 8.8.4.1:80 | socks5 | 高匿 |", ["socks5", None, "elite"]),
        ("8.8.4.1:80#JP\tSOCKS4\tUS", ["socks4", "JP", None]),
        ("socks5://8.8.4.1:80\tHTTP\tUS", ["socks5", "US", None]),
        # What may mean something else, or is none of these.
        ("8.8.4.1\t80\tno\tHigh\tNone\tmedium\tN\tA\tH", ["http", None, None]),
        ("8.8.4.1\t80\tsocks5 (12 ms)\tvmess\tThe US", ["socks5", None, None]),
        ("8.8.4.1\t80\tin\tus\tUSA\tXX", ["http", None, None]),
        ("8.8.4.1:80 SOCKS5 US elite", ["socks5", "US", "elite"]),
        ("8.8.4.1\t80\n\tSOCKS5\tUS\telite", ["http", None, None]),
        ("8.8.4.1\t80\r\tSOCKS5\tUS\telite", ["http", None, None]),
        ("8.8.4.1\t80\t" + "x" * 399 + "\tSOCKS5", ["http", None, None]),
    ],
)
def test_what_else_is_in_a_row_is_a_claim_too(row: str, found: list[str | None]) -> None:
    expected = Proxy(str(found[0]), "8.8.4.1", 80)
    assert list(find_text(row, "http")) == [Found(expected, *found[1:])]  # type: ignore[arg-type]
    first, second = find_text(f"{row}\n8.8.4.2:80", "http")
    assert (first.proxy, second) == (expected, Found(Proxy("http", "8.8.4.2", 80)))


def test_cells_of_a_table_end_with_their_row() -> None:
    cells = [f"{CELL}8.8.4.{n}{CELL}\n{CELL}80{CELL}" for n in (1, 2, 3)]
    text = (
        f"{ROW}{cells[0]}\n{CELL} HTTP, SOCKS5 {CELL} FR{ROW}{cells[1]}{ROW}{cells[2]}{ROW}{CELL}"
    )
    assert list(find_text(text + f"SOCKS4{CELL}US{CELL}", "http")) == [
        Found(Proxy("http", "8.8.4.1", 80), "FR"),
        Found(Proxy("socks5", "8.8.4.1", 80), "FR"),
        Found(Proxy("http", "8.8.4.2", 80)),
        Found(Proxy("http", "8.8.4.3", 80)),
    ]


def test_the_scheme_given_is_for_those_that_name_none() -> None:
    text = "8.8.4.1:80\nhttp://8.8.4.2:80\nsocks4://8.8.4.3:80"
    assert members(text, "socks5") == ["socks5://8.8.4.1:80", "8.8.4.2:80", "socks4://8.8.4.3:80"]


def test_several_on_a_line_are_all_read() -> None:
    assert members("8.8.4.1:80,8.8.4.2:81 8.8.4.3:82|8.8.4.4:83") == [
        "8.8.4.1:80",
        "8.8.4.2:81",
        "8.8.4.3:82",
        "8.8.4.4:83",
    ]


def test_a_password_that_looks_like_a_proxy_gives_none() -> None:
    assert members("8.8.4.1:80:user:8.8.4.2:81") == ["user:8.8.4.2%3A81@8.8.4.1:80"]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("HTTP 8.8.4.1:80, SOCKS5 8.8.4.2:80, SOCKS4 8.8.4.3:80", ["http", "socks5", "socks4"]),
        ("8.8.4.1:80 socks5, 8.8.4.2:80 http, 8.8.4.3:80 socks4", ["socks5", "http", "socks4"]),
        ("8.8.4.1:80 | socks5 | 8.8.4.2:80 | http", ["socks5", "http"]),
        ("socks5 | 8.8.4.1:80 | http | 8.8.4.2:80", ["socks5", "http"]),
        ("8.8.4.1:80 socks5 | socks4 8.8.4.2:80", ["socks5", "socks4"]),
        ("8.8.4.1:80 socks5 8.8.4.2:80 socks4", ["socks5", "socks4"]),
        ("socks5 8.8.4.1:80 socks4 8.8.4.2:80", ["socks5", "socks4"]),
        ("8.8.4.1:80 ; US ; socks5 8.8.4.2:80", ["http", "socks5"]),
        ("8.8.4.1:80;; socks5 8.8.4.2:80", ["http", "socks5"]),
        ("8.8.4.1:80 socks5; ;US; 8.8.4.2:80", ["socks5", "http"]),
        ("8.8.4.1:80,US ,8.8.4.2:80,socks4", ["http", "socks4"]),
        ("socks5 8.8.4.1:80\n8.8.4.2:80", ["socks5", "http"]),
        ("8.8.4.1:80\nsocks5 8.8.4.2:80", ["http", "socks5"]),
        (f"<{CELL}SOCKS5 8.8.4.1:80{CELL}{CELL}HTTP 8.8.4.2:80{CELL}", ["socks5", "http"]),
        ("8.8.4.1:80" + " " * 500 + "socks5 8.8.4.2:80", ["http", "socks5"]),
    ],
)
def test_each_proxy_of_a_row_has_the_scheme_that_belongs_to_it(
    row: str, expected: list[str]
) -> None:
    assert [one.proxy.scheme for one in find_text(row, "http")] == expected


@pytest.mark.parametrize(
    "text",
    [
        "8.8.4.1:80 user s3cret",
        "8.8.4.1:80:user/s3cret",
        "8.8.4.1:80:user;s3cret x",
        "8.8.4.1:80:u:s3cr|et",
        "8.8.4.1:80:socks5:s3cret",
        "x,s3cret@8.8.4.1:80",
        "user s3cret@8.8.4.1:80",
    ],
)
def test_what_may_lack_its_credentials_is_told_and_not_taken(text: str) -> None:
    assert list(scan_text(text, "http")) == [UNCLEAR]
    assert members(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "80:81:8.8.4.1:80",
        "a|b:8.8.4.1:80",
        "8.8.4.1 80",
        "see gw.example.com:80",
        "me@gw.example.com:80",
    ],
)
def test_what_is_no_proxy_is_not_told_of(text: str) -> None:
    assert list(scan_text(text, "http")) == []


def test_names_are_taken_where_a_text_is_meant_to_hold_proxies() -> None:
    def read(text: str) -> list[str]:
        found = scan_text(text, "http", strict=True)
        return [one.proxy.member if isinstance(one, Found) else "unclear" for one in found]

    assert read("GW.example.com:80 DE") == ["gw.example.com:80"]
    assert read("u:p@gw.example.com:80, US") == ["u:p@gw.example.com:80"]
    assert read("user gw.example.com:80") == ["unclear"]


def test_headings_part_a_text_and_name_schemes() -> None:
    text = "1\n# SOCKS5 proxies:\n2\n[http]\n3\nOthers:\n4\n\x1cSOCKS4 list\x1c5\x1cNo proxies\x1c6"
    parts = [(schemes, part.strip("\n\x1c")) for schemes, part in split_groups(text, "https")]
    assert parts == [
        (("https",), "1"),
        (("socks5",), "2"),
        (("http",), "3"),
        (("https",), "4"),
        (("socks4",), "5"),
        (("https",), "6"),
    ]
    assert list(split_groups("SOCKS5 are fine\n1", "http")) == [(("http",), "SOCKS5 are fine\n1")]
