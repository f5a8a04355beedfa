"""What all HTTP entrances share: the gate at the door, errors in words, health, and our log."""

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Final, NotRequired, TypedDict

import msgspec
import tornado
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.iostream import StreamClosedError
from tornado.routing import PathMatches, Router, Rule, URLSpec
from tornado.web import Application, HTTPError, RequestHandler, _has_stream_request_body

from fetcher.http.date import build_date
from fetcher.http.description import Error
from fetcher.http.gate import (
    NO_PROXY,
    Gate,
    Refusal,
    refuse_cross_site,
    refuse_haste,
    refuse_host,
    refuse_key,
)
from fetcher.http.request_id import FIELD, find_id
from fetcher.http.unknown import explain_parameters, explain_path, name_routes
from fetcher.settings import LOG_FIELDS
from fetcher.task.data_url import is_data_url
from fetcher.urls import loggable

logger = logging.getLogger(__name__)

# RFC 9112 3.2.2, without the query: scheme, authority and path.
_ABSOLUTE: Final = re.compile(r"https?://([^/]*)(.*)", re.IGNORECASE)

_PLAIN: Final = re.compile(r"[/\w-]*", re.ASCII)  # a pattern that is for one path only
_SERVER: Final = f"TornadoServer/{tornado.version}"
_METHODS: Final = RequestHandler.SUPPORTED_METHODS
SMALL: Final = 65536  # bytes of a body where none is expected


class Handler(RequestHandler):
    """Base of every handler of the API: nobody gets further than `prepare` uninvited.

    The application's settings hold the `Gate` under ``gate``.
    """

    # Bytes of a body that are read of those who may come in; of others `SMALL`.
    max_body: ClassVar[int] = SMALL
    asks_for_key: ClassVar[bool] = True
    takes_bearer: ClassVar[bool] = True
    refuses_cross_site: ClassVar[bool] = False
    takes_last: ClassVar[bool] = False  # of parameters of one name; else the first, as Flask does

    def clear(self) -> None:
        """See Tornado's, which formats a date and looks into what it says itself: 8 us."""
        fields = HTTPHeaders()
        fields["Server"] = _SERVER
        fields["Content-Type"] = "text/html; charset=UTF-8"
        fields["Date"] = build_date(time.time())
        fields[FIELD] = find_id(self.request)
        self._headers = fields
        self._write_buffer: list[bytes] = []
        self._status_code, self._reason = 200, "OK"

    def check_etag_header(self) -> bool:
        """Nearly nobody has one, and to find none takes 4 us."""
        return "If-None-Match" in self.request.headers and super().check_etag_header()

    def prepare(self) -> None:
        gate = self.settings["gate"]
        refusal = self.refusal(self.request, gate)
        if refusal is None and self.asks_for_key and gate.limiter is not None:
            refusal = refuse_haste(gate, self.request.headers, bearer=self.takes_bearer)
        if refusal is not None:
            self.write_refusal(refusal)

    @classmethod
    def refusal(cls, request: HTTPServerRequest, gate: Gate) -> Refusal | None:
        """See `find_refusal`."""
        return find_refusal(
            request,
            gate,
            asks_for_key=cls.asks_for_key,
            takes_bearer=cls.takes_bearer,
            refuses_cross_site=cls.refuses_cross_site,
        )

    def write_refusal(self, refusal: Refusal) -> None:
        self.set_status(refusal.status)
        self.set_header("Content-Type", refusal.content_type)
        if refusal.retry_after is not None:
            self.set_header("Retry-After", str(refusal.retry_after))
        self.finish(refusal.body)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Words instead of a page."""
        if status_code == 405:  # RFC 9110 15.5.6: and what would be right
            self.set_header("Allow", ", ".join(self._find_methods()))
        error = kwargs.get("exc_info", (None, None))[1]
        words = getattr(error, "log_message", None) or self._reason
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{words}\n")

    def _find_methods(self) -> list[str]:
        nothing = RequestHandler._unimplemented_method
        names = [name for name in _METHODS if name in self.SUPPORTED_METHODS]
        return [name for name in names if getattr(type(self), name.lower()) is not nothing]

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Tornado would log the whole URL, in which there may be secrets."""
        if not isinstance(value, HTTPError) and value is not None:
            line, name = _access_line(self.request), find_id(self.request)
            logger.error("%s failed [%s]", line, name, exc_info=(type(value), value, tb))

    def argument(self, name: str) -> str:
        """A parameter of the query as it was sent, spaces and all; empty if there is none."""
        values = self.request.query_arguments.get(name) or [b""]
        return values[-1 if self.takes_last else 0].decode("utf-8", "replace")

    def explain_parameters(self, taken: Sequence[str], passed_over: str = "") -> str | None:
        """What is wrong with the names of the parameters, if it is `taken` that the route takes;
        the one that is `passed_over` may be there and means nothing."""
        given = self.request.query_arguments
        if not given:
            return None
        asked = (name for name in given if name != passed_over)
        return explain_parameters(asked, taken, self.request.path)

    async def finish_pieces(self, pieces: Iterable[str]) -> None:
        """Answer with these, one at a time as the client takes them; a single one goes out whole.

        A fast client gets them in as many turns of the loop, a client that leaves no more of them.
        """
        waiting = iter(pieces)
        piece = next(waiting, "")
        for following in waiting:
            self.write(piece)
            try:
                await self.flush()
            except StreamClosedError:
                return
            await asyncio.sleep(0)
            piece = following
        self.finish(piece)

    def write_json(self, value: Any, status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(msgspec.to_builtins(value)) + "\n")


