"""Choosing a proxy out of a snapshot of the pool, in constant time.

A decision module: randomness comes in as `draw` (a function that gives numbers in [0, 1)), and
`snapshot` alone knows where the contents come from. Each entry lies in a few lists from which any
element is taken in constant time (the last one fills the hole), so 50,000 proxies cost a pick no
more than 100 do.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

import msgspec

from fetcher.model import Exit, Response, Target, Verdict
from fetcher.proxy import Proxy
from pool.model import UNKNOWN, Record, Status
from pool.score import rank
from pool.settings import Score

Draw = Callable[[], float]

# ProxyPool's `zrevrange 0 100`: what it draws from when nothing has the maximum.
TOP: Final = 101


class Entry(msgspec.Struct, frozen=True, eq=False):
    """A member of the pool as of the last look at Redis."""

    member: str
    proxy: Proxy
    score: float
    record: Record = UNKNOWN


class Bucket:
    """A set of entries from which any one can be drawn."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def put(self, entry: Entry) -> None:
        self._places[entry.member] = len(self.entries)
        self.entries.append(entry)

    def drop(self, entry: Entry) -> None:
        place = self._places.pop(entry.member)
        last = self.entries.pop()
        if place < len(self.entries):
            self.entries[place] = last
            self._places[last.member] = place

    def pick(self, draw: Draw, tried: Collection[Proxy] = ()) -> Entry | None:
        """Any entry whose proxy is not in `tried`; costs no more looks than `tried` is long."""
        size = len(self.entries)
        start = int(draw() * size)
        for step in range(size):
            entry = self.entries[(start + step) % size]
            if entry.proxy not in tried:
                return entry
        return None

    def sample(self, n: int, draw: Draw) -> list[Entry]:
        """At most `n` different entries in random order; the cost grows with `n` alone."""
        size = len(self.entries)
        moved: dict[int, int] = {}  # a shuffle that touches only what it has to
        chosen = []
        for i in range(min(n, size)):
            j = i + int(draw() * (size - i))
            chosen.append(self.entries[moved.get(j, j)])
            moved[j] = moved.get(i, i)
        return chosen


class Group:
    """The entries that one kind of request draws from."""

    def __init__(self, rule: Score) -> None:
        self._rule = rule
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
        return self._ranks.get((self._rule.max, 0), self._none)

    def country(self, code: str) -> Bucket:
        """Those of a country; an unknown one has none."""
        return self._countries.get(code.upper(), self._none)

    def put(self, entry: Entry) -> None:
        self.every.put(entry)
        key = rank(entry.score, entry.record, self._rule)
        bucket = self._ranks.get(key)
        if bucket is None:
            bucket = self._ranks[key] = Bucket()
            insort(self._order, key)
        bucket.put(entry)
        if entry.record.country:
            self._countries.setdefault(entry.record.country.upper(), Bucket()).put(entry)

    def drop(self, entry: Entry) -> None:
        self.every.drop(entry)
        key = rank(entry.score, entry.record, self._rule)
        bucket = self._ranks[key]
        bucket.drop(entry)
        if not bucket:
            del self._ranks[key]
            del self._order[bisect_left(self._order, key)]
        if entry.record.country:
            code = entry.record.country.upper()
            self._countries[code].drop(entry)
            if not self._countries[code]:
                del self._countries[code]

    def pick(self, draw: Draw, tried: Collection[Proxy] = ()) -> Entry | None:
        """One with the maximum, else one of the top 101 by rank; equals are drawn by lot."""
        return self.best.pick(draw, tried) or self._pick_top(draw, tried)

    def _pick_top(self, draw: Draw, tried: Collection[Proxy]) -> Entry | None:
        place = int(draw() * min(len(self.every), TOP))
        for key in reversed(self._order):
            bucket = self._ranks[key]
            if place < len(bucket):
                return bucket.pick(draw, tried) or self._first_untried(tried)
            place -= len(bucket)
        return None

    def _first_untried(self, tried: Collection[Proxy]) -> Entry | None:
        for key in reversed(self._order):
            for entry in self._ranks[key].entries:
                if entry.proxy not in tried:
                    return entry
        return None

    def sample(self, n: int, draw: Draw) -> list[Entry]:
        """At most `n` different ones: with the maximum if there are `n` of them, else of all."""
        bucket = self.best if len(self.best) >= n else self.every
        return bucket.sample(n, draw)

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


class Snapshot:
    """A site's pool as this process knows it.

    `http` is what ProxyPool's routes draw from, `any` all proxies, other schemes too.
    """

    def __init__(self, rule: Score) -> None:
        self._rule = rule
        self._entries: dict[str, Entry] = {}
        self._checked = 0
        self.http = Group(rule)
        self.any = Group(rule)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, member: str) -> Entry | None:
        return self._entries.get(member)

    def members(self) -> set[str]:
        return set(self._entries)

    def put(self, entry: Entry) -> None:
        """Add or replace."""
        self.remove(entry.member)
        self._entries[entry.member] = entry
        self._checked += self._is_checked(entry)
        for group in self._groups(entry):
            group.put(entry)

    def remove(self, member: str) -> None:
        """Harmless if it is not there."""
        entry = self._entries.pop(member, None)
        if entry is not None:
            self._checked -= self._is_checked(entry)
            for group in self._groups(entry):
                group.drop(entry)

    def _groups(self, entry: Entry) -> tuple[Group, ...]:
        return (self.http, self.any) if entry.proxy.scheme == "http" else (self.any,)

    def _is_checked(self, entry: Entry) -> bool:
        # A database that ProxyPool has filled knows scores only.
        return entry.record.checked > 0 or entry.score != self._rule.initial

    def status(self) -> Status:
        return Status(len(self._entries), self._checked, len(self.any.best))


class PoolChooser:
    """The fetcher's `ProxyChooser`: pool routes take their proxies from a snapshot.

    Only proxies that passed their last check carry other people's requests: with none of them a
    pool route fails at once and says so ("0 alive of 812"). `allow_private` is the setting of
    that name: whether a proxy from a list may have a private address.
    """

    def __init__(self, snapshot: Snapshot, draw: Draw, *, allow_private: bool = False) -> None:
        self._snapshot = snapshot
        self._draw = draw
        self._allow_private = allow_private

    def pick(self, target: Target, tried: Sequence[Proxy]) -> Exit | None:
        """A good proxy that is not in `tried`; None if there is none."""
        entry = self._snapshot.any.best.pick(self._draw, tried)
        if entry is None:
            return None
        trusted = self._allow_private or entry.record.own
        return Exit(proxy=entry.proxy, trusted=trusted, from_pool=True)

    def report(self, proxy: Proxy, target: Target, response: Response) -> Verdict:
        """No rule is held against answers, so none is banned; `response.outcome` says the rest."""
        return Verdict.GOOD

    def describe(self) -> str:
        status = self._snapshot.status()
        return f"{status.good} alive of {status.found}"
