"""Choosing a proxy out of a snapshot of the pool, in constant time.

A decision module: randomness comes in as `draw` (a function that gives numbers in [0, 1)), and
`snapshot` alone knows where the contents come from. Each entry lies in a few lists from which any
element is taken in constant time (the last one fills the hole), so 50,000 proxies cost a pick no
more than 100 do.
"""

from bisect import bisect_left, insort
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from fetcher.proxy import Proxy
from pool.model import Entry, Status
from pool.score import rank
from pool.settings import Score
from pool.snapshot.filters import ANY, Filters, traits_of
from pool.snapshot.index import (
    Accept,
    Bucket,
    Draw,
    Drawable,
    Index,
    find_clean,
    find_plain,
    pick,
    sample,
)
from pool.snapshot.names import is_whole, read_name

# ProxyPool's `zrevrange 0 100`: what it draws from when nothing has the maximum.
TOP: Final = 101

# Where the best of many are wanted that no list has in order, so many are drawn and put in order.
_DRAWN: Final = 4 * TOP


class Group:
    """The entries that one kind of request draws from."""

    def __init__(self, scale: Score) -> None:
        self._scale = scale
        self.every = Bucket()
        self._ranks: dict[tuple[float, int], Bucket] = {}
        self._order: list[tuple[float, int]] = []  # the keys of _ranks, worst first
        self._countries: dict[str, Bucket] = {}
        self._none = Bucket()

    def __len__(self) -> int:
        return len(self.every)

    @property
    def best(self) -> Bucket:
        """Those with exactly the maximum: they passed their last check."""
        return self._ranks.get((self._scale.max, 0), self._none)

    def country(self, code: str) -> Bucket:
        """Those of a country; an unknown one has none."""
        return self._countries.get(code.upper(), self._none)

    def put(self, entry: Entry) -> None:
        self.every.put(entry)
        self._put_by_rank(entry)
        if entry.record.country:
            self._countries.setdefault(entry.record.country.upper(), Bucket()).put(entry)

    def _put_by_rank(self, entry: Entry) -> None:
        key = rank(entry.score, entry.record, self._scale)
        bucket = self._ranks.get(key)
        if bucket is None:
            bucket = self._ranks[key] = Bucket()
            insort(self._order, key)
        bucket.put(entry)

    def replace(self, old: Entry, entry: Entry) -> None:
        """As dropping one and putting the other of its name, for less."""
        if entry.record.country or old.record.country:
            self.drop(old)
            self.put(entry)
            return
        self.every.put(entry)
        self._drop_by_rank(old)
        self._put_by_rank(entry)

    def drop(self, entry: Entry) -> None:
        self.every.drop(entry)
        self._drop_by_rank(entry)
        if entry.record.country:
            code = entry.record.country.upper()
            self._countries[code].drop(entry)
            if not self._countries[code]:
                del self._countries[code]

    def _drop_by_rank(self, entry: Entry) -> None:
        key = rank(entry.score, entry.record, self._scale)
        bucket = self._ranks[key]
        bucket.drop(entry)
        if not bucket:
            del self._ranks[key]
            del self._order[bisect_left(self._order, key)]

    def pick(self, draw: Draw, tried: Collection[Proxy] = ()) -> Entry | None:
        """One with the maximum, else one of the top 101 by rank; equals as `index.pick` says."""
        accept = untried(tried)
        return pick(self.best, draw, accept) or self._pick_top(draw, accept)

    def _pick_top(self, draw: Draw, accept: Accept | None) -> Entry | None:
        position = int(draw() * min(len(self.every), TOP))
        for key in reversed(self._order):
            bucket = self._ranks[key]
            if position < len(bucket):
                return pick(bucket, draw, accept) or self._first(accept)
            position -= len(bucket)
        return None

    def _first(self, accept: Accept | None) -> Entry | None:
        for key in reversed(self._order):
            for entry in self._ranks[key].entries:
                if accept is None or accept(entry):
                    return entry
        return None

    def sample(self, n: int, draw: Draw) -> list[Entry]:
        """At most `n` different ones: with the maximum if there are `n` of them, else of all."""
        bucket = self.best if len(self.best) >= n else self.every
        return sample(bucket, n, draw)

    def ascending(self) -> Iterator[Sequence[Entry]]:
        """All of this moment in order of score, equals by name, in pieces: Redis's own order.

        Changes made while this is read do not show. Sorting a piece costs about 0.4 us an entry.
        """
        taken: list[list[Entry]] = []
        score = None
        for key in self._order:
            if key[0] != score:
                taken.append([])
                score = key[0]
            taken[-1].extend(self._ranks[key].entries)
        return (sorted(entries, key=lambda entry: entry.member) for entries in taken)

    def descending(self) -> Iterator[Entry]:
        """All of this moment, the best first, equals by name."""
        for key in reversed(self._order.copy()):
            bucket = self._ranks.get(key, self._none)
            yield from sorted(bucket.entries, key=lambda entry: entry.member)

    def count_scores(self) -> dict[float, int]:
        """How many there are of each score."""
        counts: dict[float, int] = {}
        for (score, _), bucket in self._ranks.items():
            counts[score] = counts.get(score, 0) + len(bucket)
        return counts


