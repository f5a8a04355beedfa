"""Which names a transfer needs resolved before libcurl is asked, and how libcurl is told.

A decision module. libcurl resolves in 20 threads, where dead names make good ones wait; so it is
given addresses: of the target by CONNECT_TO (Host, SNI and certificates keep the name), of a proxy
in the proxy's URL.
"""

import re
from functools import lru_cache
from typing import Final

import msgspec

from fetcher.guard import literal_address
from fetcher.model import Exit
from fetcher.proxy import Proxy

# Enough for a URL that `fit_url` has passed.
_PLACE: Final = re.compile(
    r"(https?)://(?:[^/?#]*@)?(\[[^\]]*\]|[^:/?#]*)(?::([0-9]*))?", re.IGNORECASE
)

# These resolve the target themselves, so the address is ours to give; the others send the name.
RESOLVED_HERE: Final = ("socks4", "socks5")


class Names(msgspec.Struct, frozen=True):
    """The names to look up; None where there is none, or where libcurl or the proxy does it."""

    target: str | None = None
    proxy: str | None = None


class Found(msgspec.Struct, frozen=True):
    """The addresses to use instead of names."""

    target: str | None = None
    proxy: str | None = None


NOTHING: Final = Found()


def wanted_names(url: str, exit: Exit, *, judged: bool) -> Names:
    """What to look up. `judged`: the target's address must be known even through a proxy."""
    proxy = exit.proxy
    target = None
    if proxy is None or judged or proxy.scheme in RESOLVED_HERE:
        place = _PLACE.match(url)
        host = place[2] if place else ""
        target = host if _is_name(host) else None
    # The certificate of an https:// proxy is for its name.
    by_us = proxy is not None and proxy.scheme != "https" and _is_name(proxy.host)
    return Names(target, proxy.host if proxy is not None and by_us else None)


@lru_cache(maxsize=8192)
def _is_name(host: str) -> bool:
    if not host or host[0] == "[" or ":" in host:
        return False
    return literal_address(host) is None


def connect_to(url: str, address: str) -> str:
    """CONNECT_TO's ``HOST:PORT:ADDRESS:PORT``."""
    place = _PLACE.match(url)
    assert place is not None, "asked for a URL without a host"
    port = place[3] or ("443" if place[1].lower() == "https" else "80")
    return f"{place[2]}:{port}:{_bracketed(address)}:{port}"


def proxy_url(proxy: Proxy, address: str | None) -> str:
    """The proxy's URL, its name replaced by `address` if there is one."""
    if address is None:
        return proxy.url
    return f"{proxy.scheme}://{_bracketed(address)}:{proxy.port}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
