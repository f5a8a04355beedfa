"""The pool as callers are shown it: a proxy's fields, a page of proxies, the pool in numbers.

A decision module. No credentials come out of here, but for those of a proxy that was asked for
to be used (`describe_to_use`).
"""

from itertools import islice
from typing import Any, Final

import msgspec

from fetcher.errors import FetchpoolError
from pool.model import Entry
from pool.settings import Score
from pool.snapshot.filters import Filters
from pool.snapshot.snapshot import Snapshot

LIMIT: Final = 100  # proxies of one page
LIMIT_MOST: Final = 1000

_GONE: Final = "after: there is no proxy {} any more: begin anew"


class PageError(FetchpoolError):
    """A page that cannot be given; the text says why."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy as JSON and CSV have it. Times are seconds since the epoch, durations seconds; null
    is what nobody knows."""

    id: str
    proxy: str  # scheme://host:port
    scheme: str
    host: str
    port: int
    score: float
    own: bool
    source: str | None
    country: str | None
    country_claimed: bool | None  # by its source; false: found by its exit address
    anonymity: str | None
    connect: bool | None
    tls: bool | None
    unaltered: bool | None
    exit: str | None
    latency: float | None
    connect_time: float | None
    last: str | None  # how the last check ended
    failures: int  # checks, since the last one passed
    failed: dict[str, int]
    added: float | None
    checked: float | None
    passed: float | None
    proven: float | None


COLUMNS: Final = tuple(name for name in Shown.__struct_fields__ if name != "failed")


def describe(entry: Entry) -> Shown:
    record, proxy = entry.record, entry.proxy
    return Shown(
        id=entry.id,
        proxy=proxy.url,
        scheme=proxy.scheme,
        host=proxy.host,
        port=proxy.port,
        score=entry.score,
        own=record.own,
        source=record.source or None,
        country=record.country,
        country_claimed=entry.claimed if record.country else None,
        anonymity=record.anonymity,
        connect=record.connect,
        tls=record.tls,
        unaltered=record.unaltered,
        exit=record.exit,
        latency=_rounded(record.latency),
        connect_time=_rounded(record.connect_time),
        last=record.last.value if record.last is not None else None,
        failures=record.failures,
        failed=record.failed,
        added=record.added or None,
        checked=record.checked or None,
        passed=record.passed or None,
        proven=record.proven or None,
    )


def describe_to_use(entry: Entry) -> dict[str, Any]:
    """As `describe`, but that `proxy` is spelled as `/random` spells it, credentials included."""
    return {**msgspec.structs.asdict(describe(entry)), "proxy": entry.spelled}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


class Page(msgspec.Struct, frozen=True):
    """Some of those that were asked for, best first; `next` is the `after` of the next page."""

    total: int
    proxies: list[Shown]
    next: str | None


def find_page(
    snapshot: Snapshot,
    filters: Filters,
    *,
    limit: int = LIMIT,
    offset: int = 0,
    after: str | None = None,
) -> Page:
    """`limit` proxies beginning with the one at `offset`, or behind the one with the id `after`.

    Raises PageError if that one is no longer among them: nobody knows then where to go on.
    """
    if after is not None and snapshot.find_id(after) is None:
        raise PageError(_GONE.format(repr(after[:40])))
    # Counted by the index where it can tell, so that a page costs by how deep it lies.
    counted = snapshot.count(filters) if filters.max_latency is None else None
    shown: list[Entry] = []
    total, begun, skipped = 0, after is None, 0
    for entry in snapshot.descending(filters):
        total += 1
        if not begun:
            begun = entry.id == after
        elif skipped < offset:
            skipped += 1
        elif len(shown) <= limit:
            shown.append(entry)
        elif counted is not None:
            break
    if after is not None and not begun:
        raise PageError(_GONE.format(repr(after[:40])))
    more = len(shown) > limit
    shown = shown[:limit]
    return Page(
        total=total if counted is None else counted,
        proxies=[describe(entry) for entry in shown],
        next=shown[-1].id if more else None,
    )


def find_entries(snapshot: Snapshot, filters: Filters, limit: int | None = None) -> list[Entry]:
    """Those that were asked for, best first."""
    return list(islice(snapshot.descending(filters), limit))


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """A pool in numbers. `unknown` stands for what nobody knows."""

    found: int
    checked: int
    good: int
    scores: dict[str, int]
    schemes: dict[str, int]
    anonymity: dict[str, int]
    countries: dict[str, int]


def count_up(snapshot: Snapshot, scale: Score) -> Numbers:
    """Costs by how many different scores, traits and countries there are, not by the proxies.

    Schemes are counted of all, the others of the good ones: of the rest they are mostly unknown.
    """
    status = snapshot.status()
    scores = dict.fromkeys(("good", "above_new", "new", "below_new"), 0)
    for score, count in snapshot.any.count_scores().items():
        scores[_classify(score, scale)] += count
    schemes: dict[str, int] = {}
    for traits, bucket in snapshot.every.traits.items():
        schemes[traits.scheme] = schemes.get(traits.scheme, 0) + len(bucket)
    anonymity: dict[str, int] = {}
    for traits, bucket in snapshot.good.traits.items():
        level = traits.anonymity or "unknown"
        anonymity[level] = anonymity.get(level, 0) + len(bucket)
    countries = {
        code: sum(map(len, buckets.values())) for code, buckets in snapshot.good.countries.items()
    }
    if unknown := len(snapshot.good.every) - sum(countries.values()):
        countries["unknown"] = unknown
    return Numbers(
        found=status.found,
        checked=status.checked,
        good=status.good,
        scores=scores,
        schemes=dict(sorted(schemes.items())),
        anonymity=dict(sorted(anonymity.items())),
        countries=dict(sorted(countries.items())),
    )


def _classify(score: float, scale: Score) -> str:
    if score == scale.max:
        return "good"
    if score == scale.initial:
        return "new"
    return "above_new" if score > scale.initial else "below_new"
