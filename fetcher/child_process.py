"""A child process from within: frames on its pipes, a limit of its memory, an end of its time.

A driver. Each frame is a length of four bytes, the highest first, and that many bytes of msgpack.
Such a process ends by itself when its input does, which is when its parent has died; and an alarm
ends a job that has gone on for too long: it needs nobody who is still alive, nor a pause in C code.
"""

import resource
import signal
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

LENGTH: Final = 4  # bytes

_GRACE: Final = 1.0  # seconds; the parent is there as a rule, and kills earlier


def pack(frame: msgspec.Struct) -> bytes:
    packed = msgspec.msgpack.encode(frame)
    return len(packed).to_bytes(LENGTH, "big") + packed


def read_frame(pipe: BinaryIO) -> bytes | None:
    """What the next frame holds; None: there are no more."""
    length = pipe.read(LENGTH)
    return pipe.read(int.from_bytes(length, "big")) if len(length) == LENGTH else None


def set_alarm(seconds: float) -> None:
    """The parent ends a job after so many seconds, and without it the alarm does. 0: it is done."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds + _GRACE if seconds else 0.0)


def limit_memory(most: int) -> None:
    """From now on, no more than `most` bytes of address space beyond what this process has."""
    if has := held("VmSize:"):
        resource.setrlimit(resource.RLIMIT_AS, (has + most, has + most))


def held(what: str) -> int:
    """Bytes of this process; 0 where there is no /proc. `getrusage` remembers the parent's."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(what)), 0)
