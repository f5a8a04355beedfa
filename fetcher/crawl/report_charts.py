"""The charts of a crawl's report: pages over time, a histogram, rows with bars.

A decision module: numbers and texts in, HTML out. Shapes are SVG that stretches with its card, so
what is written beside them is HTML and stays as large as other text. Whatever text is handed in is
escaped here.
"""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final, NamedTuple

from fetcher.crawl.summary import LATENCIES, Point
from fetcher.crawl.units import show_count, show_seconds

_WIDTH: Final = 1000.0
_HEIGHT: Final = 100.0
_TICKS: Final = 4
_DAY: Final = 86_400
# Seconds between labels of the axis of time; more are whole days.
_CLOCK: Final = (10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, _DAY)
_FEW: Final = 8  # columns that can all have a label of their own


class Bar(NamedTuple):
    """A row: what it counts, how much, and the class that colours it."""

    name: str
    number: int
    colour: str = ""


def round_up(most: float) -> float:
    """The end of an axis: 1, 2, 4 or 8 times a power of ten, so that its quarters are round."""
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in (1, 2, 4, 8, 10) if most <= step * power * (1 + 1e-9))


def draw_time(points: Sequence[Point], width: int) -> str:
    """Pages a second, done and failed, over the time since the start; `width` seconds a point."""
    done = [point.done / width for point in points]
    failed = [point.failed / width for point in points]
    top = round_up(max(done + failed))
    step = _WIDTH / len(points)
    shapes = [_grid()]
    for rates, name in ((done, ""), (failed, "-bad")):
        if not any(rates):
            continue
        path = _steps(rates, top, step)
        shapes.append(
            f'<path class="area{name}" d="M0 {_HEIGHT:g} {path} V{_HEIGHT:g} Z"/>'
            f'<path class="edge{name}" d="M0 {_HEIGHT:g} {path}"/>'
        )
    for number, point in enumerate(points):
        words = (
            f"{show_seconds(point.at)} after the start: {show_count(point.done)} done,"
            f" {show_count(point.failed)} failed in {show_seconds(width)}"
        )
        shapes.append(_rect("hit", number * step, 0.0, step, _HEIGHT, words))
    first, last = points[0].at, points[-1].at + width
    labels = [((at - first) / (last - first), show_seconds(at)) for at in _round_times(first, last)]
    legend = '<p class="legend"><span><i></i>done</span>'
    if any(failed):
        legend += '<span><i class="failed"></i>failed</span>'
    return f"{legend}<span>pages a second</span></p>" + _plot(
        "Pages a second over time", shapes, top, labels, high=True
    )


def _round_times(first: int, last: int) -> range:
    """Where the axis of time has labels: at most six, at seconds that a clock would show."""
    least = (last - first) / 5
    step = next((one for one in _CLOCK if one >= least), _DAY * math.ceil(least / _DAY))
    return range(math.ceil(first / step) * step, last + 1, step)


def draw_latencies(numbers: Sequence[int]) -> str:
    """A column for each range of milliseconds; those at both ends that are empty are left out."""
    used = [column for column, number in enumerate(numbers) if number]
    first, last = used[0], used[-1]
    shown = range(max(0, min(first, last - 5)), max(last, first) + 1)
    top = round_up(max(4, *numbers))  # whole numbers at the ticks
    step = _WIDTH / len(shown)
    shapes = [_grid()]
    for place, column in enumerate(shown):
        height = numbers[column] / top * _HEIGHT
        words = f"{_range(column)}: {show_count(numbers[column])}"
        shapes.append(
            _rect("column", (place + 0.1) * step, _HEIGHT - height, step * 0.8, height, words)
        )
    labels = [
        ((place + 1) / len(shown), _edge(LATENCIES[column]))
        for place, column in enumerate(shown)
        if column < len(LATENCIES) and (column % 3 == 0 or len(shown) < _FEW)
    ]
    return _plot("Answers by the time that they took", shapes, top, labels)


def _edge(ms: int) -> str:
    return f"{ms} ms" if ms < 1000 else f"{ms // 1000} s"


def _range(column: int) -> str:
    if column == len(LATENCIES):
        return f"above {_edge(LATENCIES[-1])}"
    return f"{_edge(LATENCIES[column - 1] if column else 0)} to {_edge(LATENCIES[column])}"


def draw_bars(rows: Iterable[Bar], heading: str) -> str:
    """A table of which the rows have bars; their share of the whole is told too."""
    rows = list(rows)
    most = max(row.number for row in rows)
    total = sum(row.number for row in rows)
    lines = [
        f"<tr><td>{escape(row.name)}</td>"
        f'<td class="bar {row.colour}"><span style="width:{row.number / most * 100:.1f}%">'
        f'</span></td><td class="n">{show_count(row.number)}</td>'
        f'<td class="n soft">{_share(row.number / total)}</td></tr>'
        for row in rows
    ]
    return (
        f'<div class="scroll"><table class="bars"><tr><th>{escape(heading)}</th><th></th>'
        f'<th class="n">number</th><th class="n">share</th></tr>{"".join(lines)}</table></div>'
    )


def _share(part: float) -> str:
    return "&lt; 0.1 %" if part < 0.001 else f"{part * 100:.1f} %"


def draw_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column is text, all others are numbers."""
    heading = _cells("th", headings)
    lines = "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{heading}</tr>{lines}</table></div>'


def _cells(tag: str, texts: Sequence[str]) -> str:
    first, *numbers = map(escape, texts)
    return f"<{tag}>{first}</{tag}>" + "".join(
        f'<{tag} class="n">{number}</{tag}>' for number in numbers
    )


def _plot(
    title: str,
    shapes: Sequence[str],
    top: float,
    labels: Sequence[tuple[float, str]],
    *,
    high: bool = False,
) -> str:
    ticks = [top * part / _TICKS for part in range(_TICKS + 1)]
    ys = "".join(f"<span>{_tick(tick, top)}</span>" for tick in ticks)
    xs = "".join(
        f'<span style="left:{place * 100:.2f}%">{escape(label)}</span>' for place, label in labels
    )
    size = "high" if high else "low"
    return (
        f'<div class="plot"><div class="ys">{ys}</div>'
        f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape(title)}" class="{size}">'
        f"{''.join(shapes)}</svg>"
        f'<div class="xs">{xs}</div></div>'
    )


def _tick(tick: float, top: float) -> str:
    return f"{tick:,.0f}" if top >= 20 else f"{tick:.3g}"


def _grid() -> str:
    return "".join(
        f'<path class="grid" d="M0 {_HEIGHT * part / _TICKS:g} H{_WIDTH:g}"/>'
        for part in range(_TICKS + 1)
    )


def _steps(rates: Sequence[float], top: float, step: float) -> str:
    """The upper edge of the columns, as one path."""
    return " ".join(
        f"V{_HEIGHT - rate / top * _HEIGHT:.2f} H{(number + 1) * step:.2f}"
        for number, rate in enumerate(rates)
    )


def _rect(name: str, x: float, y: float, width: float, height: float, words: str) -> str:
    return (
        f'<rect class="{name}" x="{x:.2f}" y="{y:.2f}" width="{width:.2f}"'
        f' height="{height:.2f}"><title>{escape(words)}</title></rect>'
    )
