"""One part of an output: the file, or the row of files, that one process writes.

A part is its writer's as long as he holds the lock (flock) of its first file, which the kernel
takes from the dead. What counts of a file is its mark in Redis, and behind that nothing: it is cut
off before the file goes on. A file has its mark, of 0 bytes, before it has its first byte; so one
that has bytes and no mark is somebody else's.
"""

import fcntl
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from fetcher.crawl.model import Mark, Page
from fetcher.crawl.output.names import OutputError, rotated_path

# Bytes that are gathered before they are written: of a batch with long pages not all is held twice.
_GATHERED: Final = 1048576

# Whoever only looks whether a file is locked holds it for a microsecond.
_TRIES: Final = 1000

_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


class Format(Protocol):
    """How pages become bytes."""

    def begin(self, name: str, now: float) -> bytes:
        """What stands before the first page in a file of this name."""

    def encode(self, page: Page) -> tuple[bytes, int]:
        """What is appended for a page, and how many records of the mark that is."""


class Part:
    """A part that is locked by this process; it is the only one that writes to it.

    `first` is the absolute path of its first file, of which `lock` is the descriptor, and `machine`
    what its keys begin with. `rotate`: bytes above which another file begins, 0 for never. `make`
    makes its format, anew whenever something was cut off: it remembers what it has written. Until
    `begin` nothing is read or written. All of it blocks.
    """

    def __init__(
        self, first: str, lock: int, machine: str, rotate: int, make: Callable[[], Format]
    ) -> None:
        self._first = first
        self._lock = lock
        self._machine = machine
        self._rotate = rotate
        self._make = make
        self._format = make()
        self._sequence = 0  # of the file that is written to
        self._file = lock
        self._next: int | None = None  # that of the next one, when this one is long enough
        self._after = Mark()
        self._is_clean = False  # nothing stands behind the mark
        self.mark = Mark()

    @property
    def path(self) -> str:
        """Of the file that is written to."""
        return rotated_path(self._first, self._sequence)

    @property
    def key(self) -> str:
        return self._key(self._sequence)

    def begin(self, marks: Mapping[str, Mark]) -> None:
        """Go on behind the last of these marks, which are those of the whole crawl.

        Raises `OutputError` for a file that is none of this crawl's, or lacks what counts, OSError.
        """
        self._turn_to(self._last(marks))
        if self.key not in marks and os.fstat(self._file).st_size:
            others = [key for key in marks if key.endswith(":" + self.path)]
            if others:
                machine = others[0].removesuffix(":" + self.path)
                raise OutputError(
                    f"{self.path} was written by {machine} for this crawl: go on there, or name"
                    " another file here"
                )
            raise OutputError(
                f"{self.path} exists, and this crawl has not written it: name another file, or"
                " move it away"
            )
        self._go_on(marks)

    def cut(self, marks: Mapping[str, Mark]) -> None:
        """Go back to these marks; a file without one is empty then. Raises as `begin`."""
        last = self._last(marks)
        for sequence in range(self._sequence, last, -1):
            self._turn_to(sequence)
            os.ftruncate(self._file, 0)
        self._turn_to(last)
        self._go_on(marks)

    def append(self, pages: Iterable[Page], now: float) -> dict[str, tuple[Mark, Mark]]:
        """Write and fsync: key -> (mark before, mark now), to be taken over by `commit`.

        Where the file is long enough, the next one has its mark before it has a byte.
        Raises OSError, `OutputError`; whatever is raised, `revert` has to follow.
        """
        self._check()
        if not self._is_clean:
            os.ftruncate(self._file, self.mark.bytes)
        self._is_clean = False
        at, records, size = self.mark.bytes, self.mark.records, 0
        gathered: list[bytes] = []
        for page in pages:
            # The beginning comes first, for what the format then remembers of it.
            is_first = at == 0 and not gathered
            start = self._format.begin(os.path.basename(self.path), now) if is_first else b""
            data, count = self._format.encode(page)
            if data:
                gathered += (start, data)
                size += len(start) + len(data)
                records += count
            if size >= _GATHERED:
                at = self._put(gathered, at)
                gathered, size = [], 0
        at = self._put(gathered, at)
        if at != self.mark.bytes:
            os.fsync(self._file)
        self._after = Mark(at, records)
        marks = {self.key: (self.mark, self._after)}
        if self._rotate and at > self._rotate:
            self._next = self._open_next()
            marks[self._key(self._sequence + 1)] = (Mark(), Mark())
        return marks

    def commit(self) -> None:
        """What was appended is to be kept."""
        self.mark, self._is_clean = self._after, True
        if self._next is not None:
            self._close_file()
            self._sequence, self._file, self._next = self._sequence + 1, self._next, None
            self.mark = Mark()

    def revert(self) -> None:
        """What was appended is cut off again, if not now then before the next. Never raises."""
        self._is_clean = False
        self._format = self._make()
        if self._next is not None:
            _drop(self._next, rotated_path(self._first, self._sequence + 1))
            self._next = None
        try:
            os.ftruncate(self._file, self.mark.bytes)
        except OSError:
            pass

    def end(self) -> None:
        """Leave it to the next one, and no file that is empty: gzip takes that for a torn one."""
        if self._file != self._lock:
            _drop(self._file, self.path)
            os.close(self._lock)
        else:
            _drop(self._lock, self.path)

    def close(self) -> None:
        """Leave it to the next one, as it is."""
        self._close_file()
        os.close(self._lock)

    def _key(self, sequence: int) -> str:
        return f"{self._machine}:{rotated_path(self._first, sequence)}"

    def _last(self, marks: Mapping[str, Mark]) -> int:
        sequence = 0
        while self._key(sequence + 1) in marks:
            sequence += 1
        return sequence

    def _turn_to(self, sequence: int) -> None:
        if sequence != self._sequence:
            path = rotated_path(self._first, sequence)
            file = self._lock if sequence == 0 else _must_lock(path)
            self._close_file()
            self._sequence, self._file = sequence, file

    def _go_on(self, marks: Mapping[str, Mark]) -> None:
        self.mark = marks.get(self.key, Mark())
        missing = self.mark.bytes - os.fstat(self._file).st_size
        if missing > 0:
            raise OutputError(
                f"{self.path} lacks {missing} bytes of what this crawl has written to it: put it"
                " back as it was, or begin another crawl"
            )
        os.ftruncate(self._file, self.mark.bytes)
        self._is_clean = True
        self._format = self._make()

    def _put(self, pieces: list[bytes], at: int) -> int:
        view = memoryview(b"".join(pieces))
        while view:
            written = os.pwrite(self._file, view, at)
            view, at = view[written:], at + written
        return at

    def _check(self) -> None:
        """What is written to a file that was removed would be lost in silence."""
        try:
            is_there = os.path.samestat(os.fstat(self._file), os.stat(self.path))
        except FileNotFoundError:
            is_there = False
        if not is_there:
            raise OutputError(f"{self.path} was removed or replaced: put it back as it was")

    def _open_next(self) -> int:
        path = rotated_path(self._first, self._sequence + 1)
        file = _must_lock(path)
        if os.fstat(file).st_size:
            os.close(file)
            raise OutputError(
                f"{path} is to be the next file, but it exists, and no mark counts what is in it:"
                " move it away"
            )
        return file

    def _close_file(self) -> None:
        if self._file != self._lock:
            os.close(self._file)
            self._file = self._lock


