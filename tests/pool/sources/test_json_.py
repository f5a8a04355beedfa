"""JSON bodies in the shapes that publishers use; the addresses are invented."""

import json
from typing import Any

import pytest

from fetcher.proxy import Proxy
from pool.source import Path
from pool.sources.found import Found, distinct
from pool.sources.json_ import LINES, decode, find_path, find_siblings, scan_siblings, split_flat
from pool.sources.text import UNCLEAR

ANSWER = tuple[str, str | None, str | None]


def by_path(document: Any, **path: str) -> list[ANSWER]:
    text = document if isinstance(document, str) else json.dumps(document)
    return [
        (one.proxy.member, one.country, one.anonymity)
        for one in distinct(find_path(text, Path(**path), "http"), 99)
    ]


def by_names(document: Any, scheme: str = "http") -> list[ANSWER]:
    return [
        (one.proxy.member, one.country, one.anonymity) for one in find_siblings(document, scheme)
    ]


MONOSANS = {
    "protocol": "socks4", "username": None, "password": None, "host": "8.8.4.1", "port": 7890,
    "exit_ip": "8.8.4.9", "asn": None,
    "geolocation": {"city": None, "country": {"iso_code": "RU", "names": {"en": "Russia"}},
                    "subdivisions": [{"iso_code": "MOW"}]},
}  # fmt: skip
FREEPROXY = {
    "updated_at": "2026-08-22 18:36:51 UTC", "count": 2,
    "data": [
        {"ip": "8.8.4.1", "port": 80, "protocol": "Http, Https", "country": "DE",
         "anonymity": "Elite", "speed": 130},
        {"ip": "8.8.4.2", "port": 1080, "protocol": "Http, Socks4", "country": "Unknown",
         "anonymity": "transparent", "speed": None},
    ],
}  # fmt: skip
FATE = {
    "anonymity": "high_anonymous", "host": "8.8.4.1", "port": 80, "type": "https",
    "country": "US", "export_address": ["8.8.4.5:42721", "8.8.4.6"],
}  # fmt: skip
GEONODE = {
    "data": [{"ip": "8.8.4.1", "port": "1080", "protocols": ["socks4", "socks5"],
              "anonymityLevel": "elite", "country": "BR"}],
}  # fmt: skip
PROXIFLY = [
    {"proxy": "socks5://8.8.4.1:1080", "protocol": "socks5", "ip": "8.8.4.1", "port": 1080,
     "anonymity": "elite", "geolocation": {"country": "ZZ"}},
]  # fmt: skip
PROXYSCRAPE = {
    "shown_records": 1,
    "proxies": [{"alive": True, "protocol": "http", "ip": "8.8.4.1", "port": 80,
                 "anonymity": "anonymous", "ip_data": {"countryCode": "FR", "as": "AS1"}}],
}  # fmt: skip
DOCIP = {"data": [{"ip": "8.8.4.1:80", "addr": "中国"}, {"ip": "8.8.4.2:80:80", "addr": ""}]}
LISTER = {
    "results": [{"ip_address": "8.8.4.1", "port": 80, "protocols": ["http"],
                 "location": {"country_code": "PE"}}],
}  # fmt: skip
SCDN = {"code": 200, "data": {"proxies": ["8.8.4.1:80", "8.8.4.2:81"], "count": 2}}

SHAPES = [
    (
        [MONOSANS],
        {
            "host": "host",
            "port": "port",
            "scheme": "protocol",
            "country": "geolocation.country.iso_code",
        },
        [("socks4://8.8.4.1:7890", "RU", None)],
    ),
    (
        FREEPROXY,
        {
            "items": "data",
            "port": "port",
            "scheme": "protocol",
            "country": "country",
            "anonymity": "anonymity",
        },
        [
            ("8.8.4.1:80", "DE", "elite"),
            ("8.8.4.2:1080", None, "transparent"),
            ("socks4://8.8.4.2:1080", None, "transparent"),
        ],
    ),
    (
        FATE,
        {
            "host": "host",
            "port": "port",
            "scheme": "type",
            "country": "country",
            "anonymity": "anonymity",
        },
        [("8.8.4.1:80", "US", "elite")],
    ),
    (
        GEONODE,
        {
            "items": "data",
            "port": "port",
            "scheme": "protocols",
            "country": "country",
            "anonymity": "anonymityLevel",
        },
        [("socks4://8.8.4.1:1080", "BR", "elite"), ("socks5://8.8.4.1:1080", "BR", "elite")],
    ),
    (PROXIFLY, {"host": "proxy"}, [("socks5://8.8.4.1:1080", None, None)]),
    (
        PROXYSCRAPE,
        {
            "items": "proxies",
            "port": "port",
            "country": "ip_data.countryCode",
            "anonymity": "anonymity",
        },
        [("8.8.4.1:80", "FR", "anonymous")],
    ),
    (DOCIP, {"items": "data"}, [("8.8.4.1:80", None, None)]),
    (
        LISTER,
        {
            "items": "results",
            "host": "ip_address",
            "port": "port",
            "country": "location.country_code",
        },
        [("8.8.4.1:80", "PE", None)],
    ),
    (SCDN, {"items": "data.proxies"}, [("8.8.4.1:80", None, None), ("8.8.4.2:81", None, None)]),
]


