"""What `proxies list` and `sources list` print: tables, and a line that adds them up.

A decision module: values in, blocks out.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from fetcher.crawl.units import show_count
from fetchpool.commands.tables import NONE, Block, Table, cut, yes_or_no
from pool.harvest.accounts import SourceRow
from pool.http.listing import describe
from pool.model import Entry, Status
from pool.printable import printable
from pool.sites import UNIVERSAL
from pool.snapshot.filters import ANY, Filters

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))

_PROXIES: Final = (
    *("proxy", "score", "CONNECT", "TLS", "unaltered", "anonymity", "country", "latency"),
    *("check", "ago"),
)
_SOURCES: Final = ("source", "state", "found", "new", "unique", "alive", "success", "error")

_LONGEST: Final = 60  # characters of an error in the table
_WHOLE: Final = "errors in full, with their URLs: --format json"

# What an error has that is known of the source, that nobody asks for, or that differs from one time
# to the next: without it one sees which errors are the same.
_BESIDE: Final = (
    (re.compile(r"(?i)\A[a-z][a-z0-9+.-]*://\S*: "), ""),
    (re.compile(r"\AHTTP 599: "), ""),
    (re.compile(r"\ACould not resolve host: \S+ \((.+)\)\Z"), r"\1"),
    (re.compile(r"\AFailed to connect to \S+ after \d+ ms: "), ""),
    (re.compile(r" after \d+ (ms|milliseconds)\b"), ""),
)

_EMPTY: Final = (
    "the pool is empty: `fetchpool` or `fetchpool pool` fills it from the sources and checks what"
    " they list (`fetchpool sources list` shows what came of them); `fetchpool proxies add FILE`"
    " takes a list of yours"
)
_UNPROVEN: Final = (
    "; CONNECT and anonymity are known only of those that have passed a check and then been looked"
    " into by an echo judge, which takes a while"
)
_NO_SOURCES: Final = (
    "there are no sources: `pool.sources_file: shipped` in the settings takes the list that comes"
    " with fetchpool, `pool.sources` takes lists of your own"
)


def show_age(then: float, now: float) -> str:
    """How long ago, in the largest unit of which there is one."""
    for size, unit in _UNITS:
        if now - then >= size:
            return f"{int((now - then) / size)} {unit}"
    return "now"


def build_proxies(
    entries: Sequence[Entry], status: Status, now: float, *, filters: Filters = ANY, site: str
) -> list[Block]:
    """These of a pool that stands like this, in their order; why there are none, if so.

    What is known of them is what their last check and the last echo judge showed; "-": not known.
    """
    if not status.found:
        return [_EMPTY if site == UNIVERSAL else _explain_site(site)]
    if not entries:
        hint = _UNPROVEN if filters.need_judge else ""
        found = f"{show_count(status.found)} found, {_of(status)}"
        return [f"no proxy is as these options ask for: {found}{hint}"]
    # By place: country first, which sources claim, and so on; the score goes last.
    table = Table(
        _PROXIES,
        [_proxy_row(entry, now) for entry in entries],
        numbers=frozenset({1, 7, 9}),
        spare=(6, 4, 9, 3, 5, 7, 2, 1),
        folds=frozenset({0}),
    )
    counts = f"{show_count(len(entries))} of {show_count(status.found)} proxies shown"
    return [table, f"{counts}; {_of(status)}"]


def _explain_site(site: str) -> str:
    return (
        f"the site {site} has no proxies yet: those that are good for {UNIVERSAL} are tried on it;"
        " `fetchpool proxies list` shows them"
    )


def _of(status: Status) -> str:
    good = f"{show_count(status.good)} good (passed their last check)"
    return f"{show_count(status.checked)} checked, {good}"


def _proxy_row(entry: Entry, now: float) -> Sequence[str]:
    shown = describe(entry)
    return (
        printable(shown.proxy),
        f"{shown.score:g}",
        yes_or_no(shown.connect),
        yes_or_no(shown.tls),
        yes_or_no(shown.unaltered),
        shown.anonymity or NONE,
        printable(shown.country or NONE),
        NONE if shown.latency is None else f"{shown.latency:.2f} s",
        shown.last or NONE,
        NONE if shown.checked is None else show_age(shown.checked, now),
    )


def build_sources(rows: Sequence[SourceRow], now: float) -> list[Block]:
    """The sources and their accounts, how many there are of each state, and which error most have.

    Each has a line of its own: an error is cut, and begins with the reason.
    """
    if not rows:
        return [_NO_SOURCES]
    table = Table(
        _SOURCES,
        [_source_row(row, now) for row in rows],
        numbers=frozenset({2, 3, 4, 5}),
        spare=(3, 2, 6),
        folds=frozenset({0}),
        cuts=frozenset({7}),
    )
    states = Counter[str](row.state for row in rows)
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    alive = sum(row.alive for row in rows)
    many = f"{len(rows)} sources" if len(rows) > 1 else "1 source"
    return [
        table,
        f"{many}: {counts}; {show_count(alive)} of their proxies are alive",
        "unique: in the pool, and from no other source; alive: passed their last check",
        *_explain_errors([row.last_error for row in rows if row.last_error]),
    ]


def _explain_errors(errors: Sequence[str]) -> list[str]:
    if not errors:
        return []
    [(reason, count)] = Counter(map(shorten, errors)).most_common(1)
    common = [f"{count} of {len(errors)} errors: {printable(reason)}"] if count > 1 else []
    return [*common, _WHOLE]


def shorten(error: str) -> str:
    """The reason in an error of a source."""
    for pattern, instead in _BESIDE:
        error = pattern.sub(instead, error)
    return error


def _source_row(row: SourceRow, now: float) -> Sequence[str]:
    ago = show_age(row.last_success, now) if row.last_success else "never"
    return (
        printable(row.name),
        row.state,
        *(show_count(number) for number in (row.found, row.new, row.unique, row.alive)),
        ago if ago in ("never", "now") else f"{ago} ago",
        printable(cut(shorten(row.last_error), _LONGEST) if row.last_error else NONE),
    )
