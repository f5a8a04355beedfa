"""How late the loop is: a clock on it that is to strike twice a second."""

import asyncio
import time
from collections import deque
from typing import Final

from fetcher.stats.phases import Histogram

EVERY: Final = 0.5  # seconds
WINDOW: Final = 30.0  # seconds of which the worst is told: no scrape is to miss it


class LoopLag:
    """Measures, into `histogram`, the seconds by which things happen later on this loop than they
    are due; all that runs on it waits for so long."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._latest: deque[float] = deque(maxlen=int(WINDOW / EVERY))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            due = time.monotonic() + EVERY
            await asyncio.sleep(EVERY)
            self.record(max(0.0, time.monotonic() - due))

    def record(self, seconds: float) -> None:
        self._histogram.add(seconds)
        self._latest.append(seconds)

    @property
    def worst(self) -> float:
        """Seconds, of the last half minute."""
        return max(self._latest, default=0.0)
