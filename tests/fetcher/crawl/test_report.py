import re
from html.parser import HTMLParser
from typing import Any

import pytest

from fetcher.crawl.model import SKIPS, Counts, Options
from fetcher.crawl.report import MAX_SHOWN, MAX_TEXT, render_html
from fetcher.crawl.state import State, Waiting
from fetcher.crawl.summary import HostSum, Point, Summary

START = 1_796_040_000.0  # 30 Nov 2026 12:00 UTC
END = START + 3725.0
HOSTILE = "</title></style><script>alert(1)</script><img src=http://evil.example/ onerror=\"x'>&"
VOID = {"meta", "path", "rect", "br"}


class Reader(HTMLParser):
    """What a browser would see: elements with attributes, and text by the element it is in."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID - {"rect"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


def full(text: str = "a.example") -> dict[str, Any]:
    """Everything that a report can show, with `text` wherever text comes from outside."""
    waiting = [Waiting(text, END + 60, text, 7)]
    counts = Counts(
        queued=5, running=1, done=1200, failed=3, skipped=9, redirects=2, items=4, bytes=2_400_000
    )
    summary = Summary(
        statuses={200: 1100, 301: 50, 404: 40, 500: 10, 599: 3, 999: 1},
        types={text: 1200},
        skips={"scope": 8, text: 1},
        errors={text: 3},
        latencies=[1] * 19,
        points=[Point(0, 1200, 3)],
        slowest=[HostSum(name=text, pages=2, ms=3000)],
        largest=[HostSum(name=text, failed=2)],
    )
    options = Options(sources=(text, "http://user:secret@a.example/"), follow=text, limit=5000)
    state = State(name="mine", counts=counts, waiting=waiting, waiting_hosts=3, processes=1)
    return {
        "name": "mine",
        "options": options,
        "counts": counts,
        "summary": summary,
        "hosts_waiting": waiting,
        "state": state,
        "started": START,
        "ended": END,
    }


def read(**changes: Any) -> str:
    """The text of a report."""
    return " ".join(" ".join(Reader(render_html(**(full() | changes))).text).split())


def test_hostile_text_stays_text() -> None:
    html = render_html(**full(HOSTILE))
    reader = Reader(html)
    assert reader.open == []
    tags = {tag for tag, _ in reader.elements}
    assert not tags & {"script", "img", "iframe", "link", "object", "embed", "form", "base", "a"}
    # Name, reason, type, skip, error, both hosts; of a URL's spelling something may be left out.
    assert "".join(reader.text).count("<script>alert(1)</script>") >= 7


def test_nothing_is_asked_for_and_nothing_runs() -> None:
    reader = Reader(render_html(**full(HOSTILE)))
    for _, attributes in reader.elements:
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in ("src", "href", "srcset", "action", "poster", "background")
            assert "//" not in (value or "")
    [policy] = [
        one["content"]
        for tag, one in reader.elements
        if tag == "meta" and one.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_no_password_is_shown() -> None:
    assert "secret" not in render_html(**full())


def test_all_that_there_is_is_shown() -> None:
    text = read()
    for words in (
        "30 Nov 2026 12:00, looked at 30 Nov 2026 13:02 UTC (1 h 2 min): fetching; 3 hosts wait",
        "Pages 1,200 0.32 a second",
        "Bytes 2.40 MB 2.00 kB a page",
        "Still queued 6 0 hosts, 3 waiting",
        "Items 4",
        "Redirects 2",
        "Hosts that wait",
        "a.example: a.example 13:03 7",
        "599, no answer 3",
        SKIPS["scope"] + " 8",
        "limit 5000",
        "a.example 1.5 s 2 0 0 bytes",
        "a.example - 0 2 0 bytes",
    ):
        assert words in text


def test_what_there_is_none_of_has_no_card() -> None:
    text = read(
        counts=Counts(),
        summary=Summary(),
        hosts_waiting=[],
        state=State(name="mine", phase="finished"),
        ended=START,
    )
    for words in ("Hosts that wait", "Status", "took", "skipped", "errors", "hosts", "types"):
        assert words not in text.replace("0 hosts, 0 waiting", "").partition("Written")[0]
    assert "30 Nov 2026 12:00 to 30 Nov 2026 12:00 UTC (0 s): finished" in text
    assert "Median answer -" in text
    assert "Settings" in text


@pytest.mark.parametrize("number", [3, 4])
def test_the_first_sources_stand_at_the_top(number: int) -> None:
    options = Options(sources=tuple(f"http://{n}.example/" for n in range(number)))
    text = read(options=options)
    assert ("http://2.example/ and 1 more" in text) == (number > 3)
    assert "http://0.example/, http://1.example/, http://2.example/" in text


@pytest.mark.parametrize("number", [MAX_SHOWN, MAX_SHOWN + 1])
def test_not_all_of_many_are_shown(number: int) -> None:
    options = Options(sources=tuple(f"http://{n}.example/" for n in range(number)))
    summary = Summary(errors={f"e{n}x": 1 for n in range(number)})
    text = read(options=options, summary=summary)
    assert len(re.findall(r"e\d+x", text)) == MAX_SHOWN
    assert (", and 1 more" in text) == (number > MAX_SHOWN)


@pytest.mark.parametrize("length", [MAX_TEXT, MAX_TEXT + 1])
def test_long_settings_are_cut(length: int) -> None:
    text = read(options=Options(sources=(), follow="x" * length))
    assert ("x" * length in text) == (length == MAX_TEXT)


def test_settings_have_units() -> None:
    options = Options(sources=(), delay=0.5, time_limit=7200, size_limit=10**10, robots=False)
    text = read(options=options)
    for words in ("delay 500 ms", "time-limit 2 h", "size-limit 10.0 GB", "robots no"):
        assert words in text


@pytest.mark.parametrize(
    ("phase", "colour"),
    [("finished", "good"), ("failed", "bad"), ("limited", "warn"), ("paused", "soft")],
)
def test_a_phase_has_its_colour(phase: Any, colour: str) -> None:
    html = render_html(**full() | {"state": State(name="mine", phase=phase)})
    assert f'<span class="phase {colour}">{phase}</span>' in html
