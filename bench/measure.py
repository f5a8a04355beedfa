"""Samples, medians and claims: what a benchmark row is made of.

A machine's speed drifts, so peers take turns (A B A B ...) and medians are compared. CPU seconds
are those of the measured process: what the origin takes and what others do on the machine drop
out of a ratio.
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

ROOT: Final = Path(__file__).parent.parent
PATIENCE: Final = 240.0  # seconds for one run of one peer


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one peer. `rss` is its peak, in bytes, with the interpreter and its modules."""

    done: int
    seconds: float
    cpu: float  # seconds, of all its threads
    rss: int = 0


class Spent:
    """What this process spends from now on."""

    def __init__(self) -> None:
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def sample(self, done: int) -> Sample:
        return Sample(
            done=done,
            seconds=time.perf_counter() - self._began,
            cpu=time.process_time() - self._cpu,
            rss=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        )


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """The medians of a peer's runs."""

    name: str
    rate: float  # a second
    cpu: float  # microseconds of one
    rss: int

    @property
    def megabytes(self) -> float:
        return self.rss / 1e6


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A target and what was measured."""

    what: str
    measured: float
    limit: float
    at_least: bool = False  # else at most
    unit: str = ""

    @property
    def is_met(self) -> bool:
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    @property
    def target(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:g}{self.unit}"


class Row(msgspec.Struct, kw_only=True):
    """What one benchmark has to say."""

    title: str
    claims: list[Claim] = []
    peers: list[Peer] = []
    notes: list[str] = []


Run = Callable[[], Sample]


def interleave(runs: Mapping[str, Run], rounds: int) -> dict[str, Peer]:
    """The peers by name, each of them run `rounds` times, by turns."""
    samples: dict[str, list[Sample]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            samples[name].append(run())
    return {name: summarise(name, taken) for name, taken in samples.items()}


def summarise(name: str, samples: Sequence[Sample]) -> Peer:
    return Peer(
        name=name,
        rate=median(one.done / one.seconds for one in samples),
        cpu=median(one.cpu / one.done for one in samples) * 1e6,
        rss=max(one.rss for one in samples),
    )


def cores() -> list[int]:
    """The processors that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]


def pin(core: int) -> Callable[[], None] | None:
    """For a child: stay on the core of that index, counted from either end."""
    known = cores()
    if len(known) < 2:
        return None
    return lambda: os.sched_setaffinity(0, {known[core]})


MEASURED: Final = 0  # the core of what is measured; all that it needs has the last one
BESIDE: Final = -1


def run_module(module: str, *words: object, pinned: bool = True) -> Sample:
    """One run of `python -m MODULE WORDS`, which prints a `Sample`, on the measured core unless it
    is not `pinned`."""
    command = [sys.executable, "-m", module, *map(str, words)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=PATIENCE,
        check=True,
        preexec_fn=pin(MEASURED) if pinned else None,
    )
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Sample)


class Process:
    """What the kernel counts for a running process (Linux)."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    @property
    def cpu(self) -> float:
        """Seconds so far, of all its threads; in steps of a hundredth."""
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def rss(self) -> int:
        """Bytes at its peak."""
        for line in (self._folder / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0
