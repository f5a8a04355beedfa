"""Pages as files of a folder, and its index: a line of JSON a page.

A page's file is ``DIR/ab/abcdef0123456789.html``: 16 hex digits of its URL's id, and an ending by
its type. It is there before its line is, and written whole or not at all; one whose line was cut
off again is written over when the page comes back.
"""

import os
from mimetypes import MimeTypes
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from fetcher.crawl.model import Page
from fetcher.crawl.output.jsonl import encode_line, is_redirect

_TYPES: Final = MimeTypes()  # Python's own table: what this machine adds to it is not read
_OTHERS: Final = {
    "application/xhtml+xml": ".xhtml",
    "application/xml": ".xml",
    "text/xml": ".xml",
}
_BY_SYNTAX: Final = (("+xml", ".xml"), ("+json", ".json"))


class Entry(msgspec.Struct, kw_only=True):
    """A line of the index. Without content `file` is ""; `error` is absent of a 2xx answer."""

    status_code: int
    orig_url: str
    url: str
    file: str
    type: str
    time: float
    error: str | UnsetType = UNSET
    depth: int
    parent: str
    title: str
    started: float
    delay: float
    polite: str
    robots: str


class Folder:
    """Writes pages' files below `root`; `number` is the part's, and nobody else's meanwhile."""

    def __init__(self, root: str, number: int) -> None:
        self._root = root
        self._number = number

    def begin(self, name: str, now: float) -> bytes:
        """Nothing: the first line is a page."""
        return b""

    def encode(self, page: Page) -> tuple[bytes, int]:
        """The page's line in the index, when its file is on the disk. Blocks; raises OSError."""
        if is_redirect(page):
            return b"", 0
        file = ""
        if page.content:
            file = file_name(page)
            self._save(file, page.content)
        return encode_entry(page, file), 1

    def _save(self, file: str, content: bytes) -> None:
        path = os.path.join(self._root, file)
        folder, name = os.path.split(path)
        os.makedirs(folder, exist_ok=True)
        unfinished = os.path.join(folder, f".{name}.{self._number}")
        with open(unfinished, "wb", buffering=0) as out:
            try:
                view = memoryview(content)
                while view:
                    view = view[out.write(view) :]
                os.replace(unfinished, path)
            except OSError:
                os.unlink(unfinished)
                raise
            os.fsync(out.fileno())  # behind the renaming, which journals take along


def file_name(page: Page) -> str:
    """Where below the folder a page's content is."""
    digits = f"{page.id:016x}"
    return f"{digits[:2]}/{digits}{file_ending(page.headers.get('Content-Type', ''))}"


def file_ending(content_type: str) -> str:
    """The ending for a Content-Type as servers write it; ".bin" where it says nothing."""
    kind = content_type.partition(";")[0].strip().lower()
    known = _OTHERS.get(kind) or _TYPES.guess_extension(kind)
    if known is None:
        known = next((end for syntax, end in _BY_SYNTAX if kind.endswith(syntax)), ".bin")
    return known


def encode_entry(page: Page, file: str) -> bytes:
    """The line of a page whose content is in `file`."""
    visited = page.visited
    entry = Entry(
        status_code=page.status_code,
        orig_url=visited.first or visited.url,
        url=visited.url,
        file=file,
        type=page.headers.get("Content-Type", ""),
        time=page.time,
        depth=visited.depth,
        parent=visited.parent,
        title=page.title,
        started=visited.started,
        delay=visited.delay,
        polite=visited.polite,
        robots=visited.robots,
    )
    if page.error is not None:
        entry.error = page.error
    return encode_line(entry)
