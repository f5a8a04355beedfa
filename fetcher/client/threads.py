"""ThreadClient: a `Client` whose transfers are blocking functions, each run in a thread.

For what has no other form: disks, and FTP in libcurl, which waits a second for the answer to its
QUIT wherever it is called. Deadlines, cancelling and the budget of bodies are kept on the loop.

A body is read whole first, whoever is to hear it: a sink that wants it as it comes gets it in
pieces then, and by pausing it holds up nobody.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from msgspec.structs import replace

from fetcher.client.body_budget import Budget
from fetcher.client.stream import MAX_UNHEARD, Stream
from fetcher.errors import Code, Outcome
from fetcher.model import Exit, Limits, Request, Response, Sink, Timing

logger = logging.getLogger(__name__)


class ThreadTransfer:
    """One transfer. The thread asks `is_wanted` now and then, and tells `hold` what it keeps."""

    __slots__ = (
        "client",
        "deadline",
        "limits",
        "request",
        "sink",
        "size",
        "started",
        "stream",
        "timer",
        "told",
        "untold",
    )

    def __init__(
        self,
        client: "ThreadClient",
        request: Request,
        limits: Limits,
        sink: Sink,
        started: float,
    ) -> None:
        self.client = client
        self.request = request
        self.limits = limits
        self.sink: Sink | None = sink  # None: nobody waits any more
        self.started = started  # on the loop's clock, as the deadline
        self.deadline = started + limits.total
        self.size = 0  # bytes counted against the budget
        self.timer: asyncio.Handle | None = None
        self.stream: Stream | None = None  # of a sink that is not `whole`
        self.untold: Response | None = None  # what the stream is told of
        self.told = 0  # bytes of its body
        if not sink.whole:
            # The body is counted here; each piece of it is told or forgotten at once.
            self.stream = Stream(sink, Budget(), lambda: None)

    def cancel(self) -> None:
        """Stop; the sink hears no more."""
        self.client.cancel(self)

    def pause(self) -> None:
        """The sink hears no `body` until `resume`."""
        if self.stream is not None:
            self.stream.paused = True

    def resume(self) -> None:
        """Go on, in a later turn of the loop."""
        if self.stream is not None and self.stream.paused:
            self.stream.paused = False
            self.client.resume(self)

    def extend(self, seconds: float) -> None:
        """All of the answer is here when its head is told: it may be heard for longer."""
        self.deadline = self.started + seconds

    @property
    def is_wanted(self) -> bool:
        return self.sink is not None

    @property
    def time_left(self) -> float:
        """Seconds; from any thread."""
        return self.deadline - self.client.time()

    def hold(self, size: int) -> None:
        """Count bytes that are kept against the budget of the process; from any thread."""
        self.client.hold(self, size)


class ThreadClient:
    """Runs `answer(transfer)` for each request, at most `threads` at once.

    What `answer` raises beside the errors it knows is logged, and the transfer fails. `budget`
    counts the bodies that are held.
    """

    def __init__(
        self,
        answer: Callable[[ThreadTransfer], Response],
        *,
        threads: int,
        name: str,
        budget: Budget | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._answer = answer
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._budget = budget or Budget()
        self._budget.holders.append(self)
        self._under_way: set[ThreadTransfer] = set()

    def start(self, request: Request, exit: Exit, limits: Limits, sink: Sink) -> ThreadTransfer:
        """Begin; `sink` hears of it from the loop, never from in here."""
        transfer = ThreadTransfer(self, request, limits, sink, self.time())
        self._under_way.add(transfer)
        transfer.timer = self._loop.call_later(limits.total, self._late, transfer)
        answered = self._loop.run_in_executor(self._threads, self._run, transfer)
        answered.add_done_callback(lambda answer: self._answered(transfer, answer))
        return transfer

    def _run(self, transfer: ThreadTransfer) -> Response | None:
        return self._answer(transfer) if transfer.is_wanted else None

    def _answered(
        self, transfer: ThreadTransfer, answer: "asyncio.Future[Response | None]"
    ) -> None:
        if answer.cancelled():
            return
        error, response = answer.exception(), None
        if error is None:
            response = answer.result()
        else:
            logger.error("a transfer in a thread failed", exc_info=error)
            response = _failure(transfer, Code.READ_ERROR, f"{type(error).__name__}: {error}")
        if response is not None:
            self._end(transfer, response)

    def _late(self, transfer: ThreadTransfer) -> None:
        waited = int((self.time() - transfer.started) * 1000)
        message = f"Operation timed out after {waited} milliseconds"
        self._end(transfer, _failure(transfer, Code.OPERATION_TIMEDOUT, message))

    def _end(self, transfer: ThreadTransfer, response: Response) -> None:
        sink, stream = transfer.sink, transfer.stream
        if sink is None:
            return
        if not response.timing.total:
            response.timing = Timing(total=self.time() - transfer.started)
        if stream is None:
            self._put_away(transfer)
            sink.done(response)
        elif stream.begun or not response.head:
            self._put_away(transfer)
            stream.end(response)
        else:
            transfer.untold = response
            stream.begin(replace(response, outcome=Outcome.ANSWERED, code=0, message="", body=b""))
            self._tell(transfer, stream, response)

    def _tell(self, transfer: ThreadTransfer, stream: Stream, response: Response) -> None:
        """The body in pieces, as far as the sink wants to hear it."""
        body = response.body
        while transfer.told < len(body) and stream.is_heard:
            piece = body[transfer.told : transfer.told + MAX_UNHEARD]
            transfer.told += len(piece)
            stream.add(piece)
            stream.tell()
        if not stream.over and (transfer.told == len(body) or stream.broken):
            self._put_away(transfer)
            stream.end(response)

    def resume(self, transfer: ThreadTransfer) -> None:
        """See `ThreadTransfer.resume`."""
        stream, response = transfer.stream, transfer.untold
        if stream is not None and response is not None and not stream.over:
            self._loop.call_soon(self._tell, transfer, stream, response)

    def cancel(self, transfer: ThreadTransfer) -> None:
        """See `ThreadTransfer.cancel`."""
        self._put_away(transfer)
        if transfer.stream is not None:
            transfer.stream.drop()

    def _put_away(self, transfer: ThreadTransfer) -> None:
        if transfer.sink is None:
            return
        transfer.sink = None
        self._under_way.discard(transfer)
        self._budget.release(transfer.size)
        if transfer.timer is not None:
            transfer.timer.cancel()

    def close(self) -> None:
        """Stop everything under way without telling its sink. Threads end by themselves."""
        for transfer in list(self._under_way):
            self.cancel(transfer)
        if self in self._budget.holders:
            self._budget.holders.remove(self)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def time(self) -> float:
        """The loop's clock, in seconds; from any thread."""
        return self._loop.time()

    # -- the budget --------------------------------------------------------------------------------

    @property
    def largest_body(self) -> int:
        """Bytes of the largest body under way."""
        return max((transfer.size for transfer in self._under_way), default=0)

    def end_largest(self) -> None:
        """Give up the largest body under way."""
        transfer = max(self._under_way, key=lambda one: one.size)
        message = "all bodies together are over fetcher.body_budget, and this was the largest"
        self._end(transfer, _failure(transfer, Code.OUT_OF_MEMORY, message))

    def hold(self, transfer: ThreadTransfer, size: int) -> None:
        """See `ThreadTransfer.hold`."""
        if transfer.is_wanted:  # else the loop may be closed
            self._loop.call_soon_threadsafe(self._hold, transfer, size)

    def _hold(self, transfer: ThreadTransfer, size: int) -> None:
        if transfer.sink is None:
            return
        transfer.size += size
        self._budget.hold(size)
        while (holder := self._budget.next_to_end()) is not None:
            holder.end_largest()


def _failure(transfer: ThreadTransfer, code: int, message: str) -> Response:
    return Response(url=transfer.request.url, outcome=Outcome.OURS, code=code, message=message)