class OwnHandler(Handler):
    """Base of the routes of our own under ``/api/``: JSON, and what is wrong in words, under
    ``error``. Parameters that a route does not take are refused."""

    takes_last = True
    parameters: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # by method; none where none stand

    def prepare(self) -> None:
        super().prepare()
        if not self._finished:
            method = "GET" if self.request.method == "HEAD" else self.request.method or ""
            words = self.explain_parameters(self.parameters.get(method, ()))
            if words is not None:
                self.refuse(400, words)

    def compute_etag(self) -> None:
        """None: what changes all the time is not worth a digest."""

    def refuse(self, status: int, words: str) -> None:
        self.write_json(Error(error=words), status)

    def write_packed(self, value: Any) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(msgspec.json.encode(value) + b"\n")


def find_refusal(
    request: HTTPServerRequest,
    gate: Gate,
    *,
    asks_for_key: bool = True,
    takes_bearer: bool = True,
    refuses_cross_site: bool = False,
) -> Refusal | None:
    """Why a request gets no further, or None; its head is enough to say so."""
    headers = request.headers
    # Not `request.host`, which is 127.0.0.1 when the field is empty or missing.
    refusal = refuse_host(
        gate,
        headers.get("Host", ""),
        lambda: _bound(request),
        is_absolute=not (request.uri or "/").startswith("/"),
    )
    if refusal is None and (refuses_cross_site or request.method in ("POST", "DELETE")):
        refusal = refuse_cross_site(gate, headers)
    if refusal is None and asks_for_key:
        refusal = refuse_key(gate, headers, bearer=takes_bearer)
    return refusal


def _bound(request: HTTPServerRequest) -> str | None:
    stream = getattr(request.connection, "stream", None)
    if stream is None or stream.socket is None:
        return None
    return str(stream.socket.getsockname()[0])


class LivezHandler(Handler):
    """200 while the loop turns."""

    asks_for_key = False

    def get(self) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("ok\n")

    head = get


class RendererHealth(TypedDict):
    """Of the browser that renders pages. `works` is null before the first page is to be rendered;
    `reason`: why not, in words."""

    works: bool | None
    reason: str


class Health(TypedDict):
    """`problems`: why it is not ready, in words. A renderer that is missing is none of them."""

    ready: bool
    problems: list[str]
    renderer: NotRequired[RendererHealth]


class HealthzHandler(Handler):
    """200 when everything can do its work, 503 with the reasons when something cannot."""

    asks_for_key = False

    def initialize(
        self,
        problems: Callable[[], list[str]],
        renderer: Callable[[], RendererHealth] | None = None,
    ) -> None:
        self.problems = problems
        self.renderer = renderer

    def get(self) -> None:
        problems = self.problems()
        health = Health(ready=not problems, problems=problems)
        if self.renderer is not None:
            health["renderer"] = self.renderer()
        self.write_json(health, 503 if problems else 200)

    head = get


class Places:
    """The places of an entrance, `with places:` takes one; and who waits until all are free.

    A place is `taken` until its answer has been sent; one that is no longer `fetching` counts
    for no limit, or clients that do not read would keep others out.
    """

    def __init__(self, name: str = "/fetch") -> None:
        self.name = name
        self.taken = 0
        self.fetching = 0
        self.closed = False  # the service is stopping: none is given any more
        # Who waits for one: called when a fetch has ended, and when it is closed.
        self.listeners: list[Callable[[], None]] = []
        self._left = asyncio.Event()

    def take(self) -> None:
        self.taken += 1

    def give_back(self) -> None:
        self.taken -= 1
        self._left.set()

    def end_fetch(self) -> None:
        """One place is no longer fetching."""
        self.fetching -= 1
        for listen in self.listeners:
            listen()

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *_: object) -> None:
        self.give_back()

    async def close(self, drain: float) -> None:
        """Give none any more, and wait at most `drain` seconds until all are free."""
        self.closed = True
        for listen in self.listeners:
            listen()
        try:
            async with asyncio.timeout(drain):
                while self.taken:
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError:
            logger.warning("%d answers of %s are cut off after %g s", self.taken, self.name, drain)


