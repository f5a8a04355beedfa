"""`POST /tasks`: tasks in, results out; of a stream while it is still being read.

A delegate of Tornado's HTTP connection, as that of `/fetch` is. It reads the request and finds
out how its tasks are written, hands them to the `Crew`, and writes what that answers.
"""

import asyncio
import json
import logging
import select
import time
from collections import deque
from collections.abc import Awaitable, Iterator, Sequence
from typing import Any, Final

from tornado.http1connection import HTTP1Connection
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.routing import PathMatches, Router, Rule

from fetcher.errors import TaskError
from fetcher.head import reason
from fetcher.http import forwarding
from fetcher.http.crew import STOPPING, Batch, Crew
from fetcher.http.date import build_date
from fetcher.http.description import NDJSON
from fetcher.http.fetch import LINGER, MAX_BODY, FetchLimits
from fetcher.http.gate import JSON, Gate, refuse_haste
from fetcher.http.handler import Places, find_refusal, log_access, log_bug
from fetcher.http.ndjson import Lines
from fetcher.http.outgoing import Outgoing
from fetcher.http.request_id import FIELD, find_id
from fetcher.http.server import set_own_pace
from fetcher.http.task_json import (
    LONG,
    MOST,
    Form,
    encode_answer,
    encode_long,
    find_form,
    look,
    read_whole,
)
from fetcher.http.unknown import explain_parameters
from fetcher.model import Result, Task
from fetcher.run.fetcher import Fetcher
from fetcher.task.result import size_of

logger = logging.getLogger(__name__)

ROUTE: Final = "/tasks"

# Bytes of a body that is read to its end before its tasks are begun.
MAX_WHOLE: Final = 1_048_576
WHOLE_TIME: Final = 300.0  # seconds that it may take to come

# Bytes of results that may wait for their reader, or for one before them in an array.
UNSENT: Final = 262_144
KEPT: Final = 16_777_216

MOST_CALLS: Final = 1000  # callers at once

# Seconds between two looks whether a caller is there who is not read.
_LOOK: Final = 1.0
_GONE: Final = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)

_LEFT: Final = 499  # nginx's word for a client that has left, for the log


class TasksRouter(Router):
    """``POST /tasks``, a `TasksCall` each; what all of them share."""

    def __init__(self, fetcher: Fetcher, limits: FetchLimits, places: Places, gate: Gate) -> None:
        self.fetcher = fetcher
        self.limits = limits
        self.places = places
        self.gate = gate
        self.crew = Crew(fetcher, limits, places)
        self.calls: set[TasksCall] = set()
        places.listeners.append(self._hear)

    def find_handler(self, request: HTTPServerRequest, **_: Any) -> "TasksCall":
        return TasksCall(self, request)

    def _hear(self) -> None:
        if self.places.closed:
            for call in list(self.calls):
                call.stop()


