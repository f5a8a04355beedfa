"""Harvests the sources whose turn it is, and puts what is new into the pool."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from math import inf
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from fetcher.errors import RedisAway
from pool.admission import admit
from pool.harvest import accounts
from pool.harvest.line import Line, Told
from pool.harvest.own_proxies import OwnProxies
from pool.harvest.pages import PAUSE, Fetch, Pages, SourceError, Unreached
from pool.harvest.plugins import Plugin, PluginError, run_plugin
from pool.model import Added, Candidate, Record, SourceAccount, Validators
from pool.rounds import Rounds
from pool.settings import Pool
from pool.source import Source
from pool.sources.found import Found
from pool.store import Sources, Store

logger = logging.getLogger(__name__)

ROUND: Final = 1.0  # seconds between looks at whose turn it is
CRAWLS: Final = 4  # plug-ins under way; each may take as long as its cycle
LEASE: Final = 60.0  # seconds after which others read what a process that was killed had begun
ASK: Final = 10.0  # seconds between looks at Redis whose turn a source is, at the most

# In this many of its turns a source may say that nothing has changed, before it is read in full:
# what it brought in may have left the pool.
_UNREAD: Final = 3

NO_LIMIT: Final = 1_000_000  # items of a plug-in, which may never end

AnySource = Source | Plugin


class Yield(msgspec.Struct, frozen=True):
    """What a source gave: proxies, how many more stand on pages that have not changed, and what
    went wrong. `pages`: what is to be remembered of its pages."""

    found: dict[str, Found]
    unchanged: int = 0
    error: str | None = None
    pages: dict[str, Validators] | None = None


class Harvester:
    """Keeps the pool supplied. Any number may run: each source is harvested by one of them.

    `fetch` is `Fetcher.fetch`. `pause`: seconds between two pages of a host.
    """

    def __init__(
        self,
        store: Store,
        sources: Sources,
        fetch: Fetch,
        pool: Pool,
        *,
        pause: float = PAUSE,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        plugins: Sequence[Plugin] = (),
    ) -> None:
        self._store = store
        self._sources = sources
        self._pages = Pages(fetch, pool.harvest, pause)
        self._pool = pool
        self._clock = clock
        self._now = now
        named = {source.name for source in pool.sources}
        self._all: list[AnySource] = [
            *(source for source in pool.sources if source.enabled),
            *(plugin for plugin in plugins if plugin.name not in named),
        ]
        self._line = Line(sum(isinstance(source, Source) for source in self._all))
        self._crawls = asyncio.Semaphore(CRAWLS)
        self._turns: dict[str, float] = {}  # name -> when to ask again whose turn it is
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._own = OwnProxies(store, pool, clock=clock, now=now)
        self._rounds = Rounds("harvesting", self._look, ROUND)

    # -- whose turn it is --------------------------------------------------------------------------

    async def run(self) -> None:
        try:
            await self._rounds.run()
        finally:
            await self._cancel()
            await self._pages.close()

    def stop(self) -> None:
        """`run` returns; what is under way is left to others."""
        self._rounds.stop()

    async def step(self) -> None:
        """One look, and the end of all that it began."""
        try:
            await self._look()
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)
            self._reap()
        finally:
            await self._cancel()
            await self._pages.close()

    async def _cancel(self) -> None:
        for task in self._under_way.values():
            task.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    async def _look(self) -> None:
        """The operator's own proxies, and the sources whose turn it is: no slow one holds up the
        next look. Raises RedisAway, also on behalf of those that it began earlier."""
        self._reap()
        await self._own.step()
        if not self._pool.harvest.enabled:
            return
        loop = asyncio.get_running_loop()
        for source in self._all:
            name = source.name
            if name not in self._under_way and self._clock() >= self._turns.get(name, -inf):
                self._under_way[name] = loop.create_task(self._take_turn(source))
        if self._under_way:
            await asyncio.wait(self._under_way.values(), timeout=ROUND)
            self._reap()  # now, so that a Redis that is away is not taken for one that is back

    def _reap(self) -> None:
        ended = [name for name, task in self._under_way.items() if task.done()]
        tasks = [self._under_way.pop(name) for name in ended]
        errors = [task.exception() for task in tasks if not task.cancelled()]
        for error in errors:
            if error is not None:
                raise error

    def _every(self, source: AnySource) -> float:
        own = source.every if isinstance(source, Source) else None
        return own or self._pool.harvest.cycle

    async def _take_turn(self, source: AnySource) -> None:
        name, every = source.name, self._every(source)
        # Another process may have had it long ago, or Redis have lost what it knew: ask more often
        # than it is due.
        self._turns[name] = self._clock() + min(every / 4, ASK)
        try:
            if not await self._sources.claim(name, LEASE, _version(source)):
                return
        except RedisAway:
            del self._turns[name]  # or Redis would seem to be back as nobody asks it
            raise
        try:
            account = await self._hold(name, self.harvest(source))
            if not account.paused_until:
                await self._sources.pause(name, every)
        except (RedisAway, asyncio.CancelledError):
            await self._hand_on(name)
            raise

    async def _hold(self, name: str, harvest: Coroutine[Any, Any, SourceAccount]) -> SourceAccount:
        """What `harvest` gives, while we keep the claim on it for as long as it takes."""
        task = asyncio.get_running_loop().create_task(harvest)
        try:
            while not (await asyncio.wait([task], timeout=LEASE / 3))[0]:
                await self._sources.renew(name, LEASE)
            return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _hand_on(self, name: str) -> None:
        try:
            await self._sources.give_back(name)
        except RedisAway:
            logger.debug("the claim on %s runs out by itself", name)

    # -- one source --------------------------------------------------------------------------------

    async def harvest(self, source: AnySource) -> SourceAccount:
        """Harvest one source now, whoever's turn it is; its account afterwards.

        What is wrong with the source stands in the account and the log. Raises RedisAway.
        """
        began, name, version = self._now(), source.name, _version(source)
        old = accounts.take_over(await self._sources.account(name), version)
        has_answered = isinstance(source, Source)
        try:
            account = await self._harvest(source, old)
        except RedisAway:
            raise
        except Exception as error:
            if not isinstance(error, SourceError | PluginError):
                logger.exception("source %s cannot be read", name)
            account = await self._fail(source, old, error, began)
            has_answered = isinstance(error, SourceError) and not isinstance(error, Unreached)
        if has_answered:
            account = replace(account, answered=self._now())
            self._tell(self._line.answer(account.answered))
        if account.paused_until:
            # For all processes, those that have just been started included.
            pause = account.paused_until - self._now()
            await self._sources.pause(name, pause, account.version)
        elif old.paused_until:
            logger.info("source %s yields again", name)
        account = replace(account, last_run=began, plugin=isinstance(source, Plugin))
        await self._sources.save(name, account)
        return account

    async def _fail(
        self, source: AnySource, old: SourceAccount, error: Exception, began: float
    ) -> SourceAccount:
        """A source that cannot be reached is not to blame while no other can be either."""
        name, words = source.name, str(error) or type(error).__name__
        is_unreached = isinstance(error, Unreached)
        known = await self._sources.accounts() if is_unreached else {}
        counts = not is_unreached or accounts.is_line_up(name, known)
        account = accounts.fail(
            old, words, counts=counts, every=self._every(source), now=self._now()
        )
        said = accounts.describe_failure(name, account)
        if not is_unreached:
            self._tell(Told((said,)) if said is not None else Told())
            return account
        logger.debug("source %s: %s", name, words)
        answered = max((one.answered for other, one in known.items() if other != name), default=0.0)
        if said is not None:
            self._tell(
                self._line.fail(name, said, words, began=began, answered=answered, now=self._now())
            )
        return account

    def _tell(self, told: Told) -> None:
        if told.up:
            logger.info("the sources can be reached again")
        for said in told.single:
            logger.warning("%s", said)
        if told.down is not None:
            logger.warning("%s", told.down)

    async def _harvest(self, source: AnySource, old: SourceAccount) -> SourceAccount:
        yielded = (
            await self._crawl(source) if isinstance(source, Plugin) else await self._read(source)
        )
        if not yielded.found:
            return accounts.stay(old, error=yielded.error, now=self._now())
        admitted = [one for one in yielded.found.values() if self._is_admitted(one)]
        added = await self._add(source, admitted)
        if added.full:
            logger.info("source %s: the pool is full, %d left out", source.name, added.full)
        if yielded.pages is not None:
            # What was left out is offered again.
            pages = {} if added.full else yielded.pages
            await self._sources.remember(source.name, pages, self._full_reading(source))
        logger.info("source %s: %d found, %d new", source.name, len(yielded.found), added.new)
        return accounts.succeed(
            old,
            found=len(yielded.found) + yielded.unchanged,
            new=added.new,
            refused=len(yielded.found) - len(admitted),
            error=yielded.error,
            now=self._now(),
        )

    async def _read(self, source: Source) -> Yield:
        """Raises SourceError if no page has proxies, new or unchanged."""
        known, pages = await self._remembered(source), dict[str, Validators]()
        found: dict[str, Found] = {}
        unchanged, now = 0, self._now()
        error: SourceError | None = None
        for url in source.urls(datetime.fromtimestamp(now, UTC)):
            key = self._page_key(source, url)
            try:
                page = await self._pages.read(source, url, known.get(key))
            except SourceError as problem:
                if error is None or not isinstance(problem, Unreached):
                    error = problem
                continue
            for one in page.found:
                found.setdefault(one.proxy.member, one)
            if page.validators is not None:
                pages[key] = page.validators
                if page.unchanged:
                    unchanged += page.validators.found
                else:
                    pages[key] = replace(page.validators, found=len(page.found), read=now)
        if error is not None and not found and not unchanged:
            raise error
        return Yield(found, unchanged, None if error is None else str(error), pages)

    async def _remembered(self, source: Source) -> dict[str, Validators]:
        """The validators to ask with; none while the pool has nothing, and none that are old."""
        known = await self._sources.validators(source.name)
        if known and not sum([await one.size() for one in self._store.sets]):
            return {}
        oldest = self._now() - self._full_reading(source)
        return {key: one for key, one in known.items() if one.read > oldest}

    def _full_reading(self, source: AnySource) -> float:
        """Seconds after which a page is read in full although it may not have changed."""
        return max(self._pool.tombstone, _UNREAD * self._every(source))

    def _page_key(self, source: Source, url: str) -> str:
        """Another one for whoever would take other proxies from the same page."""
        parts = (url, _version(source), self._pool.allow_private, self._pool.harvest.max_items)
        return blake2b(msgspec.json.encode(parts), digest_size=8).hexdigest()

    async def _crawl(self, plugin: Plugin) -> Yield:
        """Raises PluginError if it gives no proxy."""
        harvest = self._pool.harvest
        async with self._crawls:
            crawled = await run_plugin(
                plugin,
                seconds=harvest.cycle,
                limit=harvest.max_items or NO_LIMIT,
                size=harvest.max_bytes,
            )
        return Yield({one.proxy.member: one for one in crawled.found}, error=crawled.error)

    def _is_admitted(self, one: Found) -> bool:
        return admit(one.proxy, allow_private=self._pool.allow_private) is None

    async def _add(self, source: AnySource, found: list[Found]) -> Added:
        now = self._now()
        return await self._store.add(
            Candidate(one.proxy, Record(source=source.name, country=one.country, added=now))
            for one in found
        )


def _version(source: AnySource) -> str:
    return source.version if isinstance(source, Plugin) else accounts.build_version(source)
