"""The head of a rendered page, made of what its renderer tells of the answer's fields.

A decision module. What a reader is handed is no longer what came over the wire, so that what
described that is gone; and whatever stands in a name or a value, a line stays a line.
"""

import re
from collections.abc import Iterable
from typing import Final

from fetcher.head import reason

CONTENT_TYPE: Final = "text/html; charset=utf-8"
MAX_FIELDS: Final = 1_000
MAX_HEAD: Final = 262_144  # bytes, as of any other answer

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]+")
_OF_THE_WIRE: Final = frozenset(
    {
        "connection", "content-encoding", "content-length", "content-md5", "content-range",
        "content-type", "digest", "keep-alive", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip


def build_head(status: int, pairs: Iterable[tuple[str, str]]) -> bytes:
    """A raw header block that says what the page is now. A value of several lines, as browsers
    join fields of one name, is several fields; what is no field, or too much, is left out."""
    lines = [f"HTTP/1.1 {status} {reason(b'', status)}", f"Content-Type: {CONTENT_TYPE}"]
    size = sum(len(line) + 2 for line in lines) + 2
    for name, value in _single(pairs):
        if not _TOKEN.fullmatch(name) or name.lower() in _OF_THE_WIRE:
            continue
        line = f"{name}: {_CONTROLS.sub(' ', value).strip()}"
        size += len(line.encode("utf-8", "replace")) + 2
        if size > MAX_HEAD or len(lines) > MAX_FIELDS + 1:
            break
        lines.append(line)
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "replace")


def _single(pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    for name, value in pairs:
        for one in value.split("\n"):
            yield name, one