@pytest.mark.parametrize(("document", "path", "expected"), SHAPES)
def test_paths_lead_to_the_proxies(
    document: Any, path: dict[str, str], expected: list[ANSWER]
) -> None:
    assert by_path(document, **path) == expected


@pytest.mark.parametrize(
    ("document", "expected"),
    [(document, expected) for document, _, expected in SHAPES if document is not PROXIFLY]
    + [
        (PROXIFLY, [("socks5://8.8.4.1:1080", None, "elite")]),
        ([{"addr": "8.8.4.1", "port": 80, "country_code": "US"}], [("8.8.4.1:80", "US", None)]),
        ([{"proxy": "socks4://8.8.4.1:80"}], [("socks4://8.8.4.1:80", None, None)]),
        ([{"proxy": "8.8.4.1", "port": "80"}], [("8.8.4.1:80", None, None)]),
        (
            {"ip": "8.8.4.1", "port": 80, "username": "u", "password": "p"},
            [("u:p@8.8.4.1:80", None, None)],
        ),
        ({"ip": "8.8.4.1", "port": 80, "type": "residential"}, [("8.8.4.1:80", None, None)]),
        (
            {"server": "8.8.4.1:80", "list": [{"ip": "8.8.4.2", "port": 80}]},
            [("8.8.4.1:80", None, None), ("8.8.4.2:80", None, None)],
        ),
        (
            {"table_html": "8.8.4.1:80\n8.8.4.2:81"},
            [("8.8.4.1:80", None, None), ("8.8.4.2:81", None, None)],
        ),
        ({"ip": "8.8.4.1", "port": 80, "protocol": "vmess"}, []),
        ({"ip": "8.8.4.1", "port": 0}, []),
        ({"ip": ["8.8.4.1"], "port": {"port": 80}}, []),
        (["8.8.4.1", 80, None, True], [("8.8.4.1:80", None, None)]),
    ],
)  # fmt: skip
def test_siblings_are_found_by_their_names(document: Any, expected: list[ANSWER]) -> None:
    assert by_names(document) == expected


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ("", {}),
        ("nonsense", {}),
        ("[", {}),
        ('{"data": [{"ip": "8.8.4.1", "port": 80}', {"items": "data", "port": "port"}),
        ({"data": None}, {"items": "data"}),
        ({"data": "x"}, {"items": "data"}),
        ({"data": 7}, {"items": "data"}),
        ({"data": {"a": 1}}, {"items": "data.b.c"}),
        ({"data": [1]}, {"items": "data.1"}),
        ([{"ip": "8.8.4.1", "port": None}, None, 7, []], {"port": "port"}),
        ([{"ip": {"v4": "8.8.4.1"}, "port": 80}], {"port": "port"}),
    ],
)
def test_paths_that_lead_nowhere_give_nothing(document: Any, path: dict[str, str]) -> None:
    assert by_path(document, **path) == []


def test_a_path_may_go_through_an_array_by_number() -> None:
    assert by_path([0, {"a": [{"ip": "8.8.4.1:80"}]}], items="1.a") == [("8.8.4.1:80", None, None)]


def test_lines_of_json_are_documents_even_if_one_is_broken() -> None:
    lines = [json.dumps({"ip": f"8.8.4.{n}", "port": 80, "geo": {"x": n}}) for n in range(3)]
    text = "\n" + lines[0] + "\n\n" + lines[1] + "\n" + lines[2][:-9]
    assert [member for member, _, _ in by_path(text, port="port")] == ["8.8.4.0:80", "8.8.4.1:80"]


@pytest.mark.parametrize("before", [LINES - 2, LINES - 1, LINES, LINES + 1])
def test_lines_behind_the_limit_are_not_read(before: int) -> None:
    text = '{"a": 1}\n' + "{\n" * (before - 1) + '{"ip": "8.8.4.1:80"}'
    assert len(decode(text)) == 1 + (before < LINES)


@pytest.mark.parametrize(
    "text",
    ["", "x", "[2606:4700::1]:80", "{", "{\n}x", '{"a": 1', "[" * 100_000, '{"a":' * 100_000],
)
def test_what_is_no_json_is_no_document(text: str) -> None:
    assert decode(text) == []


