"""The tolerant extractor on whole bodies; the addresses are invented."""

import json
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fetcher.proxy import Proxy
from pool.admission import MAX_CREDENTIAL, admit
from pool.sources.extract import extract


def members(text: str, scheme: str = "http") -> list[str]:
    return [found.proxy.member for found in extract(text, scheme)]


SPYS = """Proxy list (#400) updated at Fri, 24 Mar 23 07:58:01 +0300
Socks proxy=https://spys.me/socks.txt
BTC bc1q0hxnu4gmn5ru8j7g29tv2dq2ng5g0zhanl6t4t

8.8.4.1:999 CO-N-S! +
8.8.4.2:80 HK-A +

Free open HTTP/HTTPS(SSL) proxy list  - TXT format - updated hourly."""
TABLE = """<table><tr><th>IP</th><th>Port</th></tr>
<tr><td>8.8.4.1</td>
    <td class="port"> 80 </td><td>5</td></tr>
<tr><td><b>8.8.4.2</b>:<i>81</i></td><td>2026-08-22</td></tr>
<tr><td>8.8.4.3</td><td>US</td><td>82</td></tr></table>
<style>.v1.2.3.4{top:80px}</style>
<table><tr><td>8.8.4.9<td>89<td>US<td>SOCKS4</table>
<pre>8.8.4.4:83<br>8.8.4.5:84<br/>8.8.4.6&#58;85</pre>"""
SCRIPT = """<script>
const fpsList = [{"ip": "8.8.4.1", "last_check_time": "2026-08-22 10:00:00", "port": "80"},
{"ip": "8.8.4.2", "port": 81, "protocol": "socks5"}];
if (a < b) { document.write("8.8.4.3:82"); }
</script>"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SPYS, ["8.8.4.1:999", "8.8.4.2:80"]),
        (
            TABLE,
            ["8.8.4.1:80", "8.8.4.2:81", "socks4://8.8.4.9:89", "8.8.4.4:83", "8.8.4.5:84",
             "8.8.4.6:85"],
        ),
        (SCRIPT, ["8.8.4.1:80", "socks5://8.8.4.2:81", "8.8.4.3:82"]),
        ("8.8.4.1:80:United States\n8.8.4.2:81:Japan", ["8.8.4.1:80", "8.8.4.2:81"]),
        ("http://8.8.4.1:80\nsocks5://8.8.4.1:80", ["8.8.4.1:80", "socks5://8.8.4.1:80"]),
        ('[{"host": "8.8.4.1", "port": 80}]', ["8.8.4.1:80"]),
        (
            '{"host": "8.8.4.1", "port": 80}\n{"host": "8.8.4.2", "port": 81}\n{"ho',
            ["8.8.4.1:80", "8.8.4.2:81"],
        ),
        (
            '[{"host": "8.8.4.1", "port": 80}, {"host": "8.8.4.2", "port": 81, "geo": {"a',
            ["8.8.4.1:80", "8.8.4.2:81"],
        ),
        ('{"ip": "8.8.4.1", "port": 80, "protocol": "vmess", "a": {}}', []),
        ("ip,cc,port\n8.8.4.1,US,80\n8.8.4.2:81", ["8.8.4.1:80", "8.8.4.2:81"]),
        ("8.8.4.2:81\nip: 8.8.4.1\nport: 80\n", ["8.8.4.2:81", "8.8.4.1:80"]),
        ("ip,port\n\"" + "8" * 200_000 + "\",80\n8.8.4.1:80", ["8.8.4.1:80"]),
        ("SOCKS5:\n8.8.4.1:80", ["socks5://8.8.4.1:80"]),
        ("t.me/socks?server=8.8.4.1&port=80", ["socks5://8.8.4.1:80"]),
        ("[2606:4700::1]:80\n[2606:4700:0::1]:80", ["[2606:4700::1]:80"]),
        ("8.8.4.1:80\n8.8.4.2:80\n8.8.4.1:80", ["8.8.4.1:80", "8.8.4.2:80"]),
        ("8.8.4.1:80:80\n8.8.4.2:80:80", []),
        ("", []),
        ("{}", []),
        ("null", []),
    ],
)  # fmt: skip
def test_bodies_of_every_shape_are_read(text: str, expected: list[str]) -> None:
    assert members(text) == expected


def test_the_scheme_given_is_for_those_that_name_none() -> None:
    assert members(TABLE, "socks4")[0] == "socks4://8.8.4.1:80"
    assert members('[{"ip": "8.8.4.1", "port": 80}]', "socks4") == ["socks4://8.8.4.1:80"]


def rows_of_text(size: int) -> str:
    return "\n".join(f"8.8.{n // 250}.{n % 250}:80" for n in range(size))


def rows_of_json(size: int) -> str:
    return json.dumps([{"ip": f"8.8.{n // 250}.{n % 250}", "port": 80} for n in range(size)])


def rows_of_script(size: int) -> str:
    return "x = " + rows_of_json(size)


def rows_of_html(size: int) -> str:
    return "<p>".join(f"8.8.{n // 250}.{n % 250}<b>80</b>" for n in range(size))


@pytest.mark.parametrize("rows", [rows_of_text, rows_of_json, rows_of_script, rows_of_html])
@pytest.mark.parametrize("limit", [0, 1, 99, 100, 101])
def test_the_limit_is_kept_and_order_too(rows: Callable[[int], str], limit: int) -> None:
    found = extract(rows(100), "http", limit)
    assert [one.proxy.authority for one in found] == [
        f"8.8.0.{n}:80" for n in range(min(limit, 100))
    ]


# Each is what some expression here must not be quadratic (or worse) in: 5 MB of it would then
# take hours, not the seconds that the test's own time-out allows.
NEAR_MATCHES = [
    "8.8.4.1:99999 ",
    "8.8.4.1:80:80\n",
    "1.2.3.4.5:80 ",
    "8.8.4.1 ",
    "1.1.",
    "8.8.4.1:80:",
    '"8.8.4.1",',
    '"ip":"8.8.4.1","por":',
    "@",
    "u:p@",
    "a@8.8.4.1:0 ",
    "://",
    "http://a",
    "http://a.",
    "[",
    "[::",
    "{",
    '{"',
    '{"a":1},',
    '{"ip":"8.8.4.1"}\n',
    "<",
    "<a",
    "<!--",
    "<td>8.8.4.1</td>",
    "&",
    "&#",
    " ",
    "\t",
    "8",
    "\x1f",
    "\n{",
]


@pytest.mark.volume
@pytest.mark.timeout(60)
@pytest.mark.parametrize("near", NEAR_MATCHES)
def test_five_megabytes_of_near_matches_give_the_one_proxy_behind_them(near: str) -> None:
    text = near * (5_000_000 // len(near))
    found = extract("x" + text + "\n > 8.8.4.77:80\n", "http", 5)
    assert [one.proxy.member for one in found] == ["8.8.4.77:80"]


@pytest.mark.parametrize("text", ["<div>" * 20_000, "[" * 100_000, '{"a":' * 20_000, "\0" * 9_999])
def test_bombs_and_rubbish_give_nothing(text: str) -> None:
    assert members(text) == []


CREDENTIAL = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=60).filter(
    lambda text: len(text.encode()) <= MAX_CREDENTIAL
)
PROXIES = st.builds(
    Proxy,
    st.sampled_from(["http", "socks4", "socks4a", "socks5", "socks5h"]),
    st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str)).filter(
        lambda host: not host.startswith("::ffff:")
    ),
    st.integers(1, 65535),
)
WITH_CREDENTIALS = st.builds(
    lambda proxy, username, password: Proxy(
        proxy.scheme, proxy.host, proxy.port, username, password
    ),
    PROXIES,
    CREDENTIAL.filter(bool),
    CREDENTIAL,
)


@given(st.one_of(PROXIES, WITH_CREDENTIALS))
@example(Proxy("http", "8.8.4.1", 80, "é" * 127, "é" * 127))
@settings(max_examples=300, deadline=None)
def test_what_the_pool_writes_is_read_again(proxy: Proxy) -> None:
    assert [one.proxy for one in extract(proxy.member)] == [proxy]
    assert [one.proxy for one in extract(json.dumps({"proxies": [proxy.member]}))] == [proxy]


PIECES = [
    *("8.8.4.1", "::1", "80", "99999", "0", "http", "socks5", "ip", "port", "US", "-H", "高匿"),
    *(":", "@", "://", "[", "]", "{", "}", '"', ",", " ", "\n", "\t", "#", "/", ".", "%"),
    *("<td>", "</td>", '"ip":"8.8.4.1"', '"port":80', "&#58;", "\x1f", "\0"),
]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=40).map("".join)))
@settings(max_examples=500, deadline=None)
def test_whatever_the_text_it_gives_only_what_may_be_a_proxy(text: str) -> None:
    for found in extract(text):
        assert admit(found.proxy, allow_private=True) is None
        assert found.country is None or (len(found.country) == 2 and found.country.isupper())
        assert [one.proxy for one in extract(found.proxy.member)] in (
            [found.proxy],
            [],  # names are read behind a scheme only, which members of HTTP proxies lack
        )
