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
from pool.sources.fields import Fields, build_entry
from pool.sources.found import Found
from pool.sources.text import CELL, ROW

_TR: Final = re.compile(r"</?tr\b[^<>]*+>", re.IGNORECASE)
_TAG: Final = re.compile(r"<[A-Za-z/!?][^<>]*+>")
# No character has such a number, and Python reads none of so many digits.
_NO_REFERENCE: Final = re.compile(r"&#[0-9]{100,}+;?")
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
    """`text` with a `ROW` or `CELL` for each tag, and with its character references resolved."""
    if "<" in text:
        text = _TAG.sub(CELL, _TR.sub(ROW, text))
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
