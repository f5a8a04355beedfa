import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fetcher.proxy import parse_proxy
from pool.model import Entry, Record
from pool.snapshot.filters import Filters
from pool.snapshot.index import (
    LOOKS,
    Bucket,
    Index,
    Pile,
    find_clean,
    find_plain,
    pick,
    sample,
    shuffled,
)


def entry(member: str, score: float = 100, **known: Any) -> Entry:
    return Entry(member, parse_proxy(member), score, Record(**known))


def bucket(*entries: Entry) -> Bucket:
    filled = Bucket()
    for one in entries:
        filled.put(one)
    return filled


def numbered(count: int, first: int = 0, **known: Any) -> list[Entry]:
    return [
        entry(f"192.0.{i // 250}.1:{1 + i % 250}", **known) for i in range(first, first + count)
    ]


class Watched:
    """Counts the looks at a bucket."""

    def __init__(self, entries: Bucket | Pile) -> None:
        self._entries = entries
        self.looks = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, position: int) -> Entry:
        self.looks += 1
        return self._entries[position]


def draws(seed: int = 1) -> Any:
    return random.Random(seed).random


@given(st.integers(0, 40), st.data())
def test_a_shuffle_has_each_once_whatever_is_drawn(size: int, data: st.DataObject) -> None:
    entries = bucket(*numbered(size))
    numbers: Iterator[float] = iter(
        data.draw(
            st.lists(st.floats(0, 1, exclude_max=True), min_size=size, max_size=size), label="draws"
        )
    )
    shown = list(shuffled(entries, lambda: next(numbers)))
    assert sorted(one.member for one in shown) == sorted(one.member for one in entries.entries)


@pytest.mark.parametrize("size", [1, 2, 100, 50_000])
def test_a_pick_looks_at_two_however_many_there_are(size: int) -> None:
    watched = Watched(bucket(*numbered(size)))
    assert pick(watched, draws()) is not None
    assert watched.looks == min(size, 2)


@pytest.mark.parametrize("size", [2, 3, 10, 100])
def test_fast_and_fresh_ones_come_oftener_but_none_is_run_hot_or_left_out(size: int) -> None:
    entries = [
        entry(f"192.0.2.1:{1 + i}", latency=0.1 * i, passed=1000.0 - 30 * i) for i in range(size)
    ]
    filled, draw, rounds = bucket(*entries), draws(), 400
    counts = Counter(
        one.member for _ in range(size * rounds) if (one := pick(filled, draw)) is not None
    )
    shares = [counts[one.member] / rounds for one in entries]
    assert 1.3 < shares[0] < 1.9
    assert 0.2 < shares[-1] < 0.65
    assert max(shares) < 2.0
    assert min(shares) > 0.2


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"latency": 0.2}, {"latency": 0.9}),
        ({"latency": 5.0}, {}),
        ({"latency": 0.5, "passed": 1060.0}, {"latency": 0.5, "passed": 1000.0}),
        ({"latency": 1.5, "passed": 1120.0}, {"latency": 0.5, "passed": 1000.0}),
    ],
)
def test_of_two_the_better_one_is_taken_four_times_in_five(
    better: dict[str, float], worse: dict[str, float]
) -> None:
    one, other = entry("192.0.2.1:1", **better), entry("192.0.2.1:2", **worse)
    assert one.cost < other.cost
    for filled in (bucket(one, other), bucket(other, one)):
        draw = draws()
        counts = Counter(pick(filled, draw) is one for _ in range(2000))
        assert 1500 < counts[True] < 1700


def test_equals_are_drawn_by_lot() -> None:
    filled, draw = bucket(*numbered(10)), draws()
    counts = Counter(one.member for _ in range(10_000) if (one := pick(filled, draw)))
    assert len(counts) == 10
    assert all(850 < count < 1150 for count in counts.values())


@pytest.mark.parametrize(("rejected", "found"), [(LOOKS - 1, True), (LOOKS, False)])
def test_what_is_not_accepted_is_passed_over_for_so_long(rejected: int, found: bool) -> None:
    filled = bucket(*numbered(rejected + 1))
    watched = Watched(filled)
    chosen = pick(watched, lambda: 0.0, lambda one: one is filled[rejected])
    assert (chosen is filled[rejected]) is found
    assert watched.looks <= LOOKS + 2


