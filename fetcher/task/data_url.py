"""`data:` URLs: the body is in the URL, no network is needed (RFC 2397).

A decision module. pyspider's housekeeping (cron jobs, on_start, on_message) comes as data: URLs,
so they are on the critical path of each of its projects.
"""

import base64
import binascii
import re
from typing import Final

import msgspec

from fetcher.charset import find_codec
from fetcher.errors import TaskError

# A tenth of a second each, in which nobody else has his turn. Firefox takes URLs of 32 MB.
MAX_LENGTH: Final = 10_485_760  # characters
MAX_RUNS: Final = 150_000  # of escapes; they cost 0.5 us each
MAX_ESCAPES: Final = 1_000_000
_ESCAPES: Final = re.compile(rb"(?:%[0-9A-Fa-f]{2})++")


class Inline(msgspec.Struct, frozen=True):
    """What a data: URL holds. Textual content is UTF-8 and `content_type` says so."""

    content: bytes
    content_type: str


def is_data_url(url: str) -> bool:
    return url[:5].lower() == "data:"


def parse_data_url(url: str) -> Inline:
    """Decode a data: URL. The first comma ends the metadata; the scheme may be in any case.

    Text in another charset is turned into UTF-8; one that names none is taken for it, of which
    RFC 2397's US-ASCII is a part. Raises `TaskError`.
    """
    if len(url) > MAX_LENGTH:
        raise TaskError(f"the data: URL has {len(url)} characters: at most {MAX_LENGTH} are taken")
    head, comma, payload = url[5:].partition(",")
    if not comma:
        raise TaskError("a data: URL needs a comma between its type and its content")
    media_type, *parameters = [part.strip() for part in head.split(";")]
    content = _unescape(payload.encode("utf-8", "replace"))
    del payload  # it may be long
    if parameters and parameters[-1].lower() == "base64":
        parameters.pop()
        content = _from_base64(content)
    media_type = media_type or "text/plain"
    if not _is_textual(media_type):
        return Inline(content, ";".join([media_type, *parameters]))
    charset = next((p[8:].strip('"') for p in parameters if p.lower().startswith("charset=")), "")
    if charset and charset.lower() not in ("utf-8", "utf8"):
        content = _to_utf8(content, charset)
    rest = [p for p in parameters if not p.lower().startswith("charset=")]
    return Inline(content, ";".join([media_type, *rest, "charset=utf-8"]))


def _is_textual(media_type: str) -> bool:
    name = media_type.lower()
    return name.startswith("text/") or name.endswith(("json", "xml", "javascript"))


def _to_utf8(content: bytes, charset: str) -> bytes:
    codec = find_codec(charset)
    if codec is None:
        raise TaskError(f"the data: URL names a charset that is not known: {charset[:40]!r}")
    try:
        return content.decode(codec).encode("utf-8")
    except ValueError as error:
        raise TaskError(f"the data: URL is not in the charset it names: {error}") from error


def _unescape(payload: bytes) -> bytes:
    """``%41`` is ``A``; what is no such escape stays as it is. A run of escapes costs as one."""
    escapes = payload.count(b"%")  # which costs a hundredth
    if not escapes:
        return payload
    if escapes > MAX_ESCAPES:
        raise TaskError(f"the data: URL has over {MAX_ESCAPES} escapes: use base64")
    content, count = _ESCAPES.subn(_unescape_run, payload, count=MAX_RUNS + 1)
    if count > MAX_RUNS:
        raise TaskError(f"the data: URL has escapes in {MAX_RUNS} places and more: use base64")
    return content


def _unescape_run(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[0].replace(b"%", b"").decode("ascii"))


def _from_base64(payload: bytes) -> bytes:
    compact = b"".join(payload.split())
    if missing := -len(compact) % 4:
        compact += b"=" * missing
    try:
        return base64.b64decode(compact, validate=True)
    except (binascii.Error, ValueError) as error:
        raise TaskError(f"the data: URL is not base64: {error}") from error
