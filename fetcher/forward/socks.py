"""SOCKS 5 as a client speaks it to us: RFC 1928, of its commands CONNECT, and RFC 1929.

A decision module: bytes in, what is to be done out. `Handshake` is fed until it says `Connect` or
`Fail`, and answered when it says `Ask`::

    feed   -> Send | Ask | Connect | Fail, in order
    accept -> the same, behind an Ask whose user may come in
    deny   -> a Fail

What a client has sent behind his request is the first of his tunnel.
"""

import re
from collections.abc import Mapping
from ipaddress import AddressValueError, IPv6Address
from typing import Final

import msgspec

from fetcher.errors import TaskError
from fetcher.forward.model import Authority, Refused
from fetcher.forward.username import decode
from fetcher.urls import fit_url, origin_of

VERSION: Final = 5
# Bytes that are held while nobody has said yet whether the user may come in: a client who does not
# wait for our answers has his request and a first flight there.
MOST_HELD: Final = 32 * 1024

# Replies (RFC 1928 section 6).
SUCCEEDED: Final = 0x00
FAILED: Final = 0x01
NOT_ALLOWED: Final = 0x02
NETWORK_UNREACHABLE: Final = 0x03
HOST_UNREACHABLE: Final = 0x04
REFUSED: Final = 0x05
EXPIRED: Final = 0x06
NO_SUCH_COMMAND: Final = 0x07
NO_SUCH_ADDRESS: Final = 0x08

# RFC 9209's words; what is not here is told by the status, or has failed.
_BY_WORD: Final[Mapping[str, int]] = {
    "dns_timeout": HOST_UNREACHABLE,
    "dns_error": HOST_UNREACHABLE,
    "destination_not_found": HOST_UNREACHABLE,
    "destination_unavailable": HOST_UNREACHABLE,
    "destination_ip_prohibited": NOT_ALLOWED,
    "destination_ip_unroutable": NETWORK_UNREACHABLE,
    "connection_refused": REFUSED,
    "connection_timeout": EXPIRED,
    "connection_read_timeout": EXPIRED,
    "connection_write_timeout": EXPIRED,
    "http_response_timeout": EXPIRED,
    "http_request_denied": NOT_ALLOWED,
    "proxy_loop_detected": NOT_ALLOWED,
}
_BY_STATUS: Final[Mapping[int, int]] = {
    403: NOT_ALLOWED,
    407: NOT_ALLOWED,
    429: NOT_ALLOWED,
    504: EXPIRED,
}

_NO_METHOD: Final = b"\x05\xff"
_WRONG_USER: Final = b"\x01\x01"
_SOCKS4_REJECTED: Final = b"\x00\x5b" + bytes(6)
_PLAIN, _USER = 0x00, 0x02  # methods
_CONNECT: Final = 0x01
_COMMANDS: Final = {2: "BIND", 3: "UDP ASSOCIATE"}
_IPV4, _NAME, _IPV6 = 0x01, 0x03, 0x04

# What would end a host, or be taken out of it, when it stands in a URL.
_NO_HOST: Final = re.compile(r"[\x00-\x20\x7f/\\?#@:%\[\]]")


class Send(msgspec.Struct, frozen=True):
    """The client is to hear this, and goes on."""

    data: bytes


class Ask(msgspec.Struct, frozen=True):
    """May this user in? Nothing goes on until `accept` or `deny`."""

    user: str
    password: str


class Connect(msgspec.Struct, frozen=True):
    """The request, and what the client has sent behind it. `reply` is for who carries it out."""

    authority: Authority
    early: bytes = b""


class Fail(msgspec.Struct, frozen=True):
    """It is over: the client is to hear this, and is hung up on; why, for the log."""

    data: bytes
    reason: str


Action = Send | Ask | Connect | Fail


