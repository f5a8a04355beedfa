import csv
import io
import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetcher.proxy import Proxy, parse_proxy
from pool.http import intake
from pool.http.intake import (
    LONGEST,
    SIGNS,
    TLS,
    IntakeError,
    Refused,
    read_foreign,
    read_given,
)
from pool.sources.extract import extract
from pool.sources.found import Found

NO_PORT = "it names no port: write host:port"
PRIVATE = "; only pool.allow_private: true lets such in"


def members(body: str | bytes, **options: Any) -> list[str]:
    raw = body.encode() if isinstance(body, str) else body
    return [
        one.proxy.member for one in read_given(raw, **{"allow_private": False, **options}).found
    ]


def refused(body: str) -> list[tuple[str, str]]:
    return [
        (one.proxy, one.reason) for one in read_given(body.encode(), allow_private=False).refused
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", []),
        ("8.8.8.8:80", ["8.8.8.8:80"]),
        ("\ufeff8.8.8.8:80\r\n# no\n\n8.8.4.4:81\n", ["8.8.8.8:80", "8.8.4.4:81"]),
        ("8.8.8.8:80\n8.8.8.8:80\n", ["8.8.8.8:80"]),
        ("user:pw@8.8.8.8:80", ["user:pw@8.8.8.8:80"]),
        ("8.8.8.8:80:user:pw", ["user:pw@8.8.8.8:80"]),
        ("socks5://8.8.8.8:80 DE", ["socks5://8.8.8.8:80"]),
        ("https://8.8.8.8:80", ["8.8.8.8:80"]),
        ("Gateway.Example.com:8000", ["gateway.example.com:8000"]),
        ("8.8.8.8,80,DE", ["8.8.8.8:80"]),
        ('"8.8.8.8:80"', ["8.8.8.8:80"]),
        ('{"proxy": "https://8.8.8.8:80"}', ["https://8.8.8.8:80"]),
        ('{"proxy": ["8.8.8.8:80", "u:p@8.8.4.4:80"]}', ["8.8.8.8:80", "u:p@8.8.4.4:80"]),
        ('{"proxies": ["8.8.8.8:80"]}', ["8.8.8.8:80"]),
        ('["8.8.8.8:80:user:pw"]', ["user:pw@8.8.8.8:80"]),
        ('[{"ip": "8.8.8.8", "port": "80", "protocols": ["socks4"]}]', ["socks4://8.8.8.8:80"]),
        ('{"ip": "8.8.8.8", "port": 80}', ["8.8.8.8:80"]),
        (
            '{"ip": "8.8.8.8", "port": 80}\n{"ip": "8.8.4.4", "port": 80}',
            ["8.8.8.8:80", "8.8.4.4:80"],
        ),
        ("ip,port,protocol\n8.8.8.8,80,socks5\n", ["socks5://8.8.8.8:80"]),
        ("id,proxy,country\nab,https://8.8.8.8:80,DE\n", ["https://8.8.8.8:80"]),
        ("proxy\n8.8.8.8:80\n", ["8.8.8.8:80"]),
        (b"8.8.8.8:80 \xff\n", ["8.8.8.8:80"]),
        (
            f"https://8.8.8.8:1\n{TLS}\nhttps://8.8.8.8:2\n8.8.8.8:3:u:p\n",
            ["8.8.8.8:1", "https://8.8.8.8:2", "u:p@8.8.8.8:3"],
        ),
    ],
)
def test_proxies_are_read_in_any_spelling(body: str | bytes, expected: list[str]) -> None:
    assert members(body) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("u:p:8.8.8.8:80", ["u:p@8.8.8.8:80"]),
        ("u:code:8.8.8.8:80", ["u:code@8.8.8.8:80"]),
        ("u:p%20:8.8.8.8:80", ["u:p%2520@8.8.8.8:80"]),
        ("u:p:[2606:4700::1]:80", ["u:p@[2606:4700::1]:80"]),
        ("socks5://u:p:8.8.8.8:80 DE", ["socks5://u:p@8.8.8.8:80"]),
        ("8.8.4.4:80:8.8.8.8:80", []),
        ("8.8.8.8:80 u p", []),
        ("8.8.8.8:80 u p,", []),
        ("8.8.8.8:80  u p", []),
        ("8.8.8.8:80 de p", []),
        ("8.8.8.8:80 a p", []),
        ("8.8.8.8:80 u p,DE", []),
        ("8.8.8.8:80 u p,;|", []),
        ("8.8.8.8:80,u,p;|x", []),
        ("8.8.8.8:80 | u | p", []),
        ("8.8.8.8:80 u:p", ["u:p@8.8.8.8:80"]),
        ("8.8.8.8:80 u #p", []),
        ("u p 8.8.8.8:80", []),
        ("8.8.8.8,80,u,p", []),
        ("8.8.8.8\t80\tu\tp\tDE", []),
        ("8.8.8.8;80;http;u;12", []),
        ('"8.8.8.8","80","u","p"', []),
        ("[2606:4700::1]:80 u p", []),
        ("http://gw.example.com:80 u p", []),
        ('["8.8.8.8:80 u p"]', []),
        # What lists write beside a proxy is none of that.
        ("8.8.8.8:80 DE", ["8.8.8.8:80"]),
        ("8.8.8.8:80 Germany", ["8.8.8.8:80"]),
        ("8.8.8.8:80:Germany", ["8.8.8.8:80"]),
        ("8.8.8.8:80 US-H! +", ["8.8.8.8:80"]),
        ("8.8.8.8:80 # two words", ["8.8.8.8:80"]),
        ("8.8.8.8:80 8.8.4.4:81", ["8.8.8.8:80", "8.8.4.4:81"]),
        ("8.8.8.8:80 12:30", ["8.8.8.8:80"]),
        ("8.8.8.8,80,120,95", ["8.8.8.8:80"]),
        ("8.8.8.8,80,United States", ["8.8.8.8:80"]),
        ("8.8.8.8:80, United States", ["8.8.8.8:80"]),
        ("8.8.8.8  80  United States  120 ms", ["8.8.8.8:80"]),
        ("8.8.8.8\t80\tUnited States, Ohio", ["8.8.8.8:80"]),
        ("8.8.8.8,80,socks5,Germany", ["socks5://8.8.8.8:80"]),
        ("8.8.8.8\t80\tGermany\tBerlin\tfast\t3", ["8.8.8.8:80"]),
        ("8.8.8.8,80,Germany,Berlin,elite", ["8.8.8.8:80"]),
        ("8.8.8.8,80,DE,Germany,elite proxy,no,yes,2 minutes ago", ["8.8.8.8:80"]),
    ],
)
def test_no_proxy_is_taken_without_the_credentials_that_its_line_may_hold(
    line: str, expected: list[str]
) -> None:
    assert members(line) == expected
    if not expected:
        [(_, reason)] = refused(line)
        assert re.match("the words beside it may be a user and a password|cannot read", reason)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("8.8.8.8", [("line 1", NO_PORT)]),
        ("# x\n8.8.8.8:80:80", [("line 2", r"cannot read the proxy '\*\*\*': .*")]),
        ("8.8.8.8:99999", [("line 1", "the port of '8.8.8.8:99999' is out of range: .*")]),
        ("10.0.0.1:80", [("http://10.0.0.1:80", f"the address 10.0.0.1 is not public{PRIVATE}")]),
        ("u:secret@10.0.0.1:80",
         [("http://10.0.0.1:80", f"the address 10.0.0.1 is not public{PRIVATE}")]),
        ("squid:3128", [("http://squid:3128", f"the name squid is local{PRIVATE}")]),
        ('["8.8.8.8", 3, {"a": 1}]', [("item 1", NO_PORT), ("item 2", "expected a .*"),
                                      ("item 3", "there is no proxy in it")]),
        ("3", [("line 1", NO_PORT)]),
        ("ip,port\n8.8.8.8,x\n", [("line 2", "there is no proxy in it")]),
        ("id,proxy\nab,cd\n", [("line 2", NO_PORT)]),
        ("u:secret@x y:1", [("line 1", "cannot read the proxy '[^u]*': .*")]),
    ],
)  # fmt: skip
def test_for_each_that_is_not_taken_a_reason_is_given(
    body: str, expected: list[tuple[str, str]]
) -> None:
    told = refused(body)
    assert [place for place, _ in told] == [place for place, _ in expected]
    for (_, reason), (_, pattern) in zip(told, expected, strict=True):
        assert re.fullmatch(pattern, reason), reason
        assert "secret" not in reason


