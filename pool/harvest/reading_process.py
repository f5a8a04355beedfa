"""The process that reads lists: jobs on its standard input, what is found on its standard output.

It ends by itself when its input does, which is when its parent has died, and a job that has gone on
for too long ends it: an alarm needs nobody who is still alive, nor a pause in C code.

Each frame is a length of four bytes, the highest first, and that many bytes of msgpack.
"""

import contextlib
import logging
import os
import resource
import signal
import sys
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from pool.source import Source
from pool.sources.found import Found
from pool.sources.read import read

logger = logging.getLogger(__name__)

LENGTH: Final = 4  # bytes
MEMORY: Final = 536_870_912  # bytes of address space beyond what it starts with
SPENT: Final = 134_217_728  # bytes; having held more than that, it makes place for another
PART: Final = 1000  # proxies in a frame: the parent takes each in a turn of its loop

_GRACE: Final = 1.0  # seconds; the parent is there as a rule, and kills earlier


class Job(msgspec.Struct, frozen=True, array_like=True):
    source: Source
    body: bytes
    content_type: str
    limit: int
    seconds: float


class Part(msgspec.Struct, frozen=True, array_like=True):
    """Some of what was found; the last one says whether the process goes on, and what failed."""

    found: list[Found]
    is_last: bool = False
    is_spent: bool = False
    error: str | None = None


def pack(frame: Job | Part) -> bytes:
    packed = msgspec.msgpack.encode(frame)
    return len(packed).to_bytes(LENGTH, "big") + packed


def serve(jobs: BinaryIO, parts: BinaryIO) -> None:
    """Do one job after the other, until there are no more or it has had enough."""
    decoder = msgspec.msgpack.Decoder(Job)
    is_spent = False
    parts.write(pack(Part([])))  # it is there: only now does the time of a job begin
    parts.flush()
    while not is_spent and len(length := jobs.read(LENGTH)) == LENGTH:
        job = decoder.decode(jobs.read(int.from_bytes(length, "big")))
        signal.setitimer(signal.ITIMER_REAL, job.seconds + _GRACE)
        found, error = _do(job)
        signal.setitimer(signal.ITIMER_REAL, 0)
        is_spent = error is not None or _held("VmHWM:") > SPENT
        while len(found) > PART:
            parts.write(pack(Part(found[:PART])))
            del found[:PART]
        parts.write(pack(Part(found, True, is_spent, error)))
        parts.flush()


def _do(job: Job) -> tuple[list[Found], str | None]:
    try:
        return read(job.source, job.body, job.content_type, job.limit), None
    except MemoryError:
        return [], f"it takes more than {MEMORY >> 20} MB of memory"
    except Exception as error:
        logger.exception("source %s cannot be read", job.source.name)
        return [], f"{type(error).__name__}: {error}"


def _limit_memory() -> None:
    if held := _held("VmSize:"):
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))


def _held(what: str) -> int:
    """Bytes of this process; 0 where there is no /proc. `getrusage` remembers the parent's."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(what)), 0)


def main() -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    logging.basicConfig(level=logging.WARNING)
    _limit_memory()
    with contextlib.suppress(BrokenPipeError):  # the parent has died or wants no more
        serve(sys.stdin.buffer, sys.stdout.buffer)
    os._exit(0)  # nothing is left to flush, and what a bomb has left takes a while to free
