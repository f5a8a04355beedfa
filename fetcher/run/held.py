"""Held: the sink of a stream's attempt, which holds back what must be looked at first.

Nothing of an answer goes on before the path has said that it is the task's own: a redirect's body
is for nobody, and a site's rules may want to see how a body begins. An answer that ends while it
is held is a whole one like any other.
"""

from typing import ClassVar, Final, Protocol

from fetcher.model import Response

DROP: Final = -1  # nobody wants the body
MOST_DROPPED: Final = 65536  # bytes; a longer one ends with its connection


class Path(Protocol):
    """What of a fetch in progress the sink asks and tells."""

    def look(self, response: Response) -> int:
        """How many bytes of its body are to be held, given its head; or `DROP`."""

    def open(self, response: Response) -> bool:
        """So much was held, as `response.body`: whether it goes on; else all is seen to."""

    def pass_on(self, chunk: bytes) -> None:
        """Some more, after `open`."""

    def cut(self, response: Response) -> None:
        """More than enough was dropped: end the transfer, and go on as if that were all."""

    def answered(self, response: Response) -> None:
        """The transfer has ended, and nothing has gone on: the answer is whole, or a failure."""

    def ended(self, response: Response) -> None:
        """The transfer has ended, well or not, after some of it has gone on."""


class Held:
    """One attempt's. Tells `path` in the order of `Path`'s methods."""

    whole: ClassVar[bool] = False
    short: ClassVar[bool] = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._response: Response | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._wanted = 0
        self._is_open = False

    def head(self, response: Response) -> None:
        self._response = response
        self._wanted = self._path.look(response)
        if self._wanted == 0:
            self._open(response)

    def body(self, chunk: bytes) -> None:
        response = self._response
        if self._is_open or response is None:
            self._path.pass_on(chunk)
            return
        self._size += len(chunk)
        if self._wanted == DROP:
            if self._size > MOST_DROPPED:
                self._path.cut(response)
            return
        self._chunks.append(chunk)
        if self._size >= self._wanted:
            self._open(response)

    def done(self, response: Response) -> None:
        if self._is_open:
            self._path.ended(response)
            return
        if self._response is not None:
            response.body = b"".join(self._chunks)
        self._path.answered(response)

    def _open(self, response: Response) -> None:
        held = response.body = b"".join(self._chunks)
        self._chunks.clear()
        self._is_open = self._path.open(response)
        response.body = b""
        if self._is_open and held:
            self._path.pass_on(held)