def test_private_addresses_are_taken_where_the_settings_allow_them() -> None:
    assert members("10.0.0.1:80", allow_private=True) == ["10.0.0.1:80"]


def test_what_a_list_claims_is_kept() -> None:
    body = json.dumps([{"id": "x", "proxy": "8.8.8.8:80", "country": "DE"}]).encode()
    assert read_given(body, allow_private=False).found == [Found(parse_proxy("8.8.8.8:80"), "DE")]


def test_texts_are_read_as_the_settings_spell_them() -> None:
    body = json.dumps(["https://8.8.8.8:80", " 8.8.8.8 "]).encode()
    read = read_given(body, allow_private=False)
    assert [one.proxy.member for one in read.found] == ["https://8.8.8.8:80"]
    assert read.refused == [Refused("item 2", NO_PORT)]


@pytest.mark.parametrize(("more", "fits"), [(-1, True), (0, True), (1, False)])
def test_so_many_are_taken_at_once(more: int, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MOST", 100)
    lines = "\n".join(f"8.8.8.8:{port}" for port in range(1, 101 + more))
    if fits:
        assert len(members(lines)) == 100 + more
    else:
        with pytest.raises(IntakeError, match="proxies at once"):
            members(lines)


def test_several_on_a_line_count_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MOST", 100)
    lines = [f"8.8.8.8:{port} 8.8.4.4:{port}" for port in range(1, 52)]
    assert len(members("\n".join(lines[:50]))) == 100
    with pytest.raises(IntakeError, match="proxies at once"):
        members("\n".join(lines))


@pytest.mark.parametrize("line", ["8.8.8.8:80", "nonsense"], ids=["equal", "refused"])
def test_what_is_no_further_proxy_counts_too(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MOST", 100)
    for count in (99, 100):
        given = read_given(f"{line}\n".encode() * count, allow_private=False)
        assert len(given.found) + len(given.refused) == (1 if line[0] == "8" else count)
    with pytest.raises(IntakeError, match="proxies at once"):
        read_given(f"{line}\n".encode() * 101, allow_private=False)
    with pytest.raises(IntakeError, match="proxies at once"):
        read_given(json.dumps([line] * 101).encode(), allow_private=False)


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_body_is_not_taken_apart_into_more_things_than_are_taken(more: int) -> None:
    body = (b"[[" + b"," * (SIGNS - 2 + more)).ljust(SIGNS + 9)
    if more > 0:
        with pytest.raises(IntakeError, match="more than 100,000 proxies at once"):
            read_given(body, allow_private=False)
    else:
        assert len(read_given(body, allow_private=False).refused) == 1


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_line_may_be_so_long(more: int) -> None:
    note = "8.8.8.8:80 # ".ljust(LONGEST + more, "x")
    for one_of in (note, json.dumps([note])):
        intake_of = read_given(one_of.encode(), allow_private=False)
        assert [one.proxy.member for one in intake_of.found] == ["8.8.8.8:80"] * (more <= 0)
        assert len(intake_of.refused) == (more > 0)
        if more > 0:
            assert intake_of.refused[0].reason == f"it has more than {LONGEST} characters"


@pytest.mark.parametrize("depth", [10, 1000, 100_000])
def test_no_body_is_too_deep(depth: int) -> None:
    assert members("[" * depth + "]" * depth) == []


BROKEN = "it begins like JSON, but cannot be read as such: "


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ('[{"host": "8.8.8.8", "po', "it breaks off in line 1"),
        ('[\n  {"host": "8.8.8.8",\n   "port": 80},\n  {"ho', "it breaks off in line 4"),
        ('{"a": 1,}', "line 1, column 9: trailing comma in object"),
        ('["a",\n "é", x]', "line 2, column 7: invalid character"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_of_json_that_is_broken_it_is_said_where(body: str, where: str) -> None:
    assert refused(body) == [("the whole", BROKEN + where)]


def test_what_can_be_read_of_broken_json_is_taken_and_the_break_is_told() -> None:
    body = '["8.8.8.8:80", "8.8'
    assert members(body) == ["8.8.8.8:80"]
    assert refused(body) == [("the whole", f"{BROKEN}it breaks off in line 1")]


@pytest.mark.parametrize(
    "body", ["[::1]:99999", '"x', '{"proxy": "8.8.8.8"}\n{"proxy": "8.8.4.4"}']
)
def test_what_need_not_be_json_is_refused_by_its_lines(body: str) -> None:
    assert all(place.startswith("line ") for place, _ in refused(body))


def test_an_unreadable_table_is_refused_in_words() -> None:
    with pytest.raises(IntakeError, match="not readable as CSV"):
        members("ip,port\n" + "8" * 200_000 + ",80\n")


@pytest.mark.parametrize(
    ("name", "value", "country"),
    [
        ("8.8.8.8:80", "", None),
        ("8.8.8.8:80", '{"region": "us", "https": true}', "US"),
        ("8.8.8.8:80", '{"region": "somewhere"}', None),
        ("8.8.8.8:80", "[]", None),
        ("8.8.8.8:80", "no JSON", None),
        ("8.8.8.8:80", "[" * 100_000, None),
    ],
)
def test_other_pools_keep_proxies_with_or_without_a_value(
    name: str, value: str, country: str | None
) -> None:
    read = read_foreign([(name, value)], allow_private=False)
    [one] = read.found
    assert (one.proxy, one.country) == (parse_proxy(name), country)


def test_what_another_pool_says_of_a_proxy_is_kept() -> None:
    value = '{"region": " 中国 广东 ", "source": "freeProxy01/freeProxy02"}'
    [one] = read_foreign([("8.8.8.8:80", value)], allow_private=False).found
    assert (one.country, one.region, one.source) == ("CN", "中国 广东", "freeProxy01/freeProxy02")
    [one] = read_foreign([("8.8.8.8:80", '{"region": "", "source": 7}')], allow_private=False).found
    assert (one.country, one.region, one.source) == (None, None, None)


@pytest.mark.parametrize(
    ("name", "place"),
    [("8.8.8.8:80:80", "member '8.8.8.8:80:80'"), ("u:secret@x:y:z", "a member")],
)
def test_what_other_pools_should_not_hold_is_refused(name: str, place: str) -> None:
    [one] = read_foreign([(name, "{}")], allow_private=False).refused
    assert one.proxy == place
    assert "secret" not in one.reason


USER = {"username": "u", "password": "p"}
TABLE = "| IP | Port | User | Pass |\n|---|---|---|---|\n| 8.8.8.8 | 80 | u | p |"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("gw.example.com:8000:user:pass", ["user:pass@gw.example.com:8000"]),
        ("user:pass:gw.example.com:8000", ["user:pass@gw.example.com:8000"]),
        ("8.8.8.8:80:user:p|a,b", ["user:p%7Ca%2Cb@8.8.8.8:80"]),
        ("8.8.8.8:80@user:12345", ["user:12345@8.8.8.8:80"]),
        ("8.8.8.8:80##user:pass", ["user:pass@8.8.8.8:80"]),
        ("SOCKS5 8.8.8.8:80", ["socks5://8.8.8.8:80"]),
        ("SOCKS5 proxies:\n8.8.8.8:80\nHTTP:\n8.8.4.4:80", ["socks5://8.8.8.8:80", "8.8.4.4:80"]),
        ("SOCKS5:\ngateway.example.com:80", ["socks5://gateway.example.com:80"]),
        ("SOCKS4/5\ngw:80:u:p", []),
        ("t.me/socks?server=8.8.8.8&port=80&user=u&pass=p", ["socks5://u:p@8.8.8.8:80"]),
        ("- {type: socks5, server: 8.8.8.8, port: 80, username: u, password: p}",
         ["socks5://u:p@8.8.8.8:80"]),
        ("ip;country;port\n8.8.8.8;DE;80", ["8.8.8.8:80"]),
        ("ip,port,user,pass\n8.8.8.8,80,u,p", ["u:p@8.8.8.8:80"]),
        (TABLE, ["u:p@8.8.8.8:80"]),
        (json.dumps({"proxies": ["8.8.8.8:80", "v@8.8.4.4:80"], **USER}),
         ["u:p@8.8.8.8:80", "v@8.8.4.4:80"]),
        (json.dumps({"proxies": [{"ip": "8.8.8.8", "port": 80}], "protocol": "socks5"}),
         ["socks5://8.8.8.8:80"]),
        (json.dumps({"proxies": ["8.8.8.8:80"], "protocol": "socks4"}), ["socks4://8.8.8.8:80"]),
        (json.dumps({"proxy": {"server": "8.8.8.8:80", **USER}}), ["u:p@8.8.8.8:80"]),
        (json.dumps({"id": "x", "proxy": "8.8.8.8:80", **USER}), ["u:p@8.8.8.8:80"]),
        (json.dumps({"socks5": ["8.8.8.8:80"]}), ["socks5://8.8.8.8:80"]),
        (f"{TLS}\nhttps://8.8.8.8:80:u:p", ["https://u:p@8.8.8.8:80"]),
        ('["gateway.example.com:80:u:p"]', ["u:p@gateway.example.com:80"]),
    ],
)  # fmt: skip
def test_credentials_and_schemes_are_kept_in_every_shape(body: str, expected: list[str]) -> None:
    assert members(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        "8.8.8.8:80 user s3cret",
        "8.8.8.8:80[user/s3cret]",
        "8.8.8.8:80 user s3cret Germany Berlin",
        "gw.example.com:80:my.user:12345",
        "gw.example.com,8000,user,s3cret",
        "gw.example.com\\user~s3cret:80",
        "8.8.8.8:99999@user:12345",
        "user_s3cret-8.8.8.8:80",
        "SOCKS 8.8.8.8:80",
        "vmess:\n8.8.8.8:80",
        "ip,port\n8.8.8.8,80,user,s3cret",
        "ip,port,user,pass\n8.8.8.8,80,,s3cret",
        "ip: 8.8.8.8 port: 80 password: s3cret",
        '["8.8.8.8:80", "user", "s3cret"]',
        '["gw.example.com:80:my.user:12345"]',
        '{"ip": "8.8.8.8", "port": 80, "password": "s3cret"}',
        '{"proxies": ["8.8.8.8:80"], "password": "s3cret"}',
        '{"id": 1, "proxy": "8.8.8.8:80", "password": "s3cret"}',
        "t.me/socks?server=8.8.8.8&port=80&pass=s3cret",
    ],
)
def test_a_refusal_shows_no_credentials_and_takes_no_proxy_without_them(body: str) -> None:
    assert members(body) == []
    told = refused(body)
    assert told
    assert not any(secret in str(told) for secret in ("s3cret", "12345"))


