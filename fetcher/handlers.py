"""The HTTP entrances that need no pool: their common base, health, and `/fetch`.

Tornado handlers: they read the request, ask the decision modules, run the fetcher and write.
"""

import json
import logging
from collections.abc import Callable
from typing import Any, ClassVar, Final

import msgspec
from tornado.routing import URLSpec
from tornado.web import Application, RequestHandler

from fetcher import forwarding
from fetcher.errors import TaskError
from fetcher.fetcher import Ending, Fetcher, Fetching
from fetcher.gate import Gate, Refusal, refuse_cross_site, refuse_host, refuse_key
from fetcher.head import reason
from fetcher.model import Result, Trust
from fetcher.route import Route
from fetcher.urls import loggable
from fetcher.wire import parse_task

logger = logging.getLogger(__name__)

_STATUS_OF: Final = {
    Ending.BAD_TASK: 400,
    Ending.REFUSED: 403,
    Ending.NO_PROXY: 503,
    Ending.LATE: 504,
    Ending.FAILED: 502,
    Ending.BUG: 502,
}


class Handler(RequestHandler):
    """Base of every handler of the API: nobody gets further than `prepare` uninvited.

    The application's settings hold the `Gate` under ``gate``.
    """

    asks_for_key: ClassVar[bool] = True
    takes_bearer: ClassVar[bool] = True
    refuses_cross_site: ClassVar[bool] = False

    def prepare(self) -> None:
        refusal = self._refusal()
        if refusal is not None:
            self.set_status(refusal.status)
            self.set_header("Content-Type", refusal.content_type)
            self.finish(refusal.body)

    def _refusal(self) -> Refusal | None:
        gate: Gate = self.settings["gate"]
        headers = self.request.headers
        refusal = refuse_host(gate, self.request.host, self._bound())
        if refusal is None and (
            self.refuses_cross_site or self.request.method in ("POST", "DELETE")
        ):
            refusal = refuse_cross_site(gate, headers)
        if refusal is None and self.asks_for_key:
            refusal = refuse_key(gate, headers, bearer=self.takes_bearer)
        return refusal

    def _bound(self) -> tuple[str, ...]:
        stream = getattr(self.request.connection, "stream", None)
        if stream is None or stream.socket is None:
            return ()
        return (stream.socket.getsockname()[0],)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Words instead of a page."""
        error = kwargs.get("exc_info", (None, None))[1]
        words = getattr(error, "log_message", None) or self._reason
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{words}\n")

    def write_json(self, value: Any, status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(msgspec.to_builtins(value)) + "\n")


class LivezHandler(Handler):
    """200 while the loop turns."""

    asks_for_key = False

    def get(self) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("ok\n")

    head = get


class HealthzHandler(Handler):
    """200 when everything can do its work, 503 with the reasons when something cannot."""

    asks_for_key = False

    def initialize(self, problems: Callable[[], list[str]]) -> None:
        self.problems = problems

    def get(self) -> None:
        problems = self.problems()
        self.write_json({"ready": not problems, "problems": problems}, 503 if problems else 200)

    head = get


class FetchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What `/fetch` allows its callers."""

    route: Route
    trust: Trust = Trust.GUARDED
    caller_proxy: bool = True
    concurrency: int = 0  # 0 = no limit
    max_body: int = 0