class Elements:
    """The tasks of a body that is here."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        self._texts = deque(texts)

    def take(self) -> bytes | None:
        return self._texts.popleft() if self._texts else None


class TasksCall(HTTPMessageDelegate):
    """One request. Of NDJSON in, NDJSON comes out, in the order in which tasks end; of an array an
    array in its order; of one task its result."""

    form: Form | None = None
    status = 0  # of what was written, for the log
    batch: Batch | None = None
    out: Outgoing
    is_array = is_stream = False
    has_all = False  # the whole of the request is here
    has_left = False
    is_open = False  # it has a place, until its answer is out
    is_ending = False  # all is said, and some of it not sent yet
    is_broken = False  # and the connection ends with it
    is_lingering = False  # the answer is out, and the rest of the request comes in for nobody
    room: "asyncio.Future[None] | None" = None  # done when more of the request may come
    timer: asyncio.Handle | None = None

    def __init__(self, router: TasksRouter, request: HTTPServerRequest) -> None:
        assert isinstance(request.connection, HTTP1Connection)
        self.router = router
        self.request = request
        self.connection = request.connection
        self.loop = asyncio.get_running_loop()
        self.body = bytearray()  # until it is known what it is
        self.lines = Lines()
        self.since = time.monotonic()
        # Of an array: results that have come before one that stands before them.
        self.kept: dict[int, bytes | tuple[Iterator[bytes], int]] = {}
        self.kept_size = 0
        self.following = 0  # the index that is written next

    # 1. The request comes.

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        self.connection.set_close_callback(self.on_connection_close)
        self.connection.set_max_body_size(MAX_BODY)
        # A stream may take its time, but not stand still.
        self.connection.set_body_timeout(None)  # type: ignore[arg-type]
        set_own_pace(self.connection)
        router = self.router
        refusal = find_refusal(self.request, router.gate, refuses_cross_site=True)
        if refusal is None:
            refusal = refuse_haste(router.gate, headers, bearer=True)
        if refusal is not None:
            wait = refusal.retry_after
            fields = {"Retry-After": str(wait)} if wait is not None else None
            self._write(refusal.status, refusal.content_type, refusal.body.encode(), fields)
        elif self._may_come(headers):
            router.places.take()
            router.calls.add(self)
            self.is_open = True
            self.form = find_form(headers.get("Content-Type", ""))
            self._expect()
            if self.form is Form.LINES:
                # Behind Tornado's answer to "Expect: 100-continue", which it gives now.
                self.loop.call_soon(self._begin_stream)

    def _may_come(self, headers: HTTPHeaders) -> bool:
        """Whether the head of the request lets it in; else it is answered."""
        names = list(self.request.query_arguments)
        coding = headers.get("Content-Encoding", "identity")
        again = {"Retry-After": "1"}
        if self.request.method != "POST":
            self._refuse(405, f"{ROUTE} takes POST only", {"Allow": "POST"})
        elif names:
            self._refuse(400, str(explain_parameters(names, (), ROUTE)))
        elif coding.strip().lower() not in ("", "identity"):
            words = f"Content-Encoding: {coding[:50]!r}: tasks are read as they are, send identity"
            self._refuse(415, words, {"Accept-Encoding": "identity"})
        elif self.router.places.closed:
            self._refuse(503, STOPPING, again)
        elif len(self.router.calls) >= MOST_CALLS:
            self._refuse(503, f"{MOST_CALLS} callers send tasks, as many as may: try again", again)
        else:
            return True
        return False

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        if self.is_lingering or self.has_left or self.is_ending:
            return None  # a client that still sends would miss the answer
        if not self.is_stream:
            self.body += chunk
            if self.form is None:
                self.form = look(bytes(self.body))
            if self.form is not Form.LINES:
                self._check_whole()
                return None
            chunk = bytes(self.body)
            self.body.clear()
            self._begin_stream()
        self._stop_timing()
        self.lines.put(chunk)
        return self._hold()

    def _check_whole(self) -> None:
        if len(self.body) > MAX_WHOLE:
            self._refuse(
                413,
                f"more than {MAX_WHOLE} bytes in one array or task: send tasks as NDJSON, one a"
                f" line, with Content-Type: {NDJSON}",
            )
        elif time.monotonic() - self.since > WHOLE_TIME:
            self._refuse(408, f"the body did not come within {WHOLE_TIME:g} s")
        else:
            self._expect()

    def finish(self) -> None:
        self.has_all = True
        if self.is_lingering:
            self._close()
            return
        if self.has_left or not self.is_open:
            return
        self._stop_timing()
        if self.form is Form.LINES:
            self._begin_stream()
            self.lines.end()
            self._wake()
        else:
            self._serve_whole()

    def on_connection_close(self) -> None:
        """The caller has left: nobody needs the results."""
        if not self.has_left:
            self.has_left = True
            self._end(self.status if self.is_broken else _LEFT)

    # 2. It becomes tasks.

    def _begin_stream(self) -> None:
        if self.is_stream or not self.is_open:
            return
        self.is_stream = True
        self._begin(NDJSON)
        self.batch = Batch(self.router.crew, self, self.lines)

    def _serve_whole(self) -> None:
        try:
            read = read_whole(bytes(self.body))
        except TaskError as error:
            self._refuse(400, str(error))
            return
        except Exception:  # noqa: BLE001 - logged with its traceback
            log_bug(self.request)
            self._refuse(500, "Internal Server Error")
            return
        self.body.clear()
        self.is_array = isinstance(read, list)
        self._begin(JSON)
        if self.is_array:
            self.out.put(b"[")
        self.batch = Batch(
            self.router.crew, self, Elements(read if isinstance(read, list) else [read])
        )
        self._wake()

    def _wake(self) -> None:
        if self.batch is not None:
            self.batch.wake()

    def _hold(self) -> "asyncio.Future[None]":
        """Done when all that has come is begun."""
        self.room = self.loop.create_future()
        self.timer = self.loop.call_later(_LOOK, self._look)
        self._wake()
        return self.room

    def _look(self) -> None:
        """Who is not read cannot be heard to leave; who sends no more counts as gone."""
        stream = self.connection.stream
        if stream is None or stream.socket is None or _is_gone(stream.socket.fileno()):
            self._cut()
        else:
            self.timer = self.loop.call_later(_LOOK, self._look)

    def dried(self) -> None:
        """See `Caller`."""
        if self.room is not None:
            self._let_come()
        if self.batch is None or self.batch.jobs or self.is_ending:
            return
        if self.is_broken:
            self._break(f"{STOPPING}: tasks without a result were not run, send them again")
        elif self.has_all:
            self._finish()
        else:
            self._expect()

    def fail(self) -> None:
        """See `Caller`."""
        self._cut()

    # 3. The results come.

    def has_room(self) -> bool:
        """See `Caller`."""
        return self.out.unsent < UNSENT and self.kept_size < KEPT

    def answer(self, index: int, task: Task, result: Result) -> None:
        """See `Caller`."""
        if self.has_left:
            return
        size = size_of(result)
        answer: bytes | tuple[Iterator[bytes], int]
        if size > LONG:
            answer = (encode_long(index, task, result), size)
        else:
            answer = encode_answer(index, task, result)
        if self.is_array:
            self._put_in_order(index, answer)
        else:
            self._put(answer, b"\n")

    def _put(self, answer: bytes | tuple[Iterator[bytes], int], end: bytes) -> None:
        if isinstance(answer, bytes):
            self.out.put(answer + end)
        else:
            self.out.put_long(*answer)
            self.out.put(end)

    def _put_in_order(self, index: int, answer: bytes | tuple[Iterator[bytes], int]) -> None:
        self.kept[index] = answer
        self._count_kept(_size(answer))
        while self.following in self.kept:
            following = self.kept.pop(self.following)
            self._count_kept(-_size(following))
            if self.following:
                self.out.put(b",\n")
            self._put(following, b"")
            self.following += 1

    def _count_kept(self, size: int) -> None:
        self.kept_size += size
        self.router.fetcher.budget.hold(size)

    def _sent(self) -> None:
        if self.is_ending:
            self._conclude()
        else:
            self._wake()

    # 4. The end, however it comes.

    def _finish(self) -> None:
        """All tasks have their results."""
        if self.is_stream and self.batch is not None:
            self._end_with(b'{"done": %d}\n' % self.batch.count)
        else:
            self._end_with(b"]\n" if self.is_array else b"")

    def _break(self, words: str) -> None:
        """There will be no more, and not because all was done."""
        self.is_broken = True
        self._end_with(json.dumps({"error": words}).encode() + b"\n")

    def _end_with(self, last: bytes) -> None:
        self.is_ending = True
        self._let_come()  # for nobody
        if last:
            self.out.put(last)
        elif self.out.is_empty:
            self._conclude()

    def _conclude(self) -> None:
        """All is sent."""
        self._end(self.status)
        if not self.is_broken:
            self._close()
        else:
            self._linger()

    def stop(self) -> None:
        """The service is stopping."""
        batch = self.batch
        if self.is_ending:
            return
        self.is_broken = self.is_stream
        if batch is None:
            self._refuse(503, STOPPING)
            return
        batch.close()
        if not self.is_stream:
            batch.refuse_rest()
        self.dried()

    def _late(self) -> None:
        """Nothing more has come of the request, for which nothing else waits."""
        self.timer = None
        words = f"no task has come for {self.router.limits.stall:g} s, as long as api.stall allows"
        if self.is_stream:
            self._break(f"{words}; an empty line now and then keeps a stream open")
        else:
            self._refuse(408, words)

    def _stall(self) -> None:
        """Results wait, and nobody takes them."""
        seconds = self.router.limits.stall
        if self.has_all:
            logger.info("a caller of %s takes no result for %g s: cut off", ROUTE, seconds)
        else:
            logger.warning(
                "a caller of %s takes no result for %g s (api.stall) while it still sends: cut off;"
                " it has to read while it sends, or to send at most %d tasks at once",
                ROUTE,
                seconds,
                MOST,
            )
        self._cut()

    def _cut(self) -> None:
        """End the connection where it is; all else follows from that."""
        self.connection.close()
        self.on_connection_close()

    def _end(self, status: int) -> None:
        self._let_come()
        if self.batch is not None:
            self.batch.cancel()
            self.out.close()
            self.kept.clear()
            self._count_kept(-self.kept_size)
        if self.is_open:
            self.is_open = False
            self.router.calls.discard(self)
            self.router.places.give_back()
            log_access(self.request, status, self.router.fetcher.meters.responses)

    # 5. Writing.

    def _begin(self, content_type: str) -> None:
        fields = HTTPHeaders(
            {
                "Content-Type": content_type,
                "Date": build_date(time.time()),
                "X-Content-Type-Options": "nosniff",
                "X-Accel-Buffering": "no",  # of nginx between us
                FIELD: find_id(self.request),
            }
        )
        if self.request.version == "HTTP/1.0":
            # It hears by the connection's end that this is all; else Tornado keeps it open.
            self.request.headers.pop("Connection", None)
            fields["Connection"] = "close"
        limits = self.router.limits
        self.out = Outgoing(
            self.connection,
            self.router.fetcher.budget,
            limits.stall,
            sent=self._sent,
            late=self._stall,
        )
        self.status = 200
        self.connection.write_headers(ResponseStartLine("", 200, "OK"), fields)

    def _refuse(self, status: int, error: str, fields: dict[str, str] | None = None) -> None:
        self._write(status, JSON, json.dumps({"error": error}).encode() + b"\n", fields)

    def _write(
        self, status: int, content_type: str, body: bytes, fields: dict[str, str] | None = None
    ) -> None:
        """An answer instead of results."""
        self.status = status
        lines = [
            f"HTTP/1.1 {status} {reason(b'', status)}",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(body)}",
            f"Date: {build_date(time.time())}",
            f"{FIELD}: {find_id(self.request)}",
            *(f"{name}: {value}" for name, value in (fields or {}).items()),
        ]
        if not self.has_all:
            lines.append("Connection: close")
        if self.request.method == "HEAD":
            body = b""
        if self.is_open:
            self._end(status)
        else:
            log_access(self.request, status, self.router.fetcher.meters.responses)
        self.connection.write(forwarding.encode_head(lines) + body)
        if self.has_all or "Expect" in self.request.headers:
            self._close()
        else:
            self._linger()

    def _linger(self) -> None:
        """Closed now, with bytes of the caller's unread, the answer would be lost by a reset (RFC
        9112 9.6). All of it is written."""
        if self.has_all:
            self._close()
            return
        self.is_lingering = True
        self._stop_timing()
        self.timer = self.loop.call_later(LINGER, self._close)

    def _close(self) -> None:
        self.is_lingering = False
        self._stop_timing()
        if self.has_left:
            return
        if not self.is_broken:  # else it is to look whole to nobody
            self.connection.finish()
        if self.is_broken or self.request.version == "HTTP/1.0":
            self.has_left = True
            self.connection.close()

    def _let_come(self) -> None:
        """More of the request may come."""
        self._stop_timing()
        room, self.room = self.room, None
        if room is not None and not room.done():
            room.set_result(None)

    def _expect(self) -> None:
        """More of the request has to come, or we wait no longer."""
        self._stop_timing()
        if self.router.limits.stall:
            self.timer = self.loop.call_later(self.router.limits.stall, self._late)

    def _stop_timing(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def _size(answer: bytes | tuple[Iterator[bytes], int]) -> int:
    return len(answer) if isinstance(answer, bytes) else answer[1]


def _is_gone(number: int) -> bool:
    """Whether the peer of a socket has closed its end, whatever of it is still unread."""
    poll = select.poll()
    poll.register(number, _GONE)
    return bool(poll.poll(0))


def routes(fetcher: Fetcher, limits: FetchLimits, places: Places, gate: Gate) -> list[Rule]:
    """The route of this module. `places` are those of `/fetch`, by which both are closed."""
    return [Rule(PathMatches(ROUTE), TasksRouter(fetcher, limits, places, gate))]
