"""The browser's processes: how many there are, how much memory they have, and their end.

A driver: it reads /proc, where there is one. A browser is the leader of a process group, which all
that it starts belong to.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_PROC: Final = Path("/proc")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_DEAD: Final = (b"Z", b"X")  # nobody has asked yet how it ended
_RENDERER: Final = b"--type=renderer"  # whose processes have pages
_GROUP_AT: Final = 2  # behind the name in /proc/PID/stat


class Measured(NamedTuple):
    processes: int
    memory: int  # bytes; what several processes share counts once
    largest: int = 0  # the pid of the renderer that has most, 0 if there is none
    most: int = 0  # bytes of it


def members(group: int) -> Iterator[int]:
    """The living processes of a group, as far as they can be seen."""
    for entry in _PROC.glob("[0-9]*"):
        fields = _stat(int(entry.name))
        if fields is not None and int(fields[_GROUP_AT]) == group and fields[0] not in _DEAD:
            yield int(entry.name)


def measure(group: int, *beside: int) -> Measured:
    """Some ms; for a thread. Nothing where there is no /proc. Of the processes `beside` the group
    only the memory counts."""
    count = memory = largest = most = 0
    for pid in members(group):
        count += 1
        size = _memory(pid)
        memory += size
        if size > most and _RENDERER in command_of(pid):
            largest, most = pid, size
    return Measured(count, memory + sum(map(_memory, beside)), largest, most)


def _memory(pid: int) -> int:
    """Its share of what it has in memory; what is its own alone where the kernel does not tell."""
    try:
        with open(_PROC / str(pid) / "smaps_rollup", "rb") as lines:
            for line in lines:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        _, resident, shared, *_ = (_PROC / str(pid) / "statm").read_bytes().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * _PAGE


def _stat(pid: int) -> list[bytes] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    return text.rpartition(b") ")[2].split()


def kill_group(group: int) -> None:
    """All of them, at once. Harmless when they have gone."""
    if group > 1:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    fields = _stat(pid)
    return fields is not None and fields[0] not in _DEAD


def child_of(parent: int, started_with: bytes) -> int | None:
    """A child of `parent` whose command line has this in it."""
    for entry in _PROC.glob("[0-9]*"):
        pid = int(entry.name)
        fields = _stat(pid)
        if fields is not None and int(fields[1]) == parent and started_with in command_of(pid):
            return pid
    return None


def command_of(pid: int) -> bytes:
    """Its command line, words ended by zeros; empty when it has gone."""
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return b""
