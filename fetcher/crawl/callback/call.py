"""The process of a callback: pages on its standard input, what is given on its standard output.

A driver, the `main` of a child process (`fetcher/child_process`). What the callback prints goes to
standard error, and what it reads is empty: both pipes are moved out of its way.
"""

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from typing import BinaryIO, Final

import msgspec

from fetcher.child_process import limit_memory, pack, read_frame, set_alarm
from fetcher.crawl.callback.find import Callback, CallbackError, find_callback, last_line
from fetcher.crawl.callback.gather import Gathered
from fetcher.crawl.callback.messages import PART_BYTES, Job, Part, Ready
from fetcher.crawl.callback.page import CallbackPage

MOST_ERROR: Final = 500  # characters
MOST_TRACEBACK: Final = 20_000
END: Final = 10.0  # seconds that it may take to end: files are closed, threads joined


def serve(callback: Callback, memory: int, jobs: BinaryIO, parts: BinaryIO) -> None:
    """See one page after the other, until there are no more or memory has run out."""
    decoder = msgspec.msgpack.Decoder(Job)
    is_spent = False
    while not is_spent and (frame := read_frame(jobs)) is not None:
        job = decoder.decode(frame)
        content = jobs.read(job.size)
        set_alarm(job.seconds)
        gathered = Gathered(job.url)
        trace = ""
        try:
            gathered.take_all(_call(callback, job, content))
        except MemoryError:
            is_spent = True
            gathered.fail(f"it takes more than {memory >> 20} MB of memory")
        except BaseException as error:  # noqa: BLE001 - sys.exit() too is only this page's
            gathered.fail(last_line(error, callback.directory))
            trace = "".join(traceback.format_exception(error))[-MOST_TRACEBACK:]
        set_alarm(0)
        del content
        *pieces, (links, items) = _pieces(gathered)
        for piece in pieces:
            parts.write(pack(Part(*piece)))
        error_line = _line(gathered.error) if gathered.error else None
        parts.write(pack(Part(links, items, True, is_spent, error_line, _valid(trace))))
        parts.flush()


def _call(callback: Callback, job: Job, content: bytes) -> object:
    page = CallbackPage(job, content)
    if callback.is_page:
        return callback.function(page)
    return callback.function(page.url, page.html)


def _pieces(gathered: Gathered) -> Iterator[tuple[list[str], list[msgspec.Raw]]]:
    links: list[str] = []
    items: list[msgspec.Raw] = []
    size = 0
    for link in gathered.links:
        links.append(link)
        size += len(link)
        if size >= PART_BYTES:
            yield links, items
            links, items, size = [], [], 0
    for item in gathered.items:
        items.append(msgspec.Raw(item))
        size += len(item)
        if size >= PART_BYTES:
            yield links, items
            links, items, size = [], [], 0
    yield links, items


def _line(text: str) -> str:
    """One line that is fit for a terminal, whatever the page has put into it."""
    text = _valid(text if len(text) <= MOST_ERROR else text[: MOST_ERROR - 1] + "…")
    return "".join(one if one.isprintable() else " " for one in text)


def _valid(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _move_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output, where no callback will find them."""
    jobs, parts = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return jobs, parts


def main() -> None:
    spec, memory = sys.argv[1], int(sys.argv[2])
    logging.basicConfig(level=logging.WARNING)
    jobs, parts = _move_pipes()
    with contextlib.suppress(BrokenPipeError):  # the parent has died or wants no more
        try:
            callback = find_callback(spec, os.getcwd())
        except CallbackError as error:
            parts.write(pack(Ready(error=_line(str(error)))))
            parts.close()
            return
        limit_memory(memory)
        parts.write(pack(Ready(callback.is_page)))
        parts.flush()
        serve(callback, memory, jobs, parts)
    set_alarm(END)
    # And now Python's own end: files that the callback has open are written to their last line.
