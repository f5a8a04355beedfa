"""How one process of the service is at this moment: what it holds, and what it may hold."""

import os
import resource
import time
from typing import Final

import msgspec

from fetcher.client.chromium.browsers import Browsers
from fetcher.forward.means import Means
from fetcher.queue.lane import QueueLane
from fetcher.queue_loop import QueueLoop
from fetcher.run.fetcher import Fetcher
from fetcher.stats.lag import LoopLag
from fetcher.stats.meters import Labelled, Totals

_FILES: Final = "/proc/self/fd"
_MEMORY: Final = "/proc/self/statm"


class Gauges:
    """Reads them all. `lane` is the queue's, `forward` the forward proxy's and `browsers` the
    renderer's, if this process has them."""

    def __init__(
        self,
        fetcher: Fetcher,
        loop: QueueLoop,
        lag: LoopLag,
        lane: QueueLane | None,
        forward: Means | None = None,
        browsers: Browsers | None = None,
    ) -> None:
        self._fetcher = fetcher
        self._loop = loop
        self._lag = lag
        self._lane = lane
        self._forward = forward
        self._browsers = browsers

    def read(self) -> Totals:
        """What this process has counted since its start, and how it is now."""
        counts = {"errors": float(self._fetcher.shared.errors), "cpu": time.process_time()}
        lane = self._lane
        if lane is not None:
            counts |= {"finished": lane.finished, "buried": lane.dead, "lost": lane.lost}
        if self._forward is not None:
            tally = msgspec.structs.asdict(self._forward.tally)
            counts |= {f"tunnels\n{outcome}": float(count) for outcome, count in tally.items()}
        if self._browsers is not None:
            seen = self._browsers.tally
            counts["browsers started"] = seen.started
            counts |= {f"browsers ended\n{cause}": count for cause, count in seen.ended.items()}
            counts |= {f"pages lost\n{outcome}": count for outcome, count in seen.lost.items()}
        return self._fetcher.meters.read(self._read_gauges(), **counts)

    def _read_gauges(self) -> dict[Labelled, float]:
        gauges: dict[Labelled, float] = {
            ("fetches",): self._fetcher.in_flight,
            ("bodies",): self._fetcher.budget.held,
            ("lag",): self._lag.worst,
            ("most files",): resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        }
        for name, under_way in self._loop.under_way().items():
            gauges["lanes", name] = under_way
        if self._lane is not None:
            gauges["oldest",] = self._lane.oldest
        if self._browsers is not None:
            gauges["browsers",] = self._browsers.running
            gauges["pages",] = self._browsers.pages
        for key, number in (("files", count_files()), ("memory", read_memory())):
            if number is not None:
                gauges[key,] = number
        return gauges


def count_files() -> int | None:
    """Descriptors that are open, None where the system does not tell. 2 ms where 5,000 are."""
    try:
        return len(os.listdir(_FILES)) - 1  # one of them was for this
    except OSError:
        return None


def read_memory() -> int | None:
    """Bytes that are in use, None where the system does not tell."""
    try:
        with open(_MEMORY) as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return None
