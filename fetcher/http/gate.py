"""Who may talk to our HTTP entrances: Host, origin and key.

A decision module; the handlers ask it before anything else. It keeps web pages out: by a name
that they rebind to our address (Host), and by requests that a browser sends for them (Origin,
Sec-Fetch-Site).
"""

import hmac
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec

from fetcher.guard import literal_address

JSON: Final = "application/json"

# RFC 9110 7.2, of what may stand in it only that which names of machines have: a Host is shown to
# people, who copy it into their shells.
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[0-9a-z._-]+)(?::[0-9]{0,5})?", re.IGNORECASE)

# ProxyPool's two answers, its odd 400 and 403 included: its clients know them. Byte for byte what
# Flask's jsonify makes of them: no space after the colon, and a newline.
_NO_KEY: Final = '{"message":"Please provide an API key in header"}\n'
_BAD_KEY: Final = '{"message":"The provided API key is not valid"}\n'

# For clients to whom the API was named as their proxy.
NO_PROXY: Final = (
    "This port is no forward proxy: that is at forward.port, 5556 unless it is set otherwise, and"
    " /fetch?url=... fetches a page here."
)
_NO_HOST: Final = (
    "This request has no Host, and this service answers to its own names only: send the address"
    " that you connect to (Host: 127.0.0.1:5555), as all clients of HTTP/1.1 do.\n"
)
_CROSS_SITE: Final = (
    "The page of another site made a browser send this (Sec-Fetch-Site, Origin): refused, and no"
    " setting allows it. Type the address yourself, or ask without a browser.\n"
)


class Refusal(msgspec.Struct, frozen=True):
    status: int
    body: str
    content_type: str = "text/plain; charset=utf-8"
    retry_after: int | None = None  # seconds


class Limiter(Protocol):
    """Who knows how much each key has asked for of late."""

    def ask(self, key: str | None) -> Refusal | None:
        """One more request of the one who holds it (None: no key was asked for): count it, or say
        why it comes too soon."""


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """One entrance's rules. `keys` empty: none is asked for. `hosts`: names it answers to."""

    keys: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    wildcard: bool = False  # bound to all addresses: any literal one may be ours
    limiter: Limiter | None = None  # None: they may ask as often as they like
    names: Mapping[str, str] = {}  # key -> what it is called; one that has no name is ""


def refuse_host(
    gate: Gate, host: str, bound: Callable[[], str | None], *, is_absolute: bool = False
) -> Refusal | None:
    """421 unless `host` (the Host header) is localhost, one of ours, or an address we listen on.

    `bound` tells the address at our end of this connection, None if it is gone (a call into the
    kernel, 5 us). An empty Host names nobody. `is_absolute`: the request's target is a whole URL,
    as proxies are sent one, and `host` is of that.
    """
    name = _hostname(host)
    if name == "localhost" or name in gate.hosts:
        return None
    if literal_address(name) == name and (gate.wildcard or name == bound()):
        return None
    asked = f"the name {name}" if name else "a Host that is no name, with a port or without"
    words = f"does not answer to {asked}; whoever runs it adds its names to api.hosts."
    if is_absolute:
        words = f"{NO_PROXY} As an API it {words}"
    elif host:
        words = f"This service {words}"
    else:
        return Refusal(421, _NO_HOST)
    return Refusal(421, f"{words}\n")


def refuse_cross_site(gate: Gate, headers: Mapping[str, str]) -> Refusal | None:
    """403 for what another site's page makes a browser send."""
    if "Sec-Fetch-Site" not in headers and "Origin" not in headers:
        return None  # nearly all: to get what is not there costs Tornado an exception
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if site == "cross-site":
        return Refusal(403, _CROSS_SITE)
    # "null" is a sandboxed page, such as those `/fetch` hands on, or a file; a page of ours sends
    # it under a strict referrer policy, and then the browser says beside it that it is ours.
    if origin is None or (origin == "null" and site == "same-origin"):
        return None
    if _authority(origin) != headers.get("Host", "").lower():
        return Refusal(403, _CROSS_SITE)
    return None


def refuse_key(gate: Gate, headers: Mapping[str, str], *, bearer: bool) -> Refusal | None:
    """400 without a key, 403 with a wrong one. `bearer`: Authorization may carry it too."""
    if not gate.keys:
        return None
    given = _read_key(headers, bearer=bearer)
    if given is None:
        return Refusal(400, _NO_KEY, JSON)
    wire = given.encode("latin-1", "replace")  # the very bytes: Tornado reads fields as latin-1
    mine = [hmac.compare_digest(wire, key.encode()) for key in gate.keys]
    return None if any(mine) else Refusal(403, _BAD_KEY, JSON)


def refuse_haste(gate: Gate, headers: Mapping[str, str], *, bearer: bool) -> Refusal | None:
    """429 for one who has a key, if any is asked for, and asks too often. To be asked once for each
    request, as it counts them."""
    if gate.limiter is None:
        return None
    return gate.limiter.ask(_find_key(gate, headers, bearer=bearer))


def find_owner(gate: Gate, headers: Mapping[str, str], *, bearer: bool) -> str:
    """How the key is called of one who has been let in."""
    key = _find_key(gate, headers, bearer=bearer)
    return gate.names.get(key, "") if key is not None else ""


def _find_key(gate: Gate, headers: Mapping[str, str], *, bearer: bool) -> str | None:
    """The key that was given, if any is asked for."""
    given = _read_key(headers, bearer=bearer) if gate.keys else None
    return given.encode("latin-1", "replace").decode("utf-8", "replace") if given else None


def _read_key(headers: Mapping[str, str], *, bearer: bool) -> str | None:
    given = headers.get("API-KEY")
    if given is None and bearer:
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else None
    return given


@lru_cache(maxsize=256)
def _hostname(host: str) -> str:
    """In lower case and without the port; empty if it is none."""
    match = _HOST.fullmatch(host)
    return match[1].strip("[]").lower() if match else ""


def _authority(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
