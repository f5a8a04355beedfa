"""Entries whose parts stand apart."""

from typing import Any

import pytest

from fetcher.proxy import Proxy
from pool.sources.fields import (
    NONE,
    Credentials,
    Fields,
    build_entry,
    complete,
    first,
    is_field,
    plain,
    read_credentials,
    read_port,
)
from pool.sources.found import Found


def members(**fields: Any) -> list[str]:
    return [found.proxy.member for found in build_entry(Fields(**fields), "http")]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"host": "8.8.4.1", "port": 80}, ["8.8.4.1:80"]),
        ({"host": " 8.8.4.1 ", "port": " 80 "}, ["8.8.4.1:80"]),
        ({"host": "2606:4700:0::1", "port": 80}, ["[2606:4700::1]:80"]),
        ({"host": "[2606:4700::1]", "port": 80}, ["[2606:4700::1]:80"]),
        ({"host": "Proxy.example", "port": 80}, ["proxy.example:80"]),
        ({"host": "8.8.4.1:80"}, ["8.8.4.1:80"]),
        ({"host": "8.8.4.1:80", "port": "80"}, ["8.8.4.1:80"]),
        ({"host": "socks5://8.8.4.1:80"}, ["socks5://8.8.4.1:80"]),
        ({"host": "8.8.4.1:80", "scheme": "socks4,socks5"}, ["socks4://8.8.4.1:80", "socks5://8.8.4.1:80"]),
        ({"host": "8.8.4.1", "port": 80, "scheme": ["http", "socks5"]}, ["8.8.4.1:80", "socks5://8.8.4.1:80"]),
        ({"host": "8.8.4.1", "port": 80, "username": "u", "password": "p"}, ["u:p@8.8.4.1:80"]),
        ({"host": "8.8.4.1", "port": 80, "username": "u"}, ["u@8.8.4.1:80"]),
        ({"host": "8.8.4.1", "port": 80, "username": "", "password": "p"}, []),
        ({"host": "8.8.4.1", "port": 80, "username": 1, "password": 2}, ["1:2@8.8.4.1:80"]),
        ({"host": "8.8.4.1", "port": 80, "unclear": True}, []),
        ({"host": "gw.example.com:80", "username": "u"}, ["u@gw.example.com:80"]),
        ({"host": "u:p@8.8.4.1:80", "username": "v", "password": "w"}, ["u:p@8.8.4.1:80"]),
        ({"host": "8.8.4.1:80 u s3cret"}, []),
        ({"host": "8.8.4.1", "port": 80, "scheme": "vmess"}, []),
        ({"host": "8.8.4.1:80", "port": 81}, []),
        ({"host": "8.8.4.1:80:80", "port": 80}, []),
        ({"host": "8.8.4.1"}, []),
        ({"host": "8.8.4.1", "port": 0}, []),
        ({"host": "8.8.4.1", "port": True}, []),
        ({"host": "8.8.4.300", "port": 80}, []),
        ({"host": "", "port": 80}, []),
        ({"host": None, "port": 80}, []),
        ({"host": 134743041, "port": 80}, []),
        ({"host": {"ip": "8.8.4.1"}, "port": 80}, []),
    ],
)  # fmt: skip
def test_entries_give_a_proxy_for_each_scheme(fields: Any, expected: list[str]) -> None:
    assert members(**fields) == expected


def test_claims_in_fields_go_before_those_beside_the_host() -> None:
    (beside,) = build_entry(Fields(host="8.8.4.1:80 US-H"), "http")
    assert (beside.country, beside.anonymity) == ("US", "elite")
    (field,) = build_entry(Fields(host="8.8.4.1:80#US", country="DE", anonymity="透明"), "http")
    assert (field.country, field.anonymity) == ("DE", "transparent")


@pytest.mark.parametrize(
    ("value", "port"),
    [
        (1, 1),
        (65535, 65535),
        ("80", 80),
        (" 80\n", 80),
        (0, None),
        (65536, None),
        ("65536", None),
        ("123456", None),
        ("-80", None),
        ("٨٠", None),
        ("80.0", None),
        ("", None),
        (80.0, None),
        (False, None),
        (None, None),
        ([80], None),
    ],
)
def test_a_port_is_a_number_or_its_digits(value: object, port: int | None) -> None:
    assert read_port(value) == port


