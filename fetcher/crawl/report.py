"""The report of a crawl: one HTML page that stands by itself.

A decision module: values in, a text out. The page asks for nothing from anywhere and runs no
script; its policy says so, so that a slip in escaping could fetch and run nothing either. It works
from a disk, in the dark and on a telephone. Times are UTC.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

import msgspec

from fetcher.crawl.model import SKIPS, Counts, Options
from fetcher.crawl.report_charts import Bar, draw_bars, draw_latencies, draw_table, draw_time
from fetcher.crawl.report_style import CSS
from fetcher.crawl.state import ENDED, State, Waiting, describe
from fetcher.crawl.summary import HostSum, Summary
from fetcher.crawl.units import show_bytes, show_count, show_rate, show_seconds, show_time
from fetcher.urls import loggable

_NONE: Final = "-"
MAX_SHOWN: Final = 100  # rows of a table, values of a setting
MAX_TEXT: Final = 500  # characters of a value

_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
_COLOURS: Final = {"finished": "good", "running": "good", "failed": "bad", "limited": "warn"}
_STATUS_COLOURS: Final = {2: "good", 3: "", 4: "warn", 5: "bad"}
_DURATIONS: Final = ("time_limit", "delay", "timeout", "cache")
_SIZES: Final = ("size_limit", "rotate")


def render_html(
    name: str,
    options: Options,
    counts: Counts,
    summary: Summary,
    hosts_waiting: Sequence[Waiting],
    state: State,
    started: float,
    ended: float,
) -> str:
    """The page. `started` and `ended` are seconds since 1970; of a crawl that has not ended,
    `ended` is when it was looked at."""
    title = f"Crawl {name}"
    cards = [
        _card("Pages over time", _time(summary), wide=True),
        _card("Status codes", _bars(_statuses(summary), "status")),
        _card("How long answers took", _latencies(summary)),
        _card("Why URLs were skipped", _bars(_skips(summary), "reason")),
        _card("Commonest errors", _bars(_rows(summary.errors, "bad"), "error")),
        _card("Slowest hosts", _hosts(summary.slowest)),
        _card("Largest hosts", _hosts(summary.largest)),
        _card("Media types", _bars(_rows(summary.types, ""), "type")),
        _card("Settings", _settings(options)),
    ]
    if hosts_waiting:
        cards.insert(1, _card("Hosts that wait", _waiting(hosts_waiting, ended), wide=True))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        f"{_header(name, options, state, started, ended)}\n<main>\n"
        f"{_tiles(counts, summary, hosts_waiting, state, ended - started)}\n"
        f'<div class="cards">\n{"".join(filter(None, cards))}</div>\n</main>\n'
        f"<footer>Written {_moment(ended)} UTC by fetchpool. Numbers are those of all processes of"
        " the crawl; hosts are the slowest and the largest that were found, and of a host that was"
        " noticed late the first pages may be missing.</footer>\n</body>\n</html>\n"
    )


def _header(name: str, options: Options, state: State, started: float, ended: float) -> str:
    sources = ", ".join(_shown(one) for one in options.sources[:3])
    more = len(options.sources) - 3
    if more > 0:
        sources += f" and {show_count(more)} more"
    sentence = describe(state, ended, UTC)
    until = " to" if state.phase in ENDED else ", looked at"
    return (
        f'<header><div class="title"><h1>{escape(name)}</h1>'
        f'<span class="phase {_COLOURS.get(state.phase, "soft")}">{state.phase}</span></div>'
        f"<p>{escape(sources)}</p>"
        f'<p class="soft">{_moment(started)}{until} {_moment(ended)}'
        f" UTC ({show_seconds(max(0.0, ended - started))}): {escape(sentence)}</p></header>"
    )


def _tiles(
    counts: Counts,
    summary: Summary,
    waiting: Sequence[Waiting],
    state: State,
    seconds: float,
) -> str:
    pages = counts.done + counts.failed
    rate = f"{show_rate(pages / seconds)} a second" if seconds > 0 else ""
    median, late = summary.latency(0.5), summary.latency(0.95)
    hosts = max(state.waiting_hosts, len(waiting))
    tiles = [
        ("Pages", show_count(counts.done), rate),
        ("Failed", show_count(counts.failed), f"{show_count(counts.retried)} tried again"),
        ("Skipped", show_count(counts.skipped), f"{show_count(counts.duplicates)} found again"),
        ("Bytes", show_bytes(counts.bytes), _each(counts)),
        (
            "Median answer",
            _NONE if median is None else show_seconds(median),
            "" if late is None else f"95 % within {show_seconds(late)}",
        ),
        (
            "Still queued",
            show_count(counts.queued + counts.running),
            f"{show_count(counts.hosts)} hosts, {show_count(hosts)} waiting",
        ),
    ]
    if counts.items or counts.callback_errors:
        errors = f"{show_count(counts.callback_errors)} errors of the callback"
        tiles.append(("Items", show_count(counts.items), errors))
    if counts.redirects or counts.revisits:
        unchanged = f"{show_count(counts.revisits)} unchanged pages"
        tiles.append(("Redirects", show_count(counts.redirects), unchanged))
    rows = "".join(
        f"<div><dt>{label}</dt><dd>{value}<small>{beside}</small></dd></div>"
        for label, value, beside in tiles
    )
    return f'<dl class="tiles">{rows}</dl>'


def _each(counts: Counts) -> str:
    return f"{show_bytes(counts.bytes // counts.done)} a page" if counts.done else ""


def _card(title: str, inner: str, *, wide: bool = False) -> str:
    """ "" for a card that has nothing to show."""
    if not inner:
        return ""
    place = ' class="wide"' if wide else ""
    return f"<section{place}><h2>{title}</h2>{inner}</section>\n"


def _time(summary: Summary) -> str:
    return draw_time(summary.points, summary.width) if summary.points else ""


def _latencies(summary: Summary) -> str:
    return draw_latencies(summary.latencies) if any(summary.latencies) else ""


def _bars(rows: Iterable[Bar], heading: str) -> str:
    rows = [row for row in rows if row.number][:MAX_SHOWN]
    return draw_bars(rows, heading) if rows else ""


def _rows(numbers: dict[str, int], colour: str) -> Iterable[Bar]:
    return (Bar(name, number, colour) for name, number in numbers.items())


def _statuses(summary: Summary) -> Iterable[Bar]:
    for status, number in summary.statuses.items():
        if status == 599:
            yield Bar("599, no answer", number, "bad")
        else:
            yield Bar(str(status), number, _STATUS_COLOURS.get(status // 100, ""))


def _skips(summary: Summary) -> Iterable[Bar]:
    return (Bar(SKIPS.get(word, word), number) for word, number in summary.skips.items())


def _hosts(hosts: Sequence[HostSum]) -> str:
    if not hosts:
        return ""
    rows = (
        (
            host.name,
            show_seconds(host.seconds) if host.pages else _NONE,
            show_count(host.pages),
            show_count(host.failed),
            show_bytes(host.bytes),
        )
        for host in hosts[:MAX_SHOWN]
    )
    return draw_table(("host", "mean", "pages", "failed", "bytes"), rows)


def _waiting(waiting: Sequence[Waiting], now: float) -> str:
    rows = (
        (one.host + (f": {one.reason}" if one.reason else ""), show_time(one.until, now, UTC),
         show_count(one.urls))
        for one in waiting[:MAX_SHOWN]
    )  # fmt: skip
    return draw_table(("host", "until", "URLs"), rows)


def _settings(options: Options) -> str:
    """Those that were said, by the names that the command line has for them."""
    rows = []
    for key, value in msgspec.to_builtins(options).items():
        if key in _DURATIONS:
            value = show_seconds(value)
        elif key in _SIZES:
            value = show_bytes(value)
        elif key == "sources" and len(value) > MAX_SHOWN:
            value = [*value[:MAX_SHOWN], f"and {show_count(len(value) - MAX_SHOWN)} more"]
        elif isinstance(value, bool):
            value = "yes" if value else "no"
        listed = isinstance(value, (list, tuple))
        words = ", ".join(map(_shown, value)) if listed else _shown(str(value))
        rows.append(f"<dt>{escape(key.replace('_', '-'))}</dt><dd>{escape(words)}</dd>")
    return f'<dl class="settings">{"".join(rows)}</dl>'


def _shown(text: str) -> str:
    """A setting without credentials, and not too long."""
    if "://" in text or "@" in text:
        text = loggable(text)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _moment(at: float) -> str:
    then = datetime.fromtimestamp(at, UTC)
    return f"{then.day} {then:%b %Y %H:%M}"
