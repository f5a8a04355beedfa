"""What curl's words for a request mean: its body, its headers, its credentials.

The answers are those of curl 7.88. Where a file is named it is read here; one that cannot be is an
error, where curl only warns.
"""

import base64
import os
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from fetcher.errors import TaskError
from fetchpool.files.text import opened, read_bytes, read_lines

# curl takes these out of what `-d @FILE` reads, so that a text is one line.
_LINE_SIGNS: Final = b"\r\n\0"


class Data(msgspec.Struct, frozen=True):
    """One of the options that make the body: ``data``, ``raw``, ``binary`` or ``urlencode``."""

    kind: str
    value: str


class Headers(msgspec.Struct, frozen=True):
    """What is sent, several times if so given, and what is not, even if it usually is."""

    sent: dict[str, list[str]]  # by the name as given first
    omitted: list[str]

    def names(self, name: str) -> bool:
        """Whether anything was said of this header."""
        said = [*self.sent, *self.omitted]
        return any(one.lower() == name.lower() for one in said)


# -- the body ------------------------------------------------------------------------------------


def build_data(parts: Sequence[Data]) -> bytes | None:
    """All of them joined by ``&``; None if there are none. Raises `FileError`."""
    return b"&".join(map(_read_part, parts)) if parts else None


def _read_part(part: Data) -> bytes:
    value = part.value
    if part.kind == "urlencode":
        return _encode(value)
    if part.kind == "raw" or not value.startswith("@"):
        return os.fsencode(value)
    read = read_bytes(value[1:])
    return read if part.kind == "binary" else read.translate(None, _LINE_SIGNS)


def _encode(value: str) -> bytes:
    """``content``, ``=content``, ``name=content``, ``@file`` or ``name@file``; the content alone is
    encoded."""
    at, equals = value.find("@"), value.find("=")
    if at >= 0 and (equals < 0 or at < equals):
        name, content = value[:at], read_bytes(value[at + 1 :])
    elif equals >= 0:
        name, content = value[:equals], os.fsencode(value[equals + 1 :])
    else:
        name, content = "", os.fsencode(value)
    encoded = quote(content, safe="").replace("%20", "+").encode()
    return os.fsencode(name) + b"=" + encoded if name else encoded


def add_query(url: str, data: bytes) -> str:
    """``-G``: the data behind the URL's own query. Raises `TaskError` for what no URL can hold."""
    if not data:
        return url
    text = os.fsdecode(data)
    if any(sign in text for sign in " \t\r\n\0"):
        raise TaskError("-G: a URL holds no blanks and line ends: use --data-urlencode")
    front, mark, fragment = url.partition("#")
    joined = "&" if "?" in front and not front.endswith(("?", "&")) else ""
    if "?" not in front:
        joined = "?"
    return f"{front}{joined}{text}{mark}{fragment}"


# -- headers -------------------------------------------------------------------------------------


def read_headers(given: Sequence[str]) -> Headers:
    """``Name: value`` is sent, ``Name;`` sent empty, ``Name:`` not sent at all; ``@FILE`` holds
    such lines. Raises `TaskError` for another, without quoting more than its name."""
    headers = Headers({}, [])
    spelled: dict[str, str] = {}
    for line in _lines(given):
        name, value = _split(line)
        if value is None:
            headers.omitted.append(name)
        else:
            headers.sent.setdefault(spelled.setdefault(name.lower(), name), []).append(value)
    return headers


def _lines(given: Sequence[str]) -> Iterator[str]:
    for text in given:
        if not text.startswith("@"):
            yield text
            continue
        with opened(text[1:]) as file:
            for number, raw in enumerate(read_lines(file), 1):
                line = os.fsdecode(raw)
                if not line.strip() or line.startswith("#"):
                    continue
                if ":" not in line and not line.rstrip().endswith(";"):
                    raise TaskError(f"-H {text}: line {number}: expected 'Name: value'")
                yield line


def _split(line: str) -> tuple[str, str | None]:
    """A header's name and its value; None if it is not to be sent."""
    name, colon, value = line.partition(":")
    if colon:
        return name.strip(), value.strip() or None
    name, semicolon, rest = line.partition(";")
    if semicolon and not rest.strip():
        return name.strip(), ""
    raise TaskError(f"-H {line!r}: expected 'Name: value'")


def basic(user: str) -> str:
    """``user:password`` as the value of Authorization. Raises `TaskError` without a password."""
    if ":" not in user:
        raise TaskError("-u: expected user:password: nobody is asked for a password here")
    return "Basic " + base64.b64encode(os.fsencode(user)).decode()
