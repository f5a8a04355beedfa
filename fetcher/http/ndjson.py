"""NDJSON: the bytes of a request, as they come, cut into lines.

A decision module. A line ends with LF; a CR before it is white space to JSON, as blanks are, and a
last line needs no end. Lines that hold nothing are passed over, as is a byte order mark before the
first.
"""

from codecs import BOM_UTF8
from collections import deque
from typing import Final

# Bytes of a task. Most have some hundred; what it sends may be in it too. It is read on the loop,
# which the most tangled JSON of that length holds up for some 10 ms.
MAX_LINE: Final = 262_144

TOO_LONG: Final = b"\n"  # stands for a line that is: no line is like that


class Lines:
    """What has come and nobody has taken yet: whole lines, and the beginning of one."""

    def __init__(self, most: int = MAX_LINE) -> None:
        self._most = most
        self._lines: deque[bytes] = deque()
        self._tail = bytearray()
        self._is_skipping = False  # the rest of a line that is too long
        self._is_first = True

    def put(self, chunk: bytes) -> None:
        """Some more bytes. As many lines as end in them, and one more, wait to be taken."""
        begin, *more = chunk.split(b"\n")
        self._grow(begin)
        if more:
            tail = more.pop()
            self._end_line()
            self._lines.extend(more)
            self._grow(tail)

    def end(self) -> None:
        """That was all."""
        self._end_line()

    def take(self) -> bytes | None:
        """The next line, `TOO_LONG` instead of one that is; None: there is none now."""
        lines = self._lines
        while lines:
            line = lines.popleft()
            if self._is_first:
                line = line.removeprefix(BOM_UTF8)
                self._is_first = False
            if line == TOO_LONG or len(line) > self._most:
                return TOO_LONG
            if line and not line.isspace():
                return line
        return None

    def _grow(self, piece: bytes) -> None:
        if self._is_skipping:
            return
        self._tail += piece
        if len(self._tail) > self._most:
            self._tail.clear()
            self._is_skipping = True
            self._lines.append(TOO_LONG)

    def _end_line(self) -> None:
        if self._is_skipping:
            self._is_skipping = False
        else:
            self._lines.append(bytes(self._tail))
            self._tail.clear()