class Snapshot:
    """A site's pool as this process knows it.

    `http` is what ProxyPool's routes draw from, `any` all proxies, other schemes too. Filters are
    held against `good`, those of `any` that passed their last check, and against `every`;
    `unchecked` are those that no check of ours has looked at: new ones, whatever traffic has shown
    of them, and those that another program has left behind.
    """

    def __init__(self, scale: Score) -> None:
        self._scale = scale
        self._entries: dict[str, Entry] = {}
        self._checked = 0
        self.http = Group(scale)
        self.any = Group(scale)
        self.good = Index()
        self.unchecked = Index()
        self.every = Index()
        self._by_id: dict[str, str] = {}  # -> its member
        # host:port -> members. A gateway has thousands, which differ by user alone.
        self._by_authority: dict[str, dict[str, None]] = {}
        # As we spell a proxy -> the members by which others, who write too, mean the same.
        self._others: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, member: str) -> Entry | None:
        return self._entries.get(member)

    def members(self) -> set[str]:
        return set(self._entries)

    def put(self, entry: Entry) -> None:
        """Add or replace."""
        old = self._entries.get(entry.member)
        if old is not None:
            self._replace(old, entry)
            return
        self._entries[entry.member] = entry
        self._checked += self.is_checked(entry)
        for group in self._groups(entry):
            group.put(entry)
        for index in self._indexes(entry):
            index.put(entry)
        self._by_id[entry.id] = entry.member
        self._by_authority.setdefault(entry.proxy.authority, {})[entry.member] = None
        if entry.member != (usual := entry.proxy.member):
            self._others.setdefault(usual, {})[entry.member] = None

    def _replace(self, old: Entry, entry: Entry) -> None:
        """What was learnt of a proxy changes none of its names: one member, one proxy."""
        self._entries[entry.member] = entry
        self._checked += self.is_checked(entry) - self.is_checked(old)
        for group in self._groups(entry):
            group.replace(old, entry)
        self.every.replace(old, entry)
        was_in, is_in = self._index(old), self._index(entry)
        if was_in is is_in is not None:
            is_in.replace(old, entry)
            return
        if was_in is not None:
            was_in.drop(old)
        if is_in is not None:
            is_in.put(entry)

    def remove(self, member: str) -> None:
        """Harmless if it is not there."""
        entry = self._entries.pop(member, None)
        if entry is not None:
            self._checked -= self.is_checked(entry)
            for group in self._groups(entry):
                group.drop(entry)
            for index in self._indexes(entry):
                index.drop(entry)
            del self._by_id[entry.id]
            _forget(self._by_authority, entry.proxy.authority, member)
            if member != (usual := entry.proxy.member):
                _forget(self._others, usual, member)

    def _groups(self, entry: Entry) -> tuple[Group, ...]:
        return (self.http, self.any) if entry.proxy.scheme == "http" else (self.any,)

    def _indexes(self, entry: Entry) -> tuple[Index, ...]:
        index = self._index(entry)
        return (self.every, index) if index is not None else (self.every,)

    def _index(self, entry: Entry) -> Index | None:
        """The one that `entry` lies in beside `every`."""
        if entry.score == self._scale.max:
            return self.good
        return self.unchecked if entry.record.checked == 0 else None

    def is_unchecked(self, entry: Entry) -> bool:
        """Whether no check of ours has looked at it, and no other program found it good."""
        return self._index(entry) is self.unchecked

    def is_unclean(self, entry: Entry) -> bool:
        """Whether https through it is known to fail or to be tampered with."""
        return traits_of(entry.proxy, entry.record).clean is False

    def is_checked(self, entry: Entry) -> bool:
        """Whether anybody has: a database that ProxyPool has filled knows scores only."""
        return entry.record.checked > 0 or entry.score != self._scale.initial

    def find_id(self, id: str) -> Entry | None:
        member = self._by_id.get(id)
        return self._entries[member] if member is not None else None

    def named(self, text: str) -> list[Entry]:
        """Those that somebody means who writes this: the one with this id; all at this
        ``host:port``, who may differ by scheme or user; or those that are the very proxy which is
        spelled out. Raises ProxyError for a host without a port.
        """
        entry = self.find_id(text.strip())
        if entry is not None:
            return [entry]
        proxy = read_name(text)
        if proxy is None:
            return []
        if is_whole(text):
            return self.find_proxy(proxy)
        members = self._by_authority.get(proxy.authority, ())
        return [self._entries[member] for member in members]

    def find_proxy(self, proxy: Proxy) -> list[Entry]:
        """Those that mean this very proxy, however they are spelled."""
        usual = proxy.member
        members = [usual] if usual in self._entries else []
        return [self._entries[member] for member in (*members, *self._others.get(usual, ()))]

    def pick(self, filters: Filters, draw: Draw) -> Entry | None:
        """One that has what they ask for: with the maximum, else one of the better ranked."""
        accept = _fast_enough(filters)
        entry = pick(self.good.find(filters), draw, accept)
        if entry is not None or filters.alive:
            return entry
        # Of those that have what is asked for no list is in order: so many of them are put in it.
        drawn = sample(self.every.find(filters), _DRAWN, draw, accept)
        drawn.sort(key=lambda one: rank(one.score, one.record, self._scale), reverse=True)
        return drawn[int(draw() * min(len(drawn), TOP))] if drawn else None

    def sample(self, filters: Filters, n: int, draw: Draw) -> list[Entry]:
        """At most `n` different ones: with the maximum if there are `n` of them, else of all."""
        accept = _fast_enough(filters)
        chosen = sample(self.good.find(filters), n, draw, accept)
        if len(chosen) >= n or filters.alive:
            return chosen
        return sample(self.every.find(filters), n, draw, accept)

    def descending(self, filters: Filters) -> Iterator[Entry]:
        """Those that have what they ask for, the best first, equals by name."""
        if filters.alive:
            listed = iter(sorted(self.any.best.entries, key=lambda entry: entry.member))
            filters = replace(filters, alive=False)
        else:
            listed = self.any.descending()
        if filters == ANY:
            return listed
        return (entry for entry in listed if filters.match(entry.proxy, entry.record))

    def count(self, filters: Filters) -> int:
        """How many have what they ask for, but for the latency."""
        return len((self.good if filters.alive else self.every).find(filters))

    def find_exits(
        self, *, tunnelled: bool, country: str | None = None, unchecked: bool = False
    ) -> Sequence[Drawable]:
        """The good ones, those first that are to be preferred for such a request; behind them, if
        `unchecked`, those that no check has looked at.

        https goes through those that tunnelled cleanly when a judge last looked, else through those
        into which nobody has looked; never through others. Plain http goes through those that are
        known to alter it only where there is no other. `country`: only those that leave there.
        """
        indexes = (self.good, self.unchecked) if unchecked else (self.good,)
        if country is not None:
            traits = [index.countries.get(country.upper(), {}) for index in indexes]
        elif tunnelled:
            traits = [index.traits for index in indexes]
        else:
            return (*self.good.plain, *self.unchecked.plain) if unchecked else self.good.plain
        if not tunnelled:
            return [find_plain(part, alters=alters) for part in traits for alters in (False, True)]
        exits = [find_clean(part, clean) for part in traits for clean in (True, None)]
        # Whoever takes unchecked ones looks for himself whether https passes: an echo judge may
        # have been late, too.
        return [*exits, find_clean(traits[0], False)] if unchecked else exits

    def status(self) -> Status:
        return Status(len(self._entries), self._checked, len(self.any.best))


def _forget(names: dict[str, dict[str, None]], name: str, member: str) -> None:
    del names[name][member]
    if not names[name]:
        del names[name]


def untried(tried: Collection[Proxy]) -> Accept | None:
    return (lambda entry: entry.proxy not in tried) if tried else None


def _fast_enough(filters: Filters) -> Accept | None:
    if filters.max_latency is None:
        return None
    return lambda entry: filters.is_fast(entry.record)
