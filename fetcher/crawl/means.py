"""Means: what all visits of a process share.

A driver: it asks the resolver for them, and keeps count of who waits.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from fetcher.crawl.cache import Cache
from fetcher.crawl.list_answers import ListAnswers
from fetcher.crawl.model import Options
from fetcher.crawl.page_reader import PageReader
from fetcher.crawl.tally import Tally
from fetcher.dns.cache import Addresses
from fetcher.dns.resolver import Resolver
from fetcher.guard import literal_address
from fetcher.model import Fetch, Task
from fetcher.politeness.clock import Clock
from fetcher.robots.keeper import RobotsKeeper
from fetcher.route.route import Direct, Env, Route
from fetcher.run.fetcher import Fetcher
from fetcher.task.request import build_plan

_NAMES: Final = 5.0  # seconds that an address may take


class Means:
    """`route` is that of every request; `archives`: outputs want bodies as they came; `places` is
    the widest window that this process can carry, 0 for any. `waiting` visits wait for their turn.
    """

    def __init__(
        self,
        options: Options,
        fetcher: Fetcher,
        clock: Clock,
        reader: PageReader,
        lists: ListAnswers,
        tally: Tally,
        *,
        route: Route,
        cache: Cache | None = None,
        archives: bool = False,
        places: int = 0,
    ) -> None:
        self.fetcher = fetcher
        self.robots: RobotsKeeper = fetcher.shared.robots
        self.clock = clock
        self.reader = reader
        self.lists = lists
        self.tally = tally
        self.route = route
        self.cache = cache
        self.archives = archives
        self.waiting = 0
        self.is_halted = False
        self.leaving: set[Callable[[], None]] = set()  # called when who waits is to wait no more
        self._places = places
        policy = fetcher.shared.policy
        self.most_body = policy.defaults.max_body
        self.trusts_all = policy.allow_private == "all"
        self.is_direct = all(
            isinstance(way, Direct) or (isinstance(way, Env) and not policy.ways.environment)
            for way in route
        )
        self.change(options)

    def change(self, options: Options) -> None:
        """These hold from the next visit on."""
        if self._places:
            concurrency = min(options.concurrency, self._places)
            options = msgspec.structs.replace(options, concurrency=concurrency)
        self.options = options
        self.user_agent = options.user_agent or self.fetcher.shared.policy.defaults.user_agent
        self.fetch = Fetch(
            user_agent=options.user_agent,
            timeout=options.timeout or None,
            allow_redirects=False,
            fetch_type=options.render,
        )
        shared = self.fetcher.shared
        defaults = shared.stream_defaults if self.archives else shared.policy.defaults
        self.plan = build_plan(Task(url="http://localhost/", fetch=self.fetch), defaults)
        self.reader.change(options)

    def halt(self, is_halted: bool) -> None:
        """Whether nothing is asked for, as the crawl is paused or we leave. Who waits for
        his turn goes back then."""
        self.is_halted = is_halted
        if is_halted:
            for leave in list(self.leaving):
                leave()

    @property
    def is_full(self) -> bool:
        """Whether the callback is so far behind that nothing more should be fetched for it."""
        callbacks = self.reader.callbacks
        return callbacks is not None and callbacks.is_full

    async def find_address(self, host: str) -> str | None:
        """The first address of a host that is asked directly, None if it has none, or none was told
        in time. Whoever asks it then need not look for it any more."""
        resolver = self.fetcher.shared.resolver
        if resolver is None or not self.is_direct:
            return None
        if (literal := literal_address(host)) is not None:
            return literal
        found = resolver.cached(host)
        if found is None:
            found = await self._resolve(resolver, host)
        return found.addresses[0] if found is not None and found.addresses else None

    async def _resolve(self, resolver: Resolver, host: str) -> Addresses | None:
        heard: asyncio.Future[Addresses] = asyncio.get_running_loop().create_future()
        waiter = resolver.resolve(host, heard.set_result)
        try:
            async with asyncio.timeout(_NAMES):
                return await heard
        except TimeoutError:
            return None
        finally:
            waiter.cancel()
