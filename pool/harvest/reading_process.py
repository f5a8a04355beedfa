"""The process that reads lists: jobs on its standard input, what is found on its standard output.

Its frames and its end are as `fetcher/child_process` has them.
"""

import contextlib
import logging
import os
import sys
from typing import BinaryIO, Final

import msgspec

from fetcher.child_process import held, limit_memory, pack, read_frame, set_alarm
from pool.source import Source
from pool.sources.found import Found
from pool.sources.read import read

logger = logging.getLogger(__name__)

MEMORY: Final = 536_870_912  # bytes of address space beyond what it starts with
SPENT: Final = 134_217_728  # bytes; having held more than that, it makes place for another
PART: Final = 1000  # proxies in a frame: the parent takes each in a turn of its loop


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


def serve(jobs: BinaryIO, parts: BinaryIO) -> None:
    """Do one job after the other, until there are no more or it has had enough."""
    decoder = msgspec.msgpack.Decoder(Job)
    is_spent = False
    parts.write(pack(Part([])))  # it is there: only now does the time of a job begin
    parts.flush()
    while not is_spent and (frame := read_frame(jobs)) is not None:
        job = decoder.decode(frame)
        set_alarm(job.seconds)
        found, error = _do(job)
        set_alarm(0)
        is_spent = error is not None or held("VmHWM:") > SPENT
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


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    limit_memory(MEMORY)
    with contextlib.suppress(BrokenPipeError):  # the parent has died or wants no more
        serve(sys.stdin.buffer, sys.stdout.buffer)
    os._exit(0)  # nothing is left to flush, and what a bomb has left takes a while to free
