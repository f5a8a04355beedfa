"""What a process has counted since its start, for those who watch the service.

A decision module. Counters are called by a name and the values of their labels, all of them words
of ours or of the settings: nothing that a URL, a proxy or a caller may say becomes one.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from fetcher.model import Result
from fetcher.stats.phases import Histogram, Phases

FETCH: Final = "fetch"
CHECK: Final = "check"
TUNNEL: Final = "tunnel"

MOST: Final = 4096  # counters of one process; what comes then is dropped

Labelled = tuple[str, ...]
"""The name of a counter, and the values of its labels."""


class Totals(msgspec.Struct, array_like=True):
    """What a worker tells of itself. `counts` and `histograms` never fall; `gauges` are as of now.

    Keys are the parts of a `Labelled`, joined by newlines.
    """

    counts: dict[str, float] = {}
    histograms: dict[str, Histogram] = {}
    gauges: dict[str, float] = {}

    def plus(self, other: "Totals") -> "Totals":
        """What two have counted together; the gauges are those of `self`."""
        counts, histograms = dict(self.counts), dict(self.histograms)
        for name, count in other.counts.items():
            counts[name] = counts.get(name, 0.0) + count
        for name, one in other.histograms.items():
            mine = histograms.get(name)
            histograms[name] = one if mine is None else mine.plus(one)
        return Totals(counts, histograms, self.gauges)


class Meters:
    """One per process. Whoever does something counts it here."""

    def __init__(self) -> None:
        self.fetches = Phases()
        self.checks = Phases()
        self.tunnels = Phases()
        self.lag = Histogram()  # by which the loop was late
        self._fetched = 0  # over http, with an answer: nearly all, so it is an attribute
        self._bytes = 0
        self.responses = [0] * 6  # of the API, by the first digit of their status
        self._counts: dict[Labelled, float] = {}

    def fetched(self, result: Result, queue: float, streamed: int) -> None:
        """A task ended well, over http: the shortest way (0.9 us)."""
        self._fetched += 1
        self._bytes += len(result.content) + streamed
        self.fetches.record(result.timing, queue)

    def ended(self, ending: str, kind: str, result: Result, queue: float, streamed: int) -> None:
        """A task ended in any other way."""
        self.count("fetches", ending, kind)
        self._bytes += len(result.content) + streamed
        self.fetches.record(result.timing, queue)

    def count(self, *name: str, by: float = 1.0) -> None:
        counts = self._counts
        if name in counts:
            counts[name] += by
        elif len(counts) < MOST:
            counts[name] = by

    def read(self, gauges: Mapping[Labelled, float], **more: float) -> Totals:
        """All of it. `more` are counters that somebody else has kept."""
        counts = {"\n".join(name): count for name, count in self._counts.items()}
        usual = "fetches\nanswered\nhttp"
        counts[usual] = counts.get(usual, 0.0) + self._fetched
        counts["bytes"] = float(self._bytes)
        for digit, count in enumerate(self.responses):
            if count:
                counts[f"responses\n{digit}xx"] = float(count)
        counts.update(more)
        histograms = {"lag": self.lag}
        for work, phases in ((FETCH, self.fetches), (CHECK, self.checks), (TUNNEL, self.tunnels)):
            for phase, histogram in phases.read().items():
                if any(histogram.counts):
                    histograms[f"{work}\n{phase}"] = histogram
        return Totals(counts, histograms, {"\n".join(name): one for name, one in gauges.items()})