def lock_file(path: str) -> int | None:
    """A descriptor of the file, locked, and made if it was not there; None if another one has it.

    Raises `OutputError` if it is no regular file, OSError. Blocks.
    """
    for _ in range(_TRIES):
        file = os.open(path, _OPEN, 0o644)
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                raise OutputError(f"{path} is no regular file: name another one")
            if not _try_lock(file, fcntl.LOCK_EX):
                if not _try_lock(file, fcntl.LOCK_SH):
                    return None
                continue  # somebody was looking
            # Locked is the file; whether it still is the one of that name is seen only now.
            if os.path.samestat(found, os.stat(path)):
                if not found.st_size:
                    _save_name(path)
                kept, file = file, -1
                return kept
        except FileNotFoundError:
            continue
        finally:
            if file >= 0:
                os.close(file)
    return None


def is_locked(path: str) -> bool:
    """Whether a living writer has the file. Raises OSError. Blocks, but no writer."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return not _try_lock(file, fcntl.LOCK_SH)
    finally:
        os.close(file)


def _drop(file: int, path: str) -> None:
    """Close it; remove it before that, if it is empty and still of that name. Never raises."""
    try:
        found = os.fstat(file)
        if not found.st_size and os.path.samestat(found, os.stat(path)):
            os.unlink(path)
    except OSError:
        pass
    os.close(file)


def _must_lock(path: str) -> int:
    file = lock_file(path)
    if file is None:
        raise OutputError(f"{path} is being written by another process: name another file")
    return file


def _try_lock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _save_name(path: str) -> None:
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
