import pytest

from fetcher.proxy import parse_proxy
from pool.harvest.accounts import (
    LONGEST_PAUSE,
    PATIENCE,
    SourceRow,
    build_version,
    count_read,
    describe_failure,
    fail,
    is_line_up,
    list_sources,
    next_pause,
    stay,
    succeed,
    take_over,
)
from pool.model import Entry, Record, SourceAccount
from pool.source import Source

URL = "http://lists.example/"
NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("every", "failures", "seconds"),
    [
        (100, 0, 0),
        (100, PATIENCE - 1, 0),
        (100, PATIENCE, 200),
        (100, PATIENCE + 1, 400),
        (100, PATIENCE + 8, 51_200),
        (100, PATIENCE + 9, LONGEST_PAUSE),
        (100, 100_000, LONGEST_PAUSE),
        (LONGEST_PAUSE / 2, PATIENCE, LONGEST_PAUSE),
        (200_000, PATIENCE - 1, 0),
        (200_000, PATIENCE, 200_000),
    ],
)
def test_a_source_that_yields_nothing_is_asked_ever_more_seldom(
    every: float, failures: int, seconds: float
) -> None:
    assert next_pause(every, failures) == seconds


def test_failures_add_up_to_a_pause_and_a_success_ends_it() -> None:
    account = SourceAccount(found=5, refused=1, total_new=3, last_success=1.0, version="v")
    for count in range(1, PATIENCE):
        account = fail(account, "HTTP 404", every=100, now=NOW)
        assert (account.consecutive_failures, account.paused_until) == (count, 0.0)
    account = fail(account, "HTTP 404", every=100, now=NOW)
    assert account == SourceAccount(
        found=5,
        refused=1,
        total_new=3,
        last_success=1.0,
        last_error="HTTP 404",
        consecutive_failures=PATIENCE,
        paused_until=NOW + 200,
        version="v",
    )
    assert succeed(account, found=9, new=4, refused=2, error=None, now=NOW) == SourceAccount(
        found=9, new=4, refused=2, total_new=7, last_success=NOW, version="v"
    )
    assert stay(account, error="a page", now=NOW) == SourceAccount(
        found=5, refused=1, total_new=3, last_success=NOW, last_error="a page", version="v"
    )


def test_what_is_not_its_fault_adds_no_failure_and_ends_no_pause() -> None:
    account = SourceAccount(consecutive_failures=PATIENCE - 1)
    for _ in range(3):
        account = fail(account, "HTTP 599", counts=False, every=100, now=NOW)
    assert account.paused_until == 0.0
    assert account == SourceAccount(last_error="HTTP 599", consecutive_failures=PATIENCE - 1)
    paused = SourceAccount(consecutive_failures=PATIENCE, paused_until=NOW)
    paused = fail(paused, "HTTP 599", counts=False, every=100, now=NOW)
    assert (paused.consecutive_failures, paused.paused_until) == (PATIENCE, NOW + 200)


@pytest.mark.parametrize(
    ("accounts", "is_up"),
    [
        ({}, False),
        ({"one": (NOW, 0.0)}, False),
        ({"one": (NOW, NOW + 1)}, False),
        ({"other": (NOW, NOW)}, True),
        ({"other": (NOW, 0.0)}, False),
        ({"one": (NOW, 0.0), "other": (NOW, NOW - 1)}, False),
        ({"one": (NOW, 0.0), "other": (NOW, NOW)}, True),
        ({"one": (NOW, 0.0), "other": (NOW, NOW + 1)}, True),
        ({"one": (NOW, 0.0), "gone": (NOW, 0.0), "other": (NOW, NOW + 1)}, True),
    ],
)
def test_our_line_is_up_if_another_source_has_answered_since_this_one_was_asked(
    accounts: dict[str, tuple[float, float]], is_up: bool
) -> None:
    known = {
        name: SourceAccount(last_run=last_run, answered=answered)
        for name, (last_run, answered) in accounts.items()
    }
    assert is_line_up("one", known) is is_up


def test_another_declaration_begins_without_failures() -> None:
    old = SourceAccount(total_new=3, consecutive_failures=9, paused_until=NOW, version="old")
    assert take_over(old, "old") is old
    assert take_over(old, "new") == SourceAccount(total_new=3, version="new")


def test_a_declaration_has_another_version_when_it_changes() -> None:
    one = Source(name="one", url=URL, headers={"A": "1", "B": "2"})
    same = Source(name="one", url=URL, headers={"B": "2", "A": "1"})
    other = Source(name="one", url=URL + "?", headers={"A": "1", "B": "2"})
    assert build_version(one) == build_version(same) != build_version(other)


def entry(number: int, source: str, score: float, *, shared: bool = False) -> Entry:
    member = f"192.0.2.{number}:80"
    return Entry(member, parse_proxy(member), score, Record(source=source, shared=shared))


