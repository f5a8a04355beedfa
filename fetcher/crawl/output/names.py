"""What files an output consists of: its format by its ending, the names of its parts.

A decision module: paths are text here. ``crawl.warc.gz`` has the parts ``crawl.warc.gz``,
``crawl.2.warc.gz`` ..., one for each process that writes at the same time, and of a part that is
rotated the files ``crawl.2.warc.gz``, ``crawl.2-00001.warc.gz`` ... A folder's part is its index.
"""

import re
from collections.abc import Iterable
from posixpath import basename, dirname, join, splitext
from typing import Final, Literal

from fetcher.errors import FetchpoolError

Kind = Literal["jsonl", "csv", "warc", "folder"]

ENDINGS: Final[dict[str, Kind]] = {
    ".jsonl": "jsonl",
    ".csv": "csv",
    ".warc.gz": "warc",
    ".warc": "warc",
}
INDEX: Final = "index.jsonl"


class OutputError(FetchpoolError):
    """An output cannot be written as it is; the text says which, why, and what would be right."""


def kind_of(path: str) -> Kind:
    """The format that a path's ending asks for. Raises `OutputError` for an unknown one."""
    if path.endswith("/"):
        return "folder"
    ending = ending_of(path)
    if ending:
        return ENDINGS[ending]
    unknown = splitext(path)[1]
    if unknown:
        raise OutputError(
            f"{path}: there is no format {unknown}: expected {', '.join(ENDINGS)}, or a folder,"
            " whose name ends with /"
        )
    return "folder"


def ending_of(path: str) -> str:
    """The known ending of a path, as `ENDINGS` spells it; "" if it has none."""
    lowered = basename(path).lower()
    return next((ending for ending in ENDINGS if lowered.endswith(ending)), "")


def part_path(path: str, number: int) -> str:
    """The first file of an output's part; parts are counted from 1."""
    if kind_of(path) == "folder":
        path = join(path, INDEX)
    return path if number == 1 else _insert(path, f".{number}")


def rotated_path(part: str, sequence: int) -> str:
    """The file with this number of a part, whose first one is number 0."""
    return part if sequence == 0 else _insert(part, f"-{sequence:05d}")


def find_parts(path: str, names: Iterable[str]) -> list[str]:
    """The paths of those files that belong to an output, in the order of parts and rotation.

    `names` are those in the folder in which its first part lies.
    """
    first = part_path(path, 1)
    stem, ending = _split(basename(first))
    pattern = re.compile(
        re.escape(stem) + r"(?:\.([1-9][0-9]{0,8}))?(?:-([0-9]{5,9}))?" + re.escape(ending)
    )
    found = []
    for name in names:
        match = pattern.fullmatch(name)
        if match is not None and match[1] != "1":
            found.append((int(match[1] or 1), int(match[2] or 0), join(dirname(first), name)))
    return [part for _, _, part in sorted(found)]


def _insert(path: str, mark: str) -> str:
    stem, ending = _split(path)
    return stem + mark + ending


def _split(path: str) -> tuple[str, str]:
    at = len(path) - len(ending_of(path))
    return path[:at], path[at:]
