"""`/fetch`: the target's answer, fetched by our route, as the caller's own.

A Tornado handler: it reads the request, asks `forwarding`, runs the fetcher and writes.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, ClassVar, Final

import msgspec
from tornado.httputil import HTTPHeaders, HTTPOutputError, format_timestamp
from tornado.iostream import StreamClosedError
from tornado.routing import URLSpec
from tornado.web import stream_request_body

from fetcher.errors import AnswerBroken, TaskError
from fetcher.head import field, reason
from fetcher.http import forwarding
from fetcher.http.handler import Handler, Places, shown_url
from fetcher.http.incoming import IncomingBody
from fetcher.model import Result, Task, Trust
from fetcher.route.route import Route
from fetcher.run.fetcher import Fetcher
from fetcher.run.path import Ending, Fetching
from fetcher.run.reading import Reading
from fetcher.task.schemes import special_scheme

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


class FetchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What `/fetch` allows its callers."""

    route: Route
    trust: Trust = Trust.GUARDED
    caller_proxy: bool = True
    concurrency: int = 0  # 0 = no limit
    max_body: int = 0
    stall: float = 30.0  # seconds for which a caller may read nothing; 0 = no limit


class _AnyMethod(tuple[str, ...]):
    """Holds every method: which of them it serves is the target's business."""

    __slots__ = ()

    def __contains__(self, method: object) -> bool:
        return True


# Those by whose names Tornado may call the handler; "FINISH" would end our own answer.
_DISPATCHED: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


