"""Multi: libcurl's multi handle on the event loop, under Tornado's own client.

A `CurlAsyncHTTPClient` whose sockets and timer are watched in another way, for 6 us less a
transfer; what it fetches, and how, is Tornado's. `CurlClient` adds a path of its own.
"""

import asyncio
from collections import deque
from time import monotonic
from typing import Any, Final

import pycurl
from tornado.curl_httpclient import CurlAsyncHTTPClient
from tornado.ioloop import IOLoop

from fetcher.client.handle import Handle
from fetcher.client.pace import LITTLE, Pace
from fetcher.client.pieces import PIECES, Pieces
from fetcher.client.poller import MOST, build_poller
from fetcher.client.watchdog import Watchdog

# Seconds of a turn in which libcurl is called; what is left then waits for the next one.
TURN: Final = 0.01

# So many are handed out before we look how long that takes: 26 us each, or 11 ms where a head has
# 5,000 lines.
FEW: Final = 8


class Multi(CurlAsyncHTTPClient):
    """At most `max_connections` are kept alive, or as many as `max_clients`."""

    def initialize(  # type: ignore[override]
        self,
        max_clients: int = 10,
        defaults: dict[str, Any] | None = None,
        max_body_size: int = 104857600,
        *,
        max_connections: int = 100,
    ) -> None:
        # The base class makes libcurl call back, so what that needs comes first.
        self._loop = IOLoop.current().asyncio_loop  # type: ignore[attr-defined]
        self._timer: asyncio.Handle | None = None
        self._timer_due = 0.0
        self._settle_due = False
        self._news_wait = False  # for those that have ended in the same turn
        self._asked: deque[int] = deque(maxlen=1)
        self._news: dict[Any, None] = {}  # whom libcurl's callbacks have given something to tell
        self._pieces: Pieces[Handle] = Pieces(self._loop, self._go_on_with_pieces)
        # Who has news comes first: that call goes on with what was left in the middle, too.
        self._pace = Pace(self._loop, self._on_ready)
        self._late: dict[int, int] = {}  # sockets that a turn was too short for, and whose is next
        self._poller = build_poller(self._loop, self._on_ready)
        self._watchdog = Watchdog(self._poller.sockets)
        self._watchdog.start()
        super().initialize(max_clients, defaults, max_body_size)
        # C code all the way, as it is called twice a transfer; what it notes is acted upon by
        # `_settle`, which follows whatever we ask of libcurl.
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._asked.append)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._poller.watch)
        self._multi.setopt(pycurl.M_MAXCONNECTS, max(max_connections, max_clients))
        # To find a method of libcurl's costs 0.05 us, and these are called for each transfer.
        self._add_handle = self._multi.add_handle
        self._remove_handle = self._multi.remove_handle

    @property
    def _is_closed(self) -> bool:
        return self._multi is None

    def _on_ready(self) -> None:
        if self._pace.rest:
            return  # they are still ready then
        act, watchdog = self._multi.socket_action, self._watchdog
        self._pieces.left = PIECES
        ready = self._poller.take()
        if late := self._late:  # they come first: the poller may give them in one order for ever
            ready.sort(key=lambda one: late.get(one[0], MOST))
            late.clear()
        began = now = monotonic()
        if began > watchdog.due:
            watchdog.wake(began)
        # An exception out of a callback comes up through socket_action; what had ended by then
        # must be handed out all the same. What was left is still ready in the next turn.
        try:
            for one in ready:
                watchdog.call = one
                act(one[0], one[1])
                now = monotonic()
                if now - began > TURN:
                    left = ready[ready.index(one) + 1 :]
                    late.update((one[0], place) for place, one in enumerate(left))
                    break
        finally:
            watchdog.call = None
            if now - began > LITTLE:
                self._pace.count(began, now)
            self._end_turn()

    def _act_on_time(self) -> None:
        """libcurl sees to all that is due."""
        watchdog = self._watchdog
        began = monotonic()
        if began > watchdog.due:
            watchdog.wake(began)
        watchdog.call = (pycurl.SOCKET_TIMEOUT, began)
        try:
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        finally:
            watchdog.call = None
            now = monotonic()
            if now - began > LITTLE:
                self._pace.count(began, now)

    def _settle(self) -> None:
        """Hand out what has ended, and be there when libcurl wants to be called again.

        To be called after whatever may have changed a transfer, but never from inside libcurl.
        """
        self._settle_due = False
        if self._is_closed or self._pace.rest:
            return  # the end of the rest leads here
        asked = self._asked
        self._finish_pending_requests()
        if self._pace.rest:
            return
        if asked and asked[0] == 0:
            # Now, in the same turn: new transfers are sent. What they lead to waits for its turn.
            asked.clear()
            try:
                self._act_on_time()
            finally:
                self._finish_pending_requests()
        if asked:
            self._set_timeout(asked.pop())
        elif self._timer is None and not self._is_closed:
            # It says a time only once, and by its own clock that may not have come when we act.
            self._set_timeout(self._multi.timeout())

    def _end_turn(self) -> None:
        """`_settle` after calls of libcurl; if they took long, what has ended is handed out."""
        if self._pace.rest:
            self._finish_pending_requests()
        else:
            self._settle()

    def _settle_soon(self) -> None:
        """`_settle` after what others do, who may be in the middle of a settling of ours."""
        if self._asked or self._news:
            self._settle_next()

    def _settle_next(self) -> None:
        if not self._settle_due:
            self._settle_due = True
            self._loop.call_soon(self._settle)

    def _set_timeout(self, msecs: int) -> None:
        """libcurl wants to be called in `msecs` milliseconds; -1 means not at all.

        A timer that is due earlier stays, and `_settle` asks how long to wait on.
        Nearly every transfer moves the time by a little, and a timer of the loop costs 1 us.
        """
        if msecs < 0:
            return
        due = self._loop.time() + msecs / 1000
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._loop.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._pace.rest:
            return  # the end of it asks how long to wait on
        try:
            self._act_on_time()
        finally:
            self._end_turn()

    def _finish_pending_requests(self) -> None:
        """Hand out what has ended, and then what has come: a short answer is then told whole."""
        if self._is_closed:
            return
        left, succeeded, failed = self._multi.info_read(FEW)
        if succeeded or failed or self._news:
            self._hand_out(left, succeeded, failed)
        if self._requests and not self._is_closed:
            self._process_queue()

    def _hand_out(self, left: int, succeeded: list[Any], failed: list[Any]) -> None:
        """These, and the others that are `left` as far as a turn has time for them."""
        began = monotonic()
        while True:
            for curl in succeeded:
                self._finish(curl)
            for curl, code, message in failed:
                self._finish(curl, code, message)
            if not left or self._is_closed:  # closed by a callback
                break
            if monotonic() - began > TURN:
                self._settle_next()
                break
            left, succeeded, failed = self._multi.info_read(FEW)
        # Of what is left, a short answer is still told whole by its end: once they wait for that.
        self._news_wait = bool(left) and not self._news_wait
        if self._news and not self._news_wait:
            self._tell_news()
        now = monotonic()
        if now - began > LITTLE:
            self._pace.count(began, now)

    def _tell_news(self) -> None:
        """For the owner of `_news`."""
        self._news.clear()

    def _go_on_with_pieces(self) -> None:
        """For the owner of the handles."""

    def close(self) -> None:
        """Stop everything without calling anybody, and free all handles and sockets."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._watchdog.close()
        self._pieces.close()
        self._pace.close()
        super().close()
        # libcurl has closed its sockets by now, and may have asked for a timer on the way.
        self._poller.close()
        self._asked.clear()
