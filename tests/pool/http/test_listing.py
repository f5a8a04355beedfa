from typing import Any

import pytest

from fetcher.proxy import parse_proxy
from pool.http.listing import (
    COLUMNS,
    Page,
    PageError,
    count_up,
    describe,
    describe_to_use,
    find_entries,
    find_page,
)
from pool.model import Entry, Kind, Record
from pool.settings import Score
from pool.snapshot.filters import Filters
from pool.snapshot.snapshot import Snapshot


def entry(member: str, score: float = 100, claimed: bool = True, **known: Any) -> Entry:
    return Entry(member, parse_proxy(member), score, Record(**known), claimed)


def snapshot(*entries: Entry) -> Snapshot:
    filled = Snapshot(Score())
    for one in entries:
        filled.put(one)
    return filled


def ports(page: Page) -> list[int]:
    return [one.port for one in page.proxies]


def test_a_proxy_is_shown_without_its_credentials() -> None:
    one = entry(
        "user:secret@192.0.2.1:80", source="list", country="DE", latency=0.123456, last=Kind.PASSED
    )
    shown = describe(one)
    assert (shown.id, shown.proxy, shown.host, shown.port) == (
        one.id,
        "http://192.0.2.1:80",
        "192.0.2.1",
        80,
    )
    assert (shown.source, shown.country, shown.country_claimed) == ("list", "DE", True)
    assert (shown.latency, shown.last, shown.connect, shown.checked) == (
        0.1235,
        "passed",
        None,
        None,
    )
    assert "secret" not in repr(shown)
    assert describe_to_use(one)["proxy"] == "user:secret@192.0.2.1:80"
    assert "failed" not in COLUMNS


@pytest.mark.parametrize(
    ("country", "claimed", "expected"),
    [("DE", True, True), ("DE", False, False), (None, True, None)],
)
def test_it_is_told_whether_a_country_is_only_claimed(
    country: str | None, claimed: bool, expected: bool | None
) -> None:
    shown = describe(entry("192.0.2.1:80", claimed=claimed, country=country))
    assert shown.country_claimed is expected


POOL = snapshot(
    *(entry(f"192.0.2.1:{port}", 100, country="DE", latency=port / 10) for port in (1, 2, 3)),
    entry("192.0.2.1:4", 9, country="DE", latency=0.1),
    entry("192.0.2.1:5", 50),
)


@pytest.mark.parametrize(
    ("filters", "options", "expected", "total"),
    [
        (Filters(), {}, [1, 2, 3, 5, 4], 5),
        (Filters(), {"limit": 4}, [1, 2, 3, 5], 5),
        (Filters(), {"limit": 5}, [1, 2, 3, 5, 4], 5),
        (Filters(), {"limit": 6}, [1, 2, 3, 5, 4], 5),
        (Filters(), {"limit": 2, "offset": 1}, [2, 3], 5),
        (Filters(), {"offset": 4}, [4], 5),
        (Filters(), {"offset": 5}, [], 5),
        (Filters(countries=frozenset({"DE"})), {"limit": 1}, [1], 4),
        (Filters(max_latency=0.2), {"limit": 1}, [1], 3),
        (Filters(max_latency=0.2), {}, [1, 2, 4], 3),
    ],
)
def test_a_page_begins_with_the_best(
    filters: Filters, options: dict[str, Any], expected: list[int], total: int
) -> None:
    page = find_page(POOL, filters, **options)
    assert (ports(page), page.total) == (expected, total)


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 6])
@pytest.mark.parametrize("filters", [Filters(), Filters(max_latency=9.0)])
def test_pages_follow_each_other_until_there_is_none(limit: int, filters: Filters) -> None:
    seen, after = [], None
    while True:
        page = find_page(POOL, filters, limit=limit, after=after)
        seen += ports(page)
        after = page.next
        if after is None:
            break
    assert seen == [one.proxy.port for one in find_entries(POOL, filters)]


def test_a_page_behind_a_proxy_that_has_gone_is_refused() -> None:
    with pytest.raises(PageError, match="after: there is no proxy 'abc' any more: begin anew"):
        find_page(POOL, Filters(), after="abc")


def test_only_those_that_passed_their_last_check_are_listed_if_that_is_asked_for() -> None:
    pool = snapshot(
        entry("192.0.2.1:1", 99),
        entry("192.0.2.1:3", country="DE", latency=2.0),
        entry("socks5://192.0.2.1:2", latency=0.5),
        entry("192.0.2.1:4", 10, country="DE"),
    )
    alive = find_page(pool, Filters(alive=True), limit=1)
    assert (alive.total, ports(alive)) == (2, [3])
    following = find_page(pool, Filters(alive=True), after=alive.next)
    assert (ports(following), following.next) == ([2], None)
    german = Filters(alive=True, countries=frozenset({"DE"}))
    assert [one.member for one in find_entries(pool, german)] == ["192.0.2.1:3"]
    assert find_page(pool, german).total == 1
    assert ports(find_page(pool, Filters(alive=True, max_latency=1.0))) == [2]
    pool.put(entry("192.0.2.1:3", 99))  # it is there, but nobody knows any more where it stood
    with pytest.raises(PageError, match=r"after: there is no proxy .* any more: begin anew"):
        find_page(pool, Filters(alive=True), after=alive.next)


def test_a_limit_cuts_the_list() -> None:
    assert [one.proxy.port for one in find_entries(POOL, Filters(), 2)] == [1, 2]


def test_the_pool_in_numbers() -> None:
    numbers = count_up(
        snapshot(
            entry("192.0.2.1:1", 100, country="DE", anonymity="elite"),
            entry("socks5://192.0.2.1:2", 100),
            entry("192.0.2.1:3", 99, country="FR"),
            entry("192.0.2.1:4", 10),
            entry("192.0.2.1:5", 3),
        ),
        Score(),
    )
    assert (numbers.found, numbers.checked, numbers.good) == (5, 4, 2)
    assert numbers.scores == {"good": 2, "above_new": 1, "new": 1, "below_new": 1}
    assert numbers.schemes == {"http": 4, "socks5": 1}
    assert numbers.anonymity == {"elite": 1, "unknown": 1}
    assert numbers.countries == {"DE": 1, "unknown": 1}
    empty = count_up(snapshot(), Score())
    assert (empty.countries, empty.schemes) == ({}, {})