class Handshake:
    """One client's. `needs_key`: who does not say who he is does not come in.

    A client who offers to tell a user name is let: it may ask for something.
    """

    def __init__(self, needs_key: bool) -> None:
        self._needs_key = needs_key
        self._held = b""
        self._step = self._greet

    def feed(self, data: bytes) -> list[Action]:
        """What the client has sent now, in whatever pieces."""
        self._held += data
        actions: list[Action] = []
        while (action := self._step()) is not None:
            actions.append(action)
        return actions

    def accept(self) -> list[Action]:
        """The user that was asked about may come in. Nothing, if it is over meanwhile."""
        if self._step != self._wait:
            return []
        self._step = self._request
        return [Send(b"\x01\x00"), *self.feed(b"")]

    def deny(self, reason: str) -> list[Action]:
        """He may not."""
        return [self._fail(_WRONG_USER, reason)]

    def _fail(self, data: bytes, reason: str) -> Fail:
        self._step = self._end
        self._held = b""
        return Fail(data, reason)

    # -- the steps: each takes what it needs of what is held, or returns None and takes nothing ----

    def _greet(self) -> Action | None:
        held = self._held
        if held and held[0] != VERSION:
            answer = _SOCKS4_REJECTED if held[0] == 4 else b""
            return self._fail(answer, f"SOCKS 5 is spoken here, not version {held[0]}")
        if len(held) < 2 or len(held) < 2 + held[1]:
            return None
        methods, self._held = held[2 : 2 + held[1]], held[2 + held[1] :]
        if _USER in methods:
            self._step = self._authenticate
            return Send(bytes((VERSION, _USER)))
        if self._needs_key:
            return self._fail(_NO_METHOD, "the client offers no user and password")
        if _PLAIN not in methods:
            return self._fail(_NO_METHOD, "the client offers no method of ours: none, or password")
        self._step = self._request
        return Send(bytes((VERSION, _PLAIN)))

    def _authenticate(self) -> Action | None:
        held = self._held
        if held and held[0] != 1:
            return self._fail(_WRONG_USER, f"user and password have version 1, not {held[0]}")
        if len(held) < 2 or len(held) < 3 + held[1]:
            return None
        user_end = 2 + held[1]
        end = user_end + 1 + held[user_end]
        if len(held) < end:
            return None
        self._held = held[end:]
        self._step = self._wait
        return Ask(decode(held[2:user_end]), decode(held[user_end + 1 : end]))

    def _wait(self) -> Action | None:
        if len(self._held) > MOST_HELD:
            return self._fail(_WRONG_USER, f"more than {MOST_HELD} bytes before he may come in")
        return None

    def _request(self) -> Action | None:
        held = self._held
        if held and held[0] != VERSION:
            return self._fail(reply(FAILED), f"the request has version {held[0]}, not 5")
        if len(held) > 1 and held[1] != _CONNECT:
            command = _COMMANDS.get(held[1], f"command {held[1]}")
            return self._fail(reply(NO_SUCH_COMMAND), f"of SOCKS, CONNECT is done, not {command}")
        if len(held) < 5:
            return None
        kind = held[3]
        if kind == _NAME:
            start, size = 5, held[4]
        elif kind in (_IPV4, _IPV6):
            start, size = 4, 4 if kind == _IPV4 else 16
        else:
            return self._fail(reply(NO_SUCH_ADDRESS), f"addresses of type {kind} are unknown")
        end = start + size + 2
        if len(held) < end:
            return None
        host = _read_host(kind, held[start : end - 2])
        port = int.from_bytes(held[end - 2 : end])
        if host is None:
            return self._fail(reply(FAILED), "what shall be connected to is no host")
        if port == 0:
            return self._fail(reply(FAILED), "there is no port 0")
        self._step = self._end
        self._held = b""
        return Connect(Authority(host, port), held[end:])

    def _end(self) -> Action | None:
        self._held = b""
        return None


def _read_host(kind: int, text: bytes) -> str | None:
    """The host in its one spelling, IPv6 without brackets; None if it is none."""
    if kind == _IPV4:
        return ".".join(map(str, text))
    if kind == _IPV6:
        return _fit(f"[{IPv6Address(text)}]")
    try:
        name = text.decode()
    except UnicodeDecodeError:
        return None
    if ":" in name:  # some clients take all for names
        inner = name[1:-1] if name[0] == "[" and name[-1] == "]" else name
        try:
            return _fit(f"[{IPv6Address(inner)}]")
        except AddressValueError:
            return None
    return None if not name or _NO_HOST.search(name) else _fit(name)


def _fit(host: str) -> str | None:
    try:
        return origin_of(fit_url(f"http://{host}/"))[1]
    except TaskError:
        return None


def reply(code: int) -> bytes:
    """The answer to a request. The address from which we reach the target is nobody's business,
    and at the far side of a proxy of the pool anyway: RFC 1928 has room for one, so it is zero."""
    return bytes((VERSION, code, 0, _IPV4)) + bytes(6)


def code_of(refused: Refused) -> int:
    """The reply that says best why there is no tunnel."""
    return _BY_WORD.get(refused.error) or _BY_STATUS.get(refused.status, FAILED)