def health_routes(
    problems: Callable[[], list[str]], renderer: Callable[[], RendererHealth] | None = None
) -> list[URLSpec]:
    """`/livez` and `/healthz`."""
    return [
        URLSpec("/livez", LivezHandler),
        URLSpec("/healthz", HealthzHandler, {"problems": problems, "renderer": renderer}),
    ]


def shown_url(url: str) -> str:
    """A URL for a field: without userinfo, and of a data: URL not its content."""
    return "data:" if is_data_url(url) else loggable(url)


class _Doorkeeper(Application):
    """Tornado reads a body before a handler can refuse it: uninvited ones get no memory of ours.

    And it takes a target that is a whole URL for a path. Who is for one path only, in `known`, is
    not looked for by rules, which takes 10 us.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.known: dict[str, Rule] = {}

    def get_handler_delegate(
        self, request: HTTPServerRequest, target_class: type[RequestHandler], *args: Any, **kw: Any
    ) -> Any:
        size: int = target_class.max_body  # type: ignore[attr-defined]
        # Who takes a body as it comes can throw it away as it comes.
        if size > SMALL and not _has_stream_request_body(target_class):
            assert issubclass(target_class, Handler)
            if target_class.refusal(request, self.settings["gate"]) is not None:
                size = SMALL
        request.connection.set_max_body_size(size)  # type: ignore[union-attr]
        return super().get_handler_delegate(request, target_class, *args, **kw)

    def find_handler(self, request: HTTPServerRequest, **kw: Any) -> Any:
        if not request.path.startswith("/"):
            _take_apart(request)
        rule = self.known.get(request.path)
        if rule is None:
            return super().find_handler(request, **kw)
        if isinstance(rule.target, Router):
            return rule.target.find_handler(request)
        return self.get_handler_delegate(request, rule.target, rule.target_kwargs)


def _take_apart(request: HTTPServerRequest) -> None:
    """RFC 9112 3.2.2: of ``GET http://host/path`` the host counts, whatever Host says."""
    target = _ABSOLUTE.fullmatch(request.path)
    if target is not None:
        request.host = request.headers["Host"] = target[1]
        request.path = target[2] or "/"


def application(
    specs: Sequence[Rule], gate: Gate, responses: list[int] | None = None
) -> Application:
    """All routes of the API behind one gate, with our access log and 404. `responses` counts the
    answers, see `log_access`."""
    counts = responses if responses is not None else [0] * 6
    made = _Doorkeeper(
        list(specs),
        gate=gate,
        log_function=lambda handler: log_access(handler.request, handler.get_status(), counts),
        default_handler_class=NotFoundHandler,
        default_handler_args={"routes": name_routes(map(find_pattern, specs))},
    )
    for rule in specs:
        path = find_pattern(rule).removesuffix("$")
        first = next((one for one in specs if re.match(find_pattern(one), path)), None)
        if first is rule and _PLAIN.fullmatch(path):
            made.known[path] = rule
    return made


def find_pattern(rule: Rule) -> str:
    """Of the paths that a rule of ours is for."""
    assert isinstance(rule.matcher, PathMatches)
    return rule.matcher.regex.pattern


class NotFoundHandler(Handler):
    """404 without asking for a key, as ProxyPool answers, and the routes that there are."""

    asks_for_key = False

    def initialize(self, routes: Sequence[str]) -> None:
        self.routes = routes

    def prepare(self) -> None:
        super().prepare()
        if not self._finished:
            self.set_status(404)
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(explain_path(self.request.path, self.routes))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """The target of a CONNECT is no path, so it comes here."""
        if self.request.method == "CONNECT":
            kwargs = {"exc_info": (None, HTTPError(status_code, NO_PROXY), None)}
        super().write_error(status_code, **kwargs)


def log_access(request: HTTPServerRequest, status: int, responses: list[int]) -> None:
    """An answer is out: count it by the first digit of its status, and say so to who debugs."""
    responses[status // 100] += 1
    if logger.isEnabledFor(logging.DEBUG):
        took, name = request.request_time(), find_id(request)
        line = _access_line(request)
        logger.debug(
            "%s %d %.1f ms [%s]", line, status, 1000 * took, name,
            extra={
                LOG_FIELDS: {
                    "request_id": name,
                    "client": request.remote_ip,
                    "request": line,
                    "status": status,
                    "seconds": round(took, 6),
                }
            },
        )  # fmt: skip


def log_bug(request: HTTPServerRequest) -> None:
    """The exception that is being handled is one of ours."""
    logger.error("%s failed [%s]", _access_line(request), find_id(request), exc_info=True)


def _access_line(request: HTTPServerRequest) -> str:
    """Method, path and names of parameters: values may be secrets. Of `url` origin and path."""
    words = []
    for name, values in request.query_arguments.items():
        if name == "url":
            url = shown_url(values[-1].decode("utf-8", "replace"))
            name += "=" + url.partition("?")[0].partition("#")[0]
        words.append(name)
    line = f"{request.method} {request.path}({','.join(words)})"
    return line.encode("unicode_escape").decode("ascii")
