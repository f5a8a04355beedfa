"""Sinks: who hears of a transfer that a client carries out.

`WholeBody` is the hot path's: of queue, Python face, checks and robots.txt. It costs what a bare
callback costs; whoever wants an answer as it comes brings a sink of his own.
"""

from collections.abc import Callable
from typing import ClassVar

from fetcher.model import Response


class WholeBody:
    """Hears nothing until all is there, and then `done` with the whole body."""

    __slots__ = ("done",)

    whole: ClassVar[bool] = True
    short: ClassVar[bool] = True

    def __init__(self, done: Callable[[Response], None]) -> None:
        self.done = done

    def head(self, response: Response) -> None:
        """Never called: it comes with the body."""

    def body(self, chunk: bytes) -> None:
        """Never called: the client keeps it."""
