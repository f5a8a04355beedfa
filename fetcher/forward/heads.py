"""What a client is told: heads of answers, what of the target's goes into them, and refusals.

A decision module. Fields of the target go back in order, spelling and repetition as they came;
what is each hop's own does not. Refusals say in RFC 9209's words what a program may ask, and in a
sentence what a person wants to know.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from fetcher.forward.model import Refused
from fetcher.head import SHORT_HEAD, field_lines
from fetcher.model import Attempt, Exit

NAME: Final = "fetchpool"  # of ourselves, in Proxy-Status and as the realm

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

# -- refusals -------------------------------------------------------------------------------------

_PHRASES: Final = {status.value: status.phrase.encode() for status in HTTPStatus}

_UNPRINTABLE: Final = re.compile(r"[^ -~]")


def build_refusal(
    refused: Refused, *, closes: bool, method: bytes = b"", keeps_old: bool = False
) -> bytes:
    """The whole answer to a request of `method`. `keeps_old`: the client speaks HTTP/1.0 and may
    go on."""
    lines = [refused.sentence]
    lines += [_show(attempt) for attempt in refused.attempts]
    text = "".join(f"{line}\n" for line in lines).encode("ascii", "replace")
    head = [
        b"HTTP/1.1 %d %b" % (refused.status, _PHRASES.get(refused.status, b"Error")),
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: %d" % len(text),
        b"Cache-Control: no-store",
        b"Proxy-Status: " + build_proxy_status(refused),
    ]
    if refused.retry_after is not None:
        head.append(b"Retry-After: %d" % refused.retry_after)
    if refused.status == 407:
        head.append(b'Proxy-Authenticate: Basic realm="%b", charset="UTF-8"' % NAME.encode())
    head += connection_lines(closes=closes, keeps_old=keeps_old)
    return b"\r\n".join((*head, b"", b"" if method == b"HEAD" else text))


def connection_lines(*, closes: bool, keeps_old: bool) -> Sequence[bytes]:
    """What is said of the connection's future, where that is not a matter of course."""
    if closes:
        return (b"Connection: close",)
    return (b"Connection: keep-alive",) if keeps_old else ()


def build_proxy_status(refused: Refused) -> bytes:
    """The value of RFC 9209's field, with a String of RFC 8941 3.3.3 for people."""
    words = _UNPRINTABLE.sub(" ", refused.sentence).replace("\\", "\\\\").replace('"', '\\"')
    return f'{NAME}; error={refused.error}; details="{words}"'.encode("ascii")


def _show(attempt: Attempt) -> str:
    way = attempt.proxy or "direct"
    return f"- {way}, {attempt.seconds:.3f} s: {_UNPRINTABLE.sub(' ', attempt.error or '')}"


# -- what is ours in a good answer ----------------------------------------------------------------


def build_grant(
    exit: Exit,
    moves: int,
    *,
    in_session: bool = False,
    debug: bool = False,
    request_id: str = "",
    attempts: int = 0,
) -> bytes:
    """The answer to a CONNECT whose tunnel stands."""
    words = build_debug(request_id, attempts, exit) if debug else None
    own = build_own_lines(exit, moves if in_session or moves else None, words)
    return b"HTTP/1.1 200 Connection established\r\n" + own + b"\r\n"


def build_own_lines(
    exit: Exit | None, moves: int | None = None, debug: bytes | None = None
) -> bytes:
    """Our fields, as lines. `moves` None: there is no session; `debug` as `build_debug` has it."""
    out = b""
    if exit is not None and exit.proxy is not None:
        out = _proxy_line(exit.proxy.url)
    if moves is not None:
        out += b"X-Fetch-Session-Moves: %d\r\n" % moves
    if debug is not None:
        out += b"X-Fetch-Debug: " + debug + b"\r\n"
    return out


def build_debug(
    request_id: str, attempts: int, exit: Exit | None, size: int | None = None
) -> bytes:
    """What who asks for `debug` is told, as far as it is known: 0 attempts are not. `size`: bytes
    of the body that is behind it."""
    proxy = exit.proxy if exit is not None else None
    words = {
        "id": request_id,
        "attempts": attempts,
        "exit": proxy.url if proxy is not None else "direct",
        "bytes": size,
    }
    known = (f"{word}={value}" for word, value in words.items() if value or word == "bytes")
    return "; ".join(item for item in known if not item.endswith("=None")).encode()


