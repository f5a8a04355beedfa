"""The driver that reads a crawl's outputs again: what the audit asks of them, and pages of WARCs.

Files are read from front to end, a record at a time, and nothing in them is believed: lines,
records and what comes out of a body have their limits, and what is torn or altered is `Damage`.
"""

import csv
import json
import os
from collections.abc import Iterator
from typing import BinaryIO, Final

import msgspec

from fetcher.crawl.model import Page, url_id
from fetcher.crawl.output.answers import (
    audited_of,
    check_payload,
    is_answer,
    split_message,
    status_of,
    url_of,
)
from fetcher.crawl.output.csv_ import COLUMNS
from fetcher.crawl.output.names import OutputError, kind_of
from fetcher.crawl.output.pages import Pages
from fetcher.crawl.output.records import Damage as Damage
from fetcher.crawl.output.records import read_records

MAX_LINE: Final = 268_435_456  # bytes: the longest body in base64, and its fields


class Read(msgspec.Struct, kw_only=True):
    """What a record of an output says of the fetch; of a CSV only URL and status."""

    url: str
    status_code: int
    end: int  # of the record, in bytes from the file's start
    started: float = 0.0
    delay: float = 0.0
    polite: str = ""
    robots: str = ""
    depth: int = 0
    parent: str = ""

    @property
    def id(self) -> int:
        return url_id(self.url)


class _Line(msgspec.Struct):
    """A line of JSON that is a page's."""

    url: str
    status_code: int
    started: float
    delay: float = 0.0
    polite: str = ""
    robots: str = ""
    depth: int = 0
    parent: str = ""


_decode_line: Final = msgspec.json.Decoder(_Line).decode


def read_part(path: str, until: int | None = None) -> Iterator[Read]:
    """The records of a part's file (of a folder: its index), up to offset `until` (the end).

    Dicts of callbacks are no pages: such lines are only looked at for whether they are whole.
    Raises `Damage`, `OutputError`; OSError. Blocks.
    """
    with open(path, "rb") as file:
        match kind_of(path):
            case "jsonl":
                yield from _read_jsonl(file, path, until)
            case "csv":
                yield from _read_csv(file, path, until)
            case "warc":
                yield from _read_warc(file, path, until)
            case "folder":
                raise OutputError(f"{path} is no file: its index is read")


def read_pages(path: str, until: int | None = None) -> Iterator[Page]:
    """The pages of a WARC file, in its order: of one of ours all but `text`, `items` and the
    content of what had not changed on the server; of another's what HTTP says.

    A body that is another's again is taken from there. Raises as `read_part`.
    """
    if kind_of(path) != "warc":
        raise OutputError(f"{path} is no WARC file: its name would end with .warc.gz or .warc")
    with open(path, "rb") as file:
        reader = Pages(file, path)
        for record in read_records(file, path, until):
            page = reader.page_of(record)
            if page is not None:
                yield page


def _read_lines(file: BinaryIO, path: str, until: int | None) -> Iterator[tuple[int, bytes]]:
    """Each line with its offset."""
    size = os.fstat(file.fileno()).st_size
    end = size if until is None else min(until, size)
    at = 0
    while at < end:
        line = file.readline(MAX_LINE)
        if not line.endswith(b"\n"):
            is_long = len(line) == MAX_LINE
            raise Damage(path, at, f"a line over {MAX_LINE} bytes" if is_long else "a torn line")
        if at + len(line) > end:
            raise Damage(path, at, f"the line goes on behind the mark at {end}")
        yield at, line
        at += len(line)


def _read_jsonl(file: BinaryIO, path: str, until: int | None) -> Iterator[Read]:
    for at, line in _read_lines(file, path, until):
        try:
            found = _decode_line(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            _check_json(line, path, at)
            continue
        yield Read(
            url=found.url,
            status_code=found.status_code,
            end=at + len(line),
            started=found.started,
            delay=found.delay,
            polite=found.polite,
            robots=found.robots,
            depth=found.depth,
            parent=found.parent,
        )


def _check_json(line: bytes, path: str, at: int) -> None:
    """Whatever it is of; what does not fit is found before what is wrong behind it."""
    try:
        json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Damage(path, at, f"a line that is no JSON: {error}") from error


def _read_csv(file: BinaryIO, path: str, until: int | None) -> Iterator[Read]:
    for at, line in _read_lines(file, path, until):
        try:
            row = next(csv.reader([line.decode()], strict=True))
            if at == 0 and tuple(row) == COLUMNS:
                continue
            url, status, *_ = row
            read = Read(url=url, status_code=int(status), end=at + len(line))
        except (ValueError, csv.Error) as error:
            raise Damage(path, at, f"a line that is none of the table: {error}") from error
        if at == 0 or len(row) != len(COLUMNS):
            raise Damage(path, at, f"not the columns {', '.join(COLUMNS)}")
        yield read


def _read_warc(file: BinaryIO, path: str, until: int | None) -> Iterator[Read]:
    for record in read_records(file, path, until):
        if not is_answer(record):
            continue
        head, body = split_message(record.block)
        check_payload(record, path, head, body)
        yield Read(
            url=url_of(record),
            status_code=status_of(record, path, head),
            end=record.end,
            **msgspec.structs.asdict(audited_of(record, path)),
        )