UNCLEAR = Credentials(unclear=True)


# `server, username, password` are Playwright's, `host, port, auth: {username, password}` axios';
# Basic is RFC 7617. The others are keys that people's lists have.
@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, NONE),
        ({"ip": "x", "port": 1}, NONE),
        ({"username": "u", "password": "p"}, Credentials("u", "p")),
        ({"user": "u", "pass": "p"}, Credentials("u", "p")),
        ({"login": "u", "pwd": "p"}, Credentials("u", "p")),
        ({"proxy_user": "u", "proxy_pass": "p"}, Credentials("u", "p")),
        ({"proxyUsername": "u", "proxyPassword": 7}, Credentials("u", 7)),
        ({"u": "u", "p": "p"}, Credentials("u", "p")),
        ({"u": "u", "pw": "p"}, Credentials("u", "p")),
        ({"username": "u"}, Credentials("u")),
        ({"user": "u:p"}, Credentials("u", "p")),
        ({"password": "p"}, Credentials(None, "p", unclear=True)),
        ({"username": "", "password": None}, NONE),
        ({"auth": {"username": "u", "password": "p"}}, Credentials("u", "p")),
        ({"auth": {"type": "basic", "basic": {"user": "u", "pass": "p"}}}, Credentials("u", "p")),
        ({"auth": {"type": "none"}}, NONE),
        ({"login": {"user": "u", "password": "p"}}, Credentials("u", "p")),
        ({"login": "u"}, Credentials("u")),
        ({"auth": ["u", "p"]}, Credentials("u", "p")),
        ({"auth": ["u", None]}, Credentials("u", None, unclear=True)),
        ({"auth": ["u:p"]}, UNCLEAR),
        ({"auth": []}, NONE),
        ({"auth": "u:p:q"}, Credentials("u", "p:q")),
        ({"auth": ":p"}, UNCLEAR),
        ({"auth": "none"}, NONE),
        ({"auth": "u p"}, UNCLEAR),
        ({"auth": " "}, NONE),
        ({"auth": True}, NONE),
        ({"userpwd": "u:p"}, Credentials("u", "p")),
        ({"headers": {"Proxy-Authorization": "Basic dTpw"}}, Credentials("u", "p")),
        ({"headers": {"Authorization": "Bearer x"}}, NONE),
        ({"headers": []}, NONE),
        ({"Proxy-Authorization": "Basic dTpw"}, Credentials("u", "p")),
        ({"Proxy-Authorization": "Basic ?"}, UNCLEAR),
        ({"Proxy-Authorization": "Bearer x"}, NONE),
        ({"authorization": "u:p"}, Credentials("u", "p")),
    ],
)
def test_credentials_are_read_in_the_shapes_of_other_programs(
    keys: dict[str, object], expected: Credentials
) -> None:
    assert read_credentials({plain(key): value for key, value in keys.items()}) == expected
    assert bool(expected) is (expected != NONE)


def test_credentials_that_stand_beside_a_proxy_complete_it() -> None:
    found = Found(Proxy("http", "8.8.4.1", 80), "US")
    completed = complete(found, Credentials("u", "p"))
    assert completed == Found(Proxy("http", "8.8.4.1", 80, "u", "p"), "US")
    assert complete(found, UNCLEAR) is None
    assert complete(found, Credentials(None, "p")) is None


@pytest.mark.parametrize(
    ("name", "is_known"),
    [
        ("port", True),
        ("username", True),
        ("pass", True),
        ("proxypwd", True),
        ("auth", True),
        ("u", False),
    ],
)
def test_names_of_fields_are_known(name: str, is_known: bool) -> None:
    assert is_field(name) is is_known


def test_the_first_name_that_says_something_counts() -> None:
    assert first({"b": 2, "a": 1}, ("a", "b")) == 1
    assert first({"b": 2, "a": None}, ("a", "b")) == 2
    assert first({}, ("a", "b")) is None
