"""The service with a clock on its loop while it answers /metrics:
`python -m bench.watched FILE WORDS`, WORDS being those of the command line.

The clock runs in every turn of the loop, so what lies between two of its strokes is the most that
anybody had to wait for. It writes a line of FILE for each answer. Processor time is what a step
takes of the loop's thread, whatever else runs on the machine.
"""

import asyncio
import sys
import time
from pathlib import Path

import msgspec

from fetchpool.serve.metrics import MetricsHandler


class Answered(msgspec.Struct, frozen=True):
    """Seconds: of the answer, of its longest step, and of processor time in the longest one."""

    took: float
    step: float
    busy: float


class Clock:
    """Strikes in each turn of the loop, from `start` to `stop`."""

    def __init__(self) -> None:
        self.step = self.busy = 0.0
        self._handle: asyncio.Handle | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._at, self._used = time.perf_counter(), time.thread_time()
        self._handle = self._loop.call_soon(self._strike)

    def _strike(self) -> None:
        self._note()
        self._handle = self._loop.call_soon(self._strike)

    def _note(self) -> None:
        at, used = time.perf_counter(), time.thread_time()
        self.step = max(self.step, at - self._at)
        self.busy = max(self.busy, used - self._used)
        self._at, self._used = at, used

    def stop(self) -> None:
        self._note()
        if self._handle is not None:
            self._handle.cancel()


def watch(file: Path) -> None:
    """Have each answer of /metrics measured, in this process and those that are forked from it."""
    get = MetricsHandler.get

    async def measured(self: MetricsHandler) -> None:
        began, clock = time.perf_counter(), Clock()
        clock.start()
        try:
            await get(self)
        finally:
            clock.stop()
            line = Answered(time.perf_counter() - began, clock.step, clock.busy)
            with file.open("ab") as out:
                out.write(msgspec.json.encode(line) + b"\n")

    MetricsHandler.get = measured  # type: ignore[method-assign]


def read(file: Path) -> list[Answered]:
    """What was written there, in order."""
    return [msgspec.json.decode(line, type=Answered) for line in file.read_bytes().splitlines()]


if __name__ == "__main__":
    from fetchpool.start import start

    watch(Path(sys.argv.pop(1)))
    start()
