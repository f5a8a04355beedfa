"""The text of a body: bytes and their content type in, text out.

A decision module. What a publisher says of his charset chooses among a closed list: no name of his
is looked up, imported or remembered, and no codec is slower than linear.
"""

import codecs
import re
from encodings.aliases import aliases
from typing import Final

# Python's modules. Others have codecs that are quadratic (punycode) or no charsets
# (unicode_escape).
_CODECS: Final = frozenset(
    {"utf_8", "utf_16", "utf_16_le", "utf_16_be", "latin_1", "koi8_r", "shift_jis"}
    | {f"iso8859_{part}" for part in (1, 2, 5, 9, 15)}
    | {f"cp{page}" for page in (1250, 1251, 1252, 1254, 1256)}
    | {"gb2312", "gbk", "gb18030", "big5", "euc_jp", "euc_kr"}
)
_BY_NAME: Final = {
    **{codec: codec for codec in _CODECS},
    **{name: codec for name, codec in aliases.items() if codec in _CODECS},
}
_CHARSET: Final = re.compile(r"""charset\s{0,9}=\s{0,9}["']?([\w.:-]{2,40})""", re.IGNORECASE)
_PUNCTUATION: Final = re.compile(r"[^a-z0-9]+")

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf_8"),
    (codecs.BOM_UTF16_LE, "utf_16_le"),
    (codecs.BOM_UTF16_BE, "utf_16_be"),
)

# The HTML standard asks for a page's own charset among its first 1024 bytes.
_PRESCAN: Final = 1024


def decode_body(body: bytes, content_type: str, limit: int | None = None) -> str:
    """The text of a body's first `limit` bytes: by its byte order mark, the charset of
    `content_type` (the field's value, or empty), its own, else UTF-8.

    Bytes that do not fit become U+FFFD: what we look for is ASCII in every charset here.
    """
    body = body[:limit]
    for mark, codec in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(codec, "replace")
    own = body[:_PRESCAN].decode("latin-1")
    codec = _find_codec(content_type) or (_find_codec(own) if "<" in own else None) or "utf_8"
    return body.decode(codec, "replace")


def _find_codec(text: str) -> str | None:
    match = _CHARSET.search(text)
    if match is None:
        return None
    return _BY_NAME.get(_PUNCTUATION.sub("_", match[1].lower()).strip("_"))
