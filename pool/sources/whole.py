"""A text that is nothing but one proxy with its credentials, in whichever order.

A decision module: here, unlike in a list, nothing else can be meant, so that passwords may hold any
sign and hosts may be names.
"""

import re
from typing import Final, NamedTuple

from fetcher.errors import ProxyError
from fetcher.proxy import Proxy, parse_proxy
from pool.sources.found import is_protocol, read_country, read_scheme
from pool.sources.text import UNCLEAR, Unclear

_SCHEME: Final = re.compile(r"(?:([A-Za-z0-9]{2,12})://)?(\S{1,2000}?)/?")
_ADDRESS: Final = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[[0-9A-Fa-f:.]{2,45}\]"
_NAME: Final = r"(?:[A-Za-z0-9_-]{1,63}\.){1,20}[A-Za-z][A-Za-z0-9-]{0,62}"
_LABEL: Final = r"[A-Za-z][A-Za-z0-9_-]{0,62}"
_PORT: Final = r"[1-9][0-9]{0,4}"

# A proxy's scheme or country behind a password.
_CLAIM: Final = re.compile(r"[|,;#]([^|,;#:@]{2,8})\Z")
_NUMERIC: Final = re.compile(r"[0-9.:]*")


class _Order(NamedTuple):
    front: re.Pattern[str]  # host:port:user:password
    back: re.Pattern[str]  # user:password:host:port
    swapped: re.Pattern[str]  # host:port@user:password
    usual: re.Pattern[str]  # user:password@host:port


def _compile(host: str) -> _Order:
    return _Order(
        re.compile(rf"({host}):({_PORT}):([^:]+):(.+)"),
        re.compile(rf"([^:]+):(.+):({host}):({_PORT})"),
        re.compile(rf"({host}):({_PORT})@([^:@]+):(.+)"),
        re.compile(rf".*@(?:{host}):{_PORT}"),
    )


_BY_ADDRESS: Final = _compile(_ADDRESS)
_BY_NAME: Final = _compile(_NAME)
_BY_LABEL: Final = _compile(_LABEL)


def read_whole(text: str, scheme: str = "http", *, https: str = "http") -> Proxy | Unclear | None:
    """None: it is nothing of that kind. `scheme` is that of one that names none; https:// means
    what it means in lists. `UNCLEAR`: it can be read in two ways."""
    match = _SCHEME.fullmatch(text)
    if match is None:
        return None
    named = read_scheme(match[1]) if match[1] else scheme
    if match[1] and match[1].lower() == "https":
        named = https
    rest = match[2]
    if named is None or rest.count(":") + rest.count("@") < 2:
        return None
    if claim := _CLAIM.search(rest):
        word = claim[1]
        if is_protocol(word) or (word.isupper() and read_country(word)):
            return None  # a row of a list
    for order in (_BY_ADDRESS, _BY_NAME, _BY_LABEL):
        if order is _BY_LABEL and (rest.count(":") != 3 or "@" in rest):
            break
        found = _read_order(order, rest, named)
        if found is not None:
            return found
    return None


def _read_order(order: _Order, rest: str, scheme: str) -> Proxy | Unclear | None:
    """Those in which the host is of one kind."""
    readings: list[Proxy] = []
    if (usual := order.usual.fullmatch(rest)) is not None:
        try:
            readings.append(parse_proxy(rest, scheme=scheme))
        except ProxyError:
            return UNCLEAR
    swapped = order.swapped.fullmatch(rest)
    if swapped is not None and not _is_numeric(swapped[3] + swapped[4]):
        readings.append(Proxy(scheme, _host(swapped[1]), int(swapped[2]), swapped[3], swapped[4]))
    front = order.front.fullmatch(rest)
    if front is not None and not _is_numeric(front[3] + front[4]):
        readings.append(Proxy(scheme, _host(front[1]), int(front[2]), front[3], front[4]))
    back = order.back.fullmatch(rest)
    if back is not None and usual is None and not _is_numeric(back[1] + back[2]):
        readings.append(Proxy(scheme, _host(back[3]), int(back[4]), back[1], back[2]))
    if len(readings) > 1 and order is _BY_ADDRESS:
        # What begins with an address and its port does not begin with a user.
        readings = [one for one in readings if not _is_address(one.username or "")][:1]
    if len(readings) > 1:
        return UNCLEAR
    return readings[0] if readings else None


def _host(text: str) -> str:
    return text.strip("[]").lower()


def _is_numeric(text: str) -> bool:
    return _NUMERIC.fullmatch(text) is not None


def _is_address(text: str) -> bool:
    return re.fullmatch(_ADDRESS, text) is not None
