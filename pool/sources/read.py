"""Reading one body of a source: bytes in, proxies out.

A decision module: pure, so that the harvester can run it in a thread when a body is large.
"""

import codecs
import re
from typing import Final

from pool.source import Source
from pool.sources.extract import extract
from pool.sources.found import Found, distinct
from pool.sources.html import find_rows
from pool.sources.json_ import find_path
from pool.sources.pattern import find_pattern

# Python's names. The list is closed because the publisher chooses the charset, and Python has
# codecs that are quadratic (punycode) or no charsets (unicode_escape).
_CHARSETS: Final = frozenset(
    {"utf-8", "utf-16", "utf-16-le", "utf-16-be", "koi8-r", "shift_jis"}
    | {f"iso8859-{part}" for part in (1, 2, 5, 9, 15)}
    | {f"cp{page}" for page in (1250, 1251, 1252, 1254, 1256)}
    | {"gb2312", "gbk", "gb18030", "big5", "euc_jp", "euc_kr"}
)
_CHARSET: Final = re.compile(r"""charset\s{0,9}=\s{0,9}["']?([\w.:-]{2,40})""", re.IGNORECASE)

# The HTML standard asks for a page's own charset among its first 1024 bytes.
_PRESCAN: Final = 1024


def read(source: Source, body: bytes, content_type: str, limit: int) -> list[Found]:
    """The first `limit` different proxies of a body, as `source` says it is to be read.

    `content_type` is the header's value, or empty. Bad bodies (cut, binary, another format) give
    fewer proxies or none, never an error. Cost is linear in the body; above 256 kB run it in a
    thread.
    """
    text = decode_body(body, content_type)
    if source.select is not None:
        return distinct(find_rows(text, source.select, source.scheme, limit), limit)
    if source.json is not None:
        return distinct(find_path(text, source.json, source.scheme), limit)
    if source.pattern is not None:
        return distinct(find_pattern(text, source.pattern, source.scheme), limit)
    return extract(text, source.scheme, limit)


def decode_body(body: bytes, content_type: str) -> str:
    """The body's text: by its byte order mark, the header's charset, its own, else UTF-8.

    Bytes that do not fit become U+FFFD: what we look for is ASCII in every charset here.
    """
    for mark, charset in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if body.startswith(mark):
            return body[len(mark) :].decode(charset, "replace")
    own = body[:_PRESCAN].decode("latin-1")
    charset = _charset(content_type) or (_charset(own) if "<" in own else None) or "utf-8"
    return body.decode(charset, "replace")


def _charset(text: str) -> str | None:
    match = _CHARSET.search(text)
    if match is None:
        return None
    try:
        name = codecs.lookup(match[1]).name
    except LookupError:
        return None
    return name if name in _CHARSETS else None
