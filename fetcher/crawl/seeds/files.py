"""Reads the sources of a crawl: files, standard input, and answers that are lists.

A driver, and a blocking one: it runs in a thread.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path
from typing import Final

from fetcher.crawl.seeds.archives import BadArchive, Gunzip, Unpacker, Unzip
from fetcher.crawl.seeds.kinds import START, Kind, kind_of_file
from fetcher.crawl.seeds.lists import ListReader
from fetcher.crawl.seeds.rows import Account, Row
from fetcher.crawl.seeds.sitemap import SitemapReader
from fetcher.errors import TaskError

STDIN: Final = "-"
BATCH: Final = 1000  # rows
MAX_UNPACKED: Final = 10_737_418_240  # bytes of a list in an archive: 400 million domains
_PIECE: Final = 65_536

_SITEMAPS: Final = ("sitemap", "sitemapindex", "feed")


def read_source(path: str, account: Account, skip: int = 0) -> Iterator[list[Row]]:
    """The rows of a file of any kind in batches of up to `BATCH`, "-" is standard input, of which
    they are given as they come.

    Those up to number `skip` were dealt with earlier and are not given. Raises `TaskError` that
    names the file when it cannot be read, is empty, or is no list; what is wrong within a list is
    in `account`.
    """
    name = "standard input" if path == STDIN else path
    try:
        with ExitStack() as stack:
            if path == STDIN:
                file: BufferedReader = sys.stdin.buffer  # type: ignore[assignment]
            else:
                file = stack.enter_context(Path(path).open("rb"))
            read = file.read1 if path == STDIN else file.read
            start = _read_start(read)
            if not start:
                raise TaskError(f"{name} is empty: expected a list of URLs or domains")
            rows = _read_kind(
                kind_of_file(name, start), _pieces(start, read), name, "", account, skip
            )
            yield from _batches(rows, is_slow=path == STDIN)
    except IsADirectoryError:
        raise TaskError(f"{name} is a directory: a source is a file or a URL") from None
    except OSError as error:
        raise TaskError(f"{name} cannot be read: {error.strerror or error}") from None


def read_answer(
    kind: Kind, content: bytes, url: str, account: Account, skip: int = 0
) -> Iterator[list[Row]]:
    """The rows of a list that came as the answer to `url`, as `read_source` gives them."""
    pieces = (content[at : at + _PIECE] for at in range(0, len(content), _PIECE))
    yield from _batches(_read_kind(kind, pieces, url, url, account, skip))


def _batches(rows: Iterator[Row | None], is_slow: bool = False) -> Iterator[list[Row]]:
    """`is_slow`: where there is nothing more for now (None), what there is need not wait."""
    batch: list[Row] = []
    for row in rows:
        if row is not None:
            batch.append(row)
        if len(batch) == BATCH or (is_slow and row is None and batch):
            yield batch
            batch = []
    if batch:
        yield batch


def _read_start(read: Callable[[int], bytes]) -> bytes:
    """Enough to see what it is: a line, or as much as is looked at."""
    start = read(_PIECE)
    while len(start) < START and b"\n" not in start and (more := read(_PIECE)):
        start += more
    return start


def _pieces(start: bytes, read: Callable[[int], bytes]) -> Iterator[bytes]:
    while start:
        yield start
        start = read(_PIECE)


def _read_kind(
    kind: Kind, pieces: Iterator[bytes], name: str, url: str, account: Account, skip: int
) -> Iterator[Row | None]:
    """None behind the rows of each piece."""
    if kind in ("zip", "gzip"):
        unpacked = _unpack(
            Unzip(MAX_UNPACKED) if kind == "zip" else Gunzip(MAX_UNPACKED), pieces, account
        )
        start = next(unpacked, b"")
        kind = kind_of_file(name.removesuffix(".gz"), start)
        if kind in ("zip", "gzip"):
            raise TaskError(f"{name} has an archive within an archive: unpack it first")
        pieces = _chain(start, unpacked)
    account.kind = kind
    if kind == "page":
        raise TaskError(f"{name} is an HTML page: expected a list of URLs, or the page's own URL")
    reader: ListReader | SitemapReader
    if kind in _SITEMAPS:
        reader = SitemapReader(account, url, skip)
    else:
        reader = ListReader(account, skip)
    for piece in pieces:
        yield from reader.feed(piece)
        if isinstance(reader, SitemapReader) and reader.is_over:
            return  # of what is packed, a hundred times as much may be left
        yield None
    yield from reader.close()


def _chain(start: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield start
    yield from pieces


def _unpack(unpacker: Unpacker, pieces: Iterator[bytes], account: Account) -> Iterator[bytes]:
    """What comes out; where the archive is broken, that is told, and it ends there."""
    try:
        for piece in pieces:
            yield from unpacker.feed(piece)
        unpacker.close()
    except BadArchive as error:
        account.complain(f"it was read no further: {error}")
