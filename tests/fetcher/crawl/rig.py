"""What visits, lanes and crawls run on in tests: the real fetcher, a site on loopback, Redis."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from fetcher.crawl.cache import Cache
from fetcher.crawl.callback.callbacks import Callbacks
from fetcher.crawl.canonical import canonical, host_of
from fetcher.crawl.crawl import Crawl
from fetcher.crawl.frontier.frontier import Arrival, Frontier, Lease
from fetcher.crawl.lane import CrawlLane
from fetcher.crawl.life import Life, decode_life
from fetcher.crawl.list_answers import ListAnswers
from fetcher.crawl.means import Means
from fetcher.crawl.model import Item, Options, url_id
from fetcher.crawl.output.outputs import Outputs
from fetcher.crawl.page_reader import PageReader
from fetcher.crawl.seeding import Seeding
from fetcher.crawl.tally import Tally
from fetcher.crawl.visit import Ended, Visit
from fetcher.politeness.clock import Clock
from fetcher.route.route import DIRECT, parse_route
from fetcher.run.fetcher import Fetcher
from fetchpool.farm import Call, Origin

MACHINE = "m"


class Rig:
    """One process of a crawl, taken apart. `options` are those that the crawl is stored with."""

    def __init__(
        self,
        redis: Redis,
        site: Origin,
        frontier: Frontier,
        means: Means,
        outputs: Outputs,
        options: Options,
    ) -> None:
        self.redis = redis
        self.site = site
        self.frontier = frontier
        self.means = means
        self.outputs = outputs
        self.options = options
        self.lane = CrawlLane(frontier, means, outputs)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.site.port}{path}"

    def answer(
        self,
        path: str,
        body: bytes | str = b"",
        status: int = 200,
        *fields: tuple[str, str],
        kind: str = "text/html",
    ) -> None:
        """What the site says at this path from now on."""

        async def page(call: Call) -> None:
            await call.send(body, status, kind, fields)

        self.serve(path, page)

    def serve(self, path: str, page: Callable[[Call], Awaitable[None]]) -> None:
        self.site.pages.insert(0, (re.compile(re.escape(path)), page))

    def asked(self, path: str = "") -> list[str]:
        """The targets of requests, robots.txt among them."""
        return [one.target for one in self.site.requests if one.target.startswith(path)]

    def lease(
        self, url: str, *, depth: int = 0, delay: float = 0.0, recovered: int = 0, **item: Any
    ) -> Lease:
        one = Item(url=canonical(url), **item)
        return Lease(
            id=b"1", host=host_of(url), depth=depth, item=one, delay=delay, recovered=recovered
        )

    async def visit(self, url: str, **of_lease: Any) -> Ended:
        """What becomes of a URL that nobody has queued."""
        return await Visit(self.means, self.lease(url, **of_lease)).run()

    async def queue(self, *urls: str, **item: Any) -> None:
        items = [Item(url=canonical(url), **item) for url in urls]
        await self.frontier.add(
            [Arrival(url_id(one.url), host_of(one.url), 0, one) for one in items]
        )

    async def crawl(self) -> Crawl:
        info = await self.frontier.load()
        assert info is not None
        await self.frontier.join()
        seeding = Seeding(self.frontier, info.options)
        return Crawl(self.frontier, info, self.means, self.lane, seeding)


def life_of(ended: Ended, name: str = "lives") -> Life:
    """The one life that a visit has told."""
    [life] = [decode_life(value) for kind, _, value in ended.lives if kind == name]
    return life


@asynccontextmanager
async def rigged(
    redis: Redis,
    *,
    worker: str = "w1",
    site: Origin | None = None,
    block: float = 60.0,
    cache: Path | None = None,
    proxy: str = "direct",
    settings: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Rig]:
    """A rig of a crawl that is stored, and seeded unless it has sources. `block`: seconds that a
    429 costs."""
    given = Options(**{"sources": (), "robots": False, "delay": 0.0, **options})
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(Origin()) if site is None else site
        fetcher = Fetcher.from_settings(**(settings or {}))
        stack.callback(fetcher.close)
        clock = Clock(redis, "test", base=block)
        stack.callback(clock.close)
        callbacks = None
        if given.callback is not None:
            callbacks = Callbacks(given.callback)
            await callbacks.start()
            stack.push_async_callback(callbacks.close)
        reader = PageReader(given, callbacks)
        stack.push_async_callback(reader.close)
        pages = None
        if cache is not None:
            pages = Cache(cache)
            stack.push_async_callback(pages.close)
        crawl = Frontier(redis, "test", "c", worker)
        await crawl.create(given)
        if not given.sources:
            await crawl.say_seeded()
        outputs = Outputs.open(
            given.out, await crawl.marks(), name="c", machine=MACHINE, options=given, software="t"
        )
        stack.callback(outputs.close)
        await crawl.claim_parts(outputs.keys)
        means = Means(
            given,
            fetcher,
            clock,
            reader,
            ListAnswers(crawl, given),
            Tally(0.0, {}),
            route=parse_route(proxy, DIRECT),
            cache=pages,
            archives=any(".warc" in path for path in given.out),
        )
        yield Rig(redis, served, crawl, means, outputs, given)
