"""A raw response head: status line and fields, parsed only when somebody asks.

A decision module. libcurl has checked the syntax; names come in any case and values as bytes.
"""

import re
from functools import lru_cache
from http import HTTPStatus
from typing import Final

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


def final_head(raw: bytes) -> bytes:
    """The last header block in what libcurl handed over: 1xx answers and trailers left out."""
    if raw.rfind(b"HTTP/") == 0 and raw.find(b"\r\n\r\n") in (-1, len(raw) - 4):
        return raw
    blocks = raw.replace(b"\r\n", b"\n").split(b"\n\n")
    heads = [block for block in blocks if block.startswith(b"HTTP/")]
    return heads[-1].replace(b"\n", b"\r\n") + b"\r\n\r\n" if heads else raw


def field(head: bytes, name: bytes) -> bytes | None:
    """The first value of field `name` (lower case, without colon), or None."""
    lowered = head.lower()
    at = lowered.find(b"\n" + name + b":")
    if at < 0:
        return None
    start = at + len(name) + 2
    end = head.find(b"\n", start)
    return head[start : end if end >= 0 else len(head)].strip()


def fields(head: bytes) -> list[tuple[str, str]]:
    """All fields in order, names spelled ``Http-Header-Case`` as pyspider does.

    Values are UTF-8 where they can be, else latin-1; folded lines are joined (RFC 9112 5.2).
    """
    return _unfold(_parse_lines(head))


def _unfold(pairs: list[tuple[str, str] | None]) -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    for pair in pairs:
        if pair is None:
            continue
        name, value = pair
        if name is not _FOLD:
            out.append(pair)
        elif out:  # else it is to be passed over (RFC 9112 2.2)
            out[-1] = (out[-1][0], f"{out[-1][1]} {value}")
    return out


def field_lines(head: bytes) -> list[bytes]:
    """The lines behind the status line, each with or without its CR."""
    lines = head.rstrip(b"\r\n").split(b"\n")
    del lines[0]
    return lines


def _parse_lines(head: bytes) -> list[tuple[str, str] | None]:
    # Servers say the same lines over and over: known ones cost 0.1 us instead of 1.
    parse = _known_field if len(head) <= SHORT_HEAD else _parse_field
    return list(map(parse, field_lines(head)))


def _parse_field(line: bytes) -> tuple[str, str] | None:
    """Name and value, `_FOLD` and the rest of a value, or None for what is no field."""
    line = line.rstrip(b"\r")
    if line[:1] in (b" ", b"\t"):
        return _FOLD, _text(line.strip())
    name, colon, value = line.partition(b":")
    if not colon:
        return None
    name = name.strip()
    spelled = _known_name(name) if len(name) <= SHORT_NAME else _spell(name)
    return spelled, _text(value.strip())


def _spell(name: bytes) -> str:
    return "-".join(word.capitalize() for word in _text(name).split("-"))


# A head may have thousands of lines, and then they are all of a few names.
_known_name: Final = lru_cache(maxsize=1024)(_spell)
SHORT_NAME: Final = 64  # bytes
_known_field: Final = lru_cache(maxsize=2048)(_parse_field)
_FOLD: Final = "\n"  # no field is called so
SHORT_HEAD: Final = 4096  # bytes; so 2,048 lines are 8 MB at the very most


def fields_dict(head: bytes) -> dict[str, str]:
    """Fields for a result: repeats joined by ``, ``, several Set-Cookie by newline."""
    pairs = _parse_lines(head)
    try:
        out = dict(pairs)  # type: ignore[arg-type]
        if len(out) == len(pairs) and _FOLD not in out:
            return out  # as nearly always; 1 us
    except TypeError:
        pass  # a line was no field
    values: dict[str, list[str]] = {}
    for name, value in _unfold(pairs):
        values.setdefault(name, []).append(value)
    return {
        name: ("\n" if name == "Set-Cookie" else ", ").join(several)
        for name, several in values.items()
    }


def reason(head: bytes, status: int) -> str:
    """The status line's reason phrase, or the standard one where there is none (HTTP/2)."""
    words = head.partition(b"\n")[0].strip().split(b" ", 2)
    if len(words) == 3 and words[2].strip():
        return _CONTROLS.sub(" ", _text(words[2].strip()))  # it is printed in logs and terminals
    return _PHRASES.get(status, "Unknown")


def _text(value: bytes) -> str:
    value = value.replace(b"\r", b" ")  # RFC 9112 2.2: what a bare CR must become
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
