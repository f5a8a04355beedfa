from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetcher.errors import ProxyError
from fetcher.proxy import Proxy
from pool.model import Entry, Kind, Status
from pool.snapshot.filters import Filters
from pool.snapshot.snapshot import TOP, Snapshot
from tests.pool.entries import draws, entry, numbered, snapshot


def picked(pool: Snapshot, times: int = 2000) -> set[str]:
    draw = draws().random
    seen = (pool.http.pick(draw) for _ in range(times))
    return {one.member for one in seen if one}


def test_an_empty_pool_gives_nothing() -> None:
    pool = snapshot()
    assert pool.http.pick(draws().random) is None
    assert pool.http.sample(3, draws().random) == []
    assert list(pool.http.ascending()) == []
    assert pool.status() == Status(0, 0, 0)


def test_only_the_maximum_is_drawn_as_long_as_there_is_one() -> None:
    good = numbered(3, 100)
    pool = snapshot(*good, *numbered(50, 99, first=100), entry("192.0.2.9:1", 150))
    assert picked(pool) == {one.member for one in good}


def test_draws_are_even() -> None:
    pool = snapshot(*numbered(10, 100))
    draw = draws().random
    counts = Counter(one.member for _ in range(10_000) if (one := pool.http.pick(draw)))
    assert len(counts) == 10
    assert all(850 < count < 1150 for count in counts.values())


@pytest.mark.parametrize("better", [TOP - 1, TOP, TOP + 1])
def test_without_a_good_one_the_top_101_by_rank_are_drawn_from(better: int) -> None:
    high = [entry(f"192.0.2.1:{1000 + i}", 20 + i / 1000) for i in range(better)]
    low = numbered(30, 5, first=500)
    seen = picked(snapshot(*high, *low), times=5000)
    ranked = sorted(high, key=lambda one: -one.score)
    assert seen >= {one.member for one in ranked[:TOP]}
    if better >= TOP:
        assert seen == {one.member for one in ranked[:TOP]}
    else:
        assert len(seen - {one.member for one in high}) > 1  # the last place is drawn among equals


def test_among_equal_scores_refusing_ones_come_last() -> None:
    mild = [entry(f"192.0.2.1:{1000 + i}", 9, last=Kind.TIMEOUT) for i in range(TOP)]
    hard = [entry(f"192.0.2.2:{1000 + i}", 9, last=Kind.REFUSED) for i in range(50)]
    assert picked(snapshot(*hard, *mild), times=4000) == {one.member for one in mild}


def test_those_that_failed_are_never_drawn_where_only_live_ones_will_do() -> None:
    pool = snapshot(entry("192.0.2.1:1", 100, country="DE"), *numbered(50, 99, first=100))
    alive, draw = Filters(alive=True), draws().random
    french = Filters(alive=True, countries=frozenset({"FR"}))
    assert {one.member for _ in range(50) if (one := pool.pick(alive, draw))} == {"192.0.2.1:1"}
    assert [one.member for one in pool.sample(alive, 3, draw)] == ["192.0.2.1:1"]
    assert (pool.pick(french, draw), pool.sample(french, 3, draw)) == (None, [])
    assert (pool.count(alive), pool.count(french), pool.count(Filters())) == (1, 0, 51)
    assert [one.member for one in pool.descending(alive)] == ["192.0.2.1:1"]
    assert len(list(pool.descending(Filters()))) == 51
    german = Filters(countries=frozenset({"DE"}))
    assert [one.member for one in pool.descending(german)] == ["192.0.2.1:1"]
    pool.put(entry("192.0.2.1:1", 99))
    assert (pool.pick(alive, draw), pool.sample(alive, 1, draw)) == (None, [])
    assert list(pool.descending(alive)) == []


def test_an_update_moves_a_proxy_and_a_removal_forgets_it() -> None:
    pool = snapshot(entry("192.0.2.1:1", 100), entry("192.0.2.1:2", 10))
    pool.put(entry("192.0.2.1:1", 99))
    pool.put(entry("192.0.2.1:2", 100))
    assert picked(pool) == {"192.0.2.1:2"}
    pool.remove("192.0.2.1:2")
    pool.remove("192.0.2.1:2")
    assert picked(pool) == {"192.0.2.1:1"}
    assert (len(pool), len(pool.http), len(pool.any)) == (1, 1, 1)


