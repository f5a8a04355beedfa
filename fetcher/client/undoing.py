"""Undoing: bodies whose content codings are undone over several turns of the loop.

Whole ones wait here from the end of their transfer until all of it has come out; nearly all have it
within the turn in which they came. A stream's is undone where it is told, and comes here when the
turn is over. A turn is one for all of a client, so that a hundred take as long as one, and none
comes while its transfers rest.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from fetcher.client.body_budget import Budget
from fetcher.client.chunks import Chunks, add_chunk
from fetcher.client.coding import STEP, BadCoding, Turn, Undo, over_limit, undo_short
from fetcher.client.pace import Pace
from fetcher.errors import ANSWERED, Code, Outcome
from fetcher.model import Limits, Request, Response


class Transfer(Protocol):
    """What is asked of a transfer."""

    request: Request
    limits: Limits


T = TypeVar("T", bound=Transfer)


class _Whole:
    """A whole body of which some may have come out."""

    __slots__ = ("chunks", "held", "response", "size", "timer", "undo")

    def __init__(self, response: Response, undo: Undo) -> None:
        self.response = response
        self.undo = undo
        self.chunks: Chunks = []
        self.size = 0  # bytes of them
        self.held = 0  # bytes that the budget knows of
        self.timer: asyncio.Handle | None = None


class Undoing(Generic[T]):
    """`deliver` is called with a response when its body is there, `retell` with a stream's transfer
    in a later turn; `shed_soon` when `budget` is spent by what comes out. `left` says how many
    seconds a transfer still has."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        budget: Budget,
        pace: Pace,
        *,
        shed_soon: Callable[[], None],
        deliver: Callable[[T, Response], None],
        retell: Callable[[T], None],
        left: Callable[[T], float],
    ) -> None:
        self.turn = Turn()
        self._loop = loop
        self._budget = budget
        self._pace = pace
        self._shed_soon = shed_soon
        self._deliver = deliver
        self._retell = retell
        self._left = left
        self._waiting: dict[T, _Whole | None] = {}  # None: a stream. Whose turn is next comes first
        self._next: asyncio.Handle | None = None

    def __len__(self) -> int:
        """Whole bodies that wait."""
        return sum(whole is not None for whole in self._waiting.values())

    def __iter__(self) -> Iterator[T]:
        """The transfers whose whole bodies wait."""
        return (transfer for transfer, whole in self._waiting.items() if whole is not None)

    def held(self, transfer: T) -> int:
        """Bytes that are kept here of its body, coded and not."""
        whole = self._waiting.get(transfer)
        return whole.held if whole is not None else 0

    def begin(self, transfer: T, response: Response, codings: tuple[str, ...]) -> bool:
        """Undo a whole body; True: it is there. Else `deliver` hears of it later."""
        limit = transfer.request.max_body
        self.renew_soon()
        if not self.turn.is_over:
            body = undo_short(codings, response.body, limit)
            if body is not None:
                self.turn.left -= STEP + len(body)
                response.body, response.undone = body, True
                return True
        undo = Undo(codings, limit)
        undo.give(response.body)
        undo.end()
        whole = _Whole(response, undo)
        if self._work(whole, self.turn, limit):
            return True
        whole.timer = self._loop.call_later(self._left(transfer), self._give_up, transfer)
        self._waiting[transfer] = whole
        self._hold(whole)
        return False

    def tell_later(self, transfer: T) -> None:
        """The turn was over before its stream had been told all that is here."""
        self._waiting.setdefault(transfer, None)
        self.renew_soon()

    def renew_soon(self) -> None:
        """Some of the turn has been used."""
        if self._next is None:
            self._next = self._loop.call_soon(self._take_turn)

    def drop(self, transfer: T) -> None:
        """Nobody wants to hear of it any more; harmless when it is not here."""
        whole = self._waiting.pop(transfer, None)
        if whole is not None:
            self._let_go(whole)

    def lose(self, transfer: T, code: int, message: str) -> None:
        """A whole body that cannot wait any longer: what has come out is all."""
        whole = self._waiting.pop(transfer)
        if whole is not None:
            self._let_go(whole)
            response = whole.response
            response.outcome, response.code, response.message = Outcome.OURS, code, message
            response.body, response.undone = b"".join(whole.chunks), True
            self._deliver(transfer, response)

    def close(self) -> None:
        """Forget all that waits, without telling anybody."""
        for transfer in list(self._waiting):
            self.drop(transfer)
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _give_up(self, transfer: T) -> None:
        seconds = f"{transfer.limits.total:g}"
        message = f"Operation timed out: after {seconds} seconds the body was not decoded yet"
        self.lose(transfer, Code.OPERATION_TIMEDOUT, message)

    def _take_turn(self) -> None:
        self._next = None
        if self._pace.rest:
            self.renew_soon()
            return
        began = time.monotonic()
        self.turn.renew()
        while self._waiting and not self.turn.is_over:  # a callback may have closed us
            transfer = next(iter(self._waiting))
            whole = self._waiting.pop(transfer)
            if whole is None:
                self._retell(transfer)
                continue
            with self.turn.slice() as part:
                is_done = self._work(whole, part, transfer.request.max_body)
            if is_done:
                self.turn.left -= whole.size  # that was all copied once more
                self._let_go(whole)
                self._deliver(transfer, whole.response)
            else:
                self._waiting[transfer] = whole
        if self._waiting:
            self.renew_soon()
        self._pace.count(began, time.monotonic())

    def _work(self, whole: _Whole, turn: Turn, limit: int) -> bool:
        """Undo some more; whether all has come out, and is the response's body now."""
        try:
            for out in whole.undo.work(turn):
                add_chunk(whole.chunks, out)
                whole.size += len(out)
        except BadCoding:
            _leave(whole.response, limit)
            return True
        if not whole.undo.is_over:
            if whole.timer is not None:
                self._hold(whole)
            return False
        response = whole.response
        response.body, response.undone = b"".join(whole.chunks), True
        if whole.undo.is_over_limit:
            _be_over(response, limit)
        return True

    def _hold(self, whole: _Whole) -> None:
        held = len(whole.response.body) + whole.size + whole.undo.memory
        more, whole.held = held - whole.held, held
        if not self._budget.hold(more):
            self._shed_soon()

    def _let_go(self, whole: _Whole) -> None:
        self._budget.release(whole.held)
        if whole.timer is not None:
            whole.timer.cancel()


def _leave(response: Response, limit: int) -> None:
    """It cannot be undone, so it is as it came."""
    if limit and len(response.body) > limit:
        response.body = response.body[:limit]
        _be_over(response, limit)


def _be_over(response: Response, limit: int) -> None:
    if response.outcome is ANSWERED:
        response.outcome, response.code = Outcome.OURS, Code.FILESIZE_EXCEEDED
        response.message = over_limit(limit)
