"""May this address be reached from this entrance, and how far is a redirect trusted?

The rules against server-side request forgery.

A decision module: no name is resolved here. `curl` asks `is_public` about the address that a
socket really has, at connect and again before each request on a reused connection.
"""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from fetcher.model import Trust
from fetcher.urls import origin_of

# Each of these carries an IPv4 address in its last 32 bits, and `ipaddress` calls most of them
# global: RFC 6052 (NAT64), RFC 4291 2.5.5.1 (compatible), RFC 2765 (translated).
_IPV4_AT_END: Final = tuple(
    IPv6Network(net) for net in ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")
)

# RFC 4291 2.4: all else is local (fec0::/10 too, which `is_global` lets through), multicast, or
# nobody's yet.
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_DOCUMENTATION: Final = IPv6Network("3fff::/20")  # RFC 9637, unknown to older Pythons

# Refused beside what `is_global` refuses: RFC 6890 (protocol assignments, two of them "global"),
# RFC 7526 (dead 6to4 relays), and the one cloud's metadata service that has a public address.
_REFUSED: Final = tuple(
    IPv4Network(net) for net in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")
)

_LOCAL_NAMES: Final = ("localhost", "metadata.google.internal", "instance-data")
_LOCAL_SUFFIXES: Final = (".localhost", ".local", ".internal", ".home.arpa")

_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")
_OCTET: Final = r"(?:[1-9]?[0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])"
_USUAL: Final = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")


@lru_cache(maxsize=8192)  # 1.9 us uncached
def is_public(address: str) -> bool:
    """Whether `address` (IPv4 or IPv6 text, a zone index allowed) lies on the public Internet.

    Loopback, private, shared (100.64/10), link-local (cloud metadata too), multicast, reserved
    and unspecified addresses are not, nor is anything that is not an address. IPv6 forms which
    carry an IPv4 address are judged by that one.
    """
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        inner = _embedded_ipv4(ip)
        if inner is None:
            return ip.is_global and ip in _GLOBAL_UNICAST and ip not in _DOCUMENTATION
        ip = inner
    return ip.is_global and not ip.is_multicast and not any(ip in net for net in _REFUSED)


def _embedded_ipv4(ip: IPv6Address) -> IPv4Address | None:
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip.teredo is not None:
        return ip.teredo[1]
    if any(ip in net for net in _IPV4_AT_END):
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return None


def literal_address(host: str) -> str | None:
    """The address that `host` spells, or None when it is a name.

    All spellings of inet_aton count, as libcurl and most proxies take them: ``2130706433``,
    ``0x7f.1`` and ``0177.0.0.1`` are all 127.0.0.1.
    """
    if _USUAL.fullmatch(host):
        return host  # 6 us less than to take it apart and put it together
    host = host.strip("[]")
    if ":" in host:
        return host
    parts = host.rstrip(".").split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    try:
        numbers = [_number(part) for part in parts]
    except ValueError:  # "09": a digit that octal does not have
        return None
    *leading, last = numbers
    if any(n > 255 for n in leading) or last >= 256 ** (5 - len(parts)):
        return None
    value = last
    for place, n in enumerate(leading):
        value += n << (24 - 8 * place)
    return str(IPv4Address(value))


def _number(text: str) -> int:
    if text[:2] in ("0x", "0X"):
        return int(text[2:] or "0", 16)
    return int(text, 8) if len(text) > 1 and text[0] == "0" else int(text)


def is_local_name(host: str) -> bool:
    """Whether a name can only mean something on the machine or network that resolves it."""
    host = host.rstrip(".").lower()
    return "." not in host or host in _LOCAL_NAMES or host.endswith(_LOCAL_SUFFIXES)


def refusal(host: str) -> str | None:
    """Why a guarded request may not name `host`, or None; all that can be told by its spelling.

    Used before a request goes to a proxy, which would resolve the name out of our sight; direct
    requests are judged by their socket's address besides.
    """
    address = literal_address(host)
    if address is not None:
        return None if is_public(address) else f"the address {address} is not public"
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        # "127.0.0.08", "1.2.3.4.5": each resolver reads them in its own way, and browsers refuse
        # them (URL Standard, "ends in a number").
        return f"{host} is neither an address nor a name"
    return f"the name {host} is local" if is_local_name(host) else None


def next_trust(
    trust: Trust, *, came_from: str, address: str | None, allow_private: bool | str
) -> Trust:
    """The trust of the next hop, after an answer from the URL `came_from`.

    An operator's task may name a private address; a public site may not send it there.

    `address` is the one its socket had, None through a proxy: then the spelling of the host
    decides, since only the proxy knows more. `allow_private` "all" trusts public sites too.
    """
    if trust is Trust.GUARDED or allow_private == "all":
        return trust
    was_public = is_public(address) if address else refusal(origin_of(came_from)[1]) is None
    return Trust.GUARDED if was_public else trust