class FetchHandler(Handler):
    """``ANY /fetch?url=U``: the target's answer, fetched by our route, as the caller's own.

    Method, end-to-end headers and body go on; status, headers and decoded body come back, with
    ``X-Fetch-*`` beside them. Our own failures are JSON, marked ``X-Fetch-Error: 1``.
    """

    SUPPORTED_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    takes_bearer = False  # Authorization belongs to the target
    refuses_cross_site = True

    OPTIONS: ClassVar[dict[str, Callable[[str], Any]]] = {
        "timeout": float,
        "retries": int,
        "proxy": str,
        "site": str,
    }
    SWITCHES: ClassVar[tuple[str, ...]] = ("redirects", "cookies")

    def initialize(self, fetcher: Fetcher, limits: FetchLimits, active: list[int]) -> None:
        self.fetcher = fetcher
        self.limits = limits
        self.active = active  # one counter, shared by all requests

    def compute_etag(self) -> None:
        """None: the target's own, if it has one, is what goes back."""

    async def _fetch(self) -> None:
        try:
            task = self._task()
        except TaskError as error:
            self._write_failure(400, str(error), None)
            return
        if 0 < self.limits.concurrency <= self.active[0]:
            self.set_header("Retry-After", "1")
            self._write_failure(503, "all places for fetches are taken: try again", None)
            return
        self.active[0] += 1
        try:
            typed = parse_task(task)
            fetching, result = await self.fetcher.fetch_told(
                typed, trust=self.limits.trust, route=self.limits.route
            )
        except TaskError as error:
            self._write_failure(400, str(error), None)
            return
        finally:
            self.active[0] -= 1
        self._write_result(fetching, result)

    get = head = post = put = patch = delete = options = _fetch

    def _task(self) -> dict[str, Any]:
        """The task of this request. Raises `TaskError` naming the parameter that is wrong."""
        arguments = {
            name: values[-1].decode() for name, values in self.request.query_arguments.items()
        }
        url = arguments.pop("url", "")
        if not url:
            raise TaskError("url: missing; expected /fetch?url=http%3A%2F%2Fexample.com%2F")
        options: dict[str, Any] = {}
        for name, text in arguments.items():
            if name in self.OPTIONS:
                try:
                    options[name] = self.OPTIONS[name](text)
                except ValueError:
                    raise TaskError(f"{name}: expected a number, got {text[:50]!r}") from None
            elif name == "redirects":
                options["allow_redirects"] = text != "0"
            elif name not in self.SWITCHES:
                raise TaskError(
                    f"unknown parameter {name[:50]!r}: if it is the URL's, percent-encode its &"
                )
        if "proxy" in options and not self.limits.caller_proxy:
            raise TaskError("proxy: callers may not name one here (api.caller_proxy)")
        if self.limits.max_body:
            options["max_body"] = self.limits.max_body
        headers = forwarding.forwarded_headers(self.request.headers.get_all())
        method = self.request.method or "GET"
        return forwarding.task_for(url, method, headers, self.request.body, options)

    def _write_result(self, fetching: Fetching, result: Result) -> None:
        response = fetching.response
        if fetching.ending is not Ending.ANSWERED or response is None:
            status = _STATUS_OF.get(fetching.ending, result.status_code)
            words = str(result.error or result.content.decode()).removeprefix("HTTP 599: ")
            self._write_failure(status, words, fetching)
            return
        for name in ("Server", "Content-Type", "Date"):
            self.clear_header(name)
        self.set_status(response.status, reason(response.head, response.status))
        cookies = self.get_query_argument("cookies", "0") == "1"
        for name, value in forwarding.returned_headers(response.head, cookies=cookies):
            self.add_header(name, value)
        for name, value in forwarding.SAFETY:
            self.set_header(name, value)
        self._set_account(fetching, result)
        self.finish(result.content)

    def _write_failure(self, status: int, error: str, fetching: Fetching | None) -> None:
        attempts = fetching.attempts if fetching is not None else []
        self.set_header("X-Fetch-Error", "1")
        self.write_json({"error": error, "attempts": attempts}, status)

    def _set_account(self, fetching: Fetching, result: Result) -> None:
        self.set_header("X-Fetch-Url", loggable(result.url))
        self.set_header("X-Fetch-Attempts", str(result.attempts))
        self.set_header("X-Fetch-Time", f"{result.time:.3f}")
        if result.proxy is not None:
            self.set_header("X-Fetch-Proxy", result.proxy)


def routes(
    fetcher: Fetcher, limits: FetchLimits, problems: Callable[[], list[str]]
) -> list[URLSpec]:
    """The routes of this module."""
    return [
        URLSpec("/livez", LivezHandler),
        URLSpec("/healthz", HealthzHandler, {"problems": problems}),
        URLSpec("/fetch", FetchHandler, {"fetcher": fetcher, "limits": limits, "active": [0]}),
    ]


def application(specs: list[URLSpec], gate: Gate) -> Application:
    """All routes of the API behind one gate, with our access log and 404."""
    return Application(
        specs,
        gate=gate,
        log_function=_log_access,
        default_handler_class=NotFoundHandler,
    )


class NotFoundHandler(Handler):
    """404 without asking for a key, as ProxyPool answers."""

    asks_for_key = False

    def prepare(self) -> None:
        super().prepare()
        if not self._finished:
            self.set_status(404)
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish("There is nothing here.\n")


def _log_access(handler: RequestHandler) -> None:
    """Path and names of parameters: values may be secrets, and of `url` only the place is said."""
    request = handler.request
    names = ",".join(request.query_arguments)
    logger.debug(
        "%s %s(%s) %d %.1f ms",
        request.method, request.path, names, handler.get_status(), 1000 * request.request_time(),
    )  # fmt: skip
