"""Heads of requests and answers as a WARC file holds them, and back.

A decision module. What is stored differs from what came where it would mislead a reader; `Extra`
says how, so that pages can be had again:

- Without its transfer coding a body has another length: Transfer-Encoding is left out, and
  Content-Length is true (IIPC's warc-specifications, issue 22). Content codings stay.
- HTTP/2 and 3 have no text form; what readers know is ``HTTP/1.1 200 OK``.
- Folded lines are joined (RFC 9112 5.2) and those without a colon are gone: some readers take them
  for other fields, or for the end of the head.
- Credentials of the request are left out.
"""

from typing import Final

import msgspec

from fetcher.head import field_lines, reason

_FRAMING: Final = (b"content-length", b"transfer-encoding")
_SECRET: Final = (b"authorization", b"proxy-authorization")


class Extra(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a page is beside its records, as JSON in X-Fetchpool-Page."""

    first: str = ""
    time: float = 0.0
    attempts: int = 1
    proxy: str | None = None
    cookies: dict[str, str] = {}
    error: str | None = None
    undone: bool = False
    encoding: str = "utf-8"
    title: str = ""
    links: int = 0
    is_new: bool = True
    status: str = ""  # the status line, where another one is stored
    left_out: list[tuple[int, str]] = []  # lines of the head, by their numbers among all that came
    is_length_added: bool = False  # the last line of the head


def fit_request(request: bytes) -> bytes:
    """A request's head as it is stored: what HTTP/1.1 would say, no credentials."""
    first = request.partition(b"\n")[0].rstrip(b"\r")
    method, _, rest = first.partition(b" ")
    target, blank, version = rest.rpartition(b" ")
    if blank and version.startswith((b"HTTP/2", b"HTTP/3")):
        first = b" ".join((method, target, b"HTTP/1.1"))
    lines = [line for line in _joined(request) if _name(line) not in _SECRET]
    return b"\r\n".join((first, *lines, b"", b""))


def fit_head(head: bytes, status: int, length: int) -> tuple[bytes, Extra]:
    """An answer's head as it is stored over a body of `length` bytes, and what was changed."""
    extra = Extra()
    first = head.partition(b"\n")[0].rstrip(b"\r")
    version, _, rest = first.partition(b" ")
    is_plain = version in (b"HTTP/1.1", b"HTTP/1.0") and b"\r" not in first
    if not is_plain or not rest.startswith(b"%d " % status):
        extra.status = first.decode("latin-1")
        first = f"HTTP/1.1 {status} {reason(head, status)}".encode()
    lines, true_length, has_length = [first], b"%d" % length, False
    for number, line in enumerate(_joined(head)):
        if line[:17].lower().startswith(_FRAMING):
            name, _, value = line.lower().partition(b":")
            is_length = name.strip() == b"content-length"
            if is_length and value.strip() == true_length and not has_length:
                has_length = True
            elif is_length or name.strip() == b"transfer-encoding":
                extra.left_out.append((number, line.decode("latin-1")))
                continue
        lines.append(line)
    if not has_length:
        extra.is_length_added = True
        lines.append(b"Content-Length: " + true_length)
    return b"\r\n".join((*lines, b"", b"")), extra


def restore_head(head: bytes, extra: Extra) -> bytes:
    """The head that came, out of the one that is stored; lines that were joined stay so."""
    first, *lines = head.rstrip(b"\r\n").split(b"\r\n")
    if extra.is_length_added and lines:
        del lines[-1]
    for number, line in extra.left_out:
        lines.insert(number, line.encode("latin-1", "replace"))
    if extra.status:
        first = extra.status.encode("latin-1", "replace")
    return b"\r\n".join((first, *lines, b"", b""))


def _joined(head: bytes) -> list[bytes]:
    """The fields, a line each: what was folded is one again, and what is no field is gone."""
    lines: list[bytes] = []
    for line in field_lines(head):
        text = line.replace(b"\r", b" ").strip()
        if line[:1] in (b" ", b"\t"):
            if lines and text:
                lines[-1] += b" " + text
        elif b":" in text:
            lines.append(text)
    return lines


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].strip().lower()
