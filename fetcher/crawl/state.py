"""How a crawl stands: what of it changes while it runs, and the sentences that say so.

A decision module: `now` and the zone that times are shown in are arguments.
"""

from collections import deque
from collections.abc import Sequence
from datetime import tzinfo
from typing import Final, Literal

import msgspec

from fetcher.crawl.model import Counts
from fetcher.crawl.units import show_count, show_time

Phase = Literal["running", "paused", "finished", "limited", "stopped", "failed"]

ENDED: Final = ("finished", "limited", "stopped", "failed")
PERIOD: Final = 30.0  # seconds over which the pace is taken
FETCHING: Final = "fetching"  # what `describe` says while nothing else is to be said


class Waiting(msgspec.Struct, frozen=True):
    """A host that is not asked before `until` (seconds since 1970), whatever lies queued of it."""

    host: str
    until: float
    reason: str = ""  # such as "429", "robots.txt answered 503"
    urls: int = 0  # that are queued


class State(msgspec.Struct, kw_only=True):
    """A crawl over all its processes; seconds since 1970 by Redis' clock, 0 for "not yet"."""

    name: str
    phase: Phase = "running"
    reason: str = ""  # of `limited` (that of pages is "limit") and `failed`
    counts: Counts = msgspec.field(default_factory=Counts)
    processes: int = 0  # alive
    waiting: Sequence[Waiting] = ()  # some of them, the first to go on first
    waiting_hosts: int = 0  # all of them
    rate: float = 0.0  # pages a second, of late
    limit: int = 0  # pages; 0 is none
    started: float = 0.0
    ended: float = 0.0


class Pace:
    """Pages a second over the last `PERIOD`, from totals as they come."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, now: float, total: int) -> float:
        """The rate with `total` pages at `now`; 0 until there are two different times."""
        seen = self._seen
        seen.append((now, total))
        # One stays that is as old as the period, so that the rate is over all of it.
        while len(seen) > 2 and seen[1][0] <= now - PERIOD:
            seen.popleft()
        then, before = seen[0]
        return max(0.0, (total - before) / (now - then)) if now > then else 0.0


def estimate_rest(state: State) -> float | None:
    """Seconds until all that is known by now is done, None if nothing tells.

    A crawl that follows links finds more, so it is the least that it can be.
    """
    counts = state.counts
    rest = counts.queued + counts.running
    if state.limit:
        rest = min(rest, max(0, state.limit - counts.done))
    if state.phase != "running" or state.rate <= 0 or not rest:
        return None
    return rest / state.rate


def describe(state: State, now: float, zone: tzinfo) -> str:
    """A sentence without its full stop: what it does now, or why it does nothing."""
    name = state.name
    match state.phase:
        case "finished":
            return "finished"
        case "limited":
            return f"stopped by a limit{_because(state)}"
        case "stopped":
            return f"stopped by hand: `crawl --resume {name}` goes on"
        case "failed":
            return f"failed{_because(state)}"
        case "paused":
            return f"paused: `crawls continue {name}` goes on"
    return _describe_run(state, now, zone)


def _describe_run(state: State, now: float, zone: tzinfo) -> str:
    if not state.processes:
        return f"no process works on it: `crawl --resume {state.name}` goes on"
    hosts = max(state.waiting_hosts, len(state.waiting))
    if not hosts or not state.waiting:
        # Between two starts at the hosts that there are, nothing may be under way.
        counts = state.counts
        return FETCHING if counts.running or counts.queued else "reading the sources"
    first = state.waiting[0]
    until = show_time(first.until, now, zone)
    if state.counts.running:
        return f"{FETCHING}; {_wait(hosts)}{', the first' if hosts > 1 else ''} until {until}"
    if hosts == 1:
        return f"waiting for {first.host} until {until}" + (
            f": {first.reason}" if first.reason else ""
        )
    last = state.waiting[-1].until
    if hosts == len(state.waiting) and show_time(last, now, zone) == until:
        return f"waiting for {show_count(hosts)} hosts until {until}"
    return f"waiting for {show_count(hosts)} hosts, the first until {until}"


def _wait(hosts: int) -> str:
    return _many(hosts, "host waits", "hosts wait")


def _many(number: int, one: str, more: str) -> str:
    return f"{show_count(number)} {one if number == 1 else more}"


def _because(state: State) -> str:
    if state.reason == "limit":
        return f": --limit {state.limit}"
    return f": {state.reason}" if state.reason else ""


def explain_rest(state: State, now: float, zone: tzinfo) -> list[str]:
    """Why a crawl that has not ended has not: a sentence for each thing that it waits for."""
    if state.phase in ENDED:
        return []
    counts = state.counts
    lines = [
        sentence
        for number, sentence in (
            (counts.running, _many(counts.running, "page is", "pages are") + " under way"),
            (counts.queued, _many(counts.queued, "URL is", "URLs are") + " queued on"
             f" {_many(counts.hosts, 'host', 'hosts')}"),
        )
        if number
    ]  # fmt: skip
    for one in state.waiting:
        urls = f", {_many(one.urls, 'URL', 'URLs')}" if one.urls else ""
        reason = f": {one.reason}" if one.reason else ""
        lines.append(f"{one.host} waits until {show_time(one.until, now, zone)}{urls}{reason}")
    more = state.waiting_hosts - len(state.waiting)
    if more > 0:
        lines.append(f"and {_many(more, 'more host waits', 'more hosts wait')}")
    return lines