def test_a_second_one_is_not_looked_for_long() -> None:
    filled = bucket(*numbered(1000))
    watched = Watched(filled)
    assert pick(watched, lambda: 0.0, lambda one: one is filled[0]) is filled[0]
    assert watched.looks == 2 + 17


@pytest.mark.parametrize(("n", "size"), [(-1, 0), (0, 0), (1, 1), (9, 9), (10, 10), (11, 10)])
def test_a_sample_is_distinct(n: int, size: int) -> None:
    filled = bucket(*numbered(10))
    for accept in (None, lambda one: True):
        chosen = sample(filled, n, draws(), accept)
        assert len({one.member for one in chosen}) == len(chosen) == size


@pytest.mark.parametrize(("rejected", "found"), [(LOOKS - 1, 1), (LOOKS, 0)])
def test_a_sample_of_few_among_many_ends(rejected: int, found: int) -> None:
    filled = bucket(*numbered(rejected + 1))
    chosen = sample(filled, 5, lambda: 0.0, lambda one: one is filled[rejected])
    assert len(chosen) == found


def test_a_pile_is_drawn_from_as_one() -> None:
    entries = numbered(6)
    pile = Pile([bucket(*entries[:1]), bucket(), bucket(*entries[1:3]), bucket(*entries[3:])])
    assert [pile[position] for position in range(len(pile))] == entries
    with pytest.raises(IndexError):
        pile[6]


FILTERS = [
    Filters(),
    Filters(schemes=frozenset({"socks5"})),
    Filters(connect=True),
    Filters(anonymity=frozenset({"elite", "anonymous"})),
    Filters(countries=frozenset({"DE", "US"})),
    Filters(countries=frozenset({"DE"}), connect=True, schemes=frozenset({"http"})),
]
CHANGE = st.tuples(
    st.sampled_from(["192.0.2.1:1", "192.0.2.1:2", "socks5://192.0.2.1:3", "192.0.2.1:4"]),
    st.booleans(),
    st.builds(
        Record,
        connect=st.sampled_from([None, True, False]),
        tls=st.sampled_from([None, True, False]),
        anonymity=st.sampled_from([None, "elite", "transparent"]),
        country=st.sampled_from([None, "DE", "us"]),
        own=st.booleans(),
        unaltered=st.sampled_from([None, True, False]),
    ),
)


TWO_ALIKE_AND_ONE_GOES = [
    ("192.0.2.1:1", True, Record()),
    ("192.0.2.1:2", True, Record()),
    ("192.0.2.1:1", False, Record()),
]


@example(TWO_ALIKE_AND_ONE_GOES)
@given(st.lists(CHANGE, max_size=30))
def test_an_index_finds_what_looking_at_all_would(changes: list[tuple[str, bool, Record]]) -> None:
    index, plain = Index(), dict[str, Entry]()
    for member, there, record in changes:
        old = plain.pop(member, None)
        if there:
            plain[member] = Entry(member, parse_proxy(member), 100, record)
            if old is not None:
                index.replace(old, plain[member])
            else:
                index.put(plain[member])
        elif old is not None:
            index.drop(old)

    def names(pile: Pile) -> list[str]:
        entries = [pile[position] for position in range(len(pile))]
        assert all(one is plain[one.member] for one in entries)
        return sorted(one.member for one in entries)

    for filters in FILTERS:
        wanted = sorted(n for n, one in plain.items() if filters.match(one.proxy, one.record))
        assert names(index.find(filters)) == wanted
    clean = [names(find_clean(index.traits, known)) for known in (True, None, False)]
    assert sorted(name for one in clean for name in one) == sorted(plain)
    altering = sorted(n for n, one in plain.items() if one.record.unaltered is False)
    by_traits = [find_plain(index.traits, alters=alters) for alters in (False, True)]
    for first, last in ([Pile([bucket]) for bucket in index.plain], by_traits):
        assert sorted(names(first) + names(last)) == sorted(plain)
        assert names(last) == altering
    for country, part in index.countries.items():
        inside = [find_clean(part, known) for known in (True, None, False)]
        found = names(index.find(Filters(countries=frozenset({country}))))
        assert sorted(name for one in inside for name in names(one)) == found
    assert sorted(map(id, index.every.entries)) == sorted(map(id, plain.values()))
    if not plain:
        assert (index.traits, index.countries) == ({}, {})
