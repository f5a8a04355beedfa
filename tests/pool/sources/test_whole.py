"""Texts that are one proxy with its credentials, in every order that gateways export."""

import pytest

from pool.sources.text import UNCLEAR, Unclear
from pool.sources.whole import read_whole


def member(text: str, **options: str) -> str | None:
    found = read_whole(text, **options)
    if isinstance(found, Unclear):
        return "unclear"
    return found.member if found is not None else None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8.8.4.1:80:u:p", "u:p@8.8.4.1:80"),
        ("8.8.4.1:80:u:p|a,b;c#d@e:f", "u:p%7Ca%2Cb%3Bc%23d%40e%3Af@8.8.4.1:80"),
        ("u:p:8.8.4.1:80", "u:p@8.8.4.1:80"),
        ("u:p|q:r:8.8.4.1:80", "u:p%7Cq%3Ar@8.8.4.1:80"),
        ("u:1:8.8.4.1:80", "u:1@8.8.4.1:80"),
        ("[2606:4700::1]:80:u:p", "u:p@[2606:4700::1]:80"),
        ("u:p:[2606:4700::1]:80", "u:p@[2606:4700::1]:80"),
        ("8.8.4.1:80@u:12345", "u:12345@8.8.4.1:80"),
        ("u|v:p,q@8.8.4.1:80", "u%7Cv:p%2Cq@8.8.4.1:80"),
        ("u:8080:x@8.8.4.1:80", "u:8080%3Ax@8.8.4.1:80"),
        ("8.8.4.2:80@8.8.4.1:81", "8.8.4.2:80@8.8.4.1:81"),
        ("8.8.4.1:80@my.user:12345", "my.user:12345@8.8.4.1:80"),
        ("gw.example.com:80:u:p", "u:p@gw.example.com:80"),
        ("GW.Example.com:80:u:12345", "u:12345@gw.example.com:80"),
        ("u:p:gw.example.com:80", "u:p@gw.example.com:80"),
        ("gw.example.com:80@u:p", "u:p@gw.example.com:80"),
        ("gw.example.com:80@u:12345", "u:12345@gw.example.com:80"),
        ("gw.example.com:80@my.user:12345", "unclear"),
        ("gw.example.com:80:my.user:12345", "unclear"),
        ("u:p@gw.example.com:80/", "u:p@gw.example.com:80"),
        ("socks5://gw.example.com:80:u:p", "socks5://u:p@gw.example.com:80"),
        ("gateway:80:u:p", "u:p@gateway:80"),
        ("u:p:gateway:80", "u:p@gateway:80"),
        ("u:80:gateway:80", "unclear"),
        ("https://8.8.4.1:80:u:p", "u:p@8.8.4.1:80"),
        ("u:p@8.8.4.1:99999", "unclear"),
        ("8.8.4.1:80:80:80", None),
        ("8.8.4.1:80:8.8.4.2:80", None),
        ("8.8.4.1:80:u:p|US", None),
        ("8.8.4.1:80:u:p;socks5", None),
        ("8.8.4.1:80", None),
        ("8.8.4.1:80:u", None),
        ("vmess://8.8.4.1:80:u:p", None),
        ("8.8.4.1:80 u:p", None),
        ("8.8.4.1:80:u:p|ab", "u:p%7Cab@8.8.4.1:80"),
        ("8.8.4.1:80:u:1.2.3.4:81", "u:1.2.3.4%3A81@8.8.4.1:80"),
        ("gw.example.com:80:12:34", None),
        ("a:b:c:d", None),
        ("", None),
    ],
)
def test_every_order_is_read(text: str, expected: str | None) -> None:
    assert member(text) == expected


def test_the_caller_says_what_no_scheme_and_https_mean() -> None:
    assert member("8.8.4.1:80:u:p", scheme="socks5") == "socks5://u:p@8.8.4.1:80"
    assert member("https://8.8.4.1:80:u:p", https="https") == "https://u:p@8.8.4.1:80"
    assert read_whole("gw.example.com:80:my.user:1") == UNCLEAR
