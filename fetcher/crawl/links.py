"""What a page says of itself: its title, where it leads, and what robots may do with it.

A decision module: the text of a page in, a `Reading` out. The page is hostile: everything has a
limit. Lexbor reads what browsers read, as a rule in 20 us a kB, but in the square of how deep
elements lie within each other: ask `heavy` first.

Links are those of ``<a>`` and ``<area>``, and of ``<link>`` what leads to other pages: next, prev,
canonical, and alternate with a language. Frames are pages within a page and no links.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
from ada_url import join_url
from selectolax.lexbor import LexborDocumentOptions, LexborHTMLParser

from fetcher.crawl.canonical import LONGEST, canonical
from fetcher.crawl.model import origin_part
from fetcher.errors import TaskError
from fetcher.html.text import readable_text
from fetcher.urls import MAX_URL, fit_url

MAX_LINKS: Final = 10_000  # of a page
MAX_TITLE: Final = 500  # characters
MAX_METAS: Final = 100  # that are looked at

# Sites repeat their links on all of their pages. 16,384 of up to 300 characters are 10 MB at most,
# as a rule 3.
_KNOWN: Final = 16_384
_KNOWN_LONGEST: Final = 300

# Without "events": they copy the chosen <option> of each <select> anew for whoever shows it, and
# cost a tenth more.
_OPTIONS: Final = int(LexborDocumentOptions.WO_EVENTS)

_SCHEME: Final = re.compile(r"[\x00-\x20]*(?!https?:)[a-z][a-z0-9+.-]*:", re.IGNORECASE)
# Whatever the page's path: such a reference leads to the same place from all pages of an origin.
# "http:x" is not one: where the page has the same scheme, it is relative.
_OF_ORIGIN: Final = ("/", "http://", "https://")
# "/x" is taken to the origin as it is; "//x", "/\x" and "/<tab>/x" name another host.
_PLAIN_PATH: Final = re.compile(r"/(?![/\\\t\n\r])")

_PAGES: Final = frozenset({"next", "prev", "canonical"})

_HTML: Final = ("text/html", "application/xhtml+xml")
_UNKNOWN: Final = ("", "unknown/unknown", "application/unknown", "*/*")
_MARKUP: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--(?s:.){0,1000}?-->\s*)?"
    rb"<(?:!doctype\s+html|html|head|body|title|script|meta|table|div|h1|a|p|br)[\s/>]",
    re.IGNORECASE,
)

# What has a colon of its own among the rules of X-Robots-Tag, and is no robot's name.
_WITH_VALUE: Final = frozenset(
    {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
)


class Link(NamedTuple):
    url: str  # canonical
    nofollow: bool = False


class Robots(NamedTuple):
    """What a page asks of robots beside robots.txt."""

    nofollow: bool = False
    noindex: bool = False


class Reading(msgspec.Struct, kw_only=True):
    title: str = ""  # blanks collapsed, at most MAX_TITLE characters
    base: str = ""  # what relative references are joined to
    links: list[Link] = []  # in the order of the page (those of <link> first, of <area> last)
    nofollow: bool = False  # the page's own robots rule
    noindex: bool = False
    text: str | None = None  # None: it was not asked for
    # References that are no links, cut to their first characters: "scheme", "invalid" or "long".
    skipped: dict[str, str] = {}
    beyond: int = 0  # behind MAX_LINKS of both, not looked at


def is_html(content_type: str, start: bytes) -> bool:
    """Whether an answer with this Content-Type (the field's value, or empty) is a page with links.

    One that does not say what it is is looked at (mimesniff.spec.whatwg.org 7.1, what happens).
    """
    kind = content_type.partition(";")[0].strip().lower()
    return kind in _HTML or (kind in _UNKNOWN and _MARKUP.match(start) is not None)


def parse_robots(rules: str) -> Robots:
    """The rules of a meta element or of an X-Robots-Tag, those for one robot by name left out."""
    nofollow = noindex = is_ours = False
    for number, rule in enumerate(rules.lower().split(",")):
        name, colon, rest = rule.partition(":")
        if colon and name.strip() not in _WITH_VALUE:
            is_ours, rule = name.strip() == "*", rest
        elif not number:
            is_ours = True
        if is_ours:
            word = rule.strip()
            nofollow |= word in ("nofollow", "none")
            noindex |= word in ("noindex", "none")
    return Robots(nofollow, noindex)


def read_page(html: str, url: str, *, want_text: bool = False) -> Reading:
    """Read the page at the canonical `url`. Where it names a base, that counts for its links.

    35 us for a page of 1 kB with 10 links that are known, of which Lexbor takes 16; 63 us where
    they are new, 130 us with its text. 3.5 ms for 90 kB and 1,000 links, Lexbor 1.4 of them.
    """
    parser = LexborHTMLParser(html, options=_OPTIONS)
    reading = Reading(title=_read_title(parser), base=_read_base(parser, url), skipped={})
    for meta in parser.tags("meta")[:MAX_METAS]:
        attributes = meta.attributes
        if (attributes.get("name") or "").strip().lower() == "robots":
            robots = parse_robots(attributes.get("content") or "")
            reading.nofollow |= robots.nofollow
            reading.noindex |= robots.noindex
    reading.links = _collect(_references(parser), reading)
    if want_text:
        reading.text = readable_text(parser)
    return reading


def _read_title(parser: LexborHTMLParser) -> str:
    """The first; one of a drawing counts only where the page has none, and stands behind it."""
    titles = parser.tags("title")
    text = titles[0].text(deep=False) if titles else ""
    return " ".join(text[: 20 * MAX_TITLE].split())[:MAX_TITLE].rstrip()


def _read_base(parser: LexborHTMLParser, url: str) -> str:
    """The first <base href> that is an http URL, else the page's own."""
    for node in parser.tags("base"):
        href = node.attributes.get("href")
        if href is not None:
            try:
                joined = join_url(url, href[: MAX_URL + 1])
                return fit_url(joined) if joined.startswith(("http://", "https://")) else url
            except ValueError:
                return url
    return url


def _references(parser: LexborHTMLParser) -> Iterator[tuple[str, bool]]:
    """Each reference, and whether it says nofollow."""
    for node in parser.tags("link"):
        attributes = node.attributes
        words = (attributes.get("rel") or "").lower().split()
        if (href := attributes.get("href")) and (
            not _PAGES.isdisjoint(words) or ("alternate" in words and "hreflang" in attributes)
        ):
            yield href, False
    for name in ("a", "area"):
        for node in parser.tags(name):
            attributes = node.attributes
            if href := attributes.get("href"):
                rel = attributes.get("rel")
                yield href, rel is not None and "nofollow" in rel.lower().split()


def _collect(references: Iterator[tuple[str, bool]], reading: Reading) -> list[Link]:
    """The links, each once: one that says nofollow is followed if another to its page does not."""
    base, origin, skipped = reading.base, origin_part(reading.base), reading.skipped
    links: dict[str, Link] = {}
    for href, nofollow in references:
        if len(links) + len(skipped) >= MAX_LINKS:
            reading.beyond += 1
            continue
        if href[0] == "#":
            continue  # a place in this page
        if href.startswith(_OF_ORIGIN) and len(href) <= _KNOWN_LONGEST:
            link = _resolve_known(origin, href)
        else:
            link = _resolve(base, href)
        if isinstance(link, str):
            skipped[href[:_KNOWN_LONGEST]] = link
        elif not nofollow:
            links[link.url] = link
        elif link.url not in links:
            links[link.url] = Link(link.url, True)
    return list(links.values())


@lru_cache(maxsize=_KNOWN)
def _resolve_known(origin: str, href: str) -> Link | str:
    """`_resolve` of what begins as `_OF_ORIGIN` says."""
    if _PLAIN_PATH.match(href):
        return _fit(origin + href)
    return _resolve(origin + "/", href)


def _resolve(base: str, href: str) -> Link | str:
    """Where a reference leads, or the word in SKIPS for why it leads nowhere."""
    if _SCHEME.match(href):
        return "scheme"
    if len(href) > MAX_URL:
        return "long"
    try:
        joined = join_url(base, href)
    except ValueError:
        return "invalid"
    return _fit(joined) if joined.startswith(("http:", "https:")) else "scheme"


def _fit(url: str) -> Link | str:
    try:
        fit = canonical(url)
    except TaskError:
        return "invalid"
    return Link(fit) if len(fit) <= LONGEST else "long"
