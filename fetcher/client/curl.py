"""CurlClient: libcurl's multi handle on the event loop.

A real `CurlAsyncHTTPClient` (Tornado's `fetch(HTTPRequest)` works as documented) with a thin path
beside it: `start(request, exit, limits, sink)` sets only the options that the request needs, on
a handle that was reset, and tells `sink` of a `Response`. No future, no header object, no queue
of its own.

One client is one trust level: connections are never shared between guarded and open transfers,
because libcurl asks nobody before it reuses one.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Any, Final

import pycurl
from msgspec.structs import replace

from fetcher.client.body_budget import Budget
from fetcher.client.coding import codings_of
from fetcher.client.handle import AddressCheck, Handle, set_guard
from fetcher.client.multi import TURN, Multi
from fetcher.client.names import NO_NAMES, wanted_names
from fetcher.client.options import Common
from fetcher.client.sending import Sending
from fetcher.client.stream import Stream
from fetcher.client.transfer import (
    CurlTransfer,
    code_and_message,
    head_of,
    response_of,
    unsent,
)
from fetcher.client.undoing import Undoing
from fetcher.dns.cache import Addresses, Failure, build_failure
from fetcher.dns.resolver import Resolver
from fetcher.errors import ANSWERED, Code, Outcome
from fetcher.model import Exit, Limits, Request, Response, Sink

logger = logging.getLogger(__name__)

# 5,000 handles added in one turn stop the loop for half a second, 50 for about a millisecond.
STARTS_PER_TURN: Final = 50

# Seconds between two looks at what libcurl keeps for those that do not read on.
LOOK: Final = 0.1


class CurlClient(Multi):
    """`start` many transfers on one multi handle.

    `guard`, if given, is asked about the address of every socket of this client, when it is
    opened and again before each request on it, except to a trusted proxy; False refuses.
    `ca_file` replaces libcurl's certificate authorities. `max_connections` are kept alive.

    Of the thin path alone: `budget` is shared by all clients of a process. A transfer that has
    begun to answer fails when it brings fewer than `low_speed` bytes a second for
    `low_speed_time` seconds (0 = never). `resolver` looks names up; without one, libcurl does in
    its 20 threads.
    """

    def initialize(  # type: ignore[override]
        self,
        max_clients: int = 10,
        defaults: dict[str, Any] | None = None,
        max_body_size: int = 104857600,
        *,
        guard: AddressCheck | None = None,
        ca_file: str | None = None,
        http2: bool = True,
        max_connections: int = 100,
        budget: Budget | None = None,
        low_speed: int = 0,
        low_speed_time: float = 0.0,
        resolver: Resolver | None = None,
    ) -> None:
        self.time = time.monotonic  # uvloop's own stands still for a turn, and counts in ms
        self.guard = guard
        self._common = Common(ca_file, http2, resolved=resolver is not None)
        self.budget = budget or Budget()
        self.budget.holders.append(self)
        self._slow = low_speed * low_speed_time  # bytes within low_speed_time
        self._slow_time = low_speed_time
        self._sweeper: asyncio.Handle | None = None
        self._held_up: set[Handle] = set()  # whose streams were full
        self._looker: asyncio.Handle | None = None
        self._resolver = resolver
        self._resolving: set[CurlTransfer] = set()
        self._waiting: deque[CurlTransfer] = deque()
        self._pump_due = False
        self._active: dict[pycurl.Curl, CurlTransfer] = {}
        self._unheard: set[CurlTransfer] = set()  # ended, but a sink that has paused does not know
        self._spare: list[Handle] = []
        super().initialize(max_clients, defaults, max_body_size, max_connections=max_connections)
        self._undoing: Undoing[CurlTransfer] = Undoing(
            self._loop,
            self.budget,
            self._pace,
            shed_soon=self.shed_soon,
            deliver=self._tell_done,
            retell=self._retell,
            left=self._left,
        )

    # -- the thin path -------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Transfers of the thin path that wait or run."""
        under_way = len(self._waiting) + len(self._resolving) + len(self._active)
        return under_way + len(self._undoing)

    def start(self, request: Request, exit: Exit, limits: Limits, sink: Sink) -> CurlTransfer:
        """Begin one transfer. `sink` hears of it from the loop, never from in here.

        Nothing is raised: what libcurl refuses comes as a `Response` like any other failure.
        """
        transfer = CurlTransfer(self, request, exit, limits, sink)
        if not sink.whole:
            news = partial(self._news.setdefault, transfer)
            transfer.stream = Stream(sink, self.budget, news, self._undoing.turn)
        if request.body is not None and not isinstance(request.body, bytes):
            transfer.sending = Sending(request.body)
            request.body.wake = partial(self._wake, transfer, transfer.sending)
        self._waiting.append(transfer)
        if not self._pump_due:
            self._pump_due = True
            self._loop.call_soon(self._pump)
        return transfer

    def _pump(self) -> None:
        self._pump_due = False
        for _ in range(STARTS_PER_TURN):
            if not self._waiting:  # a callback may have closed us
                break
            self._resolve(self._waiting.popleft())
        if self._waiting:
            self._pump_due = True
            self._loop.call_soon(self._pump)
        self._settle()

    def _resolve(self, transfer: CurlTransfer) -> None:
        """Look up the names that libcurl shall not; go on when all are known."""
        if transfer.cancelled:
            return
        if self._resolver is None:
            self._add(transfer)
            return
        exit = transfer.exit
        if exit.proxy is None and transfer.place.names is NO_NAMES:
            self._add(transfer)  # an address, which the socket tells to the guard
            return
        # Through a proxy that is not trusted, nobody needs to know.
        judged = self.guard is not None and exit.trusted and exit.judged
        names = wanted_names(transfer.place, exit, judged=judged)
        if names is NO_NAMES:
            self._add(transfer)
            return
        for name in (names.proxy, names.target):
            if name is None or name in transfer.answers:
                continue
            answer = self._resolver.cached(name)
            if answer is None:
                self._wait_for(transfer, name, self._resolver)
                return
            transfer.learn(name, answer)
        self._resolving.discard(transfer)
        failure = transfer.use(names, judged=judged)
        if failure is not None:
            self._deliver(transfer, failure)
        else:
            self._add(transfer)

    def _wait_for(self, transfer: CurlTransfer, name: str, resolver: Resolver) -> None:
        def answered(answer: Addresses) -> None:
            transfer.stop_waiting()
            transfer.learn(name, answer)
            self._resolve(transfer)
            self._settle_soon()

        def late() -> None:
            transfer.stop_waiting()
            waited = self.time() - transfer.started
            transfer.learn(name, build_failure(name, Failure.SILENT, waited))
            self._resolve(transfer)
            self._settle_soon()

        limit = min(transfer.limits.total, transfer.limits.connect)
        left = max(transfer.started + limit - self.time(), 0.0)
        self._resolving.add(transfer)
        transfer.waiter = resolver.resolve(name, answered)
        transfer.timer = self._loop.call_later(left, late)

    def _add(self, transfer: CurlTransfer) -> None:
        handle = self._spare.pop() if self._spare else self._new_handle()
        try:
            handle.prepare(
                transfer.request,
                transfer.exit,
                transfer.limits_left(),
                transfer.found,
                self._common,
                transfer.stream,
                transfer.sending,
            )
            self._add_handle(handle.curl)
        except (pycurl.error, ValueError, TypeError) as error:
            handle.close()
            self._deliver(transfer, unsent(transfer.request, *code_and_message(error)))
            return
        transfer.handle = handle
        self._active[handle.curl] = transfer
        if self._slow and self._sweeper is None:
            self._sweep()
        if transfer.limits.first_byte:
            self._limit_first_byte(transfer)

    def _limit_first_byte(self, transfer: CurlTransfer) -> None:
        """Begun anew while the body is still being sent: nobody can answer what he has not got."""
        sent = transfer.sending is None or transfer.sending.complete
        transfer.timer = self._loop.call_later(
            transfer.limits.first_byte, partial(self._give_up_waiting, transfer, had_all=sent)
        )

    def _sweep(self) -> None:
        """End transfers whose answer has begun and has since all but stopped.

        libcurl's own LOW_SPEED would also count the time before the first byte, which is the
        origin's to take; and this costs nothing per transfer.
        """
        now = self.time()
        for transfer in list(self._active.values()):
            if transfer.handle is None:
                continue  # cancelled by the callback of one before it
            received = transfer.handle.received
            if _is_slow_for_us(transfer):
                transfer.swept_at = 0.0
            elif received == 0 or received - transfer.swept >= self._slow or not transfer.swept_at:
                transfer.swept, transfer.swept_at = received, now
            elif now - transfer.swept_at >= self._slow_time:
                seconds = f"{self._slow_time:g}"
                message = f"Operation too slow: under {self._slow:g} bytes in {seconds} seconds"
                self._end(transfer, Code.OPERATION_TIMEDOUT, message, now - transfer.started)
        self._settle_soon()
        self._sweeper = None
        if self._active:
            self._sweeper = self._loop.call_later(self._slow_time / 4, self._sweep)

    def shed_soon(self) -> None:
        """Over the budget, the largest body will have to go.

        Not from in here: libcurl is in the middle of a transfer.
        """
        self._loop.call_soon(self._shed)

    def _shed(self) -> None:
        """While the budget is spent, end the largest transfer of all its clients."""
        while (holder := self.budget.next_to_end()) is not None:
            holder.end_largest()

    @property
    def largest_body(self) -> int:
        """Bytes that the largest body under way has so far."""
        return max(map(self._held, self._holding()), default=0)

    def _holding(self) -> Iterator[CurlTransfer]:
        return chain(self._active.values(), self._unheard, self._undoing)

    def _held(self, transfer: CurlTransfer) -> int:
        """Bytes of its body that are here."""
        if transfer.stream is not None:
            kept = transfer.handle.kept if transfer.handle is not None else 0
            return transfer.stream.held + transfer.stream.memory + kept
        if transfer.handle is not None:
            return transfer.handle.size
        return self._undoing.held(transfer)

    def end_largest(self) -> None:
        """End the transfer with the largest body."""
        transfer = max(self._holding(), key=self._held)
        message = "all bodies together are over fetcher.body_budget, and this was the largest"
        if transfer.handle is not None:
            self._end(transfer, Code.OUT_OF_MEMORY, message, self.time() - transfer.started)
            self._settle_soon()
        elif transfer.stream is not None:
            self._lose(transfer, Code.OUT_OF_MEMORY, message)
        else:
            self._undoing.lose(transfer, Code.OUT_OF_MEMORY, message)

    def _give_up_waiting(self, transfer: CurlTransfer, *, had_all: bool) -> None:
        """The first byte did not come in time: end the attempt as libcurl would a time-out."""
        transfer.timer = None
        if transfer.handle is None or transfer.handle.lines:
            return
        if not had_all:
            self._limit_first_byte(transfer)
            return
        waited = int(transfer.limits.first_byte * 1000)
        message = f"No answer within {waited} milliseconds"
        self._end(transfer, Code.OPERATION_TIMEDOUT, message, transfer.limits.first_byte)
        self._settle_soon()

    def extend(self, transfer: CurlTransfer) -> None:
        """See `CurlTransfer.extend`; libcurl looks at the time only when something comes."""
        handle, total = transfer.handle, transfer.limits.total
        if handle is None:
            return
        handle.extend(total - transfer.resolved)
        if transfer.timer is not None:
            transfer.timer.cancel()
        left = max(transfer.started + total - self.time(), 0.0)
        transfer.timer = self._loop.call_later(left, self._end_late, transfer)

    def _end_late(self, transfer: CurlTransfer) -> None:
        transfer.timer = None
        waited = self.time() - transfer.started
        message = f"Operation timed out after {int(waited * 1000)} milliseconds"
        if transfer.handle is not None:
            self._end(transfer, Code.OPERATION_TIMEDOUT, message, waited)
            self._settle_soon()

    def cancel(self, transfer: CurlTransfer) -> None:
        """See `CurlTransfer.cancel`."""
        transfer.cancelled = True
        if transfer in self._resolving:
            self._resolving.discard(transfer)
            transfer.stop_waiting()
        if transfer.handle is not None:
            self._release(transfer, transfer.handle, spoiled=True)
            self._settle_soon()
        self._undoing.drop(transfer)
        if transfer.stream is not None:
            transfer.stream.drop()
            self._stop_holding(transfer)

    # -- streams -------------------------------------------------------------------------------

    def resume(self, transfer: CurlTransfer) -> None:
        """See `CurlTransfer.resume`."""
        if transfer.stream is not None and not transfer.stream.over:
            transfer.stream.news()
            self._settle_soon()

    def _tell_news(self) -> None:
        """Tell the sinks what has come for them; what comes meanwhile is for the next turn."""
        news = list(self._news)
        self._news.clear()
        for transfer in news:
            stream = transfer.stream
            if stream is not None and not stream.over:
                self._tell(transfer, stream)
            if (handle := transfer.handle) is not None:
                if handle.may_read_on:
                    self._pieces.wait(handle)
                self._go_on(transfer, handle)
            elif stream is not None and stream.over:
                self._stop_holding(transfer)
        self._settle_soon()

    def _watch_held_up(self, handle: Handle) -> None:
        """What libcurl keeps of its body shall count as long as nobody reads on."""
        self._held_up.add(handle)
        if self._looker is None:
            self._looker = self._loop.call_later(LOOK, self._look_at_held_up)

    def _look_at_held_up(self) -> None:
        self._looker = None
        self._held_up = {handle for handle in self._held_up if handle.is_held_up}
        for handle in self._held_up:
            if not handle.count_kept():
                self.shed_soon()
        if self._held_up:
            self._looker = self._loop.call_later(LOOK, self._look_at_held_up)

    def _go_on(self, transfer: CurlTransfer, handle: Handle) -> None:
        """Unless one of both ends is broken."""
        stream, sending = transfer.stream, transfer.sending
        if stream is not None and stream.broken:
            self._end(transfer, stream.broken_as, stream.broken)
        elif sending is not None and sending.has_failed:
            self._end(transfer, Code.READ_ERROR, sending.break_off())
        else:
            try:
                handle.go_on()
            except pycurl.error as error:
                self._end(transfer, *code_and_message(error))
            else:
                if handle.kept:
                    handle.count_kept()

    def _go_on_with_pieces(self) -> None:
        """Let those read on that wait for their turn, each with a call of its own."""
        if self._pace.rest:
            self._pieces.end_turn()
            return
        until = self.time() + TURN
        try:
            for handle in self._pieces.turns():
                transfer = self._active.get(handle.curl)
                if transfer is not None:
                    began = self.time()
                    self._go_on(transfer, handle)
                    self._pace.count(began, self.time())
                    self._settle()
                if self.time() > until:
                    break
        finally:
            self._pieces.end_turn()

    def _wake(self, transfer: CurlTransfer, sending: Sending) -> None:
        """There is more to send, or it has failed. The next turn sees to it: we may be anywhere."""
        sending.woken = True
        if transfer.handle is not None:
            self._news[transfer] = None
            self._settle_soon()

    def _tell(self, transfer: CurlTransfer, stream: Stream) -> None:
        """Head and body, as far as they are here. A head that nobody may have ends it."""
        handle = transfer.handle
        if handle is not None and handle.head_lines and not stream.begun:
            response = head_of(handle, transfer)
            if response.outcome is not ANSWERED:
                self._release(transfer, handle, spoiled=True)
                stream.end(response)
                return
            stream.begin(response)
        stream.tell()
        self._see_to_turns(transfer, stream)

    def _see_to_turns(self, transfer: CurlTransfer, stream: Stream) -> None:
        if stream.waits_for_turn:
            self._undoing.tell_later(transfer)
        elif stream.is_coded:
            self._undoing.renew_soon()
        if self.budget.is_spent:
            self.shed_soon()

    def _retell(self, transfer: CurlTransfer) -> None:
        """Its turn has come."""
        self._news[transfer] = None
        self._tell_news()

    def _end_stream(self, transfer: CurlTransfer, stream: Stream, response: Response) -> None:
        """The last word; a sink that has paused hears it when it has heard the rest."""
        stream.end(response)
        self._see_to_turns(transfer, stream)
        if not stream.over:
            self._unheard.add(transfer)
            transfer.timer = self._loop.call_later(self._left(transfer), self._lose_late, transfer)

    def _left(self, transfer: CurlTransfer) -> float:
        return max(transfer.started + transfer.limits.total - self.time(), 0.0)

    def _lose_late(self, transfer: CurlTransfer) -> None:
        waited = int((self.time() - transfer.started) * 1000)
        message = f"Operation timed out after {waited} milliseconds, as nobody read the answer"
        self._lose(transfer, Code.OPERATION_TIMEDOUT, message)

    def _lose(self, transfer: CurlTransfer, code: int, message: str) -> None:
        """All has come, but it cannot wait any longer to be heard."""
        self._stop_holding(transfer)
        if transfer.stream is not None and (ended := transfer.stream.ended) is not None:
            ended.outcome, ended.code, ended.message = Outcome.OURS, code, message
            transfer.stream.tell()

    def _stop_holding(self, transfer: CurlTransfer) -> None:
        self._unheard.discard(transfer)
        if transfer.timer is not None:
            transfer.timer.cancel()
            transfer.timer = None

    # -- the end of a transfer -------------------------------------------------------------------

    def _finish(
        self, curl: pycurl.Curl, curl_error: int | None = None, curl_message: str | None = None
    ) -> None:
        transfer = self._active.get(curl)
        if transfer is not None:
            self._end(transfer, curl_error or 0, curl_message or "")
        elif curl in self._curls and not self._is_closed:
            super()._finish(curl, curl_error, curl_message)
        # Else the callback of one that ended in the same turn has cancelled it, or closed us.

    def _curl_setup_request(self, curl: pycurl.Curl, *rest: Any) -> None:
        """Tornado's own path: what holds for every transfer of a client holds there too."""
        if self.guard is not None:
            set_guard(curl, self.guard)
        if self._common.ca_file is not None:
            curl.setopt(pycurl.CAINFO, self._common.ca_file)
        super()._curl_setup_request(curl, *rest)

    def _end(self, transfer: CurlTransfer, code: int, message: str, seconds: float = 0.0) -> None:
        """`seconds`: at least so long it took; libcurl keeps no time for what it did not end."""
        stream = transfer.stream
        if stream is not None and (stream.begun or (code and not transfer.sink.short)):
            self._tell(transfer, stream)
        handle = transfer.handle
        if handle is None:
            return  # the sink has had enough
        response = response_of(handle, transfer, code, message)
        if response.timing.total < seconds:
            response.timing = replace(response.timing, total=seconds)
        failed = response.outcome is not ANSWERED
        self._release(transfer, handle, spoiled=failed or transfer.sending is not None)
        if failed and transfer.may_start_again(code, message, response):
            self._add(transfer)
        else:
            self._deliver(transfer, response)

    def _release(self, transfer: CurlTransfer, handle: Handle, *, spoiled: bool) -> None:
        """Take the handle off the multi and make it ready for anybody.

        `spoiled`: what broke in the middle may have left something behind that no reset clears
        (seen: libcurl 8.23 goes on with a folded header in the next answer); a new one is 1.6 us.
        """
        if transfer.timer is not None:
            transfer.timer.cancel()
            transfer.timer = None
        transfer.handle = None
        del self._active[handle.curl]
        self._remove_handle(handle.curl)
        if spoiled:
            handle.close()
        else:
            handle.clear()
            self._spare.append(handle)

    def _new_handle(self) -> Handle:
        return Handle(self.guard, self.budget, self.shed_soon, self._pieces, self._watch_held_up)

    def _deliver(self, transfer: CurlTransfer, response: Response) -> None:
        if transfer.stream is not None:
            self._end_stream(transfer, transfer.stream, response)
            return
        if response.body:
            codings = codings_of(response.head)
            if codings and not self._undoing.begin(transfer, response, codings):
                return
        self._tell_done(transfer, response)

    def _tell_done(self, transfer: CurlTransfer, response: Response) -> None:
        try:
            transfer.sink.done(response)
        except Exception:
            logger.exception("the callback of %s failed", transfer.request.method)

    def close(self) -> None:
        """Stop every transfer without telling its sink, and free all handles and sockets."""
        if self in self.budget.holders:
            self.budget.holders.remove(self)
        self._waiting.clear()
        for transfer in list(self._resolving):
            self.cancel(transfer)
        for transfer in list(self._holding()):
            self.cancel(transfer)
        self._undoing.close()
        for spare in self._spare:
            spare.close()
        self._spare.clear()
        for timer in (self._sweeper, self._looker):
            if timer is not None:
                timer.cancel()
        self._sweeper = self._looker = None
        self._held_up.clear()
        super().close()


def _is_slow_for_us(transfer: CurlTransfer) -> bool:
    """Whether the answer may come slowly: its sink has paused, it waits for its turn, we send."""
    stream, sending = transfer.stream, transfer.sending
    if stream is not None and (stream.paused or stream.waits_for_turn):
        return True
    return sending is not None and not sending.complete
