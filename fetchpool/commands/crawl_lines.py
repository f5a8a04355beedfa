"""What `crawl` and `crawls` print of a crawl: lines and tables, whoever shows them.

A decision module: values in; texts out that have nothing in them that a terminal would obey.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo
from typing import Final

from fetcher.crawl.model import SKIPS
from fetcher.crawl.state import ENDED, FETCHING, State, describe, estimate_rest, explain_rest
from fetcher.crawl.summary import Summary
from fetcher.crawl.units import show_bytes, show_count, show_rate, show_seconds, show_time
from fetchpool.commands.tables import NONE, Block, Table
from pool.printable import printable

SHOWN: Final = 10  # rows of a table of the summary


def build_line(state: State, now: float, zone: tzinfo) -> str:
    """How it stands, in one line; what it does first, unless that is what it is there for."""
    counts = state.counts
    hosts = _many(counts.hosts, "host", "hosts")
    waiting = max(state.waiting_hosts, len(state.waiting))
    if waiting:
        hosts += f" ({show_count(waiting)} waiting)"
    parts = [f"{show_rate(state.rate)} pages/s"] if state.rate else []
    parts += [
        f"{show_count(counts.done)} done",
        f"{show_count(counts.queued + counts.running)} queued",
        f"{show_count(counts.failed)} failed",
        hosts,
        show_bytes(counts.bytes),
    ]
    rest = estimate_rest(state)
    if rest is not None:
        parts.append(f"{show_seconds(rest)} left")
    words = describe(state, now, zone)
    if words != FETCHING and (state.phase != "running" or not counts.running):
        parts.insert(0, words)
    return printable("  ".join(parts))


def build_summary(state: State, summary: Summary, now: float, zone: tzinfo) -> list[Block]:
    """What has become of a crawl: by host, status, type and reason of skipping, with errors."""
    return [
        *_headline(state, summary, now, zone),
        *_count("status", _words_of(summary.statuses), "pages"),
        *_count("media type", summary.types, "pages"),
        *_count(
            "skipped because",
            {SKIPS.get(word, word): n for word, n in summary.skips.items()},
            "URLs",
        ),
        *_count("error", summary.errors, "pages"),
        *_hosts(summary),
    ]


def _words_of(statuses: Mapping[int, int]) -> dict[str, int]:
    return {
        "no answer" if status == 599 else str(status): number for status, number in statuses.items()
    }


def _headline(state: State, summary: Summary, now: float, zone: tzinfo) -> list[str]:
    counts = state.counts
    seconds = max(0.0, (state.ended or now) - state.started)
    pages = counts.done + counts.failed
    rate = f" ({show_rate(pages / seconds)} a second)" if seconds else ""
    lines = [
        f"{state.name}: {describe(state, now, zone)}",
        f"{_many(counts.done, 'page', 'pages')} in {show_seconds(seconds)}{rate},"
        f" {show_bytes(counts.bytes)}; {show_count(counts.failed)} failed,"
        f" {show_count(counts.skipped)} skipped,"
        f" {_many(counts.redirects, 'redirect', 'redirects')},"
        f" {show_count(counts.retried)} tried again, {show_count(counts.revisits)} unchanged",
    ]
    median, late = summary.latency(0.5), summary.latency(0.95)
    if median is not None and late is not None:
        lines.append(
            f"half of the answers within {show_seconds(median)}, 95 % within {show_seconds(late)}"
        )
    if counts.items or counts.callback_errors:
        lines.append(
            f"{_many(counts.items, 'item', 'items')} of the callback,"
            f" {_many(counts.callback_errors, 'error', 'errors')} in it"
        )
    return [printable(line) for line in lines]


def _many(number: int, one: str, more: str) -> str:
    return f"{show_count(number)} {one if number == 1 else more}"


def _count(heading: str, numbers: Mapping[str, int], unit: str) -> list[Block]:
    """A table of how often; nothing if there is nothing."""
    if not numbers:
        return []
    rows: list[Sequence[str]] = [
        (printable(name), show_count(number)) for name, number in list(numbers.items())[:SHOWN]
    ]
    more = list(numbers.values())[SHOWN:]
    if more:
        rows.append((f"{show_count(len(more))} others", show_count(sum(more))))
    return [Table((heading, unit), rows, frozenset({1}))]


def _hosts(summary: Summary) -> list[Block]:
    blocks: list[Block] = []
    tables = [("largest hosts", summary.largest)]
    if len(summary.largest) > 1:
        tables.append(("slowest hosts", summary.slowest))
    for heading, hosts in tables:
        rows = [
            (
                printable(host.name),
                show_count(host.pages),
                show_count(host.failed),
                show_bytes(host.bytes),
                show_seconds(host.seconds) if host.pages else NONE,
            )
            for host in hosts[:SHOWN]
        ]
        if rows:
            headings = (heading, "pages", "failed", "bytes", "mean")
            blocks.append(Table(headings, list(rows), frozenset({1, 2, 3, 4})))
    return blocks


def build_list(states: Iterable[State], now: float, zone: tzinfo) -> list[Block]:
    """`crawls list`: the newest first."""
    rows: list[Sequence[str]] = [
        (
            state.name,
            show_time(state.started, now, zone) if state.started else NONE,
            show_count(state.processes),
            show_count(state.counts.done),
            show_count(state.counts.queued + state.counts.running),
            show_count(state.counts.failed),
            show_bytes(state.counts.bytes),
            printable(describe(state, now, zone)),
        )
        for state in sorted(states, key=lambda state: (-state.started, state.name))
    ]
    if not rows:
        return ["there are no crawls"]
    headings = ("crawl", "started", "processes", "done", "queued", "failed", "bytes", "state")
    return [Table(headings, rows, frozenset({2, 3, 4, 5, 6}))]


def build_show(state: State, summary: Summary, now: float, zone: tzinfo) -> list[Block]:
    """`crawls show`: how far it is, why it is not finished, and what has become of it."""
    blocks: list[Block] = []
    if state.phase not in ENDED:
        blocks.append(build_line(state, now, zone))
        blocks += [f"  {printable(line)}" for line in explain_rest(state, now, zone)]
    return blocks + build_summary(state, summary, now, zone)