@lru_cache(maxsize=1024)
def _proxy_line(url: str) -> bytes:
    return b"X-Fetch-Proxy: " + url.encode() + b"\r\n"


# -- what of the target's goes back ---------------------------------------------------------------

# RFC 9110 7.6.1 and its older companions; a message's own framing is each hop's business.
HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_DROPPED: Final = HOP_BY_HOP | {b"content-length"}
_PREFIXES: Final = (b"proxy-", b"x-fetch-")

_TOKEN: Final = re.compile(rb"[!#-'*+\-.0-9A-Z^-z|~]+")
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")


class Returned:
    """The target's head as it goes back: the status line and end-to-end fields, as lines.

    `length`: its Content-Length, if that says how long the body is.
    """

    __slots__ = ("length", "lines")

    def __init__(self, lines: bytes, length: int | None) -> None:
        self.lines = lines
        self.length = length


def build_returned(head: bytes, status: int) -> Returned:
    """`head` is a raw block; RFC 9112 5.1 and 5.2 say what a proxy makes of blanks and folds."""
    if len(head) <= SHORT_HEAD:
        # Servers say the same lines over and over: known ones cost 0.1 us.
        known = list(map(_known_line, field_lines(head)))
        if _CAREFUL not in known:
            return _join(head, status, known)
    return _carefully(head, status)


def _join(head: bytes, status: int, lines: list[bytes]) -> Returned:
    kept, lengths = [_status_line(head[: head.find(b"\n")], status)], []
    is_chunked = False
    for line in lines:
        if line > _LAST_MARK:
            kept.append(line)
        elif line[:1] == _LENGTH:
            lengths.append(line)
        elif line == _CHUNKED:
            is_chunked = True
    length = int(lengths[0][1:]) if len(lengths) == 1 and not is_chunked else None
    return Returned(b"".join(kept), length)


# What `_read_line` says of a line that does not go back as it is. No field begins so.
_LENGTH: Final = b"\x00"  # with the digits behind it
_CHUNKED: Final = b"\x01"  # the body has a coding for the way, so Content-Length means nothing
_CAREFUL: Final = b"\x02"  # it says something of other lines
_LAST_MARK: Final = b"\x03"  # what is below means something, or is empty


def _carefully(head: bytes, status: int) -> Returned:
    """Lines that are folded, or whose Connection names others."""
    lines: list[bytes] = []
    for line in field_lines(head):
        if line[:1] in (b" ", b"\t") and lines:
            lines[-1] = lines[-1].rstrip(b"\r\n") + b" " + line.strip()
        else:
            lines.append(line)
    pairs = [line.partition(b":") for line in lines]
    listed = {
        word.strip().lower()
        for name, _, value in pairs
        if name.strip().lower() == b"connection"
        for word in value.split(b",")
    }
    kept = (line for line, pair in zip(lines, pairs, strict=True) if pair[0].lower() not in listed)
    return _join(head, status, [out for out in map(_read_line, kept) if out != _CAREFUL])


def _read_line(line: bytes) -> bytes:
    """What goes back of one line; nothing, or what it means, if it does not."""
    if line[:1] in (b" ", b"\t"):
        return _CAREFUL
    name, colon, value = line.partition(b":")
    name = name.rstrip(b" \t")
    lower = name.lower()
    value = _CONTROLS.sub(b" ", value).strip(b" \t")
    if not colon or not _TOKEN.fullmatch(name) or lower.startswith(_PREFIXES):
        return b""
    if lower == b"content-length":
        return _LENGTH + value if _DIGITS.fullmatch(value) else b""
    if lower == b"transfer-encoding":
        return _CHUNKED
    if lower == b"connection":
        listed = {word.strip().lower() for word in value.split(b",")}
        return b"" if listed <= HOP_BY_HOP | {b"close", b""} else _CAREFUL
    return b"" if lower in _DROPPED else name + b": " + value + b"\r\n"


_known_line: Final = lru_cache(maxsize=2048)(_read_line)


@lru_cache(maxsize=256)
def _status_line(line: bytes, status: int) -> bytes:
    words = line.strip().split(b" ", 2)
    phrase = _CONTROLS.sub(b" ", words[2]).strip() if len(words) == 3 else b""
    return b"HTTP/1.1 %d %b\r\n" % (status, phrase)
