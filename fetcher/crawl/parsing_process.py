"""The process that reads heavy pages: jobs on its standard input, readings on its standard output.

Its frames and its end are as `fetcher/child_process` has them.
"""

import contextlib
import os
import sys
from typing import BinaryIO, Final

import msgspec

from fetcher.charset import decode_body
from fetcher.child_process import held, limit_memory, pack, read_frame, set_alarm
from fetcher.crawl.links import Reading, read_page

MEMORY: Final = 1_073_741_824  # bytes of address space beyond what it starts with
SPENT: Final = 268_435_456  # bytes; having held more than that, it makes place for another


class Job(msgspec.Struct, frozen=True, array_like=True):
    content: bytes
    content_type: str
    url: str
    want_text: bool
    seconds: float


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """The reading, or the sentence why there is none; and whether the process makes place."""

    reading: Reading
    is_spent: bool = False
    error: str | None = None


def serve(jobs: BinaryIO, answers: BinaryIO) -> None:
    """Do one job after the other, until there are no more or it has had enough."""
    decoder = msgspec.msgpack.Decoder(Job)
    is_spent = False
    answers.write(pack(Answer(Reading())))  # it is there: only now does the time of a job begin
    answers.flush()
    while not is_spent and (frame := read_frame(jobs)) is not None:
        job = decoder.decode(frame)
        set_alarm(job.seconds)
        try:
            html = decode_body(job.content, job.content_type)
            answer = Answer(read_page(html, job.url, want_text=job.want_text))
        except MemoryError:
            answer = Answer(Reading(), error=f"it takes more than {MEMORY >> 20} MB of memory")
        set_alarm(0)
        is_spent = answer.error is not None or held("VmHWM:") > SPENT
        answers.write(pack(msgspec.structs.replace(answer, is_spent=is_spent)))
        answers.flush()


def main() -> None:
    limit_memory(MEMORY)
    with contextlib.suppress(BrokenPipeError):  # the parent has died or wants no more
        serve(sys.stdin.buffer, sys.stdout.buffer)
    os._exit(0)  # nothing is left to flush
