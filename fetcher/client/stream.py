"""Stream: what has come of one answer and its sink has not heard yet, and when it hears it.

The order of a sink's calls stands here, once for all clients: head, body, done. Inside libcurl
nothing is called of it but `add`.
"""

import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar

from fetcher.client.body_budget import Budget
from fetcher.client.chunks import Chunks, add_chunk
from fetcher.client.coding import BadCoding, Turn, Undo, codings_of, is_accepted, over_limit
from fetcher.errors import Code, Outcome
from fetcher.model import Response, Sink

logger = logging.getLogger(__name__)

# A fast origin is not stopped by each turn of the loop, and a thousand receivers that do not
# read hold 256 MB, which the budget counts. (Of HTTP/2 libcurl itself may hold more: see
# `Handle.count_kept`.)
MAX_UNHEARD: Final = 262144

T = TypeVar("T")


def _no_news() -> None:
    """There will be none."""


class Stream:
    """Bytes are held until `tell` hands them to `sink`, and count against `budget` so long.

    `news` is for whoever fills it: called when there may be something to tell. A coded body waits
    as it came, and is undone while it is told: as much as the `turn` has left, `waits_for_turn`
    when there is more.
    """

    __slots__ = (
        "_budget",
        "_chunks",
        "_codings",
        "_limit",
        "_telling",
        "_turn",
        "_undo",
        "begun",
        "broken",
        "broken_as",
        "ended",
        "held",
        "is_coded",
        "memory",
        "news",
        "over",
        "paused",
        "sink",
        "waits_for_turn",
    )

    def __init__(
        self, sink: Sink, budget: Budget, news: Callable[[], Any], turn: Turn | None = None
    ) -> None:
        self.sink = sink
        self.news = news
        self._budget = budget
        self._chunks: Chunks = []
        self._telling = False
        self._turn = turn or Turn()
        self._undo: Undo | None = None
        self._codings: tuple[str, ...] = ()
        self._limit = 0
        self.held = 0  # bytes
        self.memory = 0  # bytes beside them, that it takes to undo them
        self.begun = False  # the sink knows the head
        self.paused = False  # the sink wants no body now
        self.broken = ""  # why its transfer is to be ended: what the sink raised, or the coding
        self.broken_as = Code.WRITE_ERROR
        self.waits_for_turn = False
        self.ended: Response | None = None  # what `done` will be told
        self.is_coded = False  # it is undone on its way to the sink
        self.over = False  # nothing will be told any more

    @property
    def is_full(self) -> bool:
        return self.held >= MAX_UNHEARD

    def add(self, chunk: bytes) -> bool:
        """Hold a piece of the body until it can be told; False: the budget is spent by that."""
        add_chunk(self._chunks, chunk)
        self.held += len(chunk)
        return self._budget.hold(len(chunk))

    def expect(self, head: bytes, limit: int, takes: str) -> bool:
        """The final head is here: whether the body behind it will be undone, to `limit` bytes.

        Who `takes` its codings gets it as it comes.
        """
        codings = codings_of(head)
        is_left = not codings or (takes and is_accepted(codings, takes))
        self.is_coded = not is_left
        self._undo = None if is_left else Undo(codings, limit)
        self._codings, self._limit = codings, limit
        return self.is_coded

    def begin(self, response: Response) -> None:
        """Tell the head."""
        self.begun = True
        response.undone = self.is_coded
        self._call(self.sink.head, response)

    def end(self, response: Response) -> None:
        """`response` is the last word; it comes behind what can be told now.

        A failure does not wait for a sink that has paused: what that has not heard is lost then,
        and would not make it a whole answer.
        """
        if not self.begun and self.sink.short and self._is_at_once(response):
            self._stop()
            self._forget()
            self._call(self.sink.done, response)
            return
        response.body = b""
        response.undone = self.is_coded
        if not self.begun and response.outcome is Outcome.ANSWERED:
            self.begin(response)
        self.ended = response
        self.tell()

    def _is_at_once(self, response: Response) -> bool:
        """Whether all of it can be told now, as the body of `response`: coded, if that is short."""
        response.body = self._join() if self._chunks else b""
        response.undone = self.is_coded
        if self._undo is None or not response.body:
            return True
        undo = Undo(self._codings, self._limit)
        undo.give(response.body)
        undo.end()
        try:
            with self._turn.slice() as part:
                body = b"".join(undo.work(part))
        except BadCoding:  # as it came, like a whole one
            response.undone = False
            return not self._limit or len(response.body) <= self._limit
        response.body = body
        return undo.is_over and not undo.is_over_limit

    def tell(self) -> None:
        """Everything that the sink may hear now."""
        if self._telling:
            return  # one of the sink's calls led here, and the loop below goes on
        self._telling = True
        if self._undo is None:
            while self._chunks and self.is_heard:
                self._call(self.sink.body, self._take())
        else:
            self._tell_undone(self._undo)
        self._telling = False
        ended = self.ended
        if ended is None or self.over:
            return
        if self.broken and ended.outcome is Outcome.ANSWERED:
            is_ours = self.broken_as != Code.BAD_CONTENT_ENCODING
            ended.outcome = Outcome.OURS if is_ours else Outcome.TARGET
            ended.code, ended.message = self.broken_as, self.broken
        if ended.outcome is not Outcome.ANSWERED:
            self._forget()
        elif not self._is_told:
            return
        self._stop()
        self._call(self.sink.done, ended)

    def _tell_undone(self, undo: Undo) -> None:
        """As much as the sink wants and the turn has."""
        with self._turn.slice() as part:
            try:
                self._undo_some(undo, part)
            except BadCoding as error:
                self._break(
                    Code.BAD_CONTENT_ENCODING, f"the body is not what its coding is: {error}"
                )
        if not self.over:
            self._budget.hold(undo.memory - self.memory)
            self.memory = undo.memory
        if undo.is_over_limit:
            self._break(Code.FILESIZE_EXCEEDED, over_limit(self._limit))
        self.waits_for_turn = self.is_heard and not self._is_told

    def _undo_some(self, undo: Undo, turn: Turn) -> None:
        while self.is_heard and not turn.is_over:
            if undo.is_hungry:
                if self._chunks:
                    self._give(undo, self._chunks.pop(0))
                elif self.ended is not None:
                    undo.end()
                else:
                    return
            for out in undo.work(turn):
                self._call(self.sink.body, out)
                if not self.is_heard:
                    break
            if undo.is_over:
                return

    def _give(self, undo: Undo, chunk: bytes | bytearray) -> None:
        self._budget.release(len(chunk))
        self.held -= len(chunk)
        undo.give(bytes(chunk))

    @property
    def _is_told(self) -> bool:
        """Whether the sink knows all of the body that is here."""
        if self._undo is None or self._chunks:
            return not self._chunks
        return self._undo.is_over if self.ended is not None else self._undo.is_hungry

    def drop(self) -> None:
        """Nobody wants to hear any more."""
        self._stop()
        self._forget()

    def _stop(self) -> None:
        """It is over. `news` leads to the transfer and back: a circle costs 20 us to collect."""
        self.over = True
        self.waits_for_turn = False
        self.news = _no_news
        self._budget.release(self.memory)
        self.memory = 0
        self._undo = None  # it has much memory, and somebody may keep us for long

    @property
    def is_heard(self) -> bool:
        """Whether the sink would hear a piece of the body now."""
        return self.begun and not (self.paused or self.over or self.broken)

    def _take(self) -> bytes:
        chunk = self._join()
        self._forget()
        return chunk

    def _join(self) -> bytes:
        first = self._chunks[0] if len(self._chunks) == 1 else b""
        return first if isinstance(first, bytes) and first else b"".join(self._chunks)

    def _forget(self) -> None:
        self._chunks.clear()
        self._budget.release(self.held)
        self.held = 0

    def _call(self, call: Callable[[T], None], value: T) -> None:
        try:
            call(value)
        except Exception as error:
            logger.exception("a sink failed")
            self._break(Code.WRITE_ERROR, f"the receiver failed: {type(error).__name__}: {error}")

    def _break(self, code: Code, why: str) -> None:
        if not self.broken:
            self.broken, self.broken_as = why, code
