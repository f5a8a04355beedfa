"""Visit: one URL's way through a process of the crawl, from its lease to what became of it.

A driver, to be read from top to bottom: the cache, robots.txt, the clock, the fetch, the decision,
the reading. It stores nothing: what came of it stands in `Ended`, for the lane to put away.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from fetcher.client.coding import OFFERED
from fetcher.crawl.canonical import canonical, host_of
from fetcher.crawl.collector import Collector
from fetcher.crawl.decide import Answer, Decision, decide, decide_without_robots
from fetcher.crawl.freshness import Cached
from fetcher.crawl.frontier.frontier import Arrival, Lease, Outcome
from fetcher.crawl.life import SKIPPED, Life, encode_life, life_field
from fetcher.crawl.means import Means
from fetcher.crawl.model import Flag, Item, Page, Try, Visited, short_parent, url_id
from fetcher.crawl.prepare import prepare
from fetcher.crawl.scope import prefix_of
from fetcher.crawl.wire import as_it_came, request_head
from fetcher.errors import Code, RedisAway, TaskError
from fetcher.guard import is_public, refusal
from fetcher.head import field
from fetcher.model import Cancellable, Fetch, Response, Result, Task, Trust
from fetcher.politeness.backoff import MOST_CRAWL_DELAY, key_of, parse_retry_after
from fetcher.politeness.slots import Slot, Turn
from fetcher.robots.keeper import TIMEOUT, Visitor
from fetcher.robots.rules import Rules, robots_url
from fetcher.run.path import Ending, Fetching
from fetcher.run.terms import Terms
from fetcher.urls import join_location, loggable

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LISTS: Final = Flag.SITEMAP | Flag.ROBOTS | Flag.LIST

# A page at whose fetch so many processes have died is not given to another one.
DEADLY: Final = 20

# Seconds that a URL waits here for its start; one that has to wait longer goes back.
PATIENCE: Final = 2.0

# Characters of a robots.txt that is kept for the audit; few are longer.
MOST_TEXT: Final = 65_536

# Seconds until a URL is taken again whose visit Redis' absence has ended.
_PAUSE: Final = 1.0

_TRIES_KEPT: Final = 5
_TOO_LARGE: Final = Decision(
    what="f", reached=True, reason="the body is larger than fetcher.max_body"
)
_NOT_NOW: Final = Turn(granted=False, wait=0.0, at=0.0, blocked=False)


class Ended(msgspec.Struct, kw_only=True):
    """What came of a visit."""

    outcome: Outcome
    page: Page | None = None  # to be written
    arrivals: list[Arrival] = []
    counts: dict[str, int] = {}
    tally: dict[str, int] = {}
    lives: list[tuple[str, bytes, bytes]] = []


class _Over(Exception):
    """The visit is over before anything was fetched."""

    def __init__(self, decision: Decision, line: str = "") -> None:
        self.decision = decision
        self.line = line


class Visit:
    """One of `lease`, which is awaited once."""

    def __init__(self, means: Means, lease: Lease) -> None:
        self.means = means
        self.lease = lease
        self.item = lease.item
        self.trust = Trust.GUARDED if self.item.flags & Flag.GUARDED else Trust.OPEN
        self.delay = max(means.options.delay, lease.delay)
        self.key = ""  # of the clock
        self.started = 0.0  # by Redis' clock
        self.rules: Rules | None = None
        self.ended = Ended(outcome=Outcome(lease=lease, what="b"))

    async def run(self) -> Ended:
        """What became of it. Raises nothing; cancelling it ends what is under way."""
        try:
            await self._go()
        except _Over as over:
            self._end_early(over.decision, over.line)
        except RedisAway as error:
            logger.debug("%s goes back: %s", loggable(self.item.url), error)
            self._go_back()
        except Exception as error:
            logger.exception("a visit to %s failed", loggable(self.item.url))
            self._end_early(Decision(what="f", reason=f"{type(error).__name__}: {error}"))
        return self.ended

    async def _go(self) -> None:
        self._look_again()
        if self.lease.recovered >= DEADLY:
            times = self.lease.recovered
            reason = f"given up: {times} processes have died while they fetched it"
            raise _Over(Decision(what="f", reason=reason))
        cached = await self._ask_cache()
        if cached is not None and cached.is_fresh(time.time(), self.means.options.cache or 0.0):
            guards = self._is_from_public(await self.means.find_address(self.lease.host) or "")
            await self._end_cached(cached, Decision(what="d"), guards=guards)
            return
        await self._pass_robots()
        fetching, result, body = await self._fetch(cached)
        await self._decide(fetching, result, body, cached)

    def _look_again(self) -> None:
        """Whether it is wanted now: a source's URL may be excluded, and one that was queued, or has
        waited, before `crawls set` or `crawls pause`."""
        if self.means.is_halted:
            raise _Over(Decision(what="b"))
        excluded = self.means.reader.rules.judge(self.item.url, depth=0, parent="")
        if excluded is not None:
            raise _Over(Decision(what="s", reason=excluded))

    # 1. What the cache has.

    async def _ask_cache(self) -> Cached | None:
        cache = self.means.cache
        if cache is None or self.item.flags & _LISTS:
            return None
        return await cache.get(self.item.url)

    # 2. robots.txt: known, or fetched, which is a start of its own.

    async def _pass_robots(self) -> None:
        means, url, item = self.means, self.item.url, self.item
        if not means.options.robots or item.flags & Flag.ROBOTS:
            return
        visitor = Visitor(
            user_agent=means.user_agent,
            route=means.route,
            trust=self.trust,
            timeout=min(means.options.timeout or TIMEOUT, TIMEOUT),
        )
        rules = means.robots.known(url, visitor)
        if rules is None:
            rules = await self._ask_rules(url, visitor)
            self._keep_text(rules)
        if rules.is_unreachable:
            if rules.is_silent:
                means.robots.forget(url, visitor)  # the next attempt is one
            raise _Over(
                decide_without_robots(
                    attempt=item.attempt,
                    is_silent=rules.is_silent,
                    retries=means.options.retries,
                )
            )
        is_dear = rules.is_dear(url)
        agent = means.user_agent
        allows = await asyncio.to_thread(rules.allows, url, agent) if is_dear else None
        if not (rules.allows(url, agent) if allows is None else allows):
            line = await asyncio.to_thread(rules.deciding_line, url, agent)
            raise _Over(Decision(what="s", reason="robots"), line)
        self.rules = rules
        self._keep_delay(rules.crawl_delay(agent))

    async def _ask_rules(self, url: str, visitor: Visitor) -> Rules:
        heard: asyncio.Future[Rules] = _future()
        waiters: list[Cancellable] = []

        def begin() -> None:
            waiters.append(self.means.robots.ask_rules(url, visitor, heard.set_result))

        await self._wait_for_start(begin)
        try:
            return await heard
        finally:
            for waiter in waiters:
                waiter.cancel()

    def _keep_text(self, rules: Rules) -> None:
        """For the audit, that can say later what the file of then allowed."""
        if rules.digest and 0 < len(rules.text) <= MOST_TEXT:
            field_ = f"{robots_url(self.item.url)} {rules.digest}".encode()
            self.ended.lives.append(("robots", field_, rules.text.encode()))

    def _keep_delay(self, asked: float | None) -> None:
        """What robots.txt asks for counts if it is longer, and is remembered for the host."""
        if asked is None or asked <= self.means.options.delay:
            return
        if asked > MOST_CRAWL_DELAY:
            self._count_tally("clamped")
        self.delay = min(asked, MOST_CRAWL_DELAY)
        if self.delay != self.lease.delay:
            self.ended.lives.append(("delays", self.lease.host.encode(), b"%g" % self.delay))

    # 3. The clock.

    async def _wait_for_start(self, begin: Callable[[], None]) -> None:
        """Have the clock say when, and `begin` in that very moment: in a turn of the loop in which
        a hundred visits go on, the last would be late."""
        means, host = self.means, self.lease.host
        by = means.options.polite
        # Looked up before, it is no part of the time between the clock and the request.
        address = await means.find_address(host) if by == "ip" or self.delay else None
        self.key = key_of(by, host, address)
        heard: asyncio.Future[Turn] = _future()

        def hear(turn: Turn) -> None:
            if heard.done():
                return
            try:
                if turn.granted:
                    self._look_again()
                    self.started = turn.at
                    begin()
                heard.set_result(turn)
            except Exception as error:  # noqa: BLE001 - raised where it is awaited
                heard.set_exception(error)

        patience = max(PATIENCE, 2 * self.delay)

        def leave() -> None:
            hear(_NOT_NOW)

        asking = means.clock.ask(Slot(self.key, self.delay), hear, patience=patience)
        means.waiting += 1
        means.leaving.add(leave)
        try:
            turn = await heard
        finally:
            means.waiting -= 1
            means.leaving.discard(leave)
            asking.cancel()
        if not turn.granted:
            raise _Over(Decision(what="b", due=max(turn.wait, 0.05)))

    # 4. The fetch: one request, whose redirect is a URL of its own.

    async def _fetch(self, cached: Cached | None) -> tuple[Fetching, Result, bytes]:
        means = self.means
        heard: asyncio.Future[tuple[Fetching, Result]] = _future()

        def done(fetching: Fetching, result: Result) -> None:
            if not heard.done():
                heard.set_result((fetching, result))

        def exceed() -> None:
            if not heard.done():
                heard.set_exception(_Over(_TOO_LARGE))

        collector = Collector(means.most_body, exceed) if means.archives else None
        task = Task(url=self.item.url, fetch=self._build_fetch(cached))
        plan = means.plan if task.fetch is means.fetch else None
        begun: list[Fetching] = []

        def begin() -> None:
            fetching = means.fetcher.run(
                task,
                done,
                trust=self.trust,
                route=means.route,
                terms=Terms(
                    receiver=collector, takes=OFFERED if collector is not None else "", plan=plan
                ),
            )
            begun.append(fetching)

        try:
            await self._wait_for_start(begin)
            fetching, result = await heard
        except BaseException:
            for fetching in begun:
                fetching.cancel()
            raise
        if fetching.ending is Ending.NOT_ENABLED:
            raise _Over(Decision(what="s", reason="render"))
        if collector is None or not collector.has_begun:
            # What goes to a receiver has no limit, also where it is short and comes whole.
            if means.archives and 0 < means.most_body < len(result.content):
                raise _Over(_TOO_LARGE)
            return fetching, result, result.content
        return fetching, result, collector.body

    def _build_fetch(self, cached: Cached | None) -> Fetch:
        fetch = self.means.fetch
        if self.means.options.render and self.item.flags & _LISTS:
            fetch = replace(fetch, fetch_type=None)  # it is read as it is
        if self.item.cookies:
            fetch = replace(fetch, cookies=dict(self.item.cookies))
        if cached is not None:
            fetch = replace(
                fetch, etag=cached.etag or False, last_modified=cached.last_modified or False
            )
        return fetch

    # 5. What it means.

    async def _decide(
        self, fetching: Fetching, result: Result, body: bytes, cached: Cached | None
    ) -> None:
        item, response = self.item, fetching.response
        answer = self._read_answer(fetching, result)
        decision = decide(
            answer,
            url=item.url,
            attempt=item.attempt,
            hops=item.hops,
            retries=0 if _is_too_large(response) else self.means.options.retries,
        )
        if decision.blocks:
            await self._block(result.headers.get("Retry-After"))
        outcome = answer.reason if answer.status == 599 else str(answer.status)
        self._note_try(outcome, result.time, result.proxy)
        guards = self._is_from_public(response.address if response is not None else "")
        if decision.what == "m":
            self._follow(answer.location, result, guards)
        elif decision.what == "r" and answer.location:
            item.url = answer.location  # perhaps in another spelling
            item.hops += 1
            item.attempt -= 1  # it has not failed
            item.cookies = {**item.cookies, **result.cookies}
        if decision.what == "f":
            page = self._build_page(fetching, result, b"")
            page.error = decision.reason
            self._end(decision, page=page)
        elif decision.what != "d":
            self._end(decision)
        elif answer.status == 304 and cached is not None:
            if self.means.cache is not None:
                await self.means.cache.renew(item.url, time.time())
            await self._end_cached(cached, decision, guards=guards)
        else:
            page = self._build_page(fetching, result, body)
            await self._end_page(page, decision, guards=guards)
            if self.means.cache is not None:
                await self.means.cache.put(page, time.time())

    def _read_answer(self, fetching: Fetching, result: Result) -> Answer:
        response, status = fetching.response, 599
        location = ""
        if fetching.ending is Ending.ANSWERED:
            status = result.status_code
            if response is not None and 300 < status < 309:
                location = self._location(response)
        error = result.error if isinstance(result.error, str) else ""
        given = self.item.cookies
        return Answer(
            status=status,
            reason=error.removeprefix("HTTP 599: "),
            location=location,
            was_refused=fetching.ending is Ending.REFUSED,
            is_ours=fetching.ending in (Ending.NO_PROXY, Ending.BAD_TASK, Ending.BUG)
            or _is_too_large(response),
            cookies_changed=any(given.get(name) != one for name, one in result.cookies.items()),
        )

    def _location(self, response: Response) -> str:
        given = field(response.head, b"location")
        if given is None:
            return ""
        try:
            return canonical(join_location(self.item.url, given))
        except TaskError:
            return ""  # then it is a page like others

    async def _block(self, retry_after: str | None) -> None:
        try:
            asked = parse_retry_after(retry_after, self.started)
            await self.means.clock.block(
                self.key, retry_after=asked, started=self.started, draw=random.random()
            )
        except RedisAway as error:
            logger.warning("%s could not be blocked: %s", self.key, error)

    def _note_try(self, outcome: str, seconds: float = 0.0, proxy: str | None = None) -> None:
        tries = self.item.tries[1 - _TRIES_KEPT :]
        one = Try(round(self.started, 3), outcome[:200], round(seconds, 3), _shown(proxy))
        self.item.tries = [*tries, one]

    def _is_from_public(self, address: str) -> bool:
        """Whether what this page names must lead to public addresses: see `guard.next_trust`.
        `address` is the one that it came from, "" if that is not known."""
        if self.trust is Trust.GUARDED:
            return True
        if self.means.trusts_all:
            return False
        if self.means.is_direct and address:
            return is_public(address)
        return refusal(self.lease.host) is None

    def _follow(self, location: str, result: Result, guards: bool) -> None:
        """A redirect's target is a URL like others, as deep as the one that led there."""
        item, host = self.item, host_of(location)
        self._count("redirects")
        parent = "" if item.flags & Flag.SEED else item.url
        reason = self.means.reader.rules.judge(location, depth=self.lease.depth, parent=parent)
        if reason is not None:
            self._skip(location, reason)
            return
        target = Item(
            url=location,
            parent=short_parent(item.parent_url, location),
            flags=item.flags | (Flag.GUARDED if guards else 0),
            hops=item.hops + 1,
            first=item.first or item.url,
            cookies={**item.cookies, **result.cookies} if host == self.lease.host else {},
        )
        self.ended.arrivals.append(Arrival(url_id(location), host, self.lease.depth, target))
        is_page = item.flags & Flag.SEED and not item.flags & _LISTS
        if is_page and self.means.options.scope == "prefix":
            self.ended.lives.append(("scopes", prefix_of(location).encode(), b""))

    # 6. The page: read, followed, shown to the callback.

    async def _end_page(self, page: Page, decision: Decision, *, guards: bool) -> None:
        means, item = self.means, self.item
        await prepare(page, means.most_body)
        kind = means.lists.kind(item, page)
        if kind:
            depth = self.lease.depth
            number = await means.lists.read(kind, page, item, depth, guards=guards)
            self._end(Decision(what="m", reached=True, reason=f"{kind}, {number} URLs"))
            return
        found = await means.reader.read(page, item, self.lease.depth, guards=guards)
        ended = self.ended
        ended.arrivals += found.arrivals
        ended.lives += found.skips
        for name, by in found.counts.items():
            self._count(name, by)
        for name, by in found.tally.items():
            self._count_tally(name, by)
        self._end(decision, page=page)

    async def _end_cached(self, cached: Cached, decision: Decision, *, guards: bool) -> None:
        self._count("revisits")
        page = cached.page(self._visited())
        await self._end_page(page, decision, guards=guards)

    def _build_page(self, fetching: Fetching, result: Result, body: bytes) -> Page:
        page = Page(
            visited=self._visited(),
            status_code=result.status_code,
            headers=result.headers,
            cookies=result.cookies,
            body=body,
            error=result.error if isinstance(result.error, str) else None,
            time=result.time,
            proxy=_shown(result.proxy),
            attempts=self.item.attempt + 1,
        )
        if result.rendered is not UNSET:
            page.rendered, page.base = result.rendered, result.url if result.rendered else ""
        response = fetching.response
        if response is not None:
            page.address = response.address if self.means.is_direct else ""
            page.head = as_it_came(response.head, response.undone)
            if self.means.archives:
                page.request = request_head(fetching.request)
        return page

    def _visited(self) -> Visited:
        item = self.item
        return Visited(
            url=item.url,
            depth=self.lease.depth,
            parent=item.parent_url,
            first=item.first,
            started=self.started,
            delay=self.delay,
            polite=self.key,
            robots=self.rules.digest if self.rules is not None else "",
        )

    # 7. The end, in one place.

    def _end_early(self, decision: Decision, line: str = "") -> None:
        """Without an answer. What failed for good is told in the output as well."""
        if decision.reached is not None:
            self._note_try(decision.reason)
        page = None
        if decision.what == "f":
            page = Page(
                visited=self._visited(),
                status_code=599,
                error=decision.reason,
                attempts=self.item.attempt + 1,
            )
        self._end(decision, page=page, line=line)

    def _go_back(self) -> None:
        """As if nothing had been; what was read is read again."""
        self.ended = Ended(outcome=Outcome(lease=self.lease, what="b", due=_PAUSE))

    def _end(self, decision: Decision, *, page: Page | None = None, line: str = "") -> None:
        ended, item, what = self.ended, self.item, decision.what
        ended.page = page
        ended.outcome = Outcome(
            lease=self.lease, what=what, reached=decision.reached, due=decision.due
        )
        if what == "r":
            item.attempt += 1
            ended.outcome.item = item
        if what in ("r", "b"):
            return
        if what == SKIPPED:
            self._count_tally(f"skip:{decision.reason}")
        if page is not None:
            self._count("bytes", len(page.body) if page.is_new else 0)
        life = Life(
            url=item.url,
            parent=item.parent_url,
            depth=self.lease.depth,
            fate=what,
            reason=decision.reason,
            line=line,
            tries=item.tries,
        )
        ended.lives.append(("lives", life_field(url_id(item.url)), encode_life(life)))

    def _skip(self, url: str, reason: str) -> None:
        self._count("skipped")
        self._count_tally(f"skip:{reason}")
        life = Life(url, self.item.url, self.lease.depth, SKIPPED, reason)
        self.ended.lives.append(("skips", life_field(url_id(url)), encode_life(life)))

    def _count(self, name: str, by: int = 1) -> None:
        self.ended.counts[name] = self.ended.counts.get(name, 0) + by

    def _count_tally(self, name: str, by: int = 1) -> None:
        self.ended.tally[name] = self.ended.tally.get(name, 0) + by


def _future() -> "asyncio.Future[T]":
    return asyncio.get_running_loop().create_future()


def _is_too_large(response: Response | None) -> bool:
    return response is not None and response.code == Code.FILESIZE_EXCEEDED


def _shown(proxy: str | None) -> str | None:
    """A proxy without its credentials."""
    return loggable(proxy) if proxy is not None else None
