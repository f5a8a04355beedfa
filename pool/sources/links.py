"""Proxies that are spelled for one program: Telegram's links, and the answers of PAC files.

A decision module: text in; out come its proxies, and the text without them.
"""

import re
from collections.abc import Callable
from html import unescape
from typing import Final
from urllib.parse import parse_qs

from pool.sources.fields import Fields, build_entry
from pool.sources.found import Found
from pool.sources.text import UNCLEAR, Unclear

# https://t.me/socks?server=192.0.2.1&port=1080&user=u&pass=p; /proxy is MTProto, which is not ours.
_TELEGRAM: Final = re.compile(
    r"(?:(?:t|telegram)\.(?:me|dog)/|tg:/{0,2})(socks|proxy)/?\?([^\s\"'<>|\\`\x1c-\x1f)]{1,2000}+)",
    re.IGNORECASE,
)

# Chromium's `ProxyServer::FromPacString`: HTTPS is TLS to the proxy, and SOCKS is SOCKS4.
_PAC: Final = re.compile(
    r"""(?<=[\"';]) \s{0,9} (PROXY|HTTPS?|SOCKS[45]?) [ \t]{1,9}
    ( \[[0-9A-Fa-f:.]{2,45}+\] | [A-Za-z0-9.-]{1,253}+ ) : ([0-9]{1,5}+) (?= \s{0,9} [;\"'])""",
    re.VERBOSE,
)
_PAC_SCHEMES: Final = {"PROXY": "http", "SOCKS": "socks4"}

Item = Found | Unclear


def split_links(text: str) -> tuple[list[Item], str]:
    """What such spellings name, and the text without them."""
    items: list[Item] = []
    if "://" in text or "?" in text:
        text = _TELEGRAM.sub(_collect(items, _read_telegram), text)
    if '"' in text or "'" in text:
        text = _PAC.sub(_collect(items, _read_pac), text)
    return items, text


def _collect(
    items: list[Item], read: Callable[[re.Match[str]], list[Item]]
) -> Callable[[re.Match[str]], str]:
    def take(match: re.Match[str]) -> str:
        items.extend(read(match))
        return " "

    return take


def _read_telegram(match: re.Match[str]) -> list[Item]:
    if match[1].lower() != "socks":
        return []
    try:
        said = parse_qs(unescape(match[2]), max_num_fields=20, strict_parsing=False)
    except ValueError:
        return []

    def read(name: str) -> str | None:
        return said[name][0] if name in said else None

    user, password = read("user"), read("pass")
    entry = Fields(host=read("server"), port=read("port"), username=user, password=password)
    if password and not user:
        return [UNCLEAR]
    return list(build_entry(entry, "socks5"))


def _read_pac(match: re.Match[str]) -> list[Item]:
    scheme = _PAC_SCHEMES.get(match[1], match[1].lower())
    return list(build_entry(Fields(host=match[2], port=match[3]), scheme))