# Streamed, or Tornado would parse forms, and refuse those that are for the target to judge.
@stream_request_body
class FetchHandler(Handler):
    """``ANY /fetch?url=U``: the target's answer, fetched by our route, as the caller's own.

    Method, end-to-end headers and body go on; status, headers and decoded body come back, with
    ``X-Fetch-*`` beside them. Our own failures are JSON, marked ``X-Fetch-Error: 1``.
    """

    SUPPORTED_METHODS = _AnyMethod()
    max_body = 1 << 40  # bytes; what is over `HELD` is not kept
    takes_bearer = False  # Authorization belongs to the target
    refuses_cross_site = True

    OPTIONS: ClassVar[dict[str, Callable[[str], Any]]] = {
        "timeout": float,
        "retries": int,
        "proxy": str,
        "site": str,
    }

    def initialize(self, fetcher: Fetcher, limits: FetchLimits, places: Places) -> None:
        self.fetcher = fetcher
        self.limits = limits
        self.places = places
        self.body = bytearray()
        self.incoming: IncomingBody | None = None  # of a long body
        self.serving: asyncio.Task[None] | None = None  # begins before that has ended
        self.stalled: asyncio.Handle | None = None  # ends a body that stands still
        self.reading: Reading | None = None

    def clear(self) -> None:
        """Without Tornado's Server, Content-Type and Date: they are the target's to say (6 us)."""
        self._headers = HTTPHeaders()
        self._write_buffer = []
        self.set_status(200)

    def compute_etag(self) -> None:
        """None: the target's own, if it has one, is what goes back."""

    def check_etag_header(self) -> bool:
        """Whether 304 is the answer has been for the target to say."""
        return False

    def prepare(self) -> None:
        """Nothing is answered before the body is read: a client that still sends would miss it."""
        self.refused = self.refusal(self.request, self.settings["gate"])
        self.method = self.request.method or "GET"
        self.declared = _declared(self.request.headers)
        if self.refused is None and (self.declared is None or self.declared > HELD):
            # A long body may take its time, but not stand still.
            self.request.connection.set_body_timeout(None)  # type: ignore[union-attr]
            self._expect_more()
        if self.method not in _DISPATCHED:
            self.request.method = "POST"

    async def data_received(self, chunk: bytes) -> None:
        if self.refused is not None:
            return
        self._stop_expecting()
        await self._take_in(chunk)
        self._expect_more()

    async def _take_in(self, chunk: bytes) -> None:
        if self.incoming is None:
            self.body += chunk
            if len(self.body) <= HELD:
                return
            self.incoming = IncomingBody(self.declared)
            self.serving = asyncio.get_running_loop().create_task(self._serve())
            chunk = bytes(self.body)
            self.body.clear()
        await self.incoming.put(chunk)

    def _expect_more(self) -> None:
        if self.limits.stall and (self.declared is None or self.declared > HELD):
            loop = asyncio.get_running_loop()
            self.stalled = loop.call_later(self.limits.stall, self._cut)

    def _stop_expecting(self) -> None:
        if self.stalled is not None:
            self.stalled.cancel()
            self.stalled = None

    def on_connection_close(self) -> None:
        """The caller has left: nobody needs the answer."""
        super().on_connection_close()
        self._stop_expecting()
        if self.incoming is not None:
            self.incoming.fail()
        if self.reading is not None:
            self.reading.leave()

    async def _fetch(self) -> None:
        self._stop_expecting()
        if self.incoming is not None and self.serving is not None:
            self.incoming.end()
            await self.serving
        else:
            await self._serve()

    get = head = post = put = patch = delete = options = _fetch

    async def _serve(self) -> None:
        self.request.method = self.method
        if self.refused is not None:
            self.write_refusal(self.refused)
            return
        try:
            task = self._task()
        except TaskError as error:
            self._write_failure(400, str(error), None)
        else:
            if self.places.closed:
                self.set_header("Connection", "close")
                self._write_failure(503, "the service is stopping", None)
            elif 0 < self.limits.concurrency <= self.places.fetching:
                self.set_header("Retry-After", "1")
                self._write_failure(503, "all places for fetches are taken: try again", None)
            else:
                with self.places:
                    await self._answer(task)
        if self.incoming is not None:
            self.incoming.drop()

    async def _answer(self, task: Task) -> None:
        self.places.fetching += 1
        is_fetching = True
        patient = "timeout" not in self.request.query_arguments
        try:
            reading = self.reading = self.fetcher.read(
                task,
                trust=self.limits.trust,
                route=self.limits.route,
                upload=self.incoming,
                patient=patient,
            )
            result = await reading.head()
            if result is None:
                self.set_status(499, "Client Closed Request")  # nginx's word for it, for the log
                return
            with contextlib.suppress(StreamClosedError):
                if not reading.is_over:
                    await self._write_stream(reading, result)
                else:
                    # It waits for its reader alone, and counts for no limit.
                    self.places.fetching -= 1
                    is_fetching = False
                    await self._write_whole(reading, result)
        finally:
            self.places.fetching -= is_fetching
            if self.reading is not None:
                self.reading.leave()

    def _task(self) -> Task:
        """The task of this request. Raises `TaskError` naming the parameter that is wrong."""
        arguments = self._arguments()
        url = arguments.pop("url", "")
        if not url:
            raise TaskError("url: missing; expected /fetch?url=http%3A%2F%2Fexample.com%2F")
        # However far callers are trusted, files and keys of this machine are not theirs.
        special_scheme(url, self.fetcher.shared.policy.schemes, Trust.GUARDED)
        self.keeps_cookies = _switch("cookies", arguments.pop("cookies", "0"))
        options: dict[str, Any] = {}
        for name, text in arguments.items():
            if name in self.OPTIONS:
                try:
                    options[name] = self.OPTIONS[name](text)
                except ValueError:
                    raise TaskError(f"{name}: expected a number, got {text[:50]!r}") from None
            elif name == "redirects":
                options["allow_redirects"] = _switch(name, text)
            elif name == "render":
                if text != "js":
                    raise TaskError(f"render: expected js, got {text[:50]!r}")
                options["fetch_type"] = text
            else:
                raise TaskError(
                    f"unknown parameter {name[:50]!r}: if it is the URL's, percent-encode its &"
                )
        if "proxy" in options and not self.limits.caller_proxy:
            raise TaskError("proxy: callers may not name one here (api.caller_proxy)")
        if self.limits.max_body:
            options["max_body"] = self.limits.max_body
        if "Range" in self.request.headers:
            options["use_gzip"] = False  # a range is one of the bytes that are sent
        headers = forwarding.forwarded_headers(self.request.headers.get_all())
        return forwarding.task_for(url, self.method, headers, bytes(self.body), options)

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

    async def _write_whole(self, reading: Reading, result: Result) -> None:
        fetching = reading.fetching
        assert fetching is not None
        if fetching.ending is not Ending.ANSWERED:
            status = _STATUS_OF.get(fetching.ending, result.status_code)
            self._write_failure(status, reading.error or "", fetching)
            return
        self._set_head(fetching, result)
        if self.method == "HEAD":
            await self.flush()  # else Tornado says that the length is 0
        # Until it is sent, and not a write of nothing: Tornado refuses any to a 204.
        await self._in_time(self.finish(reading.take() or None))

    async def _write_stream(self, reading: Reading, result: Result) -> None:
        """The answer as it comes; one that breaks is cut off, so that it does not look whole."""
        fetching = reading.fetching
        assert fetching is not None and fetching.response is not None
        self._set_head(fetching, result)
        head = fetching.response.head
        length = field(head, b"content-length")
        if (
            length is not None
            and self.method != "HEAD"
            and field(head, b"content-encoding") is None
        ):
            self.set_header("Content-Length", length.decode("latin-1"))
        try:
            await self._in_time(self.flush())
            async for chunk in reading:
                self.write(chunk)
                await self._in_time(self.flush())
            if not reading.is_left:
                await self._in_time(self.finish())
        except (AnswerBroken, HTTPOutputError) as error:
            logger.debug("an answer of /fetch is cut off: %s", error)
            self._cut()

    async def _in_time(self, sent: "asyncio.Future[None]") -> None:
        """Wait until the caller has taken what was written; who takes nothing is cut off."""
        if sent.done() or not self.limits.stall:
            await sent
            return
        # A timer of the loop: `wait_for` would cost 20 us.
        timer = asyncio.get_running_loop().call_later(self.limits.stall, self._stall)
        try:
            await sent
        finally:
            timer.cancel()

    def _stall(self) -> None:
        logger.debug("a caller of /fetch takes nothing for %g s: cut off", self.limits.stall)
        self._cut()

    def _cut(self) -> None:
        """End the connection without the last chunk."""
        self._auto_finish = False
        stream = getattr(self.request.connection, "stream", None)
        if stream is not None:
            stream.close()

    def _set_head(self, fetching: Fetching, result: Result) -> None:
        response = fetching.response
        if response is None:  # a data: URL
            headers = forwarding.inline_headers(result.headers["Content-Type"])
        else:
            self.set_status(response.status, reason(response.head, response.status))
            headers = forwarding.returned_headers(
                response.head, method=self.method, cookies=self.keeps_cookies
            )
        given = self._headers  # all of them are clean: `add_header` looks at each again
        for name, value in headers:
            if name in given:
                given.add(name, value)
            else:
                given[name] = value
        for name, value in forwarding.SAFETY:
            given[name] = value
        self._set_account(fetching, result)

    def _write_failure(self, status: int, error: str, fetching: Fetching | None) -> None:
        attempts = fetching.attempts if fetching is not None else []
        self.set_header("X-Fetch-Error", "1")
        self.set_header("Date", format_timestamp(time.time()))
        self.write_json({"error": error, "attempts": attempts}, status)

    def _set_account(self, fetching: Fetching, result: Result) -> None:
        headers = self._headers  # all of it is ASCII without controls
        headers["X-Fetch-Url"] = shown_url(result.url)
        headers["X-Fetch-Attempts"] = str(result.attempts)
        headers["X-Fetch-Time"] = f"{result.time:.3f}"
        if result.proxy is not None:
            headers["X-Fetch-Proxy"] = result.proxy


def _declared(headers: HTTPHeaders) -> int | None:
    """How long the body of a request is, None if it is chunked: nobody knows."""
    if "Transfer-Encoding" in headers:
        return None
    text = headers.get("Content-Length", "0")
    return int(text) if text.isdecimal() else 0  # Tornado refuses it in a moment


def _length(head: bytes) -> str | None:
    """How long the body is that goes on, if that can be known: it is handed on decoded."""
    length = field(head, b"content-length")
    if length is None or field(head, b"content-encoding") is not None:
        return None
    return length.decode("latin-1")


def _switch(name: str, text: str) -> bool:
    if text not in ("0", "1"):
        raise TaskError(f"{name}: expected 0 or 1, got {text[:50]!r}")
    return text == "1"


def routes(fetcher: Fetcher, limits: FetchLimits, places: Places) -> list[URLSpec]:
    """The route of this module. `places`: by which the caller can close it."""
    given = {"fetcher": fetcher, "limits": limits, "places": places}
    return [URLSpec("/fetch", FetchHandler, given)]
