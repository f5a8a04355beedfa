"""Proxies in HTML bodies: rows by declared selectors, or the text that a reader sees.

A decision module: a page's scripts are text and are never run.
"""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any, Final

import lxml.html
from lxml import etree

from pool.selector import compile_rows, compile_selector
from pool.source import Select
from pool.sources.beside import CELL, COLUMN, ROW
from pool.sources.fields import Fields, build_entry
from pool.sources.found import Found
from pool.sources.text import HEADING

_TR: Final = re.compile(r"</?tr\b[^<>]*+>", re.IGNORECASE)
_TD: Final = re.compile(r"<t[dh]\b[^<>]*+>", re.IGNORECASE)
_HEADING: Final = re.compile(r"</?(?:h[1-6]|caption|legend)\b[^<>]*+>", re.IGNORECASE)
_TAG: Final = re.compile(r"<[A-Za-z/!?][^<>]*+>")
# No character has such a number, and Python reads none of so many digits.
_NO_REFERENCE: Final = re.compile(r"&#[0-9]{100,}+;?")
# No tags either: "192.0.2.1:8080<user:password>".
_GLUED: Final = re.compile(
    r"(?<=[0-9])([ ]?)<(?![/!?]|(?:a|abbr|area|article|aside|b|big|br|button|caption|center|code"
    r"|col|colgroup|dd|del|details|div|dl|dt|em|figure|font|footer|form|h[1-6]|header|hr|i|iframe|img"
    r"|input|ins|label|li|link|main|mark|meta|nav|noscript|ol|option|p|path|pre|s|samp|script"
    r"|section|select|small|span|strike|strong|style|sub|summary|sup|svg|table|tbody|td|textarea"
    r"|tfoot|th|thead|time|tr|tt|u|ul|var|wbr|body|html|head|title)[\s/>])([^<>]{3,300}+)>",
    re.IGNORECASE,
)
# No tag, but how tools print a proxy: "<Proxy US 0.33s [HTTP: High] 192.0.2.1:8080>".
_PRINTED: Final = re.compile(r"<(Proxy [^<>=]{1,200}+)>")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def find_rows(text: str, select: Select, scheme: str, limit: int) -> Iterator[Found]:
    """The proxies in the rows that `select` names, in order, with repetitions.

    At most `limit` proxies and twice as many rows (the others are headings and advertisements).
    Rows that lack something are passed over; what is no HTML has no rows.
    """
    root = _parse(text)
    if root is None:
        return
    for row in compile_rows(select.row).elements(root)[: 2 * limit]:
        yield from build_entry(_read_fields(row, select), scheme)


def visible_text(text: str) -> str:
    """`text` with a mark for each tag, and with its character references resolved."""
    if "<Proxy " in text:
        text = _PRINTED.sub(r"\n\1\n", text)
    if "<" in text:
        text = _GLUED.sub(r"\1(\2)", text)
        text = _HEADING.sub(HEADING, _TD.sub(COLUMN, _TR.sub(ROW, text)))
        text = _TAG.sub(CELL, text)
    if "&" in text:
        text = unescape(_NO_REFERENCE.sub("\ufffd", text)).replace("\xa0", " ")
    return text


def clean_text(text: str) -> str:
    """`text` without control characters, ours among them."""
    return _CONTROL.sub(" ", text)


def _parse(text: str) -> Any:
    # Without huge_tree, libxml2 stops at a depth of 256 and keeps what it has: bombs stay small.
    # Bytes, since lxml refuses str that declares an encoding of its own.
    parser = lxml.html.HTMLParser(encoding="utf-8", huge_tree=False, remove_comments=True)
    try:
        return lxml.html.document_fromstring(clean_text(text).encode(), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError):  # nothing in it
        return None


def _read_fields(row: Any, select: Select) -> Fields:
    def read(where: str | None) -> str | None:
        return compile_selector(where).text(row) if where else None

    return Fields(
        host=read(select.host),
        port=read(select.port),
        scheme=read(select.scheme),
        country=read(select.country),
        anonymity=read(select.anonymity),
    )