def rows_of(
    declared: list[Source],
    plugins: dict[str, str] | None,
    accounts: dict[str, SourceAccount],
    *entries: Entry,
) -> list[SourceRow]:
    return list_sources(declared, plugins, accounts, entries, best=100, now=NOW)


def test_what_came_from_a_source_is_counted_in_the_pool() -> None:
    entries = [entry(1, "a", 100), entry(2, "a", 99), entry(3, "b", 10), entry(4, "", 100)]
    account = SourceAccount(found=5, new=3, refused=1, total_new=8, last_run=3.0, last_success=2.0)
    sources = [Source(name=name, url=URL) for name in ("b", "a")]
    b, a = rows_of(sources, {}, {"a": account}, *entries)
    assert (a.unique, a.alive, b.unique, b.alive) == (2, 1, 1, 0)
    assert (a.found, a.new, a.refused, a.total_new) == (5, 3, 1, 8)
    assert (a.last_run, a.last_success, a.last_error) == (3.0, 2.0, None)
    assert (b.found, b.last_run) == (0, 0.0)


def test_what_others_have_too_is_not_unique() -> None:
    entries = [entry(1, "a", 100, shared=True), entry(2, "a", 100), entry(3, "b", 9, shared=True)]
    a, b = rows_of([Source(name=name, url=URL) for name in ("a", "b")], {}, {}, *entries)
    assert (a.unique, a.alive, b.unique, b.alive) == (1, 2, 0, 0)


def test_each_source_is_in_one_state() -> None:
    good = Source(name="on", url=URL)
    off = Source(name="off", url=URL, enabled=False)
    paused = Source(name="paused", url=URL)
    over = Source(name="over", url=URL)
    corrected = Source(name="corrected", url=URL)

    def pausing(version: str, until: float, plugin: bool = False) -> SourceAccount:
        return SourceAccount(
            consecutive_failures=4, paused_until=until, version=version, plugin=plugin
        )

    accounts = {
        "off": pausing(build_version(off), NOW + 1),
        "paused": pausing(build_version(paused), NOW + 1),
        "over": pausing(build_version(over), NOW),
        "corrected": pausing("another", NOW + 1),
        "removed": pausing("v", NOW + 1),
        "own.crawl_paused": pausing("v", NOW + 1, plugin=True),
        "own.crawl_gone": SourceAccount(plugin=True),
    }
    plugins = {"own.crawl_x": "v", "own.crawl_paused": "v"}
    rows = rows_of([good, off, paused, over, corrected], plugins, accounts)
    assert {row.name: (row.state, row.declared, row.enabled, row.plugin) for row in rows} == {
        "on": ("on", True, True, False),
        "off": ("off", True, False, False),
        "paused": ("paused", True, True, False),
        "over": ("on", True, True, False),
        "corrected": ("on", True, True, False),
        "own.crawl_paused": ("paused", True, True, True),
        "own.crawl_x": ("on", True, True, True),
        "own.crawl_gone": ("gone", False, False, True),
        "removed": ("gone", False, False, False),
    }
    assert (
        list(accounts)
        != [row.name for row in rows[:5]]
        == [*("on", "off", "paused", "over", "corrected")]
    )
    assert {row.name for row in rows if row.paused_until} == {"off", "paused", "own.crawl_paused"}


def test_where_nobody_has_looked_for_plug_ins_their_accounts_tell() -> None:
    accounts = {
        "own.crawl_x": SourceAccount(plugin=True, version="v", paused_until=NOW + 1),
        "removed": SourceAccount(),
    }
    rows = rows_of([], None, accounts)
    assert [(row.name, row.state) for row in rows] == [
        ("own.crawl_x", "paused"),
        ("removed", "gone"),
    ]


@pytest.mark.parametrize(
    ("failures", "said"),
    [
        (0, "source a: gone"),
        (PATIENCE - 1, "source a: gone"),
        (
            PATIENCE,
            "source a: gone; nothing for 3 times: asked ever more seldom, at last once a day",
        ),
        (PATIENCE + 1, None),
    ],
)
def test_a_failure_is_told_until_the_source_is_paused(failures: int, said: str | None) -> None:
    account = SourceAccount(consecutive_failures=failures, last_error="gone")
    assert describe_failure("a", account) == said


def test_what_has_been_read_is_counted_and_what_was_asked_in_vain() -> None:
    known = {
        "read": SourceAccount(last_run=1.0, last_success=1.0),
        "read, and failing since": SourceAccount(last_run=2.0, last_success=1.0, last_error="x"),
        "failing": SourceAccount(last_run=1.0, last_error="x"),
        "never asked": SourceAccount(),
        "another's": SourceAccount(last_run=1.0, last_success=1.0),
    }
    names = [name for name in known if name != "another's"]
    assert count_read([*names, "unknown"], known) == (2, 1)
    assert count_read([], known) == (0, 0)
