import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.crawl.life import (
    FAILED,
    MOVED,
    PAGE,
    SKIPPED,
    Life,
    decode_life,
    encode_life,
    life_field,
    tell,
    tell_queued,
)
from fetcher.crawl.model import SKIPS, Item, Try, url_id

URL = "http://h/a"
TRY = Try(at=784111777.0, outcome="500", seconds=0.125)
THROUGH = Try(at=784111778.9, outcome="200", seconds=1, exit="socks5h://p:1080")


@pytest.mark.parametrize(
    ("fate", "reason", "told"),
    [
        (PAGE, "", "it is a page of the crawl"),
        (PAGE, "cached", "it is a page of the crawl (cached)"),
        (FAILED, "no route", "it could not be fetched: no route"),
        (SKIPPED, "robots", "it was not fetched: robots.txt forbids it"),
        (SKIPPED, "a new reason", "it was not fetched: a new reason"),
        (MOVED, "https://h/b", "it led to https://h/b"),
        (MOVED, "sitemap, 3 URLs", "it was read as sitemap, 3 URLs"),
    ],
)
def test_the_first_line_says_what_became_of_it(fate: str, reason: str, told: str) -> None:
    lines = tell(Life(URL, fate=fate, reason=reason))
    assert lines == [f"{URL}: {told}", "a source names it"]


@pytest.mark.parametrize("word", sorted(SKIPS))
def test_every_reason_of_skipping_has_its_sentence(word: str) -> None:
    assert tell(Life(URL, fate=SKIPPED, reason=word))[0].endswith(SKIPS[word])


def test_then_come_who_named_it_the_rule_and_each_attempt() -> None:
    life = Life(URL, "http://h/", 2, SKIPPED, "robots", line="Disallow: /a", tries=[TRY, THROUGH])
    assert tell(life)[1:] == [
        "found on http://h/ (depth 2)",
        "robots.txt: Disallow: /a",
        "attempt 1: 1994-11-06 08:49:37 UTC, direct, 0.12 s: 500",
        "attempt 2: 1994-11-06 08:49:38 UTC, through socks5h://p:1080, 1.00 s: 200",
    ]


@pytest.mark.parametrize(
    ("is_running", "waits", "told"),
    [
        (True, "", "it is being fetched"),
        (False, "", "it is queued"),
        (False, "its host has 3 s to wait", "it is queued; its host has 3 s to wait"),
    ],
)
def test_of_one_that_is_queued_it_is_said_what_it_waits_for(
    is_running: bool, waits: str, told: str
) -> None:
    item = Item(url=URL, parent="/b", tries=[TRY])
    lines = tell_queued(3, item, is_running=is_running, waits=waits)
    assert lines[0] == f"{URL}: {told}"
    assert lines[1] == "found on http://h/b (depth 3)"
    assert len(lines) == 3
    assert tell_queued(0, Item(url=URL), is_running=False, waits="")[1] == "a source names it"


@pytest.mark.parametrize(
    "life",
    [
        Life(URL, fate=SKIPPED, reason="robots", line="Disallow: /\x1b[2J\x9b1m"),
        Life(URL, fate=FAILED, reason="it said \x1b]0;title\x07\r\n\x00"),
        Life(URL, fate=MOVED, reason="http://h/\x85"),
        Life(URL, tries=[Try(at=0.0, outcome="\x1b[31m", exit="http://\x7f/")]),
    ],
)
def test_nothing_of_a_site_steers_the_terminal(life: Life) -> None:
    queued = tell_queued(0, Item(url=URL, tries=life.tries), is_running=False, waits="")
    for line in (*tell(life), *queued):
        assert line.isprintable()


@given(
    st.builds(
        Life,
        st.text(),
        st.text(),
        st.integers(0, 1 << 40),
        st.sampled_from([PAGE, FAILED, SKIPPED, MOVED]),
        st.text(),
        st.text(),
        st.lists(st.builds(Try, st.floats(0, 1e10), st.text()), max_size=3),
    )
)
def test_a_life_is_kept_as_it_is(life: Life) -> None:
    assert decode_life(encode_life(life)) == life


def test_a_life_is_short() -> None:
    life = Life("http://example.com/some/page.html", "http://example.com/", 3, tries=[TRY])
    assert len(encode_life(life)) < 150


def test_the_field_is_eight_bytes() -> None:
    assert life_field(0) == b"\x00" * 8
    assert life_field((1 << 63) - 1) == b"\x7f" + b"\xff" * 7
    assert life_field(url_id("http://h/?a&b")) == life_field(url_id("http://h/?b&a"))