def test_of_an_array_all_that_can_be_taken_is_taken() -> None:
    body = '{"socks5": ["8.8.8.8:80 u s3cret", "8.8.4.4:80"]}'
    assert members(body) == ["socks5://8.8.4.4:80"]
    assert [place for place, _ in refused(body)] == ["item 1"]


def test_it_is_said_how_many_https_proxies_were_taken_as_such_that_tunnel() -> None:
    body = b"https://8.8.8.8:80\nhttps://x y\nhttp://8.8.4.4:80"
    assert read_given(body, allow_private=False).tunnels == 1
    assert read_given(b'["https://8.8.8.8:80"]', allow_private=False).tunnels == 0


# -- proxies written in random shapes that people use are read back ------------------------------

USERS = st.from_regex(r"[a-z][a-zA-Z0-9._-]{0,14}[a-z]", fullmatch=True)
PASSWORDS = st.from_regex(r"[a-zA-Z][a-z0-9!$%*+._~=?^-]{0,14}[a-z][0-9]", fullmatch=True)
HOSTS = st.one_of(
    st.sampled_from(["8.8.8.8", "1.1.1.1", "93.184.216.34", "203.0.114.7"]),
    st.sampled_from(["2606:4700::1", "2001:4860:4860::8888"]),
    st.sampled_from(["gw.example.com", "a-b.proxy.example.net"]),
)
SCHEMES = st.sampled_from(["http", "socks4", "socks5"])
PROXIES = st.builds(Proxy, SCHEMES, HOSTS, st.integers(1, 65535), USERS, PASSWORDS)


