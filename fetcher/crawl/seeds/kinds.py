"""What a file or an answer is: a page, or a list and of which kind.

A decision module. Bytes say it first, for names and content types are often wrong; of what has no
mark of its own, the content type of an answer decides, then the name.
"""

import re
from typing import Final, Literal

from fetcher.crawl.links import is_html

Kind = Literal["page", "text", "csv", "zip", "gzip", "sitemap", "sitemapindex", "feed", "other"]

# Kinds whose answer is a list of URLs. A feed is a page that somebody may want to keep: it is read
# as a list where that is asked for.
LISTS: Final = frozenset({"text", "csv", "zip", "gzip", "sitemap", "sitemapindex"})

START: Final = 1024  # bytes of the start that are looked at

_ROOT: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?[^>]{0,500}>\s*|<!--(?s:.){0,500}?-->\s*)*"
    rb"<(?:[A-Za-z0-9_-]{1,30}:)?(urlset|sitemapindex|rss|feed|rdf)[\s/>]",
    re.IGNORECASE,
)
_KINDS_OF_ROOT: Final[dict[bytes, Kind]] = {
    b"urlset": "sitemap",
    b"sitemapindex": "sitemapindex",
    b"rss": "feed",
    b"feed": "feed",
    b"rdf": "feed",
}
_PAGE: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE)
_KINDS_OF_TYPE: Final[dict[str, Kind]] = {
    "text/csv": "csv",
    "text/tab-separated-values": "csv",
    "application/csv": "csv",
    "text/plain": "text",
}
_KINDS_OF_ENDING: Final[dict[str, Kind]] = {
    "csv": "csv",
    "tsv": "csv",
    "txt": "text",
    "list": "text",
    "lst": "text",
}
# Where the type says nothing, the name may.
_SILENT: Final = ("", "application/octet-stream", "binary/octet-stream")


def kind_of(name_or_url: str, content_type: str, start: bytes) -> Kind:
    """What begins with `start` (1 kB will do), is called so, and came with this Content-Type, or
    with none from a disk. "gzip" is any: what is in it shows behind it."""
    if start.startswith(b"PK\x03\x04"):
        return "zip"
    if start.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    start = start[:START]
    if (root := _ROOT.match(start)) is not None:
        return _KINDS_OF_ROOT[root[1].lower()]
    if _PAGE.match(start) or is_html(content_type, start):
        return "page"
    given = content_type.partition(";")[0].strip().lower()
    if (kind := _KINDS_OF_TYPE.get(given)) is not None:
        return kind
    if given not in _SILENT:
        return "other"
    path = name_or_url.partition("?")[0].partition("#")[0].lower()
    return _KINDS_OF_ENDING.get(path.rpartition(".")[2], "other")


def kind_of_file(name: str, start: bytes) -> Kind:
    """`kind_of` of what a person named as a source: what has no mark at all is text."""
    kind = kind_of(name, "", start)
    return "text" if kind == "other" else kind