def test_what_was_tried_is_passed_over_whatever_its_rank() -> None:
    best, middle, last = (entry(f"192.0.2.1:{score}", score) for score in (100, 50, 9))
    pool = snapshot(best, middle, last)
    assert pool.get("192.0.2.1:50") is middle
    for number in (0.0, 0.4, 0.9):
        tried: list[Proxy] = []
        for expected in (best, middle, last):
            others = [one.proxy for one in (best, middle, last) if one is not expected]
            assert pool.http.pick(lambda: number, others) is expected  # noqa: B023
            tried.append(expected.proxy)
        assert pool.http.pick(lambda: number, tried) is None  # noqa: B023


def test_a_sample_is_distinct_and_good_if_there_are_enough() -> None:
    pool = snapshot(*numbered(5, 100), *numbered(20, 10, first=100))
    good = {one.member for one in numbered(5, 100)}
    draw = draws().random
    for n, expected in [(0, 0), (1, 1), (4, 4), (5, 5)]:
        chosen = {one.member for one in pool.http.sample(n, draw)}
        assert len(chosen) == expected
        assert chosen <= good
    six = [pool.http.sample(6, draw) for _ in range(50)]
    assert all(len({one.member for one in chosen}) == 6 for chosen in six)
    assert {one.score for chosen in six for one in chosen} == {100, 10}
    assert len({one.member for one in pool.http.sample(10**9, draw)}) == 25


def test_a_sample_is_fair() -> None:
    pool = snapshot(*numbered(6, 100))
    draw = draws().random
    firsts = Counter(pool.http.sample(3, draw)[0].member for _ in range(6000))
    anywhere = Counter(one.member for _ in range(6000) for one in pool.http.sample(3, draw))
    assert all(850 < count < 1150 for count in firsts.values())
    assert all(2800 < count < 3200 for count in anywhere.values())


def test_proxypools_routes_see_http_proxies_and_pool_routes_all() -> None:
    members = ["192.0.2.1:1", "socks5://192.0.2.1:2", "https://192.0.2.1:3"]
    pool = snapshot(*(entry(member) for member in members))
    assert picked(pool) == {"192.0.2.1:1"}
    assert {one.member for one in pool.any.sample(9, draws().random)} == set(members)


def test_countries_are_found_in_any_case_and_unknown_ones_match_nothing() -> None:
    pool = snapshot(entry("192.0.2.1:1", 10, country="DE"), entry("192.0.2.1:2", 100))
    assert [one.member for one in pool.http.country("de").entries] == ["192.0.2.1:1"]
    assert len(pool.http.country("")) == len(pool.http.country("FR")) == 0
    pool.put(entry("192.0.2.1:1", 10, country="FR"))
    assert (len(pool.http.country("DE")), len(pool.http.country("FR"))) == (0, 1)


def test_ascending_is_redis_own_order_whatever_the_kinds() -> None:
    pool = snapshot(
        entry("192.0.2.1:9", 10, last=Kind.TIMEOUT),
        entry("192.0.2.1:3", 10, last=Kind.REFUSED),
        entry("192.0.2.1:5", 100),
        entry("192.0.2.1:4", 10),
        entry("192.0.2.1:1", 2.5),
    )
    listed = [one.member for piece in pool.http.ascending() for one in piece]
    assert listed == [f"192.0.2.1:{port}" for port in (1, 3, 4, 9, 5)]


def test_a_list_that_is_being_read_does_not_see_later_changes() -> None:
    pool = snapshot(*numbered(3, 10), *numbered(3, 20, first=10))
    pieces = pool.http.ascending()
    next(pieces)
    pool.remove("192.0.2.1:1010")
    assert len(next(pieces)) == 3


def test_checked_means_a_verdict_or_a_score_that_only_a_verdict_gives() -> None:
    pool = snapshot(
        entry("192.0.2.1:1", 10),
        entry("192.0.2.1:2", 10, checked=5.0),
        entry("192.0.2.1:3", 100),
        entry("socks5://192.0.2.1:4", 9, checked=5.0),
    )
    assert pool.status() == Status(found=4, checked=3, good=1)
    pool.remove("192.0.2.1:3")
    assert pool.status() == Status(found=3, checked=2, good=0)


class Counting:
    """Counts the numbers drawn."""

    def __init__(self) -> None:
        self.numbers: Iterator[float] = iter(draws().random, None)
        self.count = 0

    def __call__(self) -> float:
        self.count += 1
        return next(self.numbers)


