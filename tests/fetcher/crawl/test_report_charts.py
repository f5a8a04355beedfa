import re
from html import unescape

import pytest

from fetcher.crawl.report_charts import (
    Bar,
    draw_bars,
    draw_latencies,
    draw_table,
    draw_time,
    round_up,
)
from fetcher.crawl.summary import LATENCIES, Point

HOSTILE = "</td><script>alert(1)</script>\"'&"


def texts(tag: str, html: str) -> list[str]:
    return [unescape(text) for text in re.findall(rf"<{tag}[^>]*>([^<]*)</{tag}>", html)]


def ticks(html: str) -> list[str]:
    [part] = re.findall(r'<div class="ys">(.*?)</div>', html)
    return texts("span", part)


def labels(html: str) -> list[tuple[float, str]]:
    [part] = re.findall(r'<div class="xs">(.*?)</div>', html)
    found = re.findall(r'<span style="left:([0-9.]+)%">([^<]*)</span>', part)
    return [(float(place), text) for place, text in found]


@pytest.mark.parametrize(
    ("most", "top"),
    [(0, 1), (-1, 1), (0.003, 0.004), (0.9, 1), (1, 1), (1.01, 2), (3, 4), (5, 8), (8.1, 10),
     (100, 100), (101, 200), (123_456, 200_000)],
)  # fmt: skip
def test_an_axis_ends_at_a_round_number(most: float, top: float) -> None:
    assert round_up(most) == pytest.approx(top)


# -- pages over time -------------------------------------------------------------------------------


def test_pages_over_time_are_rates() -> None:
    html = draw_time([Point(0, 20, 0), Point(10, 40, 10), Point(20, 0, 0)], 10)
    assert ticks(html) == ["0", "1", "2", "3", "4"]
    assert texts("title", html) == [
        "0 s after the start: 20 done, 0 failed in 10 s",
        "10 s after the start: 40 done, 10 failed in 10 s",
        "20 s after the start: 0 done, 0 failed in 10 s",
    ]
    [edge] = re.findall(r'class="edge" d="([^"]*)"', html)
    assert edge == "M0 100 V50.00 H333.33 V0.00 H666.67 V100.00 H1000.00"
    assert "edge-bad" in html
    assert "failed</span>" in html


def test_without_failures_there_is_one_curve() -> None:
    html = draw_time([Point(0, 1)], 10)
    assert ticks(html) == ["0", "0.025", "0.05", "0.075", "0.1"]
    assert "edge-bad" not in html
    assert "failed</span>" not in html
    assert labels(html) == [(0.0, "0 s"), (100.0, "10 s")]


def test_without_any_pages_there_is_an_empty_one() -> None:
    assert "edge" not in draw_time([Point(0), Point(10)], 10)


@pytest.mark.parametrize(
    ("last", "shown"),
    [
        (50, ["0 s", "10 s", "20 s", "30 s", "40 s", "50 s"]),
        (60, ["0 s", "30 s", "1 min"]),
        (3600, ["0 s", "15 min", "30 min", "45 min", "1 h"]),
        (432_000, ["0 s", "1 d", "2 d", "3 d", "4 d", "5 d"]),
        (8_640_000, ["0 s", "20 d", "40 d", "60 d", "80 d", "100 d"]),
    ],
)
def test_times_are_those_of_a_clock(last: int, shown: list[str]) -> None:
    points = [Point(0, 1), Point(last // 2, 1)]
    assert [text for _, text in labels(draw_time(points, last - last // 2))] == shown


def test_times_begin_where_the_points_do() -> None:
    assert labels(draw_time([Point(40, 1), Point(50, 1), Point(60, 1)], 10))[0] == (0.0, "40 s")


# -- histogram -------------------------------------------------------------------------------------


def numbers(**columns: int) -> list[int]:
    named = {name.removeprefix("to"): number for name, number in columns.items()}
    return [named.get(str(edge), 0) for edge in LATENCIES] + [named.get("more", 0)]


def test_a_histogram_has_the_columns_that_are_used() -> None:
    html = draw_latencies(numbers(to100=3, to1000=8))
    assert texts("title", html) == [
        "10 ms to 20 ms: 0",  # a single column would look like a mistake
        "20 ms to 50 ms: 0",
        "50 ms to 100 ms: 3",
        "100 ms to 200 ms: 0",
        "200 ms to 500 ms: 0",
        "500 ms to 1 s: 8",
    ]
    assert ticks(html) == ["0", "2", "4", "6", "8"]
    assert ticks(draw_latencies(numbers(to1=1))) == ["0", "1", "2", "3", "4"]
    assert ticks(draw_latencies(numbers(to1=90))) == ["0", "25", "50", "75", "100"]


def test_few_columns_have_a_label_each_many_have_some() -> None:
    few = labels(draw_latencies(numbers(to2=1, to5=1)))
    assert [text for _, text in few] == ["1 ms", "2 ms", "5 ms"]
    many = labels(draw_latencies([1] * (len(LATENCIES) + 1)))
    assert [text for _, text in many] == ["1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s"]


def test_the_last_column_has_no_end() -> None:
    html = draw_latencies(numbers(more=1))
    assert texts("title", html)[-1] == "above 300 s: 1"
    assert [text for _, text in labels(html)][-1] == "300 s"


# -- tables ----------------------------------------------------------------------------------------


def test_bars_are_as_long_as_their_share_of_the_longest() -> None:
    html = draw_bars([Bar("a", 4000, "bad"), Bar("b", 1000), Bar("c", 1)], "name")
    assert re.findall(r"width:([0-9.]+)%", html) == ["100.0", "25.0", "0.0"]
    assert texts("td", html) == [
        *("a", "4,000", "80.0 %"),
        *("b", "1,000", "20.0 %"),
        *("c", "1", "< 0.1 %"),
    ]
    assert 'class="bar bad"' in html


def test_a_table_has_text_on_the_left_and_numbers_on_the_right() -> None:
    html = draw_table(("host", "n"), [("a", "1"), ("b", "2")])
    assert html.count('<td class="n">') == 2
    assert (texts("th", html), texts("td", html)) == (["host", "n"], ["a", "1", "b", "2"])


def test_whatever_text_comes_is_escaped() -> None:
    bars = draw_bars([Bar(HOSTILE, 1)], HOSTILE)
    table = draw_table((HOSTILE, HOSTILE), [(HOSTILE, HOSTILE)])
    for html in (bars, table):
        assert "<script" not in html
        assert texts("th", html)[0] == HOSTILE
        assert texts("td", html)[0] == HOSTILE
