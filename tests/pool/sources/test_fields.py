"""Entries whose parts stand apart."""

from typing import Any

import pytest

from pool.sources.fields import Fields, build_entry, read_port


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
        ({"host": "8.8.4.1", "port": 80, "username": "", "password": "p"}, ["8.8.4.1:80"]),
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