@pytest.mark.parametrize("size", [100, 20_000])
def test_a_pick_costs_two_draws_and_a_sample_n_whatever_the_size(size: int) -> None:
    pool = snapshot(*(entry(f"192.0.{i // 250}.1:{1 + i % 250}") for i in range(size)))
    draw = Counting()
    pool.http.pick(draw)
    assert draw.count == 2
    pool.http.sample(7, draw)
    assert draw.count == 9


# -- filters -------------------------------------------------------------------------------------

GERMAN = Filters(countries=frozenset({"DE"}))


def chosen(pool: Snapshot, filters: Filters, times: int = 500) -> set[str]:
    draw = draws().random
    seen = (pool.pick(filters, draw) for _ in range(times))
    return {one.member for one in seen if one}


def test_filters_choose_among_the_good_ones_first_whatever_their_scheme() -> None:
    pool = snapshot(
        entry("192.0.2.1:1", country="DE"),
        entry("socks5://192.0.2.1:2", country="de"),
        entry("192.0.2.1:3", 99, country="DE"),
        entry("192.0.2.1:4", country="FR"),
        entry("192.0.2.1:5"),
    )
    assert chosen(pool, GERMAN) == {"192.0.2.1:1", "socks5://192.0.2.1:2"}
    pool.put(entry("192.0.2.1:1", 98, country="DE"))
    assert chosen(pool, GERMAN) == {"socks5://192.0.2.1:2"}
    pool.remove("socks5://192.0.2.1:2")
    assert chosen(pool, GERMAN) == {"192.0.2.1:3", "192.0.2.1:1"}
    assert chosen(pool, Filters(countries=frozenset({"IT"}))) == set()


def test_without_a_good_one_those_of_the_better_ranks_are_drawn_from() -> None:
    high = [entry(f"192.0.2.1:{i}", 50, country="DE") for i in range(1, TOP + 1)]
    low = [entry(f"192.0.2.2:{i}", 9, country="DE") for i in range(1, 201)]
    assert chosen(snapshot(*low, *high), GERMAN, 2000) == {one.member for one in high}


def test_who_has_no_known_latency_is_not_fast() -> None:
    pool = snapshot(
        entry("192.0.2.1:1", latency=0.4),
        entry("192.0.2.1:2", latency=0.6),
        entry("192.0.2.1:3"),
        entry("192.0.2.1:4", 50, latency=0.1),
    )
    assert chosen(pool, Filters(max_latency=0.5)) == {"192.0.2.1:1"}
    assert chosen(pool, Filters(max_latency=0.3)) == {"192.0.2.1:4"}
    assert chosen(pool, Filters(max_latency=0.05)) == set()


def test_a_sample_by_filters_is_good_if_there_are_enough() -> None:
    good = [entry(f"192.0.2.1:{i}", country="DE", latency=0.1) for i in range(1, 6)]
    rest = [entry(f"192.0.2.2:{i}", 10, country="DE", latency=0.1) for i in range(1, 6)]
    pool = snapshot(*good, *rest, *numbered(20, 100))
    draw = draws().random
    for filters in (GERMAN, Filters(max_latency=0.5)):
        five, six = pool.sample(filters, 5, draw), pool.sample(filters, 6, draw)
        assert {one.member for one in five} == {one.member for one in good}
        assert len({one.member for one in six}) == 6
        assert {one.score for one in pool.sample(filters, 99, draw)} == {100, 10}
        assert len(pool.sample(filters, 99, draw)) == 10


