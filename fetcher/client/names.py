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
_PLAIN: Final = re.compile(
    r"http://[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*(?::(?!80$)[1-9][0-9]*)?"
    r"|https://[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*(?::(?!443$)[1-9][0-9]*)?"
)
_LONGEST: Final = 300  # a name has at most 253 characters; longer beginnings are not kept

# These resolve the target themselves, so the address is ours to give; the others send the name.
RESOLVED_HERE: Final = ("socks4", "socks5")


class Names(msgspec.Struct, frozen=True):
    """The names to look up; None where there is none, or where libcurl or the proxy does it."""

    target: str | None = None
    proxy: str | None = None


class Lookups(msgspec.Struct, frozen=True):
    """The addresses to use instead of names."""

    target: str | None = None
    proxy: str | None = None


NO_LOOKUPS: Final = Lookups()
NO_NAMES: Final = Names()


class Destination(msgspec.Struct, frozen=True):
    """Where a URL leads: its host as written, and the names to look up for a direct request."""

    host: str
    port: str
    names: Names
    plain: bool = False  # libcurl spells it the same way


def wanted_names(place: Destination, exit: Exit, *, judged: bool) -> Names:
    """What to look up; `NO_NAMES` itself if nothing.

    `judged`: the target's address must be known even through a proxy.
    """
    proxy = exit.proxy
    if proxy is None:
        return place.names
    names = place.names if judged or proxy.scheme in RESOLVED_HERE else NO_NAMES
    if _is_name(proxy.host) and not is_left_to_libcurl(exit):
        names = Names(names.target, proxy.host)
    return names


def is_left_to_libcurl(exit: Exit) -> bool:
    """Whether libcurl looks a name up even so: that of an https:// proxy, as its certificate is
    for it."""
    proxy = exit.proxy
    return proxy is not None and proxy.scheme == "https" and _is_name(proxy.host)


def destination_of(url: str) -> Destination:
    """Where a URL leads that `fit_url` has passed; 0.3 us for a host that came lately."""
    end = url.find("/", 8)
    return _parse(url[:end]) if 0 < end < _LONGEST else _parse.__wrapped__(url)


@lru_cache(maxsize=8192)
def _parse(url: str) -> Destination:
    match = _PLACE.match(url)
    if match is None:
        return Destination("", "", NO_NAMES)
    port = match[3] or ("443" if match[1].lower() == "https" else "80")
    host = match[2]
    address = literal_address(host)
    return Destination(
        host,
        port,
        Names(host) if host and address is None else NO_NAMES,
        _PLAIN.fullmatch(url) is not None and address in (None, host),
    )


def is_spelled_alike(url: str, place: Destination) -> bool:
    """Whether libcurl names this URL just as it was given, so that it need not be asked.

    It removes userinfo, and reads addresses in odd spellings; what else it would change, `fit_url`
    has changed. False where in doubt. 0.1 us; to be told the URL costs 1 us.
    """
    return place.plain and "#" not in url


@lru_cache(maxsize=8192)
def _is_name(host: str) -> bool:
    if not host or host[0] == "[" or ":" in host:
        return False
    return literal_address(host) is None


def connect_to(url: str, address: str) -> str:
    """CONNECT_TO's ``HOST:PORT:ADDRESS:PORT``."""
    place = destination_of(url)
    assert place.host, "asked for a URL without a host"
    return f"{place.host}:{place.port}:{_bracketed(address)}:{place.port}"


def proxy_url(proxy: Proxy, address: str | None) -> str:
    """The proxy's URL, its name replaced by `address` if there is one."""
    if address is None:
        return proxy.url
    return f"{proxy.scheme}://{_bracketed(address)}:{proxy.port}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
