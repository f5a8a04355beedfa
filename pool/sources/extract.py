"""The tolerant extractor: every proxy in a body, whatever the body is.

A decision module. A source that changes its layout goes on giving proxies as long as addresses
and ports stand near each other, or under a line of names.
"""

import csv
from collections.abc import Iterator

from pool.sources.beside import CELL, ROW
from pool.sources.found import Found, distinct
from pool.sources.html import clean_text, visible_text
from pool.sources.json_ import decode, find_siblings, split_flat
from pool.sources.links import split_links
from pool.sources.records import has_records, scan_records
from pool.sources.tables import scan_tables
from pool.sources.text import Unclear, scan_text, split_groups


def extract(text: str, scheme: str = "http", limit: int = 20_000) -> list[Found]:
    """The first `limit` different proxies in `text`, in order.

    JSON and JSON lines are read by the names of their fields. Anything else: first the links and
    flat JSON objects in it (scripts, cut bodies), then the visible text without them. `scheme` is
    that of proxies that name none. What may stand there without its credentials only is left out.
    """
    documents = decode(text)
    if documents:
        return distinct(find_siblings(documents, scheme), limit)
    return distinct((one for one in _scan(text, scheme) if isinstance(one, Found)), limit)


def _scan(text: str, scheme: str) -> Iterator[Found | Unclear]:
    linked, text = split_links(clean_text(text))
    yield from linked
    found, text = split_flat(text, scheme)
    yield from found
    for schemes, part in split_groups(visible_text(text), scheme):
        for one in schemes:
            yield from _scan_part(part, one)


def _scan_part(text: str, scheme: str) -> Iterator[Found | Unclear]:
    end = ROW if CELL in text else "\n"
    rows = text.split(end)
    try:
        taken = scan_tables(rows, scheme)
    except csv.Error:
        taken = {}
    if has_records(text):
        taken = scan_records(rows, scheme) | taken
    start = 0
    for n in sorted(taken):
        if n > start:
            yield from scan_text(end.join(rows[start:n]), scheme)
        yield from taken[n]
        start = n + 1
    yield from scan_text(end.join(rows[start:]), scheme)
