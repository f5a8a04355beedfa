"""Spellings of one program each."""

import pytest

from pool.sources.found import Found
from pool.sources.links import split_links
from pool.sources.text import UNCLEAR


# Links to proxies as Telegram documents them: core.telegram.org/api/links.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://t.me/socks?server=8.8.4.1&port=1080", ["socks5://8.8.4.1:1080"]),
        ("t.me/socks?port=1080&server=gw.example.com", ["socks5://gw.example.com:1080"]),
        ("https://telegram.me/socks?server=8.8.4.1&port=1", ["socks5://8.8.4.1:1"]),
        (
            "tg://socks?server=8.8.4.1&port=1080&user=u%40x&pass=p%3A",
            ["socks5://u%40x:p%3A@8.8.4.1:1080"],
        ),
        (
            '<a href="https://t.me/socks?server=8.8.4.1&amp;port=1080&amp;user=u&amp;pass=p">x</a>',
            ["socks5://u:p@8.8.4.1:1080"],
        ),
        ("https://t.me/proxy?server=8.8.4.1&port=443&secret=dd00", []),
        ("https://t.me/socks?server=8.8.4.1", []),
        ("https://t.me/socks?port=80", []),
        ("https://t.me/socks?" + "a=1&" * 30, []),
        # Chromium's `ProxyServer::FromPacString`.
        (
            'return "PROXY 8.8.4.1:80; HTTPS gw.example.com:443; SOCKS 8.8.4.2:1080; DIRECT";',
            ["8.8.4.1:80", "https://gw.example.com:443", "socks4://8.8.4.2:1080"],
        ),
        ("'SOCKS5 [2606:4700::1]:1080'", ["socks5://[2606:4700::1]:1080"]),
        ("'HTTP 8.8.4.1:80;SOCKS4 8.8.4.2:80'", ["8.8.4.1:80", "socks4://8.8.4.2:80"]),
        ("'QUIC 8.8.4.1:80'", []),
        ("8.8.4.1:80", []),
    ],
)
def test_links_and_answers_are_read(text: str, expected: list[str]) -> None:
    items, _ = split_links(text)
    assert [one.proxy.member for one in items if isinstance(one, Found)] == expected


def test_a_password_without_a_user_is_not_left_out() -> None:
    assert split_links("t.me/socks?server=8.8.4.1&port=80&pass=s3cret")[0] == [UNCLEAR]


def test_what_was_read_is_no_longer_in_the_text() -> None:
    text = "a t.me/proxy?server=8.8.4.1&port=80 b 'PROXY 8.8.4.2:80' c"
    assert split_links(text)[1] == "a   b ' ' c"
