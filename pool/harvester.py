"""Fetches the sources, reads the proxies out of them, and puts the new ones into the pool."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from fetcher.errors import FetchpoolError
from fetcher.model import Result
from fetcher.proxy import parse_proxy
from fetcher.urls import loggable
from pool.admission import admit
from pool.model import Added, Candidate, Record, SourceAccount
from pool.plugins import Plugin, PluginError, run_plugin
from pool.rounds import Rounds
from pool.settings import Harvest, OwnProxy, Pool
from pool.sources.found import Found
from pool.sources.read import read
from pool.sources.source import Source
from pool.store import Sources, Store, StoreAway

logger = logging.getLogger(__name__)

Fetch = Callable[[dict[str, Any]], Awaitable[Result]]

AT_ONCE: Final = 8  # sources under way
ROUND: Final = 1.0  # seconds between looks at whose turn it is
IN_THREAD: Final = 262_144  # bytes; reading 10 MB takes a second


# So often in a row a source may yield nothing before it is paused: each time for twice as long,
# at most a day.
PATIENCE: Final = 3
LONGEST_PAUSE: Final = 86_400.0

NO_LIMIT: Final = 1_000_000  # items of a plug-in, which may never end

AnySource = Source | Plugin


def pause_of(every: float, failures: int) -> float:
    """Seconds between two readings of a source that has yielded nothing `failures` times."""
    doublings = max(failures - PATIENCE + 1, 0)
    return max(every, min(every * 2.0 ** min(doublings, 30), LONGEST_PAUSE))


class SourceError(FetchpoolError):
    """A source yielded nothing; the text says why."""


class Harvester:
    """Keeps the pool supplied. Any number may run: each source is harvested by one of them.

    `fetch` is `Fetcher.fetch`: it takes a pyspider task and gives a Result, whatever happens.
    """

    def __init__(
        self,
        store: Store,
        sources: Sources,
        fetch: Fetch,
        pool: Pool,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        plugins: Sequence[Plugin] = (),
    ) -> None:
        self._store = store
        self._sources = sources
        self._fetch = fetch
        self._pool = pool
        self._clock = clock
        self._now = now
        self._all: list[AnySource] = [*pool.sources, *plugins]
        self._failures: dict[str, int] = {}  # name -> in a row, as far as this process knows
        self._places = asyncio.Semaphore(AT_ONCE)
        self._turns: dict[str, float] = {}  # name -> when to ask again whose turn it is
        self._own_turn: float | None = None
        self._rounds = Rounds("harvesting", self.step, ROUND)

    async def run(self) -> None:
        await self._rounds.run()

    def stop(self) -> None:
        self._rounds.stop()

    async def step(self) -> None:
        """One look: the operator's own proxies, and the sources whose turn it is."""
        await self._add_own()
        if not self._pool.harvest.enabled:
            return
        due = [source for source in self._all if self._is_due(source)]
        ends = await asyncio.gather(
            *(self._take_turn(source) for source in due), return_exceptions=True
        )
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    def _is_due(self, source: AnySource) -> bool:
        is_on = isinstance(source, Plugin) or source.enabled
        return is_on and self._clock() >= self._turns.get(source.name, -inf)

    def _every(self, source: AnySource) -> float:
        """Seconds until it is asked again: ever more, while it yields nothing."""
        every = (isinstance(source, Source) and source.every) or self._pool.harvest.cycle
        return pause_of(every, self._failures.get(source.name, 0))

    async def _take_turn(self, source: AnySource) -> None:
        every = self._every(source)
        async with self._places:
            # Another process may have had it long ago: ask more often than it is due.
            self._turns[source.name] = self._clock() + min(every / 4, 10.0)
            if not await self._sources.claim(source.name, every):
                return
            try:
                await self.harvest(source)
            except (StoreAway, asyncio.CancelledError):
                await self._hand_on(source.name)
                raise
            self._turns[source.name] = self._clock() + self._every(source)

    async def _hand_on(self, name: str) -> None:
        try:
            await self._sources.give_back(name)
        except StoreAway:
            logger.debug("the claim on %s runs out by itself", name)

    async def harvest(self, source: AnySource) -> SourceAccount:
        """Harvest one source now, whoever's turn it is; its account afterwards.

        What is wrong with the source stands in the account and the log. Raises StoreAway.
        """
        began = self._now()
        old = await self._sources.account(source.name)
        try:
            account = await self._harvest(source, old)
        except StoreAway:
            raise
        except Exception as error:
            if not isinstance(error, SourceError | PluginError):
                logger.exception("source %s cannot be read", source.name)
            words = str(error) or type(error).__name__
            account = replace(
                old, last_error=words, consecutive_failures=old.consecutive_failures + 1
            )
            self._report_failure(source, words, account.consecutive_failures)
        self._failures[source.name] = account.consecutive_failures
        account = replace(account, last_run=began)
        await self._sources.save(source.name, account)
        return account

    def _report_failure(self, source: AnySource, words: str, failures: int) -> None:
        """Once when it begins to be paused; before that each time, and after that not again."""
        if failures < PATIENCE:
            logger.warning("source %s: %s", source.name, words)
        elif failures == PATIENCE:
            logger.warning(
                "source %s: %s; nothing for %d times: asked ever more seldom, at last once a day",
                source.name, words, failures,
            )  # fmt: skip

    async def _collect(self, source: AnySource) -> tuple[dict[str, Found], SourceError | None]:
        """Its proxies by member, and what was wrong with a part of it."""
        harvest = self._pool.harvest
        found: dict[str, Found] = {}
        error = None
        if isinstance(source, Plugin):
            limit = harvest.max_items or NO_LIMIT
            for one in await run_plugin(source, seconds=harvest.timeout, limit=limit):
                found.setdefault(one.proxy.member, one)
            return found, None
        for url in source.urls(datetime.fromtimestamp(self._now(), UTC)):
            try:
                for one in await read_url(self._fetch, source, url, harvest):
                    found.setdefault(one.proxy.member, one)
            except SourceError as problem:
                error = problem
        if error is not None and not found:
            raise error
        return found, error

    async def _harvest(self, source: AnySource, old: SourceAccount) -> SourceAccount:
        found, error = await self._collect(source)
        admitted = [one for one in found.values() if self._is_admitted(one)]
        added = await self._add(source, admitted)
        if added.full:
            logger.info("source %s: the pool is full, %d left out", source.name, added.full)
        logger.info("source %s: %d found, %d new", source.name, len(found), added.new)
        return SourceAccount(
            found=len(found),
            new=added.new,
            refused=len(found) - len(admitted),
            last_success=self._now(),
            last_error=None if error is None else str(error),
            total_new=old.total_new + added.new,
        )

    def _is_admitted(self, one: Found) -> bool:
        return admit(one.proxy, allow_private=self._pool.allow_private) is None

    async def _add(self, source: AnySource, found: list[Found]) -> Added:
        now = self._now()
        return await self._store.add(
            Candidate(one.proxy, Record(source=source.name, country=one.country, added=now))
            for one in found
        )

    async def _add_own(self) -> None:
        """The proxies of the settings: trusted, never refused, and put back if they were lost."""
        if self._own_turn is not None and self._clock() < self._own_turn:
            return
        now = self._now()
        candidates, expired = [], []
        for given in self._pool.proxies:
            own = OwnProxy(url=given) if isinstance(given, str) else given
            proxy = parse_proxy(own.url)
            if own.expires is not None and own.expires.timestamp() <= now:
                expired.append(proxy.member)
                continue
            record = Record(
                source="settings",
                own=True,
                never_check=own.never_check,
                country=own.country,
                added=now,
            )
            candidates.append(Candidate(proxy, record))
        if candidates:
            await self._store.add(candidates, operator=True)
        if expired and await self._store.remove(expired):
            logger.warning("%d of the proxies in pool.proxies have expired", len(expired))
        self._own_turn = self._clock() + self._pool.harvest.cycle


