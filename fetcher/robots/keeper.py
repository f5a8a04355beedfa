"""RobotsKeeper: fetches each origin's robots.txt once, however many tasks wait, and keeps it.

A driver: it starts fetches and reads the clock; what an answer means is decided in `robots`. Kept
in memory, per process, least recently used first out.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec

from fetcher.model import Cancellable, Fetch, Result, Task, Trust
from fetcher.robots.rules import (
    MAX_BYTES,
    Rules,
    is_exempt,
    read_answer,
    robots_url,
    unreachable,
)
from fetcher.route.route import Route
from fetcher.urls import loggable, origin_of

logger = logging.getLogger(__name__)

TIMEOUT: Final = 30.0  # seconds for the file, all hops and attempts: pyspider's
MAX_REDIRECTS: Final = 5  # RFC 9309 2.3.1.2

# Larger bodies are parsed in a thread. Parsing takes 0.1 to 0.7 us a byte, so this one 2 to 12 ms.
IN_THREAD: Final = 16_384

MAX_ORIGINS: Final = 10_000
MAX_WEIGHT: Final = 250_000  # rules in memory: some 100 MB if all origins are hostile

# Fetches under way above which one that nobody waits for any more is given up. Below, it goes on:
# the next task for its origin will need the answer.
MAX_UNATTENDED: Final = 1_000

_NO_RULES: Final = Rules(expires=0.0)  # of what no robots.txt has a say in

Key = tuple[tuple[str, str, int], Route, Trust, bool]


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants to fetch a page, and how: its robots.txt is fetched the same way."""

    user_agent: str  # the header, as `robots.user_agent_of` reads it
    route: Route
    trust: Trust = Trust.OPEN
    validate_cert: bool = True
    delay: float | None = None  # that its file's fetch keeps, as `Fetch.delay`
    timeout: float = TIMEOUT  # of its file's fetch


StartFetch = Callable[[Task, Callable[[Result], None], Trust, Route], Cancellable]


class Waiter:
    """One who asked. `done` is called once, later, from the loop, unless it was cancelled: with
    the verdict on that user agent, or with the rules if there is none."""

    __slots__ = ("asking", "done", "keeper", "url", "user_agent")

    def __init__(
        self,
        keeper: "RobotsKeeper",
        url: str,
        user_agent: str | None,
        done: Callable[[Any], None],
    ) -> None:
        self.keeper = keeper
        self.url = url
        self.user_agent = user_agent
        self.done: Callable[[Any], None] | None = done
        self.asking: _Asking | None = None

    def cancel(self) -> None:
        """Wait no more; the fetch goes on for the others. Harmless when it has ended."""
        self.done = None
        asking, self.asking = self.asking, None
        if asking is not None:
            self.keeper.leave(asking, self)

    def tell(self, answer: Any) -> None:
        done, self.done = self.done, None
        if done is not None:
            done(answer)


class _Asking:
    """One robots.txt under way: being fetched, then perhaps parsed in a thread."""

    __slots__ = ("fetch", "key", "url", "waiters")

    def __init__(self, key: Key, url: str) -> None:
        self.key = key
        self.url = url
        self.waiters: dict[Waiter, None] = {}  # in the order in which they came
        self.fetch: Cancellable | None = None

    def join(self, waiter: Waiter) -> None:
        self.waiters[waiter] = None
        waiter.asking = self


