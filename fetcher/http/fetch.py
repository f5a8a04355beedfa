"""`/fetch`: the target's answer, fetched by our route, as the caller's own.

A delegate of Tornado's HTTP connection and no RequestHandler: bodies go on as they come, both ways,
and which methods and forms there are is the target's business. It reads the request, asks
`forwarding`, runs the fetcher and writes; each of its steps is a call from the connection or from
the fetch, so that a short answer costs no task and no future.
"""

import asyncio
import json
import logging
import re
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import Any, Final, TypedDict

import msgspec
from msgspec import UNSET
from msgspec.structs import replace
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
from fetcher.head import field, reason
from fetcher.http import forwarding
from fetcher.http.asked import Asked, find_pool, read_asked, read_switch, read_wishes
from fetcher.http.date import build_date
from fetcher.http.gate import Gate, Refusal, find_owner, refuse_haste
from fetcher.http.handler import Places, find_refusal, log_access, log_bug, shown_url
from fetcher.http.incoming import IncomingBody
from fetcher.http.reasons import name_setting
from fetcher.http.request_id import FIELD, find_id
from fetcher.http.server import set_own_pace
from fetcher.model import Attempt, Fetch, Result, Target, Task, Trust, Wishes
from fetcher.route.route import Route, parse_route
from fetcher.run.fetcher import Fetcher
from fetcher.run.path import Ending, Fetching
from fetcher.run.terms import Terms
from fetcher.session.keeping import Keeping
from fetcher.session.model import NoExit, Session, Sessions, name_session, read_name
from fetcher.task.request import Plan, build_plan, plan_for
from fetcher.task.schemes import special_scheme
from fetcher.urls import fit_url, origin_of

logger = logging.getLogger(__name__)

_STATUS_OF: Final = {
    Ending.BAD_TASK: 400,
    Ending.REFUSED: 403,
    Ending.NO_PROXY: 503,
    Ending.LATE: 504,
    Ending.FAILED: 502,
    Ending.BUG: 502,
}

# Bytes of a caller's body that are waited for and may be sent again; a longer one goes on as it
# comes, once.
HELD: Final = 65536

# Seconds for which a caller that still sends may go on, to come to read an answer.
LINGER: Final = 2.0

# What is over `HELD` is not kept.
MAX_BODY: Final = 1 << 40

_NO_CONTENT: Final = frozenset({204, 304})  # RFC 9110 6.4.1: no content, so no length of it either
# RFC 9112 4: reason-phrase, less what begins a tag.
_PHRASE: Final = re.compile(r"[\t \x21-\x3b\x3d-\x7e\x80-\xff]*")

# Wishes that are remembered: most callers vary the URL alone, and to read one costs 16 us.
KNOWN: Final = 256
_ANY: Final = "http://localhost/"  # a plan is for any URL

_RESET: Final = struct.pack("ii", 1, 0)  # linger for no time: the close is an RST
_LEFT: Final = 499  # nginx's word for a client that has left, for the log


class FetchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What `/fetch` and `/tasks` allow their callers; `per_host` and `delay` are for tasks."""

    route: Route
    trust: Trust = Trust.GUARDED
    caller_proxy: bool = True
    sites: tuple[str, ...] | None = None  # that there are; None: nobody knows
    concurrency: int = 0  # 0 = no limit
    max_body: int = 0
    stall: float = 30.0  # seconds for which a caller may take or send nothing; 0 = no limit
    per_host: int = 0  # fetches at one host, of all callers; 0 = no limit
    delay: float = 0.0  # seconds between two starts at one host, for tasks that name no other
    allow_scripts: bool = False  # they may have scripts of their own run in pages


class Failure(TypedDict):
    """Why there is no answer of the target, and what was tried."""

    error: str
    attempts: Sequence[Attempt]


class Wish(msgspec.Struct, frozen=True):
    """What is wanted of a URL. `plan` None: there is none known."""

    fetch: Fetch
    plan: Plan | None
    route: Route
    wishes: Wishes  # of its proxy
    takes: str  # Accept-Encoding
    is_patient: bool  # the whole may take its time


class FetchRouter(Router):
    """``ANY /fetch?url=U``, a `FetchCall` each; what all of them share."""

    def __init__(
        self,
        fetcher: Fetcher,
        limits: FetchLimits,
        places: Places,
        gate: Gate,
        sessions: Sessions | None = None,
    ) -> None:
        self.fetcher = fetcher
        self.limits = limits
        self.places = places
        self.gate = gate
        self.sessions = sessions
        self._known = lru_cache(maxsize=KNOWN)(self._read)

    def find_handler(self, request: HTTPServerRequest, **_: Any) -> "FetchCall":
        return FetchCall(self, request)

    def find_wish(self, asked: Asked) -> Wish:
        """Raises `TaskError` naming the parameter that is wrong."""
        return self._known(asked) if asked.is_short else self._read(asked)

    def _read(self, asked: Asked) -> Wish:
        limits = self.limits
        fetch = read_asked(
            asked,
            caller_proxy=limits.caller_proxy,
            max_body=limits.max_body,
            sites=limits.sites,
        )
        route = parse_route(fetch.proxy, limits.route)
        wishes = read_wishes(asked, route)
        takes = ", ".join(value for name, value in asked.fields if name == "Accept-Encoding")
        # A data: URL comes to no plan; what is wrong with its options is told all the same.
        plan = build_plan(Task(url=_ANY, fetch=fetch), self.fetcher.shared.stream_defaults)
        plan = replace(plan, request=replace(plan.request, takes=takes))
        return Wish(fetch, plan, route, wishes, takes, is_patient=fetch.timeout is None)


class FetchCall(HTTPMessageDelegate):
    """One request: what the connection tells, what the fetch tells, and what is written.

    Method, end-to-end headers and body go on; status, headers and body come back, with
    ``X-Fetch-*`` beside them. Its coding stays on the body if the caller's Accept-Encoding has
    it, and else is undone. Our own failures are JSON, marked ``X-Fetch-Error: 1``.
    """

    # As attributes of the class: most calls have no need of their own.
    incoming: IncomingBody | None = None  # of a long body
    fetching: Fetching | None = None
    session = ""  # its name, if the caller wants one
    keeping: Keeping | None = None  # its exit
    stalled: asyncio.Handle | None = None  # cuts off a caller that stands still
    status = 0  # of what was written, for the log
    has_place = is_fetching = is_served = is_paused = has_left = False
    keeps_cookies = False
    has_all = False  # the whole of the request is here
    is_lingering = False  # the answer is out, and the rest of the request comes in for nobody
    ends_by_closing = False  # nothing else says how long the answer is
    ends_by_last_chunk = False
    is_last = False  # the caller is to ask no more on this connection

    def __init__(self, router: FetchRouter, request: HTTPServerRequest) -> None:
        assert isinstance(request.connection, HTTP1Connection)
        self.router = router
        self.request = request
        self.connection = request.connection
        self.method = request.method or "GET"
        self.body = bytearray()
        self.loop = asyncio.get_running_loop()

    # 1. The request comes, and with it perhaps a body that is as long as it likes.

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        self.connection.set_close_callback(self.on_connection_close)
        self.connection.set_max_body_size(MAX_BODY)
        set_own_pace(self.connection)
        # Authorization belongs to the target.
        gate = self.router.gate
        self.refusal = find_refusal(self.request, gate, takes_bearer=False, refuses_cross_site=True)
        if self.refusal is None and gate.limiter is not None:
            self.refusal = refuse_haste(gate, headers, bearer=False)
        self.declared = _declared(headers)
        if self.refusal is None and self._is_long:
            # A long body may take its time, but not stand still.
            self.connection.set_body_timeout(None)  # type: ignore[arg-type]
            self._expect(self._cut)

    @property
    def _is_long(self) -> bool:
        return self.declared is None or self.declared > HELD

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        if self.refusal is not None or self.is_lingering:
            return None  # a client that still sends would miss the answer
        if self._is_long:
            self._expect(self._cut)
        if self.incoming is None:
            self.body += chunk
            if len(self.body) <= HELD:
                return None
            self.incoming = IncomingBody(self.declared)
            chunk = bytes(self.body)
            self.body.clear()
            self._serve()
        return self.incoming.put(chunk)

    def finish(self) -> None:
        self.has_all = True
        if self.is_lingering:
            self._close()
            return
        self._stop_expecting()
        if self.incoming is not None:
            self.incoming.end()
        else:
            self._serve()

    def on_connection_close(self) -> None:
        """The caller has left: nobody needs the answer."""
        if self.has_left:
            return
        self.has_left = True
        if self.incoming is not None:
            self.incoming.fail()
        if self.fetching is not None:
            self.fetching.cancel()
        if self.keeping is not None:
            self.keeping.cancel()
        self._end(_LEFT)

    # 2. It becomes a task.

    def _serve(self) -> None:
        if self.has_left:
            return
        self.is_served = True
        places, limits = self.router.places, self.router.limits
        try:
            if self.refusal is not None:
                self._write_refusal(self.refusal)
                return
            task, wish = self._wish()
            if places.closed:
                self.is_last = True
                self._write_failure(503, "the service is stopping")
            elif 0 < limits.concurrency <= places.fetching:
                again = {"Retry-After": "1"}
                words = f"{limits.concurrency} fetches are under way, as many as api.concurrency"
                self._write_failure(503, f"{words} allows: try again", fields=again)
            elif self.session:
                self._keep(task, wish)
            else:
                self._start(task, wish)
        except TaskError as error:
            self._write_failure(400, str(error))
        except Exception:  # noqa: BLE001 - logged with its traceback
            log_bug(self.request)
            self._write_failure(500, "Internal Server Error")

    def _start(self, task: Task, wish: Wish) -> None:
        self._take_place()
        self._run(task, wish, self.router.limits.route)

    def _take_place(self) -> None:
        places = self.router.places
        places.take()
        places.fetching += 1
        self.has_place = self.is_fetching = True

    def _run(self, task: Task, wish: Wish, route: Route) -> None:
        fetching = self.router.fetcher.run(
            task,
            self.done,
            trust=self.router.limits.trust,
            route=route,
            terms=Terms(
                receiver=self,
                upload=self.incoming,
                patient=wish.is_patient,
                takes=wish.takes,
                plan=wish.plan,
                wishes=wish.wishes,
            ),
        )
        if fetching.done is not None:
            self.fetching = fetching

    def _wish(self) -> tuple[Task, Wish]:
        """The task of this request, and what it wants beside. Raises `TaskError` naming the
        parameter that is wrong."""
        arguments = self._arguments()
        url = arguments.pop("url", "")
        if not url:
            raise TaskError("url: missing; expected /fetch?url=http%3A%2F%2Fexample.com%2F")
        if "session" in arguments:
            self.session = read_name(arguments.pop("session"))
        if url[:4] != "http":
            # However far callers are trusted, files and keys of this machine are not theirs.
            schemes = self.router.fetcher.shared.policy.schemes
            if special_scheme(url, schemes, Trust.GUARDED) is not None and self.session:
                raise TaskError("session: no proxy is asked for a data: URL; leave it out")
        if "cookies" in arguments:
            self.keeps_cookies = read_switch("cookies", arguments.pop("cookies"))
        fields = tuple(self.request.headers.get_all())
        wish = self.router.find_wish(Asked(self.method, fields, tuple(arguments.items())))
        if self.body:
            fetch = replace(wish.fetch, data=bytes(self.body))
            return Task(url=url, fetch=fetch), replace(wish, plan=None)
        return Task(url=url, fetch=wish.fetch), wish

    def _arguments(self) -> dict[str, str]:
        out = {}
        for name, values in self.request.query_arguments.items():
            try:
                out[name] = values[-1].decode()
            except UnicodeDecodeError:
                raise TaskError(
                    f"{name[:50]}: not UTF-8; the % of a URL's own escapes is written %25"
                ) from None
        return out

    # 2a. Its session has one exit, and says which is the next.

    def _keep(self, task: Task, wish: Wish) -> None:
        """Raises `TaskError` for what no exit can be kept for."""
        router, wishes = self.router, wish.wishes
        shared = router.fetcher.shared
        pool = find_pool("session", wish.route)
        url = fit_url(task.url, shared.stream_defaults.schemes)
        plan = build_plan(task, shared.stream_defaults) if wish.plan is None else wish.plan
        plan = plan_for(plan, url)
        scheme, host, _ = origin_of(url)
        owner = find_owner(router.gate, self.request.headers, bearer=False)
        task = Task(url=url, fetch=replace(wish.fetch, proxy=msgspec.UNSET))

        def go(wishes: Wishes) -> None:
            self._run(task, replace(wish, plan=keeping.fit(plan), wishes=wishes), (pool,))

        keeping = Keeping(
            router.sessions,
            Session(name_session(self.session, wishes.country, owner)),
            shared.policy.ways.chooser,
            Target(host, scheme == "https", pool.site or wish.fetch.site, wishes),
            retries=plan.retries,
            deadline=time.monotonic() + plan.timeout,
            go=go,
            refuse=self._lack,
        )
        self._take_place()
        self.keeping = keeping
        keeping.find(wishes)

    def _lack(self, why: NoExit) -> None:
        self._stop_fetching()
        self._write_failure(503, why.value)

    # 3. The answer comes: as it does, or whole. See `Receiver`.

    def begin(self, fetching: Fetching, result: Result) -> None:
        response = fetching.response
        assert response is not None
        self.fetching = fetching
        if self.keeping is not None:
            self.keeping.confirm()
        fields = HTTPHeaders()
        for name, value in self._fields(fetching, result):
            if name in fields:
                fields.add(name, value)
            else:  # `add` would look at it again
                fields[name] = value
        length = field(response.head, b"content-length")
        if response.undone or self.method == "HEAD":
            length = None
        if length is not None:
            fields["Content-Length"] = length.decode("latin-1")
        self.ends_by_closing = length is None and self.request.version == "HTTP/1.0"
        self.ends_by_last_chunk = length is None and not self.ends_by_closing
        self.status = response.status
        text = _reason(response.status, response.head)
        start = ResponseStartLine("", response.status, text)
        self._send(self.connection.write_headers(start, fields))

    def chunk(self, data: bytes) -> None:
        if not self.has_left and self.method != "HEAD":
            self._send(self.connection.write(data))

    def done(self, fetching: Fetching, result: Result) -> None:
        if self.has_left:
            return
        if self.keeping is None or self.status:
            self._conclude(fetching, result)
        elif fetching.ending is Ending.ANSWERED:
            self.keeping.confirm()
            self._conclude(fetching, result)
        else:
            end = partial(self._conclude, fetching, result)
            if not self.keeping.lost(fetching, end):
                end()

    def _conclude(self, fetching: Fetching, result: Result) -> None:
        # From here on it waits for its reader alone, and counts for no limit.
        self._stop_fetching()
        if self.status:
            if fetching.ending is Ending.ANSWERED:
                self._finish()
            else:  # it never looks whole: without its last bytes, and without the last chunk
                logger.debug("an answer of /fetch is cut off: %s", result.error)
                self._cut()
        elif fetching.ending is Ending.ANSWERED:
            fields, response = self._fields(fetching, result), fetching.response
            if response is None:
                self._write(200, fields, result.content)
            else:
                self._write(response.status, fields, result.content, head=response.head)
        else:
            status = _STATUS_OF.get(fetching.ending, result.status_code)
            self._write_failure(status, self._explain(fetching, result), fetching)

    def _explain(self, fetching: Fetching, result: Result) -> str:
        """Why there is no answer; where a setting forbids it, which one."""
        if fetching.ending is Ending.NOT_ENABLED:
            how = result.content.decode().partition(". ")[2]
            return f"render: there is nothing here that runs a page's JavaScript: {how}"
        limits = self.router.limits
        words = str(result.error).removeprefix("HTTP 599: ")
        return words + name_setting(fetching, result, trust=limits.trust, max_body=limits.max_body)

    def _fields(self, fetching: Fetching, result: Result) -> list[tuple[str, str]]:
        """What comes back, less the length of the body; all of it is clean."""
        response = fetching.response
        if response is None:  # a data: URL
            fields = forwarding.inline_headers(result.headers["Content-Type"])
        else:
            fields = forwarding.returned_headers(
                response.head,
                method=self.method,
                cookies=self.keeps_cookies,
                undone=response.undone,
            )
        fields += forwarding.SAFETY
        attempts = result.attempts
        if self.keeping is not None:
            attempts += len(self.keeping.attempts)
            fields.append(("X-Fetch-Session-Moves", str(self.keeping.moves)))
        fields += (
            ("X-Fetch-Url", shown_url(result.url)),  # ASCII without controls, as all below
            ("X-Fetch-Attempts", str(attempts)),
            ("X-Fetch-Time", f"{result.time:.3f}"),
            (FIELD, find_id(self.request)),
        )
        if result.proxy is not None:
            fields.append(("X-Fetch-Proxy", result.proxy))
        if result.rendered is not UNSET:
            fields.append(("X-Fetch-Rendered", "1" if result.rendered else "0"))
        return fields

    # 4. Writing, at the pace of who reads.

    def _write_refusal(self, refusal: Refusal) -> None:
        fields = [("Content-Type", refusal.content_type), (FIELD, find_id(self.request))]
        if refusal.retry_after is not None:
            fields.append(("Retry-After", str(refusal.retry_after)))
        self._write(refusal.status, fields, refusal.body.encode())

    def _write_failure(
        self,
        status: int,
        error: str,
        fetching: Fetching | None = None,
        fields: dict[str, str] | None = None,
    ) -> None:
        attempts = fetching.attempts if fetching is not None else ()
        if self.keeping is not None:
            attempts = self.keeping.attempts
        body = json.dumps(msgspec.to_builtins(Failure(error=error, attempts=attempts))) + "\n"
        own = {
            "X-Fetch-Error": "1",
            FIELD: find_id(self.request),
            "Date": build_date(time.time()),
            "Content-Type": "application/json",
            **(fields or {}),
        }
        self._write(status, own.items(), body.encode())

    def _write(
        self,
        status: int,
        fields: Iterable[tuple[str, str]],
        body: bytes,
        *,
        head: bytes = b"",
    ) -> None:
        """A whole answer; `head` is the target's, which may have a reason of its own."""
        self._stop_expecting()
        self.status = status
        lines = [f"HTTP/1.1 {status} {_reason(status, head)}"]
        lines += [f"{name}: {value}" for name, value in fields]
        if self.method == "HEAD" or status in _NO_CONTENT:
            body = b""
        else:
            lines.append(f"Content-Length: {len(body)}")
        lines += self._persistence()
        # `write_headers` would look at each line once more, for 6 % of a call. That `write` takes a
        # head as well is an old way of Tornado's, documented and called deprecated.
        self._send(self.connection.write(forwarding.encode_head(lines) + body))
        self._finish()

    def _persistence(self) -> Sequence[str]:
        """What is said of the connection's future, where that is not a matter of course."""
        headers = self.request.headers
        asked = headers["Connection"].lower() if "Connection" in headers else ""
        if self.request.version == "HTTP/1.0":
            return ("Connection: Keep-Alive",) if asked == "keep-alive" else ()
        return ("Connection: close",) if self.is_last or asked == "close" else ()

    def _finish(self) -> None:
        if self.has_left:
            return
        if self.incoming is not None:
            self.incoming.drop()
        if self.has_all or self.ends_by_last_chunk:
            self._close()
        else:
            # Closed now, with bytes of the caller's unread, the answer would be lost by a reset
            # (RFC 9112 9.6). All of it is written.
            self.is_lingering = True
            self._stop_expecting()
            self.stalled = self.loop.call_later(LINGER, self._close)

    def _close(self) -> None:
        if self.is_lingering:
            self._stop_expecting()
            self.is_lingering = False
        if self.has_left:
            return
        self.connection.finish()
        if self.stalled is None:
            self._end(self.status)
        # Else it has its place until all is sent.

    def _send(self, sent: "asyncio.Future[None]") -> None:
        """Go on when the caller has taken what was written; who takes nothing is cut off."""
        if sent.done():
            sent.exception()  # the connection's end is told by itself
            return
        sent.add_done_callback(self._sent)
        self._expect(self._stall)
        if self.fetching is not None and not self.is_paused:
            self.is_paused = True
            self.fetching.pause()

    def _sent(self, sent: "asyncio.Future[None]") -> None:
        if not sent.cancelled():
            sent.exception()
        if self.is_lingering:
            return
        self._stop_expecting()
        if self.is_paused and self.fetching is not None:
            self.is_paused = False
            self.fetching.resume()
        if not self.is_fetching:
            self._end(self.status)

    def _expect(self, late: Callable[[], None]) -> None:
        """Call `late` unless something goes on meanwhile."""
        self._stop_expecting()
        if self.router.limits.stall:
            self.stalled = self.loop.call_later(self.router.limits.stall, late)

    def _stop_expecting(self) -> None:
        if self.stalled is not None:
            self.stalled.cancel()
            self.stalled = None

    def _stall(self) -> None:
        seconds = self.router.limits.stall
        logger.debug("a caller of /fetch takes nothing for %g s: cut off", seconds)
        self._cut()

    def _cut(self) -> None:
        """End the connection where it is; all else follows from that."""
        if self.ends_by_closing:
            # Only a reset tells a client of HTTP/1.0 that this was not the end.
            stream = self.connection.stream
            if stream is not None and stream.socket is not None:
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.connection.close()
        self.on_connection_close()

    # 5. The end, however it came.

    def _stop_fetching(self) -> None:
        if self.is_fetching:
            self.is_fetching = False
            self.router.places.end_fetch()

    def _end(self, status: int) -> None:
        self._stop_expecting()
        self._stop_fetching()
        if self.has_place:
            self.has_place = False
            self.router.places.give_back()
        if self.is_served:
            self.is_served = False
            log_access(self.request, status, self.router.fetcher.meters.responses)
        self.fetching = self.keeping = None  # they know us too


def _declared(headers: HTTPHeaders) -> int | None:
    """How long the body of a request is, None if it is chunked: nobody knows."""
    if "Transfer-Encoding" in headers:
        return None
    if "Content-Length" not in headers:
        return 0
    text = headers["Content-Length"]
    return int(text) if text.isdecimal() else 0  # Tornado refuses it in a moment


@lru_cache(maxsize=256)
def _standard_reason(status: int) -> str:
    return reason(b"", status)


def _reason(status: int, head: bytes) -> str:
    """The reason phrase of an answer; what could be taken for a page is none."""
    text = reason(head, status) if head else _standard_reason(status)
    return text if _PHRASE.fullmatch(text) else "Unknown"


def routes(
    fetcher: Fetcher,
    limits: FetchLimits,
    places: Places,
    gate: Gate,
    sessions: Sessions | None = None,
) -> list[Rule]:
    """The route of this module. `places`: by which the caller can close it; without `sessions`
    those who ask for one are refused."""
    router = FetchRouter(fetcher, limits, places, gate, sessions)
    return [Rule(PathMatches("/fetch"), router)]
