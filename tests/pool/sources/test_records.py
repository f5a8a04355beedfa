"""Entries whose parts are named one by one in a text."""

import pytest

from pool.sources.found import Found
from pool.sources.records import has_records, scan_records
from pool.sources.text import UNCLEAR

CLASH = """proxies:
  - {name: "a, b", type: socks5, server: 8.8.4.1, port: 1080}
  - {name: c, type: http, server: gw.example.com, port: 80, username: u, password: "p,q"}
  - {name: d, type: vmess, server: 8.8.4.3, port: 443, uuid: x}
  - name: e
    type: socks5
    server: 8.8.4.4   # a comment
    port: 1080
    username: 'us er'
    password: p@ss:word
    udp: true

  - name: f
    type: ss
    server: 8.8.4.5
    port: 443
    password: s3cret
proxy-groups:
  - name: all
    proxies: [a, c]"""


def members(text: str, scheme: str = "http") -> list[str]:
    taken = scan_records(text.split("\n"), scheme)
    return [
        one.proxy.member if isinstance(one, Found) else "unclear"
        for n in sorted(taken)
        for one in taken[n]
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            CLASH,
            ["socks5://8.8.4.1:1080", "u:p%2Cq@gw.example.com:80",
             "socks5://us%20er:p%40ss%3Aword@8.8.4.4:1080"],
        ),
        ("host=8.8.4.1\nport=80\nuser=u\npassword=p", ["u:p@8.8.4.1:80"]),
        ("IP: 8.8.4.1\nPort: 80\n\nIP: 8.8.4.2\nPort: 81", ["8.8.4.1:80", "8.8.4.2:81"]),
        ("IP: 8.8.4.1\nPort: 80\nIP: 8.8.4.2\nPort: 81", ["8.8.4.1:80", "8.8.4.2:81"]),
        ("IP: 8.8.4.1\nPort: 80\nan end\n-\n", ["8.8.4.1:80"]),
        ("server: 8.8.4.1:80\nusername: u\npassword: p", ["u:p@8.8.4.1:80"]),
        ("proxy: http://8.8.4.1:80\nname: x", ["8.8.4.1:80"]),
        ("ip: 8.8.4.1 port: 80 login: u password: p", ["u:p@8.8.4.1:80"]),
        ("ip=8.8.4.1, port=80, type=socks5", ["socks5://8.8.4.1:80"]),
        ("[{ip: '8.8.4.1', port: 80}, {ip: '8.8.4.2', port: 81}]", ["8.8.4.1:80", "8.8.4.2:81"]),
        ("{ip: '8.8.4.1', port: 80} u:p", ["u:p@8.8.4.1:80"]),
        ("ip: 8.8.4.1 port: 80 socks5", ["socks5://8.8.4.1:80"]),
        ("US IP: 8.8.4.1 and Port: 80", ["8.8.4.1:80"]),
        ("ip: 8.8.4.1 port: 80 user s3cret", ["unclear"]),
        ("ip: 8.8.4.1 port: 80 password: s3cret", ["unclear"]),
        # No hosts.
        ("server: nginx, port: 80", []),
        ("server: 8.8.4.1:80\nname: x", []),
        ("host: x\nport: y", []),
        ("a: b\nc: d", []),
        ("port: 80 of the server: x", []),
        ("nothing", []),
    ],
)  # fmt: skip
def test_named_parts_are_an_entry(text: str, expected: list[str]) -> None:
    assert members(text) == expected


def test_the_lines_of_an_entry_are_taken_with_it() -> None:
    taken = scan_records(["x", "ip: 8.8.4.1", "port: 80", "password: s3cret", "y"], "http")
    assert taken == {1: [UNCLEAR], 2: [], 3: []}


@pytest.mark.parametrize(("length", "is_read"), [(19_999, True), (20_000, True), (20_001, False)])
def test_a_line_is_read_up_to_a_length(length: int, is_read: bool) -> None:
    line = "ip: 8.8.4.1, port: 80 "
    assert bool(members(line + " " * (length - len(line)))) is is_read


def test_most_texts_are_not_looked_through() -> None:
    assert not has_records("8.8.4.1:80:US\nhttp://8.8.4.2:80")
    assert has_records("Server : 8.8.4.1")
