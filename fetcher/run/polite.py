"""Polite: one task's waits for the politeness clock, and what its answers tell the clock.

A driver: it asks the clock, and before it the resolver where the delay is one between requests to
an address. Made only for tasks that are to keep a delay.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

from fetcher.dns.cache import Addresses
from fetcher.dns.resolver import Resolver
from fetcher.errors import TaskError
from fetcher.guard import literal_address
from fetcher.model import Cancellable
from fetcher.politeness.backoff import (
    BLOCKING,
    MOST_CRAWL_DELAY,
    By,
    explain,
    key_of,
    parse_retry_after,
)
from fetcher.politeness.slots import Slot, Starts, Turn
from fetcher.run.shared import Shared
from fetcher.urls import origin_of

# Seconds after which a start that has not come is waited for. Others come at once, in the time that
# Redis takes to say so.
SOON: Final = 0.05


class Line(Protocol):
    """Who has started the task, and wants to know whether it waits."""

    patience: float  # seconds that it may wait at most

    def wait(self) -> None:
        """It waits for its start."""

    def begin(self, go: Callable[[], None]) -> None:
        """The wait is over: call `go`, at once or soon."""


class Polite:
    """`delay` seconds from start to start, by the clock of the host, the domain or the address.

    All waits together last at most `patience` seconds, or as long as the `line` has patience, which
    hears of those that are not short.
    """

    def __init__(
        self,
        clock: Starts,
        resolver: Resolver | None,
        *,
        delay: float,
        by: By,
        patience: float,
        line: Line | None = None,
    ) -> None:
        self.delay = delay
        self.left = patience if line is None else min(patience, line.patience)
        self._clock = clock
        self._resolver = resolver
        self._by = by
        self._line = line
        self._slot = Slot("", delay)
        self._started = 0.0  # by Redis' clock
        self._done: Callable[[str | None], None] | None = None
        self._waits_for: Cancellable | None = None
        self._soon: asyncio.Handle | None = None
        self._is_waiting = False  # the line has been told so

    def expect(self) -> None:
        """It is about to wait, for something that goes by the clock: the line may hear of it."""
        if self._line is not None and self._soon is None and not self._is_waiting:
            self._soon = asyncio.get_running_loop().call_later(SOON, self._say_waiting)

    def line_up(
        self,
        url: str,
        done: Callable[[str | None], None],
        *,
        is_direct: bool,
        crawl_delay: float | None = None,
    ) -> None:
        """Have `done` called when a request to `url` may start, with None, or with the sentence
        why it may not; later, and not if `cancel` was called. One at a time.

        `is_direct`: no proxy may be between, so that the host's address is the one that is asked.
        """
        self._done = done
        delay = max(self.delay, min(crawl_delay or 0.0, MOST_CRAWL_DELAY))
        host = origin_of(url)[1]
        self.expect()
        if self._by == "ip" and is_direct and self._resolver and not literal_address(host):
            self._waits_for = self._resolver.resolve(
                host, lambda answer: self._ask(Slot(_key(host, answer), delay))
            )
        else:
            self._ask(Slot(key_of(self._by, host), delay))

    def cancel(self) -> None:
        """Wait no more; harmless when the wait is over."""
        self._done = None
        if self._waits_for is not None:
            self._waits_for.cancel()
        self._stop_timing()

    def learn(self, status: int, retry_after: str | None) -> None:
        """An answer has come to the request that started last; a 429 or 503 blocks its host."""
        if status in BLOCKING:
            asked = parse_retry_after(retry_after, time.time())
            self._clock.block_soon(self._slot.key, retry_after=asked, started=self._started)

    def _ask(self, slot: Slot) -> None:
        self._slot = slot
        self._waits_for = self._clock.ask(slot, self._hear, patience=self.left)

    def _say_waiting(self) -> None:
        self._soon = None
        if self._line is not None:
            self._is_waiting = True
            self._line.wait()

    def _hear(self, turn: Turn) -> None:
        self._stop_timing()
        self._started = turn.at
        reason = None
        if not turn.granted:
            reason = explain(self._slot.key, self._slot.delay, until=turn.at, blocked=turn.blocked)
        if self._is_waiting and self._line is not None:
            self._is_waiting = False
            self._line.begin(lambda: self._go(reason))
        else:
            self._go(reason)

    def _go(self, reason: str | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(reason)

    def _stop_timing(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None


def build_polite(shared: Shared, delay: float, patience: float, line: Line | None) -> Polite:
    """For a task of the process that `shared` is of. Raises `TaskError` where there is no clock."""
    if shared.clock is None:
        raise TaskError(
            "fetch.delay: delays are kept in Redis, which this fetcher does not know: leave it out,"
            " give the task to the service, or take Fetcher.with_pool(redis=...)"
        )
    return Polite(
        shared.clock,
        shared.resolver,
        delay=delay,
        by=shared.policy.delay_by,
        patience=patience,
        line=line,
    )


def _key(host: str, answer: Addresses) -> str:
    address = answer.addresses[0] if answer.addresses else None  # the transfer will say why not
    return key_of("ip", host, address)
