"""Which proxies may enter the pool.

A decision module: no name is resolved here, nothing is logged. Names rebind, so `guard` looks
at the address again at every connect.
"""

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final

import msgspec

from fetcher.errors import ProxyError
from fetcher.guard import is_local_name, is_public, literal_address
from fetcher.proxy import SCHEMES, Proxy, parse_proxy

# RFC 1929: SOCKS5 user names and passwords are counted by one byte. More than that through
# HTTP's Basic scheme is not known of any gateway.
MAX_CREDENTIAL: Final = 255

# RFC 1123 2.1; the last label begins with a letter, or the host would be a number (WHATWG URL,
# "ends in a number").
_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def admit(proxy: Proxy, *, allow_private: bool) -> str | None:
    """Why `proxy` may not enter the pool, or None.

    The same address has many spellings (``0177.0.0.1``, ``2130706433``, ``0:0::1``), which would
    be as many members of the pool and which resolvers do not agree upon: only the usual one is
    admitted (`canonical` gives it where it is beyond doubt). `allow_private` lets in addresses
    that are not public and names that only the local network knows. The reason never repeats
    credentials.
    """
    if proxy.scheme not in SCHEMES:
        return f"the scheme {proxy.scheme!r} is unknown: expected one of {', '.join(SCHEMES)}"
    if not 1 <= proxy.port <= 65535:
        return f"the port {proxy.port} is out of range: expected 1 to 65535"
    if proxy.noconnect:
        return "noconnect never applies to proxies of the pool"
    return _bad_credentials(proxy) or _bad_host(proxy.host, allow_private)


def read_member(member: str) -> Proxy | None:
    """The proxy that a member of the pool's sets means, whoever wrote it; None if it is none.

    Without a port it is none either: no default stands for what nobody meant to be a proxy.
    """
    try:
        return parse_proxy(member, port=0)
    except ProxyError:
        return None


def canonical(proxy: Proxy) -> Proxy:
    """`proxy` with its host in the one spelling that `admit` takes.

    Names become lower case without the root's dot, IPv6 addresses follow RFC 5952, and a mapped
    address (``::ffff:192.0.2.1``) becomes the IPv4 address it connects to. What is ambiguous
    stays as it is, for `admit` to refuse.
    """
    host = proxy.host.strip("[]").lower().removesuffix(".")
    if ":" in host:
        try:
            ip = IPv6Address(host)
        except AddressValueError:
            return proxy
        host = str(ip.ipv4_mapped or ip)
    return proxy if host == proxy.host else msgspec.structs.replace(proxy, host=host)


def refuse_own(proxy: Proxy) -> str | None:
    """Why nobody could use `proxy`, one of the operator's own, or None.

    What no list may bring in, he may: private addresses, names of containers (``squid_proxy``), and
    whatever a gateway takes as a password. The reason never repeats anything of it.
    """
    reason = _bad_credentials(proxy, MAX_CREDENTIAL if proxy.is_socks else None)
    if reason is not None:
        return reason
    host = canonical_own(proxy).host
    # Resolvers take underscores like any letter.
    if literal_address(host) is None and _NAME.fullmatch(host.replace("_", "x")) is None:
        return "its host is neither an address nor a name"
    return None


def canonical_own(proxy: Proxy) -> Proxy:
    """`proxy`, one of the operator's own, as the pool spells it: where he wrote an address in any
    of libcurl's ways (``127.1``), that is what he meant."""
    address = literal_address(proxy.host)
    return canonical(proxy if address is None else msgspec.structs.replace(proxy, host=address))


def _bad_credentials(proxy: Proxy, most: int | None = MAX_CREDENTIAL) -> str | None:
    """`most`: bytes of each; None for any number."""
    for part, text in (("user name", proxy.username), ("password", proxy.password)):
        if text is None:
            continue
        if _CONTROL.search(text):
            return f"the {part} holds a control character"
        if most is not None and len(text.encode(errors="replace")) > most:
            return f"the {part} is longer than {most} bytes"
    return None


def _bad_host(host: str, allow_private: bool) -> str | None:
    if ":" in host:
        return _bad_ipv6(host, allow_private)
    address = literal_address(host)
    if address is None:
        if _NAME.fullmatch(host) is None:
            return f"{host!r} is neither an address nor a name"
        local = not allow_private and is_local_name(host)
        return f"the name {host} is local" if local else None
    if address != host:
        return f"the address {host} is ambiguous: write {address}"
    return _not_public(address, allow_private)


def _bad_ipv6(host: str, allow_private: bool) -> str | None:
    try:
        ip = IPv6Address(host)
    except AddressValueError:
        return f"{host!r} is not an IPv6 address"
    if ip.scope_id is not None:
        return f"the address {host} means one link of this machine only"
    usual = str(ip.ipv4_mapped or ip)
    if usual != host:
        return f"the address {host} has a shorter spelling: write {usual}"
    return _not_public(host, allow_private)


def _not_public(address: str, allow_private: bool) -> str | None:
    if allow_private or is_public(address):
        return None
    return f"the address {address} is not public"