def as_playwright(proxy: Proxy) -> str:
    return json.dumps({"server": proxy.url, "username": proxy.username, "password": proxy.password})


def as_axios(proxy: Proxy) -> str:
    user = {"username": proxy.username, "password": proxy.password}
    inner = {"protocol": proxy.scheme, "host": proxy.host, "port": proxy.port, "auth": user}
    return json.dumps([{"proxy": inner}])


def as_group(proxy: Proxy) -> str:
    return json.dumps({proxy.scheme: [f"{proxy.username}:{proxy.password}@{proxy.authority}"]})


def as_url(proxy: Proxy) -> str:
    userinfo = f"{quote(proxy.username or '', safe='')}:{quote(proxy.password or '', safe='')}"
    return f"{proxy.scheme}://{userinfo}@{proxy.authority}"


def as_four(proxy: Proxy) -> str:
    return f"{proxy.scheme}://{proxy.authority}:{proxy.username}:{proxy.password}"


def as_turned(proxy: Proxy) -> str:
    return f"{proxy.scheme}://{proxy.username}:{proxy.password}:{proxy.authority}"


def as_clash(proxy: Proxy) -> str:
    return (
        f"proxies:\n  - name: a\n    type: {proxy.scheme}\n    server: {proxy.host}\n"
        f"    port: {proxy.port}\n    username: {proxy.username}\n    password: '{proxy.password}'"
    )