class Looks:
    """Counts how often an entry is looked at while it stands in for a bucket's list."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.count = 0

    def __getitem__(self, position: int) -> Entry:
        self.count += 1
        return self.entries[position]

    def __len__(self) -> int:
        return len(self.entries)


@pytest.mark.parametrize("size", [100, pytest.param(50_000, marks=pytest.mark.volume)])
def test_a_pick_by_filters_looks_at_two_entries_whatever_the_size(size: int) -> None:
    rare = entry("203.0.113.1:80", country="DE", anonymity="elite", connect=True)
    pool = snapshot(
        rare,
        *(
            entry(
                f"192.{i // 62500}.{i // 250 % 250}.1:{1 + i % 250}",
                country=("US", "CN", "DE")[i % 3],
                anonymity=("elite", "anonymous")[i % 3 == 2],
                connect=True,
            )
            for i in range(size)
        ),
    )
    counters = []
    for index in (pool.good, pool.every):
        for bucket in [
            *index.traits.values(),
            *(b for c in index.countries.values() for b in [*c.values()]),
        ]:
            counters.append(Looks(bucket.entries))
            bucket.entries = counters[-1]  # type: ignore[assignment]
    draw = draws().random
    wanted = Filters(countries=frozenset({"DE"}), anonymity=frozenset({"elite"}), connect=True)
    assert pool.pick(wanted, draw) is rare
    assert pool.pick(Filters(countries=frozenset({"US", "CN"})), draw) is not None
    assert sum(one.count for one in counters) <= 3


# -- names ---------------------------------------------------------------------------------------


def test_tunnels_prefer_those_that_are_known_to_be_clean_and_avoid_the_others() -> None:
    clean, unknown = entry("192.0.2.1:1", connect=True), entry("192.0.2.1:2")
    bad, failing = entry("192.0.2.1:3", tls=False), entry("192.0.2.1:4", 10, connect=True)
    pool = snapshot(clean, unknown, bad, failing)

    def exits(*, tunnelled: bool) -> list[list[Entry]]:
        found = pool.find_exits(tunnelled=tunnelled)
        return [[one[position] for position in range(len(one))] for one in found]

    assert exits(tunnelled=False) == [[clean, unknown, bad], []]
    assert exits(tunnelled=True) == [[clean], [unknown]]


PLAIN, PAID = "192.0.2.1:80", "user:a@192.0.2.1:80"
SOCKS, RAW = "socks5://192.0.2.1:80", "user:$@192.0.2.1:80"
USUAL, SIX, NAMED = "user:%24@192.0.2.1:80", "[2001:db8::1]:80", "gw.example.com:80"
HERE = [PLAIN, PAID, SOCKS, RAW, USUAL]


@pytest.mark.parametrize(
    ("text", "members"),
    [
        # an id
        (entry(PAID).id, [PAID]),
        (f" {entry(PAID).id}\n", [PAID]),
        ("0" * 16, []),
        # host:port
        ("192.0.2.1:80", HERE),
        (" 192.0.2.1:80/ ", HERE),
        ("[2001:DB8::1]:80", [SIX]),
        ("GW.example.com:80", [NAMED]),
        ("192.0.2.1:81", []),
        ("192.0.2.1:80?noconnect", [PLAIN]),
        # all of it
        ("http://192.0.2.1:80", [PLAIN]),
        ("HTTP://192.0.2.1:80/", [PLAIN]),
        ("socks5://192.0.2.1:80", [SOCKS]),
        ("socks4://192.0.2.1:80", []),
        (PAID, [PAID]),
        (f"http://{PAID}", [PAID]),
        ("user:b@192.0.2.1:80", []),
        ("user@192.0.2.1:80", []),
        # in other people's spelling
        (RAW, [USUAL, RAW]),
        (USUAL, [USUAL, RAW]),
        # nothing
        ("", []),
        ("no proxy", []),
        ("192.0.2.1:99999", []),
    ],
)
def test_a_proxy_has_many_names(text: str, members: list[str]) -> None:
    pool = snapshot(*map(entry, [*HERE, SIX, NAMED]))
    assert [one.member for one in pool.named(text)] == members


@pytest.mark.parametrize("text", ["192.0.2.1", "http://192.0.2.1", "gw.example.com"])
def test_a_host_without_a_port_is_no_name(text: str) -> None:
    pool = snapshot(*map(entry, [*HERE, "192.0.2.1:8080", "gw.example.com:8080"]))
    with pytest.raises(ProxyError, match="names no port"):
        pool.named(text)


def test_who_has_left_is_called_nothing_any_more() -> None:
    one, other = entry(PAID), entry(SOCKS)
    pool = snapshot(one, other)
    assert pool.find_id(one.id) == one
    pool.remove(one.member)
    assert (pool.find_id(one.id), pool.named(one.id), pool.named(PLAIN)) == (None, [], [other])
    pool.remove(other.member)
    assert pool.named(PLAIN) == []


def test_a_proxy_is_found_however_others_spell_it() -> None:
    usual, raw = entry("u:p%24s@192.0.2.1:80"), entry("u:p$s@192.0.2.1:80")
    prefixed, socks = entry("http://192.0.2.1:80"), entry("socks5://192.0.2.1:80")
    pool = snapshot(raw, prefixed, socks)
    assert pool.find_proxy(raw.proxy) == [raw]
    assert pool.find_proxy(prefixed.proxy) == [prefixed]
    assert pool.find_proxy(socks.proxy) == [socks]
    assert pool.find_proxy(entry("u@192.0.2.1:80").proxy) == []
    pool.put(usual)
    assert pool.find_proxy(raw.proxy) == [usual, raw]
    pool.put(raw)  # again
    assert pool.find_proxy(raw.proxy) == [usual, raw]
    pool.remove(raw.member)
    assert pool.find_proxy(raw.proxy) == [usual]


def test_a_gateways_sessions_are_found_by_its_place_until_each_has_gone() -> None:
    sessions = [entry(f"u{n}:p@192.0.2.1:80") for n in range(100)]
    pool = snapshot(*sessions)
    pool.put(sessions[50])
    for left in range(100, 0, -1):
        assert len(pool.named("192.0.2.1:80")) == left
        pool.remove(sessions[left - 1].member)
    assert pool.named("192.0.2.1:80") == []


def test_descending_begins_with_the_best_and_scores_are_counted() -> None:
    pool = snapshot(
        entry("192.0.2.1:9", 10, last=Kind.REFUSED),
        entry("192.0.2.1:3", 10, last=Kind.TIMEOUT),
        entry("192.0.2.1:5", 100),
        entry("192.0.2.1:4", 100),
    )
    listed = [one.proxy.port for one in pool.any.descending()]
    assert listed == [4, 5, 3, 9]
    assert pool.any.count_scores() == {100: 2, 10: 2}


MEMBERS = [f"192.0.2.1:{port}" for port in range(1, 9)] + ["socks4://192.0.2.1:9"]
STEP = st.tuples(
    st.sampled_from(MEMBERS),
    st.sampled_from([None, 1, 9.5, 10, 99, 100, 130]),
    st.sampled_from([None, Kind.PASSED, Kind.TIMEOUT, Kind.REFUSED]),
    st.sampled_from([None, "DE", "fr"]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEP, max_size=40), st.floats(0, 1, exclude_max=True))
def test_any_sequence_of_changes_leaves_what_a_plain_dict_would(
    steps: list[tuple[str, float | None, Kind | None, str | None]], number: float
) -> None:
    pool, plain = snapshot(), dict[str, Entry]()
    for member, score, last, country in steps:
        if score is None:
            pool.remove(member)
            plain.pop(member, None)
        else:
            plain[member] = entry(member, score, last=last, country=country)
            pool.put(plain[member])
    http = {name: one for name, one in plain.items() if one.proxy.scheme == "http"}
    assert pool.members() == set(plain)
    listed = [one.member for piece in pool.http.ascending() for one in piece]
    assert listed == sorted(http, key=lambda name: (http[name].score, name))
    assert all(pool.get(name) is one for name, one in plain.items())
    assert all(pool.find_id(one.id) is one for one in plain.values())
    every = sorted(map(id, plain.values()))
    assert sorted(map(id, pool.any.every.entries)) == every
    assert sorted(map(id, pool.every.every.entries)) == every
    good = {id(one) for one in plain.values() if one.score == 100}
    assert {id(one) for one in pool.good.every.entries} == good
    new = {id(one) for one in plain.values() if one.score != 100 and not one.record.checked}
    assert {id(one) for one in pool.unchecked.every.entries} == new
    best = {name for name, one in plain.items() if one.score == 100}
    assert {one.member for one in pool.any.best.entries} == best
    germans = {name for name, one in http.items() if one.record.country == "DE"}
    assert {one.member for one in pool.http.country("de").entries} == germans
    one = pool.any.pick(lambda: number)
    assert (one is None) == (not plain)
    tried = [other.proxy for other in plain.values() if other is not one]
    assert pool.any.pick(lambda: number, tried) is one


def test_https_leaves_by_those_that_tunnelled_cleanly_and_then_by_unknown_ones() -> None:
    clean, unknown = entry("192.0.2.1:1", connect=True, tls=True), entry("192.0.2.1:2")
    refusing, failing = entry("192.0.2.1:3", connect=False), entry("192.0.2.1:4", 99)
    pool = snapshot(clean, unknown, refusing, failing)
    first, then = pool.find_exits(tunnelled=True)
    assert [first[i] for i in range(len(first))] == [clean]
    assert [then[i] for i in range(len(then))] == [unknown]
    every, altering = pool.find_exits(tunnelled=False)
    assert not altering
    assert {every[i].member for i in range(len(every))} == {
        one.member for one in (clean, unknown, refusing)
    }


def test_plain_http_leaves_last_by_those_that_are_known_to_alter_it() -> None:
    one, other = entry("192.0.2.1:1", unaltered=False), entry("192.0.2.1:2", unaltered=True)
    pool = snapshot(one, other)
    assert listed(pool, tunnelled=False) == [{2}, {1}]
    both = listed(pool, tunnelled=True)
    assert {1, 2} in both  # https is none of what they were seen to alter
    pool.put(entry("192.0.2.1:1", unaltered=True))
    assert listed(pool, tunnelled=False) == [{1, 2}, set()]
    pool.put(entry("192.0.2.1:2", unaltered=False))
    assert listed(pool, tunnelled=False) == [{1}, {2}]


@pytest.mark.parametrize(
    ("known", "unclean"),
    [
        ({"connect": True, "tls": True}, False),
        ({"connect": True, "tls": False}, True),
        ({"connect": False}, True),
        ({}, False),
    ],
)
def test_it_tells_through_whom_https_does_not_pass(known: dict[str, bool], unclean: bool) -> None:
    one = entry("192.0.2.1:1", **known)
    assert snapshot(one).is_unclean(one) is unclean


def listed(pool: Snapshot, **wanted: Any) -> list[set[int]]:
    """The ports of the exits, list by list."""
    return [{exits[i].proxy.port for i in range(len(exits))} for exits in pool.find_exits(**wanted)]


@pytest.mark.parametrize(
    ("tunnelled", "country", "unchecked", "expected"),
    [
        (False, None, False, [{1, 2}, {3}]),
        (False, None, True, [{1, 2}, {3}, {4, 5}, {6}]),
        (True, None, True, [{1}, {3}, {4}, {6}, {2}]),
        (False, "de", False, [{1, 2}, set()]),
        (False, "de", True, [{1, 2}, set(), {4, 5}, set()]),
        (False, "us", True, [set(), {3}, set(), {6}]),
        (True, "DE", False, [{1}, set()]),
        (True, "DE", True, [{1}, set(), {4}, set(), {2}]),
        (False, "FR", True, [set()] * 4),
        (True, "FR", True, [set()] * 5),
    ],
)
def test_exits_may_be_wished_for_by_country_and_of_those_that_nobody_has_checked(
    tunnelled: bool, country: str | None, unchecked: bool, expected: list[set[int]]
) -> None:
    pool = snapshot(
        *(
            one
            for first, score in ((1, 100), (4, 10))
            for one in (
                entry(f"192.0.2.1:{first}", score, connect=True, tls=True, country="DE"),
                entry(f"192.0.2.1:{first + 1}", score, connect=False, country="DE"),
                entry(f"192.0.2.1:{first + 2}", score, country="US", unaltered=False),
            )
        ),
        entry("192.0.2.1:7", 10, checked=1.0, country="DE"),
        entry("192.0.2.1:8", 99, checked=1.0, country="DE"),
    )
    assert listed(pool, tunnelled=tunnelled, country=country, unchecked=unchecked) == expected


@pytest.mark.parametrize(
    ("score", "checked", "lists"),
    [
        (100, 1.0, [{1}, set()]),
        (100, 0.0, [{1}, set()]),  # ProxyPool's: the score says it
        (10, 0.0, [set(), {1}]),
        (10, 1.0, [set(), set()]),
        (9, 0.0, [set(), {1}]),  # traffic has failed through it
        (9, 1.0, [set(), set()]),
    ],
)
def test_each_change_moves_a_proxy_between_the_good_and_the_unknown_ones(
    score: float, checked: float, lists: list[set[int]]
) -> None:
    for before in [(100.0, 1.0), (10.0, 0.0), (9.0, 1.0)]:
        pool = snapshot(entry("192.0.2.1:1", before[0], checked=before[1]))
        now = entry("192.0.2.1:1", score, checked=checked)
        pool.put(now)
        good, unchecked = lists
        assert listed(pool, tunnelled=False, unchecked=True) == [good, set(), unchecked, set()]
        assert pool.is_unchecked(now) is bool(unchecked)
        assert pool.status().checked == pool.is_checked(now)
        pool.remove("192.0.2.1:1")
        assert listed(pool, tunnelled=False, unchecked=True) == [set()] * 4
        assert pool.status() == Status(0, 0, 0)
