"""What the parts of a crawl speak in: its options, an item of the frontier, a page.

A decision module: types and their meaning.

The life of a URL::

    source, link -> Item -> (frontier) -> Visit -> Page -> outputs, links, marks
                                            ^-- a retry, a redirect's target --'
"""

import re
from hashlib import blake2b
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0, le=31_536_000)]

Scope = Literal["page", "prefix", "host", "domain", "any"]
Polite = Literal["host", "domain", "ip"]

# What can be a part of a Redis key, of a file's name and of a line in a table.
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Options(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a crawl is to do, as its first process was told; all others read it from Redis.

    Seconds and bytes. 0 is no limit, None is "not said".
    """

    sources: tuple[str, ...]
    limit: Count = 0  # pages
    limit_host: Count = 0  # pages of one host
    time_limit: Seconds = 0.0
    size_limit: Count = 0  # bytes of bodies as they came
    depth: Count | None = None  # of links; unlimited from a page, 0 from a list
    follow: str | None = None  # RE2; only such links
    exclude: tuple[str, ...] = ()  # RE2; never those
    scope: Scope | None = None  # of links; host
    robots: bool = True
    nofollow: bool = True  # rel=nofollow and meta robots are obeyed
    sitemaps: bool = False  # those that the robots.txt of each source's host names
    as_: Literal["page", "list"] | None = msgspec.field(name="as", default=None)
    delay: Seconds = 1.0  # from start to start
    polite: Polite = "host"
    concurrency: Annotated[int, Meta(ge=1)] = 100  # pages under way in one process
    retries: Annotated[int, Meta(ge=0, le=100)] = 2
    timeout: Seconds = 0.0  # 0: fetcher.timeout
    proxy: str | None = None  # None: fetcher.proxy
    user_agent: str | None = None  # None: fetcher.user_agent
    render: Literal["js", "auto"] | None = None
    cache: Seconds | None = None  # pages younger than that are not asked for again
    callback: str | None = None  # module:function
    out: tuple[str, ...] = ()  # absolute paths
    rotate: Count = 0  # bytes of a WARC file above which the next one begins
    text: bool = False  # JSONL has the readable text too

    @property
    def follows_lists(self) -> bool:
        """Whether links of pages that a list names are followed: if one asks for anything that
        has to do with links."""
        return self.depth is not None or self.follow is not None or self.scope is not None


class Flag:
    """What is special about an item: bits, as an IntFlag costs 1 us each time it is looked at."""

    SEED: Final = 1  # a source named it: its answer may be a list, and its redirect is in scope
    LEAF: Final = 2  # its links are not followed
    GUARDED: Final = 4  # a public page led here: public addresses only
    SITEMAP: Final = 8  # its answer is read as a sitemap
    ROBOTS: Final = 16  # its answer is a robots.txt, read for the sitemaps that it names
    LIST: Final = 32  # its answer is read as a list, whatever it looks like
    PAGE: Final = 64  # its answer is a page, whatever it looks like: lists name no lists
    JUDGED: Final = 128  # a robots.txt led here: what it names is judged like a link


class Try(msgspec.Struct, array_like=True, frozen=True):
    """An attempt, for whoever asks what became of a URL."""

    at: float  # seconds since 1970, by Redis' clock
    outcome: str  # a status, or why there is none
    seconds: float = 0.0
    exit: str | None = None  # the proxy, without credentials; None is direct


class Item(msgspec.Struct, array_like=True, omit_defaults=True, kw_only=True):
    """A URL as it lies in the frontier. Depth and host are where it lies, and not repeated."""

    url: str  # canonical
    parent: str = ""  # the page that named it, without the origin that both share: see `parent_url`
    flags: int = 0
    hops: int = 0  # redirects that led here
    attempt: int = 0  # attempts that have failed
    first: str = ""  # where the chain of redirects began
    cookies: dict[str, str] = {}  # set on that chain
    tries: list["Try"] = []  # the attempts that have failed, the last five

    @property
    def parent_url(self) -> str:
        """The page that named it, in full; "" for a source's."""
        return origin_part(self.url) + self.parent if self.parent[:1] == "/" else self.parent


def short_parent(parent: str, url: str) -> str:
    """`Item.parent` of a page at `parent` that names `url`."""
    origin = origin_part(url)
    return parent[len(origin) :] if origin and parent.startswith(origin + "/") else parent


def origin_part(url: str) -> str:
    """``https://example.com:8080`` of a canonical URL."""
    end = url.find("/", 8)
    return url[:end] if end > 0 else url


def url_id(url: str) -> int:
    """63 bits that stand for a canonical URL: in the seen-set, in marks, in names of files.

    URLs that differ only in the order of their arguments, or in empty ones (``&&``, a last ``?``),
    have the same: nearly always they are the same page. Arguments of one name keep their order,
    which means something (``x[]=b&x[]=a``).

    Of a billion URLs two share theirs with a probability of 5 %; a million: 5e-8.
    """
    if "?" in url:
        url = _sort_arguments(url)
    return int.from_bytes(blake2b(url.encode(), digest_size=8).digest(), "big") >> 1


def _sort_arguments(url: str) -> str:
    place, _, query = url.partition("?")
    if "&" in query:
        arguments = [argument for argument in query.split("&") if argument]
        arguments.sort(key=_name)
        query = "&".join(arguments)
    return f"{place}?{query}" if query else place


def _name(argument: str) -> str:
    return argument.partition("=")[0]


class Visited(msgspec.Struct, kw_only=True):
    """Who was visited, and when: what every record of a page says beside what came back."""

    url: str
    depth: int = 0
    parent: str = ""  # in full
    first: str = ""  # the URL that redirects led from, "" if none did
    started: float = 0.0  # when its slot of the clock began; seconds since 1970 by Redis' clock
    delay: float = 0.0  # that had to lie between the start before and this one
    polite: str = ""  # whose delay it was: the host, the domain or the address
    robots: str = ""  # of the robots.txt that allowed it: eight digits of its hash, "" if none


class Page(msgspec.Struct, kw_only=True):
    """An answer: what outputs write and callbacks see.

    `head` and `body` are what came over the wire, without transfer coding; `content` is `body` with
    its content codings undone, where that was possible: `undone` says so. Without an answer the
    status is 599, and `error` says why.
    """

    visited: Visited
    status_code: int = 200
    head: bytes = b""  # raw header block of the answer, with its status line
    body: bytes = b""
    content: bytes = b""
    undone: bool = False
    headers: dict[str, str] = {}
    cookies: dict[str, str] = {}
    error: str | None = None
    time: float = 0.0  # seconds
    proxy: str | None = None
    attempts: int = 1
    address: str = ""  # of the peer
    request: bytes = b""  # request line and headers, as they were asked for
    encoding: str = "utf-8"  # of `content`
    title: str = ""
    text: str | None = None  # the readable text, if it was asked for
    links: int = 0
    is_new: bool = True  # False: the cached one still holds
    items: list[dict[str, Any]] = []  # what the callback gave to write
    rendered: bool | None = None  # whether its scripts have run; None: nobody asked for that
    base: str = ""  # where a rendering has ended, for its links

    @property
    def id(self) -> int:
        return url_id(self.visited.url)


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """How much of a part of the output counts: what lies behind is cut off before it goes on."""

    bytes: int = 0
    records: int = 0


class Counts(msgspec.Struct, kw_only=True):
    """What a crawl has come to so far, over all its processes."""

    queued: int = 0
    running: int = 0
    done: int = 0  # pages: an answer came
    failed: int = 0  # no answer came, and none will be asked for any more
    skipped: int = 0  # URLs and references; links to them count once a process
    retried: int = 0
    redirects: int = 0
    revisits: int = 0  # answers that the cache had, or 304
    duplicates: int = 0  # URLs found again
    bytes: int = 0
    hosts: int = 0  # that have URLs queued or under way
    items: int = 0  # that callbacks gave
    callback_errors: int = 0


# Why a URL that was found is not fetched: the word in counters, and what `why` makes of it.
SKIPS: Final = {
    "scope": "it lies outside of the scope",
    "follow": "no --follow pattern matches it",
    "exclude": "an --exclude pattern matches it",
    "depth": "it lies deeper than --depth",
    "nofollow": "the link or its page says nofollow",
    "long": "the URL is too long",
    "trap": "a part of its path repeats again and again, or it has too many parts",
    "scheme": "it is no http or https URL",
    "invalid": "it is no URL",
    "private": "a public page led to a private address",
    "robots": "robots.txt forbids it",
    "robots_away": "robots.txt could not be had, and without it nothing is asked",
    "host_down": "its host could not be reached five times in a row",
    "limit_host": "its host has had its --limit-host pages",
    "hops": "too many redirects led to it",
    "render": "it needs a renderer, and there is none",
}