def as_telegram(proxy: Proxy) -> str:
    user, password = quote(proxy.username or "", safe=""), quote(proxy.password or "", safe="")
    host = quote(proxy.host, safe="")
    return f"tg://socks?server={host}&port={proxy.port}&user={user}&pass={password}"


SHAPES = [as_playwright, as_axios, as_group, as_url, as_four, as_turned, as_clash, as_telegram]


def read_both(body: str) -> tuple[list[Proxy], list[Proxy], str]:
    intake = read_given(body.encode(), allow_private=False)
    told = str(intake.refused)
    return [one.proxy for one in extract(body)], [one.proxy for one in intake.found], told


@given(PROXIES, st.sampled_from(SHAPES))
@settings(max_examples=300, deadline=None)
def test_what_says_all_is_read_back(proxy: Proxy, shape: object) -> None:
    assert callable(shape)
    if shape is as_telegram:
        proxy = Proxy("socks5", proxy.host, proxy.port, proxy.username, proxy.password)
    if shape is as_group:
        password = (proxy.password or "").replace("%", "")
        proxy = Proxy(proxy.scheme, proxy.host, proxy.port, proxy.username, password)
    _, taken, _ = read_both(shape(proxy))
    named = shape is as_group and proxy.host[0].isalpha()
    assert taken == [proxy] or (named and taken == [])


