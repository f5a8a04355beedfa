"""Stream: what has come of one answer and its sink has not heard yet, and when it hears it.

The order of a sink's calls stands here, once for all clients: head, body, done. Inside libcurl
nothing is called of it but `add`.
"""

import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar

from fetcher.client.body_budget import Budget
from fetcher.client.chunks import Chunks, add_chunk
from fetcher.errors import Code, Outcome
from fetcher.model import Response, Sink

logger = logging.getLogger(__name__)

# A fast origin is not stopped by each turn of the loop, and a thousand receivers that do not
# read hold 256 MB, which the budget counts. (Of a stream of HTTP/2, libcurl 8.23 itself may hold
# 20 MiB more: so much it lets a server send before it knows that nobody reads.)
MAX_UNHEARD: Final = 262144

T = TypeVar("T")


def _no_news() -> None:
    """There will be none."""


class Stream:
    """Bytes are held until `tell` hands them to `sink`, and count against `budget` so long.

    `news` is for whoever fills it: called when there may be something to tell.
    """

    __slots__ = (
        "_budget",
        "_chunks",
        "_telling",
        "begun",
        "broken",
        "ended",
        "held",
        "news",
        "over",
        "paused",
        "sink",
    )

    def __init__(self, sink: Sink, budget: Budget, news: Callable[[], Any]) -> None:
        self.sink = sink
        self.news = news
        self._budget = budget
        self._chunks: Chunks = []
        self._telling = False
        self.held = 0  # bytes
        self.begun = False  # the sink knows the head
        self.paused = False  # the sink wants no body now
        self.broken = ""  # what the sink raised: its transfer is to be ended
        self.ended: Response | None = None  # what `done` will be told
        self.over = False  # nothing will be told any more

    @property
    def is_full(self) -> bool:
        return self.held >= MAX_UNHEARD

    def add(self, chunk: bytes) -> bool:
        """Hold a piece of the body until it can be told; False: the budget is spent by that."""
        add_chunk(self._chunks, chunk)
        self.held += len(chunk)
        return self._budget.hold(len(chunk))

    def begin(self, response: Response) -> None:
        """Tell the head."""
        self.begun = True
        self._call(self.sink.head, response)

    def end(self, response: Response) -> None:
        """`response` is the last word; it comes behind what can be told now.

        A failure does not wait for a sink that has paused: what that has not heard is lost then,
        and would not make it a whole answer.
        """
        if not self.begun and self.sink.short:
            self._stop()
            response.body = self._take() if self._chunks else b""
            self._call(self.sink.done, response)
            return
        response.body = b""
        if not self.begun and response.outcome is Outcome.ANSWERED:
            self.begin(response)
        self.ended = response
        self.tell()

    def tell(self) -> None:
        """Everything that the sink may hear now."""
        if self._telling:
            return  # one of the sink's calls led here, and the loop below goes on
        self._telling = True
        while self._chunks and self.is_heard:
            self._call(self.sink.body, self._take())
        self._telling = False
        ended = self.ended
        if ended is None or self.over:
            return
        if self.broken and ended.outcome is Outcome.ANSWERED:
            ended.outcome, ended.code, ended.message = Outcome.OURS, Code.WRITE_ERROR, self.broken
        if ended.outcome is not Outcome.ANSWERED:
            self._forget()
        if not self._chunks:
            self._stop()
            self._call(self.sink.done, ended)

    def drop(self) -> None:
        """Nobody wants to hear any more."""
        self._stop()
        self._forget()

    def _stop(self) -> None:
        """It is over. `news` leads to the transfer and back: a circle costs 20 us to collect."""
        self.over = True
        self.news = _no_news

    @property
    def is_heard(self) -> bool:
        """Whether the sink would hear a piece of the body now."""
        return self.begun and not (self.paused or self.over or self.broken)

    def _take(self) -> bytes:
        first = self._chunks[0] if len(self._chunks) == 1 else b""
        chunk = first if isinstance(first, bytes) and first else b"".join(self._chunks)
        self._forget()
        return chunk

    def _forget(self) -> None:
        self._chunks.clear()
        self._budget.release(self.held)
        self.held = 0

    def _call(self, call: Callable[[T], None], value: T) -> None:
        try:
            call(value)
        except Exception as error:
            logger.exception("a sink failed")
            self.broken = f"the receiver failed: {type(error).__name__}: {error}"
