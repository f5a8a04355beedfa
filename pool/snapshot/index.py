"""Sets of proxies from which any one is drawn in constant time, and what lies where.

A decision module: randomness comes in as `draw`, a function that gives numbers in [0, 1).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, Protocol

from pool.model import Entry
from pool.snapshot.filters import Filters, Traits, traits_of

Draw = Callable[[], float]
Accept = Callable[[Entry], bool]

# A pick looks at no more entries than this, beside the two that it draws first. Only what no index
# is made for (latency, what was tried, who is busy) can hide the right one behind so many others.
LOOKS: Final = 4096

# For a second one that is compared with the first it looks at these.
_LOOKS_AGAIN: Final = 16

# Of two that are drawn, the better one is taken so often. Each proxy's share is then between 0.4
# and 1.6 times what lots would give it, however many there are.
_BIAS: Final = 0.8


class Drawable(Protocol):
    def __len__(self) -> int: ...
    def __getitem__(self, position: int) -> Entry: ...


def shuffled(entries: Drawable, draw: Draw) -> Iterator[Entry]:
    """All of them in random order, each once; whoever stops after `n` has paid for `n`."""
    size = len(entries)
    moved: dict[int, int] = {}  # a shuffle that touches only what it has to
    for i in range(size):
        j = i + int(draw() * (size - i))
        yield entries[moved.get(j, j)]
        moved[j] = moved.pop(i, i)


def pick(entries: Drawable, draw: Draw, accept: Accept | None = None) -> Entry | None:
    """One that is accepted: of two drawn by lot, rather the faster and fresher one."""
    size = len(entries)
    if size > 1:  # both at the first draw, as nearly always: half the cost of what follows
        at = int(draw() * size)
        one, other = entries[at], entries[(at + 1 + int(draw() * (size - 1))) % size]
        if accept is None or (accept(one) and accept(other)):
            return _choose(one, other, draw)
    lots = islice(shuffled(entries, draw), LOOKS)
    first = _next(lots, accept)
    if first is None:
        return None
    second = _next(islice(lots, _LOOKS_AGAIN), accept)
    return first if second is None else _choose(first, second, draw)


def _choose(one: Entry, other: Entry, draw: Draw) -> Entry:
    if other.cost == one.cost:
        return one
    better, worse = (other, one) if other.cost < one.cost else (one, other)
    return better if draw() < _BIAS else worse


def sample(entries: Drawable, n: int, draw: Draw, accept: Accept | None = None) -> list[Entry]:
    """At most `n` different ones in random order. If some must be accepted, it looks at no more
    than `LOOKS` besides those it takes."""
    lots = shuffled(entries, draw)
    if accept is None:
        return list(islice(lots, max(n, 0)))
    chosen: list[Entry] = []
    passed_over = 0
    for entry in lots:
        if len(chosen) >= n or passed_over >= LOOKS:
            break
        if accept(entry):
            chosen.append(entry)
        else:
            passed_over += 1
    return chosen


def _next(lots: Iterator[Entry], accept: Accept | None) -> Entry | None:
    for entry in lots:
        if accept is None or accept(entry):
            return entry
    return None


class Bucket:
    """A set of entries from which any one can be drawn."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._positions: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, position: int) -> Entry:
        return self.entries[position]

    def put(self, entry: Entry) -> None:
        """Add, or put where the one of its name lies."""
        position = self._positions.setdefault(entry.member, len(self.entries))
        if position < len(self.entries):
            self.entries[position] = entry
        else:
            self.entries.append(entry)

    def drop(self, entry: Entry) -> None:
        position = self._positions.pop(entry.member)
        last = self.entries.pop()
        if position < len(self.entries):
            self.entries[position] = last
            self._positions[last.member] = position


class Pile:
    """Some buckets, without an entry in common, drawn from as if they were one."""

    def __init__(self, buckets: Iterable[Bucket]) -> None:
        self._buckets = [bucket for bucket in buckets if bucket]
        self._size = sum(map(len, self._buckets))

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, position: int) -> Entry:
        for bucket in self._buckets:
            if position < len(bucket):
                return bucket[position]
            position -= len(bucket)
        raise IndexError(position)


class Index:
    """Entries by their traits, and once more so within each country.

    So those that filters want are found by looking at traits alone, however many they are.
    """

    def __init__(self) -> None:
        self.every = Bucket()
        # Those first that plain http had rather leave by: none that is known to alter it.
        self.plain = Bucket(), Bucket()
        self.traits: dict[Traits, Bucket] = {}
        self.countries: dict[str, dict[Traits, Bucket]] = {}

    def put(self, entry: Entry) -> None:
        traits = traits_of(entry.proxy, entry.record)
        self.every.put(entry)
        self.plain[traits.alters].put(entry)
        self.traits.setdefault(traits, Bucket()).put(entry)
        if entry.record.country:
            country = self.countries.setdefault(entry.record.country.upper(), {})
            country.setdefault(traits, Bucket()).put(entry)

    def replace(self, old: Entry, entry: Entry) -> None:
        """As dropping one and putting the other of its name, for a third of the cost where they
        lie alike: as nearly always after a check."""
        traits, country = traits_of(entry.proxy, entry.record), entry.record.country
        if country or old.record.country or traits != traits_of(old.proxy, old.record):
            self.drop(old)
            self.put(entry)
        else:
            self.every.put(entry)
            self.plain[traits.alters].put(entry)
            self.traits[traits].put(entry)

    def drop(self, entry: Entry) -> None:
        traits = traits_of(entry.proxy, entry.record)
        self.every.drop(entry)
        self.plain[traits.alters].drop(entry)
        _drop(self.traits, traits, entry)
        if entry.record.country:
            code = entry.record.country.upper()
            _drop(self.countries[code], traits, entry)
            if not self.countries[code]:
                del self.countries[code]

    def find(self, filters: Filters) -> Pile:
        """What they want, but for the latency."""
        parts = (
            [self.countries.get(code, {}) for code in sorted(filters.countries)]
            if filters.countries
            else [self.traits]
        )
        return Pile(
            bucket for part in parts for traits, bucket in part.items() if filters.want(traits)
        )


def find_clean(buckets: Mapping[Traits, Bucket], clean: bool | None) -> Pile:
    """Those of which it is known, or not known, that https passes unharmed."""
    return Pile(bucket for traits, bucket in buckets.items() if traits.clean is clean)


def find_plain(buckets: Mapping[Traits, Bucket], *, alters: bool) -> Pile:
    """Those that are known to alter what comes by plain http, or the others."""
    return Pile(bucket for traits, bucket in buckets.items() if traits.alters is alters)


def _drop(buckets: dict[Traits, Bucket], traits: Traits, entry: Entry) -> None:
    bucket = buckets[traits]
    bucket.drop(entry)
    if not bucket:
        del buckets[traits]
