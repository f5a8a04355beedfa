"""What real traffic through the pool's proxies shows, gathered until it is entered.

A decision module: answers and reports in, marks out. `now` counts seconds on any steady clock,
the same one throughout. Who waits for what:

    traffic -> weigh_traffic -> Evidence.note     no I/O, in the middle of a task
    report  -> weigh_report  -> Evidence.note
                                Evidence.take     once a second, by `reporter`, into Redis

Whose fault a failure is decides where it counts. The proxy's own counts in universal and for the
site. What may as well be the target's counts for the site only, and only if the same host answered
through another proxy within a minute, before or after; until then it waits here. And if more than a
few proxies fail at a host while it answers nobody, it is the host that was away, even though it has
answered before and will again.
"""

from collections import OrderedDict, deque
from enum import Enum
from typing import Final

import msgspec

from fetcher.errors import Outcome
from fetcher.model import Response
from fetcher.pattern import Pattern, compile_pattern
from fetcher.proxy import Proxy
from pool.check.rule import read_text
from pool.model import Effect, Kind, Record
from pool.settings import Site
from pool.sites import UNIVERSAL

WITHIN: Final = 60.0  # seconds between a failure and the answer that shows that the host is up

FEW: Final = 2  # proxies that fail in a row before the host is to blame

# Proxies with news between two hand-overs, failures that wait for an answer of their host, and
# hosts that answered lately. About 5 MB when all are full; what comes then is not gathered.
MOST: Final = 10_000

# Traffic puts a check off, but not for ever: only a check sees that the page is the real one.
LATEST: Final = 5  # check cycles after the last one


class Finding(Enum):
    """What one answer, failure or report shows of a proxy."""

    PROXY = "proxy"  # its own fault: not reached, 407, TLS or garbage instead of its protocol
    UNKNOWN = "unknown"  # something behind it, or it
    NONE = "none"  # nothing: client left, limits, guard, too little time
    BANNED = "banned"  # the site answered that it does not like it
    ANSWERED = "answered"  # an answer that no rule was held against
    GOOD = "good"  # the site's ban rule was held against an answer, which is no ban


class BanRule(msgspec.Struct, frozen=True):
    """What an answer looks like by which a site bans a proxy."""

    statuses: frozenset[int]
    body: Pattern | None


class Seen(msgspec.Struct, frozen=True):
    """One piece of evidence. `site` None: no site's. `host`: what answers or is down, a host."""

    proxy: Proxy
    site: str | None
    host: str
    finding: Finding


class Mark(msgspec.Struct, frozen=True):
    """What is gathered of a proxy on a site; it was seen at work unless that costs it a point."""

    site: str
    proxy: Proxy
    effect: Effect


class _Failure(msgspec.Struct, frozen=True):
    """When a proxy failed at a host, and whether that has cost it its point."""

    when: float
    counted: bool


# -- weighing --------------------------------------------------------------------------------------

_BEHIND: Final = frozenset({502, 503, 504})  # a proxy's own words, or the site's

# What clients may call an error. Every other text is a failure of which nobody is guilty for sure.
_REPORTED: Final = {
    Kind.REFUSED.value: Finding.PROXY,
    Kind.AUTH.value: Finding.PROXY,
    Kind.GARBAGE.value: Finding.PROXY,
    Kind.RULE.value: Finding.BANNED,
    Finding.BANNED.value: Finding.BANNED,
}


def build_ban_rule(site: Site) -> BanRule | None:
    """None if the site has no such rule, so that nothing is held against its answers."""
    if not site.ban.status and site.ban.body is None:
        return None
    body = compile_pattern(site.ban.body) if site.ban.body is not None else None
    return BanRule(frozenset(site.ban.status), body)


def weigh_traffic(response: Response, ban: BanRule | None) -> Finding:
    """What an attempt of a task shows, by the ban rule of the site it went to."""
    if response.outcome is Outcome.ANSWERED:
        return _weigh_answer(response, ban)
    if response.unproven:
        return Finding.NONE
    if response.outcome is Outcome.PATH:
        return Finding.UNKNOWN
    return Finding.PROXY if response.outcome is Outcome.PROXY else Finding.NONE


def _weigh_answer(response: Response, ban: BanRule | None) -> Finding:
    if response.stranger:
        return Finding.PROXY
    if not response.status:
        return Finding.ANSWERED  # through a tunnel, in which nobody has read it
    if ban is not None and _is_ban(response, ban):
        return Finding.BANNED
    if response.status in _BEHIND:
        return Finding.UNKNOWN
    return Finding.ANSWERED if ban is None else Finding.GOOD


def _is_ban(response: Response, ban: BanRule) -> bool:
    if response.status in ban.statuses:
        return True
    return ban.body is not None and ban.body.search(read_text(response))