class RobotsKeeper:
    """`verdict` for what is known, `ask` otherwise; `known` and `ask_rules` for the rules.

    `fetch(task, done, trust, route)` starts one fetch as `Fetcher.run` does; its task never asks
    for a robots.txt itself. `ttl`: seconds for which an answer holds; 0 asks for it each time.
    """

    def __init__(
        self,
        fetch: StartFetch,
        *,
        ttl: float,
        clock: Callable[[], float] = time.monotonic,
        max_origins: int = MAX_ORIGINS,
        max_weight: int = MAX_WEIGHT,
        max_unattended: int = MAX_UNATTENDED,
    ) -> None:
        self.ttl = ttl
        self.max_origins = max_origins
        self.max_weight = max_weight
        self.max_unattended = max_unattended
        self.errors = 0  # exceptions of our own, each logged with its traceback
        self.weight = 0  # of all that is kept
        self._fetch = fetch
        self._clock = clock
        self._kept: OrderedDict[Key, Rules] = OrderedDict()
        self._asking: dict[Key, _Asking] = {}
        self._in_threads: set[asyncio.Future[Rules] | asyncio.Future[bool]] = set()

    def __len__(self) -> int:
        """Origins kept, counted once per way to reach them."""
        return len(self._kept)

    @property
    def in_flight(self) -> int:
        """Files being fetched or parsed."""
        return len(self._asking)

    def verdict(self, url: str, visitor: Visitor) -> bool | None:
        """Whether the fit URL may be fetched; None: `ask`. No I/O, under a millisecond."""
        if is_exempt(url):
            return True
        rules = self._fresh(_key(url, visitor))
        if rules is None or rules.is_dear(url):
            return None
        return rules.allows(url, visitor.user_agent)

    def ask(self, url: str, visitor: Visitor, done: Callable[[bool], None]) -> Waiter:
        """Have `done` called with the verdict, never before this returns."""
        waiter = Waiter(self, url, visitor.user_agent, done)
        self._find(waiter, visitor)
        return waiter

    def known(self, url: str, visitor: Visitor) -> Rules | None:
        """The rules for the fit URL's origin; None: `ask_rules`. No I/O.

        What they say of a URL for which they are dear is to be asked of them outside of the loop.
        """
        return _NO_RULES if is_exempt(url) else self._fresh(_key(url, visitor))

    def ask_rules(self, url: str, visitor: Visitor, done: Callable[[Rules], None]) -> Waiter:
        """Have `done` called with the rules, never before this returns."""
        waiter = Waiter(self, url, None, done)
        self._find(waiter, visitor)
        return waiter

    def forget(self, url: str, visitor: Visitor) -> None:
        """What is known for the fit URL's origin; the next who asks has it fetched anew."""
        key = _key(url, visitor)
        if key in self._kept:
            self._drop(key)

    def _find(self, waiter: Waiter, visitor: Visitor) -> None:
        """Have the waiter answered: from what is known, or when the file has come."""
        rules = self.known(waiter.url, visitor)
        if rules is not None:
            self._answer(waiter, rules)
            return
        key = _key(waiter.url, visitor)
        asking = self._asking.get(key)
        if asking is not None:
            asking.join(waiter)
            return
        task = _build_task(waiter.url, visitor)
        asking = self._asking[key] = _Asking(key, task.url)
        asking.join(waiter)
        asking.fetch = self._fetch(
            task, partial(self._answered, asking), visitor.trust, visitor.route
        )

    def leave(self, asking: _Asking, waiter: Waiter) -> None:
        """For `Waiter.cancel`."""
        asking.waiters.pop(waiter, None)
        if not asking.waiters and len(self._asking) > self.max_unattended:
            self._give_up(asking)

    def close(self) -> None:
        """Give up what is under way; whoever waits is told nothing more."""
        for asking in list(self._asking.values()):
            for waiter in asking.waiters:
                waiter.done = waiter.asking = None
            self._give_up(asking)

    def _answered(self, asking: _Asking, result: Result) -> None:
        if self._asking.get(asking.key) is not asking:
            return  # given up
        logger.debug(
            "%s: %d, %d bytes", loggable(asking.url), result.status_code, len(result.content)
        )
        read = partial(read_answer, result, self._clock(), self.ttl)
        if len(result.content) > IN_THREAD:
            future = asyncio.get_running_loop().run_in_executor(None, read)
            self._in_threads.add(future)
            future.add_done_callback(partial(self._read, asking))
        else:
            self._settle(asking, read())

    def _read(self, asking: _Asking, future: "asyncio.Future[Rules]") -> None:
        self._in_threads.discard(future)
        if self._asking.get(asking.key) is not asking or future.cancelled():
            return
        try:
            rules = future.result()
        except Exception:
            self.errors += 1
            logger.exception("%s could not be read", loggable(asking.url))
            rules = unreachable(self._clock(), self.ttl)
        self._settle(asking, rules)

    def _settle(self, asking: _Asking, rules: Rules) -> None:
        del self._asking[asking.key]
        self._keep(asking.key, rules)
        for waiter in asking.waiters:
            waiter.asking = None
            self._answer(waiter, rules)

    def _answer(self, waiter: Waiter, rules: Rules) -> None:
        loop = asyncio.get_running_loop()
        if waiter.user_agent is None:
            loop.call_soon(waiter.tell, rules)
            return
        judge = partial(rules.allows, waiter.url, waiter.user_agent)
        if not rules.is_dear(waiter.url):
            loop.call_soon(self._tell, waiter, judge)
            return
        future = loop.run_in_executor(None, judge)
        self._in_threads.add(future)
        future.add_done_callback(partial(self._judged, waiter))

    def _judged(self, waiter: Waiter, future: "asyncio.Future[bool]") -> None:
        self._in_threads.discard(future)
        if not future.cancelled():
            self._tell(waiter, future.result)

    def _tell(self, waiter: Waiter, judge: Callable[[], bool]) -> None:
        if waiter.done is None:
            return
        try:
            allowed = judge()
        except Exception:
            self.errors += 1
            logger.exception("no verdict on %s", loggable(waiter.url))
            allowed = False
        waiter.tell(allowed)

    def _give_up(self, asking: _Asking) -> None:
        del self._asking[asking.key]
        if asking.fetch is not None:
            asking.fetch.cancel()

    def _fresh(self, key: Key) -> Rules | None:
        rules = self._kept.get(key)
        if rules is None:
            return None
        if rules.expires <= self._clock():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return rules

    def _keep(self, key: Key, rules: Rules) -> None:
        if key in self._kept:
            self._drop(key)
        if rules.expires <= self._clock():
            return
        self._kept[key] = rules
        self.weight += rules.weight
        while len(self._kept) > self.max_origins or self.weight > self.max_weight:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        self.weight -= self._kept.pop(key).weight


def _key(url: str, visitor: Visitor) -> Key:
    # By trust as well: what a guarded task may not reach is no news about the site.
    return origin_of(url), visitor.route, visitor.trust, visitor.validate_cert


def _build_task(url: str, visitor: Visitor) -> Task:
    agent = visitor.user_agent.encode("utf-8", "surrogateescape")
    return Task(
        url=robots_url(url),
        fetch=Fetch(
            headers={"User-Agent": agent},
            timeout=visitor.timeout,
            max_redirects=MAX_REDIRECTS,
            max_body=MAX_BYTES + 1,  # one more shows whether the last line is whole
            validate_cert=visitor.validate_cert,
            delay=visitor.delay,
        ),
    )
