"""One source of proxies as `config.yaml` declares it.

A decision module: what a source is and which URLs it means; the harvester fetches them.
"""

import re
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

import msgspec

from fetcher.pattern import compile_pattern
from fetcher.settings import Count
from pool.selector import compile_rows, compile_selector

NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]

# `fetcher.proxy.SCHEMES`, written out: a type cannot be made of a variable.
Scheme = Literal["http", "https", "socks4", "socks4a", "socks5", "socks5h"]

# The longest in the field is 18 (ProxyPool's geonode); a hundred is a publisher's patience.
MAX_PAGES: Final = 100

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
_HTTP_URL: Final = re.compile(r"https?://[^\s/?#]+[^\s]*", re.IGNORECASE)

# "%d0" is a percent-encoded byte and no date; the other letters are not hexadecimal.
_DATE: Final = re.compile(r"%(?:[YmH]|d(?![0-9A-Fa-f]))")


class Select(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where things stand in an HTML body, as CSS selectors (PyQuery).

    `row` names the elements, one proxy each; the others are looked up inside a row and give its
    text, or an attribute after ``@``: ``td:nth-child(2)``, ``.ip@data-ip``, ``@data-ip`` (of the
    row itself). Without `port`, the text of `host` holds both (``1.2.3.4:80``).
    """

    row: NonEmpty
    host: NonEmpty
    port: NonEmpty | None = None
    scheme: NonEmpty | None = None
    country: NonEmpty | None = None
    anonymity: NonEmpty | None = None

    def __post_init__(self) -> None:
        compile_rows(self.row)
        for text in (self.host, self.port, self.scheme, self.country, self.anonymity):
            if text is not None:
                compile_selector(text)


class Path(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where things stand in a JSON body, as dotted paths (``data.proxies``, ``geo.country``).

    `items` leads to the array (empty: the body itself); the others start from an item. Without
    `port`, `host` holds ``ip:port`` or a URL. `scheme` may lead to one name, a comma-joined text
    or an array of names: each gives a proxy. Items that are texts are read as proxies.
    """

    items: str = ""
    host: str = "ip"
    port: NonEmpty | None = None
    scheme: NonEmpty | None = None
    country: NonEmpty | None = None
    anonymity: NonEmpty | None = None


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where proxies are listed.

    At most one of `select` (HTML), `json` and `pattern` (a regular expression with the named
    groups ``host``, ``port`` and perhaps ``scheme``, ``country``, ``anonymity``) says how to read
    it; without any, the tolerant extractor takes whatever looks like a proxy. `{page}` in a URL
    runs through `pages`, first and last included; `%Y %m %d %H` stand for the date (UTC) where
    `dated`. Lists that call a proxy "https" mean an HTTP proxy that can CONNECT; `scheme: https`
    here means TLS to the proxy.
    """

    name: NonEmpty
    url: NonEmpty | list[NonEmpty]
    enabled: bool = True
    scheme: Scheme = "http"  # of proxies that name none
    every: Annotated[float, msgspec.Meta(gt=0)] | None = None  # seconds; None: harvest.cycle
    max_bytes: Count | None = None  # of one answer; None: harvest.max_bytes
    max_items: Count | None = None  # of one answer; None: harvest.max_items
    pages: tuple[int, int] = (1, 1)
    dated: bool = False
    method: NonEmpty = "GET"
    headers: dict[str, str] = {}
    body: str | None = None
    select: Select | None = None
    json: Path | None = None
    pattern: NonEmpty | None = None
    comment: str | None = None

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise ValueError(f"source {self.name!r}: {problem}")

    def urls(self, now: datetime) -> list[str]:
        """The URLs to fetch, in order. `now` is aware of its time zone, or ValueError."""
        if now.tzinfo is None:
            raise ValueError("urls() needs a time with a time zone")
        now = now.astimezone(UTC)
        first, last = self.pages
        found = []
        for url in self._templates():
            if self.dated:
                url = _DATE.sub(lambda match: now.strftime(match[0]), url)
            if "{page}" not in url:
                found.append(url)
                continue
            found += [url.replace("{page}", str(page)) for page in range(first, last + 1)]
        return found

    def _templates(self) -> list[str]:
        return [self.url] if isinstance(self.url, str) else self.url

    def _problems(self) -> Iterator[str]:
        templates = self._templates()
        if not templates:
            yield "url is an empty list: name at least one URL"
        for url in templates:
            if _HTTP_URL.fullmatch(url) is None:
                yield f"{url!r} is no http:// or https:// URL without spaces"
        ways = [way for way in ("select", "json", "pattern") if getattr(self, way) is not None]
        if len(ways) > 1:
            yield f"{' and '.join(ways)} exclude each other: keep one of them"
        yield from self._page_problems(templates)
        if self.dated and not any(_DATE.search(url) for url in templates):
            yield "dated needs one of %Y %m %d %H in a URL"
        if _TOKEN.fullmatch(self.method) is None:
            yield f"{self.method!r} is not an HTTP method: expected GET or POST"
        for name, value in self.headers.items():
            if _TOKEN.fullmatch(name) is None:
                yield f"{name!r} is not a header's name: letters, digits and hyphens"
            if any(sign in value for sign in "\r\n\0"):
                yield f"the header {name} must be one line"
        if self.pattern is not None:
            yield from _pattern_problems(self.pattern)

    def _page_problems(self, templates: list[str]) -> Iterator[str]:
        first, last = self.pages
        if not 0 <= first <= last:
            yield f"pages [{first}, {last}] must be the first and the last page, in this order"
        if last - first + 1 > MAX_PAGES:
            yield f"pages [{first}, {last}] are more than {MAX_PAGES}"
        if self.pages != (1, 1) and not all("{page}" in url for url in templates):
            yield "pages needs {page} in every URL"


def _pattern_problems(pattern: str) -> Iterator[str]:
    try:
        names = compile_pattern(pattern).names
    except ValueError as error:
        yield f"the pattern is {error}"
    else:
        yield from _group_problems(names)


def _group_problems(names: Collection[str]) -> Iterator[str]:
    known = ("host", "port", "scheme", "country", "anonymity")
    if "host" not in names:
        yield "the pattern needs the group (?P<host>...), and (?P<port>...) unless host holds both"
    if unknown := [name for name in names if name not in known]:
        yield f"the pattern's groups {unknown} mean nothing: expected some of {', '.join(known)}"