def weigh_report(ok: bool, error: str) -> Finding:
    """What a client's report shows. A success lifts no score: no rule of ours was held to it."""
    if ok:
        return Finding.ANSWERED
    return _REPORTED.get(error.strip().lower(), Finding.UNKNOWN)


def put_off(record: Record, cycle: float, now: float) -> float:
    """Seconds from `now` (since the epoch) by which a proxy that was just seen need no check."""
    return max(min(cycle, record.checked + LATEST * cycle - now), 0.0)


# -- gathering -------------------------------------------------------------------------------------


class Evidence:
    """What was shown since the last `take`, a mark for each proxy and site; `most` of each kind."""

    def __init__(self, most: int = MOST) -> None:
        self.dropped = 0  # what came when there was no room
        self._most = most
        self._marks: dict[tuple[str, Proxy], Mark] = {}
        # host -> proxy -> when it answered: the last proxy, and the last one but it
        self._answers: OrderedDict[str, dict[Proxy, float]] = OrderedDict()
        # host -> those who failed there since its last answer; and the same in the order of time
        self._waiting: dict[str, dict[tuple[str, Proxy], _Failure]] = {}
        self._order: deque[tuple[float, str, str, Proxy]] = deque()

    def note(self, seen: Seen, now: float) -> None:
        site, proxy, finding = seen.site, seen.proxy, seen.finding
        if finding is Finding.PROXY:
            for name in {UNIVERSAL, site or UNIVERSAL}:
                self._mark(name, proxy, Effect.POINT)
        elif finding is Finding.UNKNOWN:
            if site is not None:
                self._doubt(seen.host, site, proxy, now)
        elif finding is not Finding.NONE:
            self._mark(UNIVERSAL, proxy, Effect.NONE)
            if site is not None:
                self._mark(site, proxy, _effect(finding, site))
            self._hear(seen.host, proxy, now)

    def _doubt(self, host: str, site: str, proxy: Proxy, now: float) -> None:
        if len(self._order) >= self._most:
            self.dropped += 1
            return
        waiting = self._waiting.setdefault(host, {})
        known = waiting.get((site, proxy))
        answers = self._answers.get(host, {})
        is_up = any(other != proxy and now - when <= WITHIN for other, when in answers.items())
        waiting[site, proxy] = _Failure(now, known is not None and known.counted)
        self._order.append((now, host, site, proxy))
        if is_up and len(waiting) <= FEW:
            waiting[site, proxy] = _Failure(now, counted=True)
            self._mark(site, proxy, Effect.POINT)

    def _hear(self, host: str, proxy: Proxy, now: float) -> None:
        """The host answered: the few who failed there before are to blame for it themselves."""
        known = self._answers.get(host)
        if known is None:
            known = self._answers[host] = {}
            if len(self._answers) > self._most:
                self._answers.popitem(last=False)
        else:
            self._answers.move_to_end(host)  # the newest host comes last
            known.pop(proxy, None)
            if len(known) > 1:
                del known[next(iter(known))]
        known[proxy] = now
        waiting = self._waiting.pop(host, None) if self._waiting else None
        if waiting is not None and len(waiting) <= FEW:
            for (site, other), failure in waiting.items():
                if other != proxy and not failure.counted and now - failure.when <= WITHIN:
                    self._mark(site, other, Effect.POINT)

    def _mark(self, site: str, proxy: Proxy, effect: Effect) -> None:
        """The last word on the score counts; who says nothing of it leaves it as it was."""
        known = self._marks.get((site, proxy))
        if known is None and len(self._marks) >= self._most:
            self.dropped += 1
        elif known is None or effect is not Effect.NONE:
            self._marks[site, proxy] = Mark(site, proxy, effect)

    def take(self, now: float) -> list[Mark]:
        """All marks, which are gone from here; what waited too long is forgotten."""
        marks = list(self._marks.values())
        self._marks.clear()
        while self._order and now - self._order[0][0] > WITHIN:
            when, host, site, proxy = self._order.popleft()
            waiting = self._waiting.get(host, {})
            failure = waiting.get((site, proxy))
            if failure is not None and failure.when == when:
                del waiting[site, proxy]
                if not waiting:
                    del self._waiting[host]
        while self._answers:
            host, known = next(iter(self._answers.items()))
            if now - max(known.values()) <= WITHIN:
                break
            del self._answers[host]
        return marks

    def give_back(self, marks: list[Mark]) -> None:
        """They could not be entered; newer ones stay as they are."""
        for mark in marks:
            if (mark.site, mark.proxy) not in self._marks:
                self._mark(mark.site, mark.proxy, mark.effect)


def _effect(finding: Finding, site: str) -> Effect:
    """What an answer does to the score on the site that it came from."""
    if finding is Finding.BANNED:
        return Effect.POINT
    # Universal rises by checks alone.
    is_lift = finding is Finding.GOOD and site != UNIVERSAL
    return Effect.LIFT if is_lift else Effect.NONE
