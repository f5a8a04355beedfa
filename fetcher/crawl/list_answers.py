"""ListAnswers: answers that are lists of URLs, and what they name is queued.

A driver. A source may be a list wherever it lies, and sitemaps name further ones; what a list names
are pages, as nothing would end otherwise. All that such an answer names is queued before it counts
as read: when the process dies between, it is read again, and what is known by then is passed over.

What a source's list names are sources, which only --exclude keeps out. The sitemaps of a robots.txt
may lie anywhere and are the site's word, not the user's: the pages that they name are judged like
links of that robots.txt.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar, cast

from ada_url import join_url
from msgspec.structs import replace

from fetcher.crawl.canonical import canonical, host_of
from fetcher.crawl.frontier.frontier import Arrival, Frontier
from fetcher.crawl.model import Flag, Item, Options, Page, short_parent, url_id
from fetcher.crawl.scope import Rules, prefix_of
from fetcher.crawl.seeds.files import read_answer
from fetcher.crawl.seeds.kinds import LISTS, Kind, kind_of
from fetcher.crawl.seeds.rows import Account, Row
from fetcher.errors import RedisAway, TaskError
from fetcher.model import Result
from fetcher.robots.rules import read_answer as read_robots
from fetcher.urls import loggable

logger = logging.getLogger(__name__)

# Indexes of indexes of sitemaps: the protocol knows one level.
MOST_LEVELS: Final = 5

_AGAIN: Final = 1.0  # seconds until Redis is asked once more

_SITEMAPS: Final = ("sitemap", "sitemapindex", "feed")

T = TypeVar("T")


class ListAnswers:
    """Of one crawl."""

    def __init__(self, frontier: Frontier, options: Options) -> None:
        self._frontier = frontier
        self._options = options

    def kind(self, item: Item, page: Page) -> str:
        """What the answer is to be read as; "" for a page of the crawl, "page" for one that was to
        be a list."""
        flags = item.flags
        if not 200 <= page.status_code < 300:
            return ""
        if flags & Flag.ROBOTS:
            return "robots.txt"
        is_list = flags & (Flag.SITEMAP | Flag.LIST)
        is_open = flags & Flag.SEED and not flags & Flag.PAGE and self._options.as_ != "page"
        if not is_list and not is_open:
            return ""
        content_type = page.headers.get("Content-Type", "")
        kind = kind_of(item.url, content_type, page.content[:4096])
        if flags & Flag.SITEMAP:
            # Such a reader knows text and gzip too, and keeps to the protocol's limits.
            return kind if kind in _SITEMAPS or kind == "page" else "sitemap"
        if flags & Flag.LIST:
            return "text" if kind == "other" else kind
        return kind if kind in LISTS else ""

    async def read(self, kind: str, page: Page, item: Item, depth: int, *, guards: bool) -> int:
        """Queue all that it names; how many were new. Waits for Redis as long as that is away."""
        info = await self._insist(self._frontier.load)
        options = self._options if info is None else info.options
        naming = _Naming(page.visited.url, item, depth, guards, options)
        if options.scope == "prefix":
            naming.prefixes |= await self._insist(self._frontier.scopes)
        if kind == "robots.txt":
            return await self._queue(naming, await _read_sitemaps(page))
        new, account = 0, Account()
        batches = read_answer(cast(Kind, kind), page.content, page.visited.url, account)
        try:
            while (batch := await asyncio.to_thread(next, batches, None)) is not None:
                new += await self._queue(naming, batch)
        except TaskError as error:
            account.complain(str(error))
        for problem in account.problems:
            logger.warning("%s: %s", loggable(page.visited.url), problem)
        if naming.left_out:
            logger.info(
                "%s: %d of its URLs are not asked for: --exclude, --follow, the scope or the"
                " number of levels leaves them out",
                loggable(page.visited.url),
                naming.left_out,
            )
        return new

    async def _queue(self, naming: "_Naming", batch: Sequence[Row]) -> int:
        items = [item for row in batch if (item := naming.item(row)) is not None]
        if not items:
            return 0
        if naming.options.scope == "prefix" and not naming.is_judged:
            prefixes = {prefix_of(item.url) for item in items if not item.flags & Flag.SITEMAP}
            if prefixes:
                await self._insist(partial(self._frontier.add_scopes, prefixes))
        arrivals = [
            Arrival(url_id(item.url), host_of(item.url), naming.depth, item) for item in items
        ]
        return await self._insist(partial(self._frontier.add, arrivals))

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        task = asyncio.current_task()
        while True:
            try:
                answer = await ask()
                if task is not None and task.cancelling():
                    raise asyncio.CancelledError  # as in `seeding`
                return answer
            except RedisAway as error:
                logger.warning("reading a list: %s; trying again", error)
                await asyncio.sleep(_AGAIN)


class _Naming:
    """What the rows of one answer become. `left_out` were not to be asked for."""

    def __init__(self, url: str, item: Item, depth: int, guards: bool, options: Options) -> None:
        self.options = options
        self.depth = depth
        self.prefixes: set[str] = set()
        self.left_out = 0
        flags, was = item.flags, item.flags
        self.is_judged = bool(was & (Flag.JUDGED | Flag.ROBOTS))
        if was & Flag.ROBOTS:
            flags |= Flag.JUDGED
        if not was & (Flag.ROBOTS | Flag.SITEMAP) and not options.follows_lists:
            flags |= Flag.LEAF
        if guards:
            flags |= Flag.GUARDED
        flags &= ~(Flag.LIST | Flag.ROBOTS | Flag.SITEMAP)
        self._sitemap = flags | Flag.SITEMAP
        self._page = flags & ~(Flag.SEED | Flag.JUDGED) if self.is_judged else flags | Flag.PAGE
        self._hops = item.hops + 1
        self._url = url
        # Of a tree of sitemaps this stays the robots.txt that names its root.
        self._root = item.parent_url if was & Flag.JUDGED else url
        # What a sitemap names is no link: that none is followed does not concern it.
        scope = "host" if options.scope == "page" else options.scope
        self._rules = Rules(replace(options, scope=scope), self.prefixes)

    def item(self, row: Row) -> Item | None:
        """None for what is left out."""
        url = row.url
        if row.is_sitemap:
            if self._hops <= MOST_LEVELS:
                parent = short_parent(self._root, url)
                return Item(url=url, parent=parent, flags=self._sitemap, hops=self._hops)
        else:
            parent = self._root if self.is_judged else ""
            if self._rules.judge(url, depth=self.depth, parent=parent) is None:
                return Item(url=url, parent=short_parent(self._url, url), flags=self._page)
        self.left_out += 1
        return None


async def _read_sitemaps(page: Page) -> list[Row]:
    """Those that a robots.txt names; against the protocol some are relative."""
    url = page.visited.url
    result = Result(status_code=page.status_code, orig_url=url, url=url, content=page.content)
    rules = await asyncio.to_thread(read_robots, result, 0.0, 0.0)
    rows = []
    for number, text in enumerate(rules.sitemaps, 1):
        try:
            rows.append(Row(canonical(join_url(url, text)), number, is_sitemap=True))
        except ValueError:  # a TaskError is one
            logger.info("%s: %.200r is no sitemap's URL", loggable(url), loggable(text))
    return rows