def test_nesting_as_deep_as_json_goes_is_walked() -> None:
    document: Any = {"ip": "8.8.4.1", "port": 80}
    for _ in range(50_000):
        document = [document]
    assert by_names(document) == [("8.8.4.1:80", None, None)]


def test_flat_objects_are_taken_out_of_a_script() -> None:
    text = (
        'function f() { return "8.8.4.9:90"; } const fpsList = [{"ip": "8.8.4.1", "port": "80",'
        ' "protocol": "socks5"}, {"other": "8.8.4.2"}, {"ip": "8.8.4.3", "port":'
    )
    found, rest = split_flat(text, "http")
    assert found == [Found(Proxy("socks5", "8.8.4.1", 80))]
    assert "8.8.4.1" not in rest
    assert "8.8.4.2" in rest
    assert "8.8.4.3" in rest
    assert "8.8.4.9:90" in rest


AXIOS = {"protocol": "http", "host": "8.8.4.1", "port": 80}
USER = {"username": "u", "password": "p"}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        # Playwright, axios, Scrapy, requests, Puppeteer.
        ({"server": "http://8.8.4.1:80", **USER}, ["u:p@8.8.4.1:80"]),
        ({"proxy": {"server": "8.8.4.1:80", **USER}}, ["u:p@8.8.4.1:80"]),
        ({**AXIOS, "auth": USER}, ["u:p@8.8.4.1:80"]),
        ({"proxy": AXIOS, "auth": USER}, ["u:p@8.8.4.1:80"]),
        ({**AXIOS, "extra": USER}, ["u:p@8.8.4.1:80"]),
        (
            {"meta": {"proxy": "8.8.4.1:80"}, "headers": {"Proxy-Authorization": "Basic dTpw"}},
            ["u:p@8.8.4.1:80"],
        ),
        ({"http": "http://u:p@8.8.4.1:80"}, ["u:p@8.8.4.1:80"]),
        (
            {"args": ["--proxy-server=8.8.4.1:80"], "authenticate": USER},
            ["u:p@8.8.4.1:80"],
        ),
        # What a group says holds for all in it that say nothing.
        ({"proxies": ["8.8.4.1:80", "v@8.8.4.2:80"], **USER}, ["u:p@8.8.4.1:80", "v@8.8.4.2:80"]),
        ({"proxies": ["8.8.4.1:80"], "password": "s3cret"}, ["unclear"]),
        ({"socks5": ["8.8.4.1:80"], "http": ["8.8.4.2:80"]}, ["socks5://8.8.4.1:80", "8.8.4.2:80"]),
        ({"socks4_proxies": {"US": ["8.8.4.1:80"]}}, ["socks4://8.8.4.1:80"]),
        ({"type": "socks5", "list": ["8.8.4.1:80"]}, ["socks5://8.8.4.1:80"]),
        ({"vmess": ["8.8.4.1:80"]}, []),
        # Rows.
        ([["8.8.4.1", 80, "socks5"]], ["socks5://8.8.4.1:80"]),
        ([["8.8.4.1", 80, "u", "s3cret"]], ["unclear"]),
        ([["8.8.4.1:80", "u:p"]], ["u:p@8.8.4.1:80"]),
        ([["a", "b"], ["8.8.4.1:80", ["8.8.4.2:80"]]], ["8.8.4.1:80", "8.8.4.2:80"]),
        ({**AXIOS, "password": "s3cret"}, ["unclear"]),
        ({**AXIOS, "auth": "u s3cret"}, ["unclear"]),
        ({**AXIOS, "protocol": "vmess"}, []),
        (["8.8.4.1:80 u s3cret"], ["unclear"]),
    ],
)  # fmt: skip
def test_credentials_and_schemes_come_from_wherever_they_stand(
    document: Any, expected: list[str]
) -> None:
    assert [
        one.proxy.member if isinstance(one, Found) else "unclear"
        for one in scan_siblings(document, "http")
    ] == expected


def test_a_path_leads_to_no_proxy_without_its_credentials() -> None:
    assert by_path([{**AXIOS, **USER}], host="host", port="port")[0][0] == "u:p@8.8.4.1:80"
    assert by_path([{**AXIOS, "password": "p"}], host="host", port="port") == []


@pytest.mark.parametrize(
    ("around", "is_taken"),
    [
        ('{"proxy": %s, "auth": ["u", "p"]}', False),
        ('{"auth": ["u", "p"], "proxy": %s}', False),
        ('[%s, {"ip": "8.8.4.2", "username": "u"}]', True),
        ('[{"username": "u"}, %s]', True),
        ("[%s]", True),
    ],
)
def test_a_flat_object_is_not_taken_without_what_stands_around_it(
    around: str, is_taken: bool
) -> None:
    found, _ = split_flat("x = " + around % json.dumps(AXIOS), "http")
    assert (found == [UNCLEAR]) is not is_taken