@given(
    PROXIES,
    st.permutations(["ip", "port", "protocol", "username", "password", "country"]),
    st.sampled_from(",;\t"),
)
@settings(max_examples=150, deadline=None)
def test_tables_are_read_back_whatever_the_order(
    proxy: Proxy, names: list[str], separator: str
) -> None:
    row = {"ip": proxy.host, "port": proxy.port, "protocol": proxy.scheme, "country": "DE"}
    row |= {"username": proxy.username or "", "password": proxy.password or ""}
    out = io.StringIO()
    table = csv.DictWriter(out, names, delimiter=separator, lineterminator="\n")
    table.writeheader()
    table.writerow(row)
    found, taken, _ = read_both(out.getvalue())
    assert (found, taken) == ([proxy], [proxy])


@given(
    PROXIES,
    st.sampled_from([":", "@", "#", "##", "|", ";", ",", " ", "\t", " | ", " (", "[", " -> ", "="]),
    st.sampled_from([":", "/", "@", "|", ";", ",", "=", " ", "\t", " / ", " : "]),
    st.booleans(),
)
@settings(max_examples=500, deadline=None)
def test_no_proxy_is_ever_taken_without_the_credentials_beside_it(
    proxy: Proxy, outer: str, inner: str, in_front: bool
) -> None:
    userinfo = f"{proxy.username}{inner}{proxy.password}"
    row = (
        f"{userinfo}{outer}{proxy.authority}" if in_front else f"{proxy.authority}{outer}{userinfo}"
    )
    found, taken, told = read_both(row)
    assert all(one.username is not None for one in (*found, *taken))
    assert str(proxy.password) not in told
