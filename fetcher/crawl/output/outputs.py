"""The driver of a crawl's outputs: takes a part of each, appends pages, cuts back to marks.

How each page comes to be there once, whatever dies in between::

    take        a part of each output that nobody else has is locked
    begin       ... and cut back to its mark in Redis; `marks` are stored there, with 0 bytes
                for what is new, before anything is written
    write       pages are appended and fsynced
    (Redis)     one script stores the parts' new marks and that these pages are done
    cut         if it refused, or Redis has lost its last second

Marks have to be read from Redis behind `take`: the writer before may have set his last just then.
"""

import errno
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from fetcher.crawl.model import Mark, Options, Page
from fetcher.crawl.output.csv_ import Csv
from fetcher.crawl.output.folder import Folder
from fetcher.crawl.output.jsonl import Jsonl
from fetcher.crawl.output.names import OutputError as OutputError
from fetcher.crawl.output.names import find_parts, kind_of, part_path
from fetcher.crawl.output.part import Format, Part, is_locked, lock_file
from fetcher.crawl.output.warc import Warc
from fetcher.urls import loggable

# Parts of one output on one machine: processes that write at the same time.
MAX_PARTS: Final = 1_000

_REMEDIES: Final = {
    errno.ENOSPC: ": make room, and it goes on",
    errno.EDQUOT: ": make room, and it goes on",
    errno.EFBIG: ": name another file, or allow larger ones (ulimit -f)",
    errno.ENOENT: ": make its folder first",
    errno.ENOTDIR: ": name a folder that is one",
    errno.EEXIST: ": a file is where a folder is to be: name another one",
    errno.EACCES: ": name one that may be written to",
    errno.EROFS: ": name one that may be written to",
    errno.EISDIR: ": it is a folder: end its name with /, or name a file",
}


class Taken:
    """Parts that are locked, and not yet looked at: from now on nobody else sets marks of them."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts

    def begin(self, marks: Mapping[str, Mark]) -> "Outputs":
        """Cut each part back to its mark among all those of the crawl, to go on there.

        Before the first `write`, the outputs' `marks` have to be stored: a part without one that is
        not empty is somebody else's. That is refused: raises `OutputError`, and the parts are free.
        """
        try:
            _each(self._parts, lambda part: part.begin(marks))
        except BaseException:
            self.close()
            raise
        return Outputs(self._parts)

    def close(self) -> None:
        """Leave the parts to others; harmless when they are."""
        parts, self._parts = self._parts, ()
        for part in parts:
            part.close()


class Outputs:
    """This process's parts of all outputs of one crawl.

    All but `marks` and `keys` blocks: it is for a thread, one call at a time.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts

    @classmethod
    def open(
        cls,
        paths: Sequence[str],
        marks: Mapping[str, Mark],
        *,
        name: str,
        machine: str,
        options: Options,
        software: str,
    ) -> "Outputs":
        """`take` and `begin` in one, for where no other process can have had a part meanwhile."""
        taken = cls.take(paths, name=name, machine=machine, options=options, software=software)
        return taken.begin(marks)

    @classmethod
    def take(
        cls, paths: Sequence[str], *, name: str, machine: str, options: Options, software: str
    ) -> Taken:
        """Lock a part of each output: its first, or the next that nobody has.

        `name` is the crawl's, `software` goes into WARC files. Raises `OutputError`.
        """
        parts: list[Part] = []
        try:
            for path in paths:
                if paths.count(path) > 1:
                    raise OutputError(f"{path} is named twice: name each output once")
                kind = kind_of(path)
                try:
                    if kind == "folder":
                        os.makedirs(path, exist_ok=True)
                    number, first, lock = _lock_part(path)
                except OSError as error:
                    raise _refused(path, error) from error
                make = _format_maker(path, number, name, machine, options, software)
                rotate = options.rotate if kind == "warc" else 0
                parts.append(Part(first, lock, machine, rotate, make))
        except BaseException:
            Taken(parts).close()
            raise
        return Taken(parts)

    def write(self, pages: Sequence[Page]) -> dict[str, tuple[Mark, Mark]]:
        """Append to all parts, to the disk: key -> (mark before, mark now).

        A new key is a file that comes next, still empty. Raises `OutputError` for whatever goes
        wrong; then nothing was appended anywhere, and the same pages may be written later.
        """
        now = time.time()
        marks: dict[str, tuple[Mark, Mark]] = {}
        try:
            for part in self._parts:
                marks |= part.append(pages, now)
        except BaseException as error:
            for one in self._parts:
                one.revert()
            if isinstance(error, OSError):
                raise _refused(part.path, error) from error
            if isinstance(error, OutputError) or not isinstance(error, Exception):
                raise
            urls = ", ".join(loggable(page.visited.url) for page in pages[:3])
            raise OutputError(f"pages cannot be written ({urls} ...): {error!r}") from error
        for part in self._parts:
            part.commit()
        return marks

    def cut(self, marks: Mapping[str, Mark]) -> None:
        """Cut the parts back to these marks, all of the crawl. Raises `OutputError`."""
        _each(self._parts, lambda part: part.cut(marks))

    def close(self) -> None:
        """Leave the parts to others. What stands in them counts as far as Redis says; of those
        in which nothing stands only the mark, of 0 bytes, remains."""
        for part in self._parts:
            part.end()
        self._parts = ()

    @property
    def marks(self) -> dict[str, Mark]:
        """Of the files that are written to."""
        return {part.key: part.mark for part in self._parts}

    @property
    def keys(self) -> list[str]:
        return [part.key for part in self._parts]


def part_paths(path: str) -> list[str]:
    """The files of an output that are on this machine: all parts, with those after a rotation.

    Raises `OutputError`. Blocks.
    """
    folder = os.path.dirname(part_path(path, 1)) or "."
    try:
        return find_parts(path, os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _refused(path, error) from error


def locked(path: str) -> bool:
    """Whether a living writer has this file of an output, if it is there at all.

    Raises `OutputError`. Blocks.
    """
    try:
        return is_locked(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _refused(path, error) from error


def _each(parts: Sequence[Part], step: Callable[[Part], None]) -> None:
    for part in parts:
        try:
            step(part)
        except OSError as error:
            raise _refused(part.path, error) from error


def _lock_part(path: str) -> tuple[int, str, int]:
    for number in range(1, MAX_PARTS + 1):
        first = os.path.abspath(part_path(path, number))
        lock = lock_file(first)
        if lock is not None:
            return number, first, lock
    raise OutputError(f"{path}: {MAX_PARTS} processes write to it: more are not taken")


def _format_maker(
    path: str, number: int, name: str, machine: str, options: Options, software: str
) -> Callable[[], Format]:
    match kind_of(path):
        case "jsonl":
            return lambda: Jsonl(options)
        case "csv":
            return Csv
        case "folder":
            return lambda: Folder(os.path.abspath(path), number)
        case "warc":
            is_gzip = path.lower().endswith(".gz")
            return lambda: Warc(
                options, name=name, machine=machine, software=software, is_gzip=is_gzip
            )


def _refused(path: str, error: OSError) -> OutputError:
    words = error.strerror or "it cannot be used"
    return OutputError(f"{path}: {words}{_REMEDIES.get(error.errno or 0, '')}")
