"""A body to send that a test gives out bit by bit."""

from collections.abc import Callable


class Producer:
    """`give` some, then `end` or `fail`; `asked` holds what every `read` was asked for."""

    def __init__(self, *pieces: bytes, size: int | None = None, ended: bool = False) -> None:
        self.size = size
        self.failed = False
        self.wake: Callable[[], None] | None = None
        self.pieces = list(pieces)
        self.ended = ended
        self.asked: list[int] = []

    def read(self, n: int) -> bytes | None:
        self.asked.append(n)
        if not self.pieces:
            return b"" if self.ended else None
        piece = self.pieces.pop(0)
        if len(piece) > n:
            self.pieces.insert(0, piece[n:])
        return piece[:n]

    def give(self, *pieces: bytes) -> None:
        self.pieces.extend(pieces)
        self._call()

    def end(self) -> None:
        self.ended = True
        self._call()

    def fail(self) -> None:
        self.failed = True
        self._call()

    def _call(self) -> None:
        if self.wake is not None:
            self.wake()
