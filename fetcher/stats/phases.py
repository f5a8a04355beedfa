"""Where the time goes: how many transfers took how long in each of their phases.

A decision module: seconds come in, counts in buckets come out.
"""

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

import msgspec

from fetcher.model import Timing

# Upper ends of the buckets, in seconds: a page of the next machine, a proxy at the other end of the
# world, and the time-outs by which one gives up (5, 15 and 120 s).
BOUNDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0,
    120.0,
)  # fmt: skip
SIZE: Final = len(BOUNDS) + 1  # the last bucket has no end

PHASES: Final = ("queue", "dns", "connect", "tls", "first_byte", "total")


class Histogram(msgspec.Struct, array_like=True):
    """How many lie in each bucket (not above its end, but above that of the one before), and the
    seconds of all of them together."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * SIZE)
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def plus(self, other: "Histogram") -> "Histogram":
        """Both together. Buckets that one of them lacks, as another version wrote it, are empty."""
        counts = [0] * max(len(self.counts), len(other.counts))
        for one in (self, other):
            for number, count in enumerate(one.counts):
                counts[number] += count
        return Histogram(counts, self.seconds + other.seconds)


class Phases:
    """The histograms of one kind of work. A phase that took no time, as there was none, does not
    count: of a kept connection neither the name's lookup nor the handshakes."""

    def __init__(self) -> None:
        # A list each and the sums apart: to go through `Histogram` for each costs twice as much.
        self._queue, self._dns, self._connect, self._tls, self._first, self._total = (
            [0] * SIZE for _ in PHASES
        )
        self._sums = [0.0] * len(PHASES)

    def record(self, timing: Timing, queue: float = 0.0) -> None:
        """Count one transfer that waited for `queue` seconds before it began (0.5 us, if it went
        over a kept connection)."""
        sums, bounds = self._sums, BOUNDS
        if queue > 0.0:
            self._queue[bisect_left(bounds, queue)] += 1
            sums[0] += queue
        if timing.dns:
            self._dns[bisect_left(bounds, timing.dns)] += 1
            sums[1] += timing.dns
        if timing.connect:
            self._connect[bisect_left(bounds, timing.connect)] += 1
            sums[2] += timing.connect
            if timing.tls:
                self._tls[bisect_left(bounds, timing.tls)] += 1
                sums[3] += timing.tls
        if seconds := timing.first_byte:
            self._first[bisect_left(bounds, seconds)] += 1
            sums[4] += seconds
        if seconds := timing.total:
            self._total[bisect_left(bounds, seconds)] += 1
            sums[5] += seconds

    def read(self) -> Mapping[str, Histogram]:
        """Phase -> its histogram, by the names in `PHASES`."""
        lists = (self._queue, self._dns, self._connect, self._tls, self._first, self._total)
        return {
            name: Histogram(list(counts), seconds)
            for name, counts, seconds in zip(PHASES, lists, self._sums, strict=True)
        }
