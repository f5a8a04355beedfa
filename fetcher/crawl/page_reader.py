"""PageReader: what a page says and leads to, and what the callback makes of it.

A driver.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

import msgspec

from fetcher.charset import decode_body
from fetcher.crawl.callback.callbacks import Callbacks
from fetcher.crawl.callback.messages import Given
from fetcher.crawl.canonical import LONGEST, canonical, host_of
from fetcher.crawl.frontier.frontier import Arrival
from fetcher.crawl.life import SKIPPED, Life, encode_life, life_field
from fetcher.crawl.links import Link, Reading, is_html, parse_robots
from fetcher.crawl.model import Flag, Item, Options, Page, short_parent, url_id
from fetcher.crawl.parser import Parser
from fetcher.crawl.scope import Rules
from fetcher.errors import TaskError

T = TypeVar("T")

# URLs of which this process knows that they are queued, and that it has told as skipped. Sites
# repeat their links on all of their pages; longer ones would take too much.
_KNOWN: Final = 100_000
_KNOWN_LONGEST: Final = 300  # characters

_AT_ONCE: Final = 1000  # links between two turns of the loop: 5 ms


class Found(msgspec.Struct, kw_only=True):
    """What reading a page has brought beside what stands in the page itself.

    What is skipped counts by URL, not by link: this process tells each once, as long as it
    remembers.
    """

    arrivals: list[Arrival] = []
    counts: dict[str, int] = {}
    tally: dict[str, int] = {}
    skips: list[tuple[str, bytes, bytes]] = []


class PageReader:
    """Reads pages for one process."""

    def __init__(self, options: Options, callbacks: Callbacks | None = None) -> None:
        self.prefixes: set[str] = set()  # of sources, where the scope is "prefix"
        self.callbacks = callbacks
        self.change(options)
        self._parser = Parser()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._told: OrderedDict[int, None] = OrderedDict()

    def change(self, options: Options) -> None:
        """These hold from the next page on."""
        self.options = options
        self.rules = Rules(options, self.prefixes)

    async def close(self) -> None:
        """End the process that heavy pages are read in."""
        await self._parser.close()

    def remember(self, urls: Iterable[str]) -> None:
        """They are queued."""
        for url in urls:
            if len(url) <= _KNOWN_LONGEST:
                _keep(self._known, url)

    async def read(self, page: Page, item: Item, depth: int, *, guards: bool) -> Found:
        """Fill in what `page` lacks. `guards`: what it names must lead to public addresses."""
        found = Found()
        follows = 200 <= page.status_code < 300
        given = await self._call_back(page, found)
        content_type = page.headers.get("Content-Type", "")
        if is_html(content_type, page.content[:2000]):
            reading, problem = await self._parser.parse(
                *(page.content, content_type, page.base or page.visited.url),
                want_text=self.options.text,
            )
            if problem is not None:
                found.tally[f"unread:{problem}"] = 1
            page.title, page.text = reading.title, reading.text
            page.links = len(reading.links) + reading.beyond
            if follows and not item.flags & Flag.LEAF:
                await self._follow_page(reading, page, item, depth, guards, found)
        elif self.options.text and content_type.startswith("text/"):
            page.text = decode_body(page.content, content_type, 1_000_000)
        if given.links:
            links = self._read_given(given.links, page, depth, found)
            await self._follow(links, page, item, depth, guards, found)
        return found

    async def _call_back(self, page: Page, found: Found) -> Given:
        if self.callbacks is None:
            return Given()
        heard: asyncio.Future[Given] = asyncio.get_running_loop().create_future()

        def hear(given: Given) -> None:
            if not heard.done():  # or nobody waits any more
                heard.set_result(given)

        self.callbacks.call(page, hear)
        given = await heard
        page.items = given.items
        found.counts["items"] = len(given.items)
        if given.error is not None:
            found.counts["callback_errors"] = 1
            found.tally[f"callback:{given.error[:120]}"] = 1
        return given

    async def _follow_page(
        self, reading: Reading, page: Page, item: Item, depth: int, guards: bool, found: Found
    ) -> None:
        for reference, reason in reading.skipped.items():
            self._skip(reference, page, depth + 1, reason, found)
        links: Iterable[Link] = reading.links
        if self.options.nofollow:
            robots = parse_robots(page.headers.get("X-Robots-Tag", ""))
            if reading.nofollow or robots.nofollow:
                links = (Link(link.url, True) for link in reading.links)
        await self._follow(links, page, item, depth, guards, found)

    def _read_given(
        self, urls: Iterable[str], page: Page, depth: int, found: Found
    ) -> Iterator[Link]:
        """What a callback has given, and may be anything."""
        for url in urls:
            if not url.startswith(("http:", "https:")):
                self._skip(url, page, depth + 1, "scheme" if ":" in url else "invalid", found)
                continue
            try:
                yield Link(canonical(url))
            except TaskError:
                self._skip(url, page, depth + 1, "invalid", found)

    async def _follow(
        self,
        links: Iterable[Link],
        page: Page,
        item: Item,
        depth: int,
        guards: bool,
        found: Found,
    ) -> None:
        options, known, parent = self.options, self._known, page.visited.url
        flags = Flag.GUARDED if guards else 0
        for number, (url, nofollow) in enumerate(links, 1):
            if not number % _AT_ONCE:
                await asyncio.sleep(0)
            if url in known:
                known.move_to_end(url)
                _add(found.counts, "duplicates")
                continue
            if nofollow and options.nofollow:
                reason: str | None = "nofollow"
            else:
                reason = self.rules.judge(url, depth=depth + 1, parent=parent)
            if reason is None:
                child = Item(url=url, parent=short_parent(parent, url), flags=flags)
                found.arrivals.append(Arrival(url_id(url), host_of(url), depth + 1, child))
            else:
                self._skip(url, page, depth + 1, reason, found)

    def _skip(self, url: str, page: Page, depth: int, reason: str, found: Found) -> None:
        """`url` may be a reference that is none."""
        id_ = url_id(url)
        is_told = id_ in self._told
        _keep(self._told, id_)
        if is_told:
            return
        _add(found.counts, "skipped")
        _add(found.tally, f"skip:{reason}")
        life = Life(url[:LONGEST], page.visited.url, depth, SKIPPED, reason)
        found.skips.append(("skips", life_field(id_), encode_life(life)))


def _keep(known: OrderedDict[T, None], one: T) -> None:
    """The one that was met the longest time ago goes first."""
    known[one] = None
    known.move_to_end(one)
    if len(known) > _KNOWN:
        known.popitem(last=False)


def _add(numbers: dict[str, int], name: str, by: int = 1) -> None:
    numbers[name] = numbers.get(name, 0) + by
