"""What a crawl has come to in numbers, read from the fields that its processes have added up.

A decision module. All processes of a crawl share one hash in Redis, whose fields hold sums:
HINCRBY is all that it takes to add a batch of pages to it. What the fields are called stands here;
`tally` says what a page adds to them. Fields that cannot be read are passed over.

=====================  ===========================================================
``status:200``         pages with that status, 599 (no answer) among them
``type:text/html``     answers of that media type; ``none``, ``other``
``skip:robots``        URLs that were not fetched, by the words of `model.SKIPS`; each process
                       tells one that many pages name once, as long as it remembers
``error:SENTENCE``     pages without an answer, by its kind; ``other``
``latency:50``         answers within so many milliseconds, and not within the next less
``bytes``              of bodies as they came
``at:40:done``         answers from 40 seconds after the start on, see `width_at`
``at:40:failed``       the same of pages without an answer
``host:NAME:pages``    answers of a host, and ``failed``, ``ms``, ``bytes``
=====================  ===========================================================
"""

from collections.abc import Mapping
from itertools import accumulate
from typing import Final, TypeVar

import msgspec

Name = TypeVar("Name", int, str)

# Milliseconds up to which an answer counts for a column of the histogram; the last has the rest.
LATENCIES: Final = (
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000,
    200_000, 300_000,
)  # fmt: skip
SLOWER: Final = "more"
OTHER: Final = "other"

INTERVAL: Final = 10  # seconds of the first buckets of time
MAX_POINTS: Final = 500
MAX_HOSTS: Final = 100  # shown: the slowest, and the largest
MAX_ERRORS: Final = 200
MAX_TYPES: Final = 100

_COLUMN: Final = {str(edge): column for column, edge in enumerate(LATENCIES)} | {
    SLOWER: len(LATENCIES)
}


class HostSum(msgspec.Struct, kw_only=True):
    """What came of one host's pages."""

    name: str
    pages: int = 0  # answers
    failed: int = 0
    ms: int = 0  # of all answers together
    bytes: int = 0

    @property
    def seconds(self) -> float:
        """The mean of an answer."""
        return self.ms / 1000 / self.pages if self.pages else 0.0


class Point(msgspec.Struct):
    """What `Summary.width` seconds have brought, from `at` seconds after the start on."""

    at: int
    done: int = 0
    failed: int = 0


class Summary(msgspec.Struct, kw_only=True):
    """All of it; the most frequent first, hosts and points as their names say."""

    statuses: dict[int, int] = {}
    types: dict[str, int] = {}
    skips: dict[str, int] = {}
    errors: dict[str, int] = {}
    latencies: list[int] = msgspec.field(default_factory=lambda: [0] * (len(LATENCIES) + 1))
    bytes: int = 0
    width: int = INTERVAL
    points: list[Point] = []  # from the first to the last, without holes
    slowest: list[HostSum] = []
    largest: list[HostSum] = []

    def latency(self, share: float) -> float | None:
        """Seconds within which that share of the answers came (0.5: the median); None: no answers.

        Within a column they are taken to lie evenly.
        """
        total = sum(self.latencies)
        if not total:
            return None
        wanted = share * total
        column, until = next(
            (column, until)
            for column, until in enumerate(accumulate(self.latencies))
            if self.latencies[column] and until >= wanted
        )
        edges = (0, *LATENCIES, LATENCIES[-1])
        part = 1 - (until - wanted) / self.latencies[column]
        return (edges[column] + (edges[column + 1] - edges[column]) * part) / 1000


def width_at(age: float) -> int:
    """How many seconds a bucket of time has that begins `age` seconds after the start.

    10, twice that from 5,000 seconds on, again twice from 10,000 on: a week makes 2,200 buckets,
    and a year 3,700. A wide one begins where a narrower one would, so that they add up.
    """
    width = INTERVAL
    while age >= width * MAX_POINTS:
        width *= 2
    return width


def read_tally(fields: Mapping[bytes, bytes]) -> Summary:
    """The summary of a hash as Redis gives it."""
    words: dict[str, dict[str, int]] = {"type": {}, "skip": {}, "error": {}}
    summary = Summary()
    points: dict[int, Point] = {}
    hosts: dict[str, HostSum] = {}
    for field, value in fields.items():
        kind, _, rest = field.decode("utf-8", "replace").partition(":")
        number = _read_number(value)
        if number is None:
            continue
        name, _, which = rest.rpartition(":")
        if kind in words:
            words[kind][rest] = number
        elif kind == "status" and _is_number(rest):
            summary.statuses[int(rest)] = number
        elif kind == "latency" and rest in _COLUMN:
            summary.latencies[_COLUMN[rest]] = number
        elif kind == "bytes" and not rest:
            summary.bytes = number
        elif kind == "at" and _is_number(name) and which in ("done", "failed"):
            point = points.setdefault(int(name), Point(int(name)))
            setattr(point, which, number)
        elif kind == "host" and name and which in ("pages", "failed", "ms", "bytes"):
            setattr(hosts.setdefault(name, HostSum(name=name)), which, number)
    summary.statuses = _most(summary.statuses)
    summary.types = _cut(words["type"], MAX_TYPES)
    summary.skips = _most(words["skip"])
    summary.errors = _cut(words["error"], MAX_ERRORS)
    summary.width, summary.points = _thin(points)
    answered = [host for host in hosts.values() if host.pages]
    summary.slowest = sorted(answered, key=lambda host: (-host.seconds, host.name))[:MAX_HOSTS]
    everybody = sorted(hosts.values(), key=lambda host: (-host.pages - host.failed, host.name))
    summary.largest = everybody[:MAX_HOSTS]
    return summary


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def _read_number(value: bytes) -> int | None:
    return int(value) if value.isdigit() and len(value) < 20 else None


def _most(numbers: dict[Name, int]) -> dict[Name, int]:
    return dict(sorted(numbers.items(), key=lambda row: (-row[1], row[0])))


def _cut(numbers: dict[str, int], most: int) -> dict[str, int]:
    """The most frequent, and the rest together: several processes may have found more kinds."""
    rest = numbers.pop(OTHER, 0)
    rows = list(_most(numbers).items())
    rest += sum(number for _, number in rows[most:])
    return _most(dict(rows[:most]) | ({OTHER: rest} if rest else {}))


def _thin(points: dict[int, Point]) -> tuple[int, list[Point]]:
    """All of one width, that of the widest among them; at most `MAX_POINTS`."""
    if not points:
        return INTERVAL, []
    last = max(points)
    width = width_at(last)
    thinned = {at: Point(at) for at in range(min(points) // width * width, last + 1, width)}
    for point in points.values():
        sums = thinned[point.at // width * width]
        sums.done += point.done
        sums.failed += point.failed
    return width, list(thinned.values())
