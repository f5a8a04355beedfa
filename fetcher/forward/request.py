"""What of a client's request goes up: where it leads, and which fields.

A decision module. Path and query go on as the client spelled them, byte for byte; what connects and
judges reads the normal form of the URL. End-to-end fields go on in order, spelling and repetition;
nothing is added, neither by us nor by libcurl.
"""

import re
from functools import lru_cache
from typing import Final

import msgspec

from fetcher.errors import TaskError
from fetcher.forward.heads import HOP_BY_HOP
from fetcher.forward.model import Authority, Refused
from fetcher.forward.reader import Fields, Head
from fetcher.forward.refusals import build_refused
from fetcher.urls import fit_url

_ABSOLUTE: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^#]*)(?:#.*)?")

_SCHEME_END: Final = len("http://")
_RESPELLED: Final = re.compile(r"%|\?\Z")  # libcurl makes %7e %7E, and leaves out an empty query

_DROPPED: Final = HOP_BY_HOP | {b"content-length", b"expect", b"host"}
_PREFIXES: Final = (b"proxy-", b"x-fetch-")

# What libcurl would say where nothing is said: a name alone keeps it from that.
_LIBCURLS: Final = (b"user-agent", b"accept", b"accept-encoding", b"content-type")
_SILENCED: Final = {name: name.title() + b":" for name in _LIBCURLS}
_NO_PROXY_CONNECTION: Final = b"Proxy-Connection:"

WHAT_THIS_IS: Final = "this port is a forward proxy"


class Asked(msgspec.Struct, frozen=True):
    """Where a request leads. `url` is fit; `target` is what the request line says of it, "" if that
    is the URL's own path and query, "*" for the server as a whole."""

    url: str
    target: str
    host: str  # IPv6 without brackets
    port: int

    @property
    def authority(self) -> Authority:
        return Authority(self.host, self.port)


def read_request(head: Head) -> Asked | Refused:
    """Where a request leads that is no CONNECT."""
    text = head.target.decode("ascii", "replace")
    match = _ABSOLUTE.fullmatch(text)
    if match is None:
        return _refuse(
            f"{WHAT_THIS_IS}: a whole URL was expected, as in `GET http://example.com/ HTTP/1.1`,"
            " and nothing was fetched; the HTTP API has a port of its own"
        )
    scheme, place, rest = match.groups()
    scheme = scheme.lower()
    if scheme in ("https", "wss"):
        return _refuse(f"{WHAT_THIS_IS}: {scheme}:// goes through it by CONNECT host:443")
    if scheme != "http" and not (scheme == "ws" and head.is_upgrade):
        return _refuse(f"{WHAT_THIS_IS}: http:// was expected, and CONNECT for all else")
    if not place:  # browsers would read on behind the third slash
        return _refuse("the target names no host")
    if "@" in place or "\\" in place:
        return _refuse("the target names a user or has a backslash in its host: host was expected")
    is_server = not rest and head.method == b"OPTIONS"  # RFC 9112 3.2.4
    target = rest if rest[:1] == "/" else f"/{rest}"
    try:
        url = fit_url(f"http://{place}{target}")
    except TaskError as error:
        return _refuse(str(error))
    start = url.index("/", _SCHEME_END)
    host, port = _split(url[_SCHEME_END:start])
    is_alike = url[start:] == target and not _RESPELLED.search(target)
    return Asked(url, "*" if is_server else "" if is_alike else target, host, port)


@lru_cache(maxsize=1024)
def _split(place: str) -> tuple[str, int]:
    """Host and port of a fit URL's authority, for a fifth of what `origin_of` costs."""
    host, colon, port = place.rpartition(":")
    if not colon or port[-1:] == "]":
        host, port = place, "80"
    return host.strip("[]"), int(port)


def _refuse(sentence: str) -> Refused:
    return build_refused(400, "http_request_error", sentence)


class Upward(msgspec.Struct, frozen=True):
    """What goes up of a head: `lines` for libcurl."""

    method: str
    lines: tuple[bytes, ...]


def read_fields(head: Head) -> Upward:
    """The end-to-end fields, and what keeps libcurl's own out."""
    known: Upward | None = head.notes.get("up")
    if known is not None:
        return known
    kept = _end_to_end(head.fields)
    lines = [name + b": " + value if value else name + b";" for name, value in kept]
    names = {name.lower() for name, _ in kept}
    lines += [line for name, line in _SILENCED.items() if name not in names]
    up = Upward(head.method.decode("ascii"), (*lines, _NO_PROXY_CONNECTION))
    head.notes["up"] = up
    return up


def _end_to_end(fields: Fields) -> list[tuple[bytes, bytes]]:
    listed = {
        word.strip(b" \t").lower()
        for name, value in fields
        if name.lower() == b"connection"
        for word in value.split(b",")
    }
    dropped = _DROPPED | listed
    return [
        (name, value)
        for name, value in fields
        if (lower := name.lower()) not in dropped and not lower.startswith(_PREFIXES)
    ]


def upgrade_flight(head: Head, asked: Asked) -> bytes:
    """The request of an Upgrade as its target gets it, through a tunnel; its body follows as it
    comes."""
    start = asked.url.index("/", _SCHEME_END)
    path, place = asked.target or asked.url[start:], asked.url[_SCHEME_END:start]
    lines = [
        head.method + b" " + path.encode("ascii") + b" HTTP/1.1",
        b"Host: " + place.encode("ascii"),
        *(name + b": " + value for name, value in _end_to_end(head.fields)),
        b"Connection: Upgrade",
        *(name + b": " + value for name, value in head.fields if name.lower() == b"upgrade"),
    ]
    if head.length is None:
        lines.append(b"Transfer-Encoding: chunked")
    elif head.length:
        lines.append(b"Content-Length: %d" % head.length)
    return b"\r\n".join((*lines, b"", b""))
