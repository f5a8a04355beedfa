"""The text of files that people hand us, whatever system wrote them.

By its mark, or by the zeros of its first characters, a file is UTF-8, UTF-16 or UTF-32; lines end
with LF, CRLF or CR; marks between the lines, where files were joined, and DOS's Ctrl-Z are no text.
What comes out is UTF-8 with LF. Bytes that are no UTF-8 stay as they are: it is for the reader of a
line to refuse it or to make something of it.
"""

import codecs
import contextlib
import io
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from fetcher.errors import TaskError

STDIN: Final = "-"
MOST: Final = 256 * 1024 * 1024  # bytes of a file that is read as a whole
LONGEST: Final = 16 * 1024 * 1024  # characters of a line
_PIECE: Final = 64 * 1024
_HEAD: Final = 4

# The longer marks first: that of UTF-32 begins with one of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Without a mark: two characters of ASCII.
_ZEROS: Final = (
    (re.compile(rb"[^\0]\0[^\0]\0"), "utf-16-le"),
    (re.compile(rb"\0[^\0]\0[^\0]"), "utf-16-be"),
)
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_NO_TEXT: Final = "\ufeff\x1a"


class FileError(TaskError):
    """A file cannot be read as text; the text names it or the line, and quotes nothing."""


def open_file(name: str) -> IO[bytes]:
    """The file to read, standard input for "-". Raises `FileError`."""
    if name == STDIN:
        if sys.stdin is None:
            raise FileError("-: there is no standard input")
        return sys.stdin.buffer
    try:
        return Path(name).open("rb")
    except IsADirectoryError:
        raise FileError(f"{name}: is a folder, not a file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise FileError(f"{_show(name)}: {_explain(error)}") from None


def open_or_take(name: str, is_item: Callable[[str], bool]) -> IO[bytes]:
    """The file, as `open_file`; or `name` as the one line of a text where there is no such file and
    it `is_item` of those that are asked for."""
    if name != STDIN and not os.path.lexists(name) and is_item(name):
        return io.BytesIO(os.fsencode(name))
    return open_file(name)


def _show(name: str) -> str:
    """Without credentials: it may be meant as a proxy, or as a URL."""
    if not {":", "@"}.issubset(name):
        return name
    from fetcher.urls import loggable

    return loggable(name)


@contextlib.contextmanager
def opened(name: str) -> Iterator[IO[bytes]]:
    """`open_file` for the time of a block; standard input stays open."""
    file = open_file(name)
    try:
        yield file
    finally:
        if name != STDIN:
            file.close()


def read_bytes(name: str) -> bytes:
    """All bytes of a file as they are. Raises `FileError`."""
    with opened(name) as file:
        raw = _read(file, file.read, MOST + 1)
    if len(raw) > MOST:
        raise FileError(f"{name}: more than {MOST:,} bytes")
    return raw


def read_text(file: IO[bytes]) -> bytes:
    """All of a text file. Raises `FileError`."""
    lines, size = [], 0
    for line in read_lines(file):
        lines.append(line)
        size += len(line)
        if size > MOST:
            raise FileError(f"the file has more than {MOST:,} bytes")
    return b"\n".join(lines)


def read_lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a text file as they come, without their ends. Raises `FileError`."""
    number, rest = 0, ""
    for text in _decode(file):
        *lines, rest = (rest + text).split("\n")
        for line in lines:
            number += 1
            yield _finish_line(line, number)
        if len(rest) > LONGEST:
            raise FileError(f"line {number + 1}: longer than {LONGEST:,} characters")
    if rest:
        yield _finish_line(rest, number + 1)


def _decode(file: IO[bytes]) -> Iterator[str]:
    """The text in pieces, its lines ended by LF."""
    head = _read(file, file.read, _HEAD)
    codec, mark = _find_codec(head)
    # The other codecs have no way to keep what is none of theirs.
    errors = "surrogateescape" if codec == "utf-8" else "strict"
    decoder: Any = codecs.getincrementaldecoder(codec)(errors)
    decoder = io.IncrementalNewlineDecoder(decoder, translate=True)
    ended = 0
    for piece in itertools.chain([head[len(mark) :]], _read_on(file), [None]):
        try:
            text = decoder.decode(piece or b"", final=piece is None)
        except UnicodeDecodeError as error:
            before = error.object[: error.start].decode(codec)
            number = ended + len(_LINE_END.findall(before)) + 1
            raise FileError(f"line {number}: not {codec[:6].upper()}: {error.reason}") from None
        ended += text.count("\n")
        yield text


def _read_on(file: IO[bytes]) -> Iterator[bytes]:
    """What comes, as it comes: the other end of a pipe may take its time."""
    while piece := _read(file, getattr(file, "read1", file.read), _PIECE):
        yield piece


def _find_codec(head: bytes) -> tuple[str, bytes]:
    """The encoding of a file that begins so, and its mark."""
    for mark, codec in _MARKS:
        if head.startswith(mark):
            return codec, mark
    for zeros, codec in _ZEROS:
        if zeros.match(head):
            return codec, b""
    return "utf-8", b""


def _finish_line(line: str, number: int) -> bytes:
    if "\0" in line:
        raise FileError(
            f"line {number}: it has a NUL: this is no text, or the file has UTF-16 in it"
            " (PowerShell's >> writes such) behind something else"
        )
    return line.strip(_NO_TEXT).encode("utf-8", "surrogateescape")


def _read(file: IO[bytes], read: Callable[[int], bytes], size: int) -> bytes:
    try:
        return read(size)
    except OSError as error:
        raise FileError(f"{getattr(file, 'name', 'the file')}: {_explain(error)}") from None


def _explain(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
