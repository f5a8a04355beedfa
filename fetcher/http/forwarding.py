"""What of a caller's request goes on to the target of `/fetch`, and what comes back.

A decision module. The caller is somebody's program, or a browser that shows the answer under our
origin; so secrets stay on their side, and what would act on our origin is taken out.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from fetcher.head import SHORT_HEAD, field_lines, fields

# RFC 9110 7.6.1 and its older companions; a message's own framing is each hop's business.
_HOP_BY_HOP: Final = frozenset(
    {
        "Close",  # no field: a word for Connection (RFC 9110 18.4)
        "Connection",
        "Keep-Alive",
        "Te",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
    }
)
_REQUEST_DROPPED: Final = _HOP_BY_HOP | {
    "Api-Key",
    "Content-Length",
    "Expect",
    "Forwarded",
    "Host",
    "Via",
    "X-Real-Ip",
}
_REQUEST_PREFIXES: Final = ("Proxy-", "X-Forwarded-", "X-Fetch-")
_FROM_BROWSERS: Final = frozenset({"Cookie", "Origin", "Referer"})

_RESPONSE_DROPPED: Final = _HOP_BY_HOP | {
    "Alt-Svc",
    "Clear-Site-Data",
    "Content-Length",
    "Content-Security-Policy",
    "Nel",
    "Refresh",
    "Report-To",
    "Service-Worker-Allowed",
    "Set-Cookie",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
}
_RESPONSE_PREFIXES: Final = ("Access-Control-", "Proxy-", "X-Fetch-")

CODED: Final = "Content-Encoding"

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_UNCLEAN: Final = re.compile(r"[\x00-\x1f\x7f]|^ | $")

# A page that we hand on must not become a page of ours.
# Ours has that name: by what the caller's request is known here.
_RENAMED: Final = {"X-Request-Id": "X-Fetch-Request-Id"}

SAFETY: Final = (("Content-Security-Policy", "sandbox"), ("X-Content-Type-Options", "nosniff"))


def forwarded_headers(pairs: Iterable[tuple[str, str]]) -> dict[str, bytes]:
    """The end-to-end fields of a caller's request, names spelled ``Http-Header-Case``.

    Values come as latin-1 text of the bytes received and go on as these bytes. Repeats are
    joined by ``, `` (RFC 9110 5.3), Cookie by ``; ``.
    """
    given: dict[str, str] = {}
    for name, value in pairs:
        joint = "; " if name == "Cookie" else ", "
        given[name] = f"{given[name]}{joint}{value}" if name in given else value
    listed = _listed(given.get("Connection", ""))
    browser = any(name.startswith("Sec-Fetch-") for name in given)
    return {
        name: value.encode("latin-1")
        for name, value in given.items()
        if name not in _REQUEST_DROPPED
        and name not in listed
        and not name.startswith(_REQUEST_PREFIXES)
        and not (browser and (name in _FROM_BROWSERS or name.startswith("Sec-")))
    }


def returned_headers(
    head: bytes, *, method: str, cookies: bool, undone: bool = False
) -> list[tuple[str, str]]:
    """The target's fields as they go back, in order; Set-Cookie under another name.

    Values are latin-1 text of the very bytes received, control characters as spaces (RFC 9110
    5.5). `cookies`: Set-Cookie as it is. `undone`: the body goes on without its coding, or would.
    Of a HEAD the Content-Length goes on, unless it is that of such a body.
    """
    if len(head) <= SHORT_HEAD and method != "HEAD":
        # Servers say the same lines over and over: known ones cost 0.1 us instead of 1.
        known = list(map(_return_line, field_lines(head)))
        if _CAREFUL not in known:
            pairs = [pair for pair in known if pair is not None]
            return [pair for pair in pairs if pair[0] != CODED] if undone else pairs
    pairs = _fields(head)
    dropped = _RESPONSE_DROPPED | _listed(",".join(v for name, v in pairs if name == "Connection"))
    if undone:
        dropped |= {CODED}
    elif method == "HEAD":
        dropped -= {"Content-Length"}
    out = []
    for name, value in pairs:
        if name == "Set-Cookie":
            out.append((name if cookies else "X-Fetch-Set-Cookie", _clean(value)))
        elif name in _RENAMED and name not in dropped:
            out.append((_RENAMED[name], _clean(value)))
        elif name not in dropped and _may_return(name):
            out.append((name, _clean(value)))
    return out


@lru_cache(maxsize=2048)
def _return_line(line: bytes) -> tuple[str, str] | None:
    """What goes back of one line, None for nothing; `_CAREFUL` where that is not for it to say."""
    if line[:1] in (b" ", b"\t"):
        return _CAREFUL
    for name, value in _fields(b"\n" + line):
        if name == "Set-Cookie" or (name == "Connection" and not _listed(value) <= _HOP_BY_HOP):
            return _CAREFUL
        if name not in _RESPONSE_DROPPED and _may_return(name):
            return _RENAMED.get(name, name), _clean(value)
    return None


_CAREFUL: Final = ("", "")


def _fields(head: bytes) -> list[tuple[str, str]]:
    # `fields` reads UTF-8: each byte becomes one character of it, so that none is lost.
    return fields(head.decode("latin-1").encode())


def _may_return(name: str) -> bool:
    return not name.startswith(_RESPONSE_PREFIXES) and _TOKEN.fullmatch(name) is not None


def inline_headers(content_type: str) -> list[tuple[str, str]]:
    """The fields of an answer that comes out of a data: URL."""
    return [("Content-Type", _clean(content_type.encode("ascii", "replace").decode()))]


def _listed(connection: str) -> set[str]:
    """The fields that a Connection field calls hop-by-hop."""
    return {_spell(name.strip()) for name in connection.split(",")}


def _spell(name: str) -> str:
    return "-".join(word.capitalize() for word in name.split("-"))


def _clean(value: str) -> str:
    return _CONTROLS.sub(" ", value).strip(" \t") if _UNCLEAN.search(value) else value


def encode_head(lines: Sequence[str]) -> bytes:
    """Lines as a head. Raises ValueError if one of them would be two."""
    text = "\r\n".join(lines)
    if not text.count("\r") == text.count("\n") == len(lines) - 1:
        raise ValueError("an answer has a line break within a field")
    return f"{text}\r\n\r\n".encode("latin-1")
