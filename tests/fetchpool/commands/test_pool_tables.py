from typing import Any

import pytest

from fetcher.proxy import parse_proxy
from fetchpool.commands.pool_tables import build_proxies, build_sources, shorten, show_age
from fetchpool.commands.tables import Table, fit, plain
from pool.harvest.accounts import SourceRow, list_sources
from pool.model import Entry, Kind, Record, SourceAccount, Status
from pool.snapshot.filters import Filters
from pool.source import Source

NOW = 1_796_040_000.0
GOOD = Status(found=1812, checked=310, good=7)


def entry(member: str, score: float = 10, **known: Any) -> Entry:
    return Entry(member, parse_proxy(member), score, Record(**known))


def lines(blocks: list) -> list[str]:
    return [line for block in blocks for line in plain(block)]


# -- proxies ---------------------------------------------------------------------------------------


def test_proxies_stand_below_a_heading_and_are_added_up() -> None:
    known = entry(
        "user:secret@192.0.2.1:80",
        100,
        checked=NOW - 190,
        last=Kind.PASSED,
        latency=1.234,
        connect=True,
        tls=False,
        unaltered=True,
        anonymity="elite",
        country="DE",
    )
    heading, first, second, total = lines(
        build_proxies([known, entry("socks5://192.0.2.2:1080")], GOOD, NOW, site="universal")
    )
    assert heading.split() == [
        *("proxy", "score", "CONNECT", "TLS", "unaltered", "anonymity", "country", "latency"),
        *("check", "ago"),
    ]
    assert first.split() == [
        *("http://192.0.2.1:80", "100", "yes", "no", "yes", "elite", "DE", "1.23", "s"),
        *("passed", "3", "min"),
    ]
    assert second.split() == ["socks5://192.0.2.2:1080", "10", *"--------"]
    assert total == "2 of 1,812 proxies shown; 310 checked, 7 good (passed their last check)"


def test_columns_go_in_the_order_of_their_worth() -> None:
    table, _ = build_proxies([entry("192.0.2.1:80")], GOOD, NOW, site="universal")
    assert isinstance(table, Table)
    gone = [table.headings[place] for place in table.spare]
    assert gone[:2] == ["country", "unaltered"]
    assert set(table.headings).difference(gone) == {"proxy", "check"}


@pytest.mark.parametrize(
    ("status", "filters", "site", "said"),
    [
        (Status(), Filters(), "universal", "the pool is empty: `fetchpool` or `fetchpool pool`"),
        (Status(), Filters(), "shop", "the site shop has no proxies yet: those that are good for"),
        (
            GOOD,
            Filters(connect=True),
            "universal",
            "310 checked, 7 good (passed their last check);",
        ),
    ],
)
def test_a_list_without_proxies_says_why(
    status: Status, filters: Filters, site: str, said: str
) -> None:
    [line] = lines(build_proxies([], status, NOW, filters=filters, site=site))
    assert said in line


def test_what_no_judge_has_to_tell_needs_no_explanation() -> None:
    filters = Filters(countries=frozenset({"DE"}))
    assert build_proxies([], GOOD, NOW, filters=filters, site="universal") == [
        "no proxy is as these options ask for: 1,812 found, 310 checked, 7 good"
        " (passed their last check)"
    ]


# -- sources ---------------------------------------------------------------------------------------


def rows(**accounts: SourceAccount) -> list[SourceRow]:
    declared = [Source(name=name, url="http://lists.example/") for name in accounts]
    declared[0] = Source(name=declared[0].name, url="http://lists.example/", enabled=False)
    entries = [entry(f"192.0.2.{n}:80", 100 - n % 2, source="b", shared=n > 2) for n in range(1, 5)]
    return list_sources(declared, {}, accounts, entries, best=100, now=NOW)


def test_sources_stand_below_a_heading_and_are_added_up() -> None:
    b = SourceAccount(found=20_000, new=12, last_success=NOW - 7300, last_error="HTTP\n404")
    heading, first, second, third, total, meaning, whole = lines(
        build_sources(rows(a=SourceAccount(), b=b, c=SourceAccount(last_success=NOW)), NOW)
    )
    assert heading.split() == [
        *("source", "state", "found", "new", "unique", "alive", "success", "error")
    ]
    assert first.split() == ["a", "off", "0", "0", "0", "0", "never", "-"]
    assert second.split() == ["b", "on", "20,000", "12", "2", "2", "2", "h", "ago", "HTTP?404"]
    assert third.split() == ["c", "on", "0", "0", "0", "0", "now", "-"]
    assert total == "3 sources: 1 off, 2 on; 2 of their proxies are alive"
    assert meaning.startswith("unique: in the pool, and from no other source")
    assert whole == "errors in full, with their URLs: --format json"
    assert "1 source: 1 off; 0 of" in lines(build_sources(rows(a=SourceAccount()), NOW))[-2]


NO_NAME = "http://lists.example/: HTTP 599: Could not resolve host: lists.example ({})"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NO_NAME.format("no name server can be reached"), "no name server can be reached"),
        (
            "https://[::1]:1/a?b=c: HTTP 599: Failed to connect to [::1]:1 after 12 ms: Could not"
            " connect to server",
            "Could not connect to server",
        ),
        (
            "http://h/: HTTP 599: Resolving timed out after 5000 milliseconds",
            "Resolving timed out",
        ),
        ("http://h/: HTTP 404: Not Found", "HTTP 404: Not Found"),
        ("http://h/: no proxy in 12 bytes of text/plain", "no proxy in 12 bytes of text/plain"),
        ("LookupError: the page of http://h/: has changed",) * 2,
        ("",) * 2,
    ],
)
def test_the_reason_of_an_error_is_told_without_what_is_known(error: str, reason: str) -> None:
    assert shorten(error) == reason


def test_an_error_that_many_sources_have_is_told_once_in_full() -> None:
    failed = SourceAccount(last_error=NO_NAME.format(f"it {'is so ' * 10}far"))
    other = SourceAccount(last_error="HTTP 404")
    table, *_, common, _ = build_sources(rows(a=failed, b=failed, c=other), NOW)
    assert common == f"2 of 3 errors: it {'is so ' * 10}far"
    assert isinstance(table, Table)
    assert [len(row[-1]) for row in table.rows] == [60, 60, 8]
    narrow, _ = fit(table, 80)
    assert max(map(len, plain(narrow))) == 80


def test_sources_without_errors_need_no_more_words() -> None:
    assert len(build_sources(rows(a=SourceAccount()), NOW)) == 3


def test_without_sources_it_is_said_where_they_come_from() -> None:
    [line] = lines(build_sources([], NOW))
    assert line.startswith("there are no sources: `pool.sources_file: shipped` in the settings")


@pytest.mark.parametrize(
    ("ago", "words"),
    [(0.5, "now"), (1, "1 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"),
     (86399, "23 h"), (86400, "1 d"), (8640000, "100 d"), (-5, "now")],
)  # fmt: skip
def test_an_age_is_told_in_one_unit(ago: float, words: str) -> None:
    assert show_age(1e9 - ago, 1e9) == words
