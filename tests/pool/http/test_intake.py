import json
import re
from typing import Any

import pytest

from fetcher.proxy import parse_proxy
from pool.http import intake
from pool.http.intake import (
    LONGEST,
    SIGNS,
    TLS,
    IntakeError,
    Refused,
    read_foreign,
    read_given,
    read_spelled,
)
from pool.sources.found import Found


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
        ("8.8.8.8:80 u:p", []),
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
        ("8.8.8.8", [("line 1", "it names no port")]),
        ("# x\n8.8.8.8:80:80", [("line 2", r"cannot read the proxy '\*\*\*': .*")]),
        ("8.8.8.8:99999", [("line 1", "the port of '8.8.8.8:99999' is out of range: .*")]),
        ("10.0.0.1:80", [("http://10.0.0.1:80", "the address 10.0.0.1 is not public")]),
        ("u:secret@10.0.0.1:80", [("http://10.0.0.1:80", "the address 10.0.0.1 is not public")]),
        ("squid:3128", [("http://squid:3128", "the name squid is local")]),
        ('["8.8.8.8", 3, {"a": 1}]', [("item 1", "it names no port"), ("item 2", "expected a .*"),
                                      ("item 3", "there is no proxy in it")]),
        ("3", [("line 1", "it names no port")]),
        ("ip,port\n8.8.8.8,x\n", [("line 2", "there is no proxy in it")]),
        ("id,proxy\nab,cd\n", [("line 2", "it names no port")]),
        ("u:secret@x y:1", [("line 1", "cannot read the proxy '[^u]*': .*")]),
    ],
)  # fmt: skip
def test_for_each_that_is_not_taken_a_reason_is_given(
    body: str, expected: list[tuple[str, str]]
) -> None:
    given = refused(body)
    assert [place for place, _ in given] == [place for place, _ in expected]
    for (_, reason), (_, pattern) in zip(given, expected, strict=True):
        assert re.fullmatch(pattern, reason), reason
        assert "secret" not in reason


def test_private_addresses_are_taken_where_the_settings_allow_them() -> None:
    assert members("10.0.0.1:80", allow_private=True) == ["10.0.0.1:80"]


def test_what_a_list_claims_is_kept() -> None:
    body = json.dumps([{"id": "x", "proxy": "8.8.8.8:80", "country": "DE"}]).encode()
    assert read_given(body, allow_private=False).found == [Found(parse_proxy("8.8.8.8:80"), "DE")]


def test_texts_are_read_as_the_settings_spell_them() -> None:
    read = read_spelled(["https://8.8.8.8:80", " 8.8.8.8 "], allow_private=False)
    assert [one.proxy.member for one in read.found] == ["https://8.8.8.8:80"]
    assert read.refused == [Refused("item 2", "it names no port")]


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
    for given in (note, json.dumps([note])):
        intake_of = read_given(given.encode(), allow_private=False)
        assert [one.proxy.member for one in intake_of.found] == ["8.8.8.8:80"] * (more <= 0)
        assert len(intake_of.refused) == (more > 0)
        if more > 0:
            assert intake_of.refused[0].reason == f"it has more than {LONGEST} characters"


@pytest.mark.parametrize("depth", [10, 1000, 100_000])
def test_no_body_is_too_deep(depth: int) -> None:
    assert members("[" * depth + "]" * depth) == []


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
    assert read.found == [Found(parse_proxy(name), country)]


@pytest.mark.parametrize(
    ("name", "place"),
    [("8.8.8.8:80:80", "member '8.8.8.8:80:80'"), ("u:secret@x:y:z", "a member")],
)
def test_what_other_pools_should_not_hold_is_refused(name: str, place: str) -> None:
    [one] = read_foreign([(name, "{}")], allow_private=False).refused
    assert one.proxy == place
    assert "secret" not in one.reason
