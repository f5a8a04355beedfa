"""Sinks: who hears of a transfer that a client carries out.

`WholeBody` is the hot path's: of queue, Python face, checks and robots.txt. It costs what a bare
callback costs; whoever wants an answer as it comes brings a sink of his own.
"""

from collections.abc import Callable
from typing import ClassVar

import msgspec

from fetcher.model import Response


class WholeBody(msgspec.Struct):
    """Hears nothing until all is there, and then `done` with the whole body."""

    done: Callable[[Response], None]

    whole: ClassVar[bool] = True
    short: ClassVar[bool] = True

    def head(self, response: Response) -> None:
        """Never called: it comes with the body."""

    def body(self, chunk: bytes) -> None:
        """Never called: the client keeps it."""
