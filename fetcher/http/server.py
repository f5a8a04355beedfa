"""Server: Tornado's HTTP server, with words for what cannot be read, and a limit for who is slow.

Tornado answers a request that it cannot read with a bare 400, one whose head is too long with
nothing. Here both hear in JSON what was wrong, and have the time to read it. There are at most
`most` connections: for one more, that goes which has waited longest without a whole request, so
that clients that send slowly, or nothing, keep nobody out. Whose head is not here within `idle`
seconds, or who takes nothing of his answer for `stall`, is cut off.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable
from http import HTTPStatus
from socket import socket
from typing import Any, Final

from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httpserver import HTTPServer, _HTTPRequestContext
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
    parse_request_start_line,
)
from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError
from tornado.routing import Router, _RoutingDelegate

from fetcher.http.request_id import FIELD, make_id
from fetcher.http.stream import Muted, Stream, swallow

logger = logging.getLogger(__name__)

MAX_HEAD: Final = 65_536  # bytes of a request's line and fields together
_READ_HEAD: Final = 2 * MAX_HEAD  # whoever sends somewhat too much hears how much that was
IDLE: Final = 120.0  # seconds until a head must be here
BODY: Final = 300.0  # seconds for a body that is not taken as it comes
STALL: Final = 30.0  # seconds in which some of an answer must be taken
MOST: Final = 10_000  # connections

_LINGERING: Final = 100  # who still sends, at once; others are closed at once

_TOO_LONG: Final = ("too long", "too large")  # in Tornado's words for bodies
_SHOWN: Final = 200  # characters of its words


class Connection(HTTP1Connection):
    """One request and its answer. `serving` is the connection that it came on."""

    serving: "ServerConnection"
    sets_pace = False  # whoever answers looks himself at how fast that is taken

    def _parse_headers(self, data: bytes) -> tuple[str, HTTPHeaders]:
        self.serving.begun()
        try:
            if len(data) > MAX_HEAD:
                self._refuse_head(data)
            line, headers = super()._parse_headers(data)
            if line[-9:] not in (" HTTP/1.1", " HTTP/1.0") or line.count(" ") != 2:
                parse_request_start_line(line)  # raises nearly always, and says why
        except HTTPInputError as error:
            self.refuse(400, f"this is no request that can be read: {error}")
            raise
        return line, headers

    def _refuse_head(self, data: bytes) -> None:
        line = data.find(b"\n")
        status, what = (414, "request line") if line > MAX_HEAD // 2 else (431, "header fields")
        self.refuse(
            status,
            f"the {what} {'is' if status == 414 else 'are'} too long: {len(data)} bytes with all"
            f" that is before the body, at most {MAX_HEAD} are taken",
        )
        raise HTTPInputError("head too long")

    def _read_body(
        self, code: int, headers: HTTPHeaders, delegate: HTTPMessageDelegate
    ) -> Awaitable[None] | None:
        try:
            reading = super()._read_body(code, headers, delegate)
        except HTTPInputError as error:
            self._refuse_body(error)
            raise
        return self._watch(reading) if reading is not None else None

    async def _watch(self, reading: Awaitable[None]) -> None:
        try:
            await reading
        except HTTPInputError as error:
            self._refuse_body(error)
            raise

    def _refuse_body(self, error: HTTPInputError) -> None:
        if any(words in str(error) for words in _TOO_LONG):
            most = self._max_body_size
            self.refuse(413, f"the body is too long: at most {most} bytes are taken here")
        else:
            self.refuse(400, f"this is no body that can be read: {error}")

    def refuse(self, status: int, words: str) -> None:
        """Say why, unless an answer has begun; the connection ends in any case."""
        stream = self.stream
        if isinstance(stream, Muted) or stream.closed():
            return
        self.stream = Muted(stream)  # type: ignore[assignment]
        if self._response_start_line is None:
            logger.debug("a request is refused with %d before it is one", status)
            stream.write(_build_answer(status, words)).add_done_callback(_ignore)
            self.serving.server.answered(status)
        self.serving.server.linger(stream)


def _build_answer(status: int, words: str) -> bytes:
    body = json.dumps({"error": words[:_SHOWN]}).encode() + b"\n"
    lines = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"{FIELD}: {make_id()}",
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _ignore(sent: "asyncio.Future[None]") -> None:
    """That a client has left is no news."""
    if not sent.cancelled():
        sent.exception()


class ServerConnection(HTTP1ServerConnection):
    """A connection with its requests, one after another."""

    stream: Stream

    def __init__(self, server: "Server", stream: Stream, context: object) -> None:
        super().__init__(stream, server.conn_params, context)
        self.server = server
        self.current: Connection | None = None
        self.taken = -1  # bytes of answers at the last look; -1: all that there was

    def begun(self) -> None:
        """The head of a request is here."""
        self.server.idle.pop(self, None)

    async def _server_request_loop(self, delegate: HTTPServerConnectionDelegate) -> None:
        try:
            while await self._serve(delegate):  # noqa: ASYNC110 - it waits for no event
                await asyncio.sleep(0)  # others have their turn
        finally:
            self.begun()
            delegate.on_close(self)

    async def _serve(self, delegate: HTTPServerConnectionDelegate) -> bool:
        """The next request; whether there may be another."""
        one = Connection(self.stream, False, self.params, self.context)
        one.serving = self
        self.current = one
        self.server.idle[self] = time.monotonic()
        try:
            return await one.read_response(delegate.start_request(self, one))
        except (StreamClosedError, UnsatisfiableReadError, asyncio.CancelledError):
            return False
        except Exception:
            logger.exception("a connection fails")
            one.close()
            return False


class _Routing(_RoutingDelegate):
    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        try:
            return super().headers_received(start_line, headers)
        except HTTPInputError as error:  # a Host, or a query
            assert isinstance(self.request_conn, Connection)
            self.request_conn.refuse(400, f"this is no request that can be read: {error}")
            raise


class Server(HTTPServer):
    """Serves an application. `responses` counts the answers that are given before there is a
    request, by the first digit of their status."""

    def initialize(  # type: ignore[override]
        self,
        application: Router,
        *,
        most: int = MOST,
        idle: float = IDLE,
        stall: float = STALL,
        responses: list[int] | None = None,
        **more: Any,
    ) -> None:
        times = {"body_timeout": BODY, **more}
        super().initialize(application, max_header_size=_READ_HEAD, **times)
        self.conn_params.header_timeout = None  # a timer for each head: 20 us of a request's 200
        self._router = application
        self._most = most
        self._idle = idle
        self._stall = stall
        self._responses = responses if responses is not None else [0] * 6
        # Who waits for a head, and since when; the oldest first.
        self.idle: dict[ServerConnection, float] = {}
        self._lingering: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._next_cut: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """See `initialize`, which Tornado calls."""

    def answered(self, status: int) -> None:
        self._responses[status // 100] += 1

    def _handle_connection(self, accepted: socket, address: tuple) -> None:  # type: ignore[type-arg]
        stream = Stream(accepted, self.max_buffer_size)
        context = _HTTPRequestContext(stream, address, self.protocol, self.trusted_downstream)
        connection = ServerConnection(self, stream, context)
        if len(self._connections) >= self._most:
            self._make_room()
        self._connections.add(connection)
        connection.start_serving(self)
        loop = asyncio.get_running_loop()
        if self._sweeper is None and self._stall:
            self._sweeper = loop.call_later(self._stall / 2, self._sweep)
        if self._next_cut is None:
            self._next_cut = loop.call_later(self._idle, self._cut_late)

    def _make_room(self) -> None:
        """All are served: then there is no room, and one more comes all the same; they end."""
        oldest = next(iter(self.idle), None)
        if oldest is not None:
            logger.debug("%d connections are open: the one goes that waits longest", self._most)
            oldest.begun()
            oldest.stream.close()

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        return _Routing(self._router, server_conn, request_conn)

    # -- who is slow -------------------------------------------------------------------------------

    def _cut_late(self) -> None:
        """Cut off who is late, and come again when the next may be."""
        wait = self.cut_late(time.monotonic())
        self._next_cut = (
            asyncio.get_running_loop().call_later(wait, self._cut_late)
            if self._connections
            else None
        )

    def cut_late(self, now: float) -> float:
        """Cut off whose head is not here in time; in how many seconds somebody may be late."""
        while self.idle:
            oldest, since = next(iter(self.idle.items()))
            if since + self._idle > now:
                return since + self._idle - now
            logger.debug("a client sends no whole request in %g s: cut off", self._idle)
            oldest.begun()
            oldest.stream.close()
        return self._idle

    def _sweep(self) -> None:
        """Cut off who has taken nothing of an answer since the last look."""
        self._sweeper = None
        for one in list(self._connections):
            assert isinstance(one, ServerConnection)
            stream = one.stream
            taken = stream._total_write_done_index
            if one.current is not None and one.current.sets_pace:
                continue
            if stream.writing() and taken == one.taken:
                logger.debug("a client takes nothing of its answer: cut off")
                stream.close()
            one.taken = taken if stream.writing() else -1
        if self._connections:
            loop = asyncio.get_running_loop()
            self._sweeper = loop.call_later(self._stall / 2, self._sweep)

    def linger(self, stream: IOStream) -> None:
        """Close it when the client has stopped sending: at once, an answer would be lost by the
        reset (RFC 9112 9.6)."""
        if len(self._lingering) >= _LINGERING:
            stream.close()
            return
        task = asyncio.get_running_loop().create_task(swallow(stream))
        self._lingering.add(task)
        task.add_done_callback(self._lingering.discard)

    async def close_all_connections(self) -> None:
        for timer in (self._sweeper, self._next_cut):
            if timer is not None:
                timer.cancel()
        self._sweeper = self._next_cut = None
        for task in list(self._lingering):
            task.cancel()
        await super().close_all_connections()


def set_own_pace(connection: HTTP1Connection) -> None:
    """Whoever answers on it knows better than the server when a client is too slow."""
    if isinstance(connection, Connection):
        connection.sets_pace = True