async def read_url(fetch: Fetch, source: Source, url: str, harvest: Harvest) -> list[Found]:
    """The proxies that one URL of a source lists now. Raises SourceError if there are none."""
    result = await fetch(_build_task(source, url, harvest))
    if result.error is not msgspec.UNSET or not 200 <= result.status_code < 300:
        reason = result.error or f"HTTP {result.status_code}"
        raise SourceError(f"{loggable(url)}: {reason}")
    content_type = _find_header(result.headers, "content-type")
    body, limit = result.content, harvest.max_items or len(result.content)
    if len(body) > IN_THREAD:
        found = await asyncio.to_thread(read, source, body, content_type, limit)
    else:
        found = read(source, body, content_type, limit)
    if not found:
        kind = content_type or "an unknown type"
        raise SourceError(f"{loggable(url)}: no proxy in {len(body)} bytes of {kind}")
    return found


def _build_task(source: Source, url: str, harvest: Harvest) -> dict[str, Any]:
    fetch: dict[str, Any] = {
        "method": source.method,
        "headers": source.headers,
        "timeout": harvest.timeout,
        # Lists are the operator's choice, and a pool that is empty could never be filled.
        "proxy": "env",
    }
    if harvest.max_bytes:
        fetch["max_body"] = harvest.max_bytes
    if source.body is not None:
        fetch["data"] = source.body
    return {"taskid": f"source {source.name}", "project": "pool", "url": url, "fetch": fetch}


def _find_header(headers: dict[str, str], name: str) -> str:
    return next((value for key, value in headers.items() if key.lower() == name), "")
