"""Intercept: the few requests of a page that are stopped in the browser to be changed or refused.

A driver, over a DevTools session of its own. playwright's routes would stop all requests and switch
the cache off; this stops documents, what is of a blocked type, and, where a task has headers of its
own, what goes to its place.
"""

import asyncio
import base64
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fetcher.client.chromium.headers import Header, merge_headers, own_headers, same_place
from fetcher.model import Request

if TYPE_CHECKING:
    import playwright.async_api as api

logger = logging.getLogger(__name__)

# DevTools call these XHR when they are stopped; what they accept tells them apart.
_EVENTS: Final = "EventSource"
_EVENTS_ARE: Final = ("XHR", "Fetch")
_EVENTS_ACCEPT: Final = "text/event-stream"

# Types as DevTools spell them, by the names that tasks use.
TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "document": ("Document",),
    "stylesheet": ("Stylesheet",),
    "image": ("Image",),
    "media": ("Media",),
    "font": ("Font",),
    "script": ("Script",),
    "texttrack": ("TextTrack",),
    "xhr": ("XHR", "Fetch"),
    "fetch": ("XHR", "Fetch"),
    "eventsource": (_EVENTS,),
    "manifest": ("Manifest",),
    "ping": ("Ping", "CSPViolationReport"),
    "other": ("Other",),
}
_AT_ANSWER: Final = "Response"


class Document(msgspec.Struct, frozen=True):
    """The answer that the page's own document came in."""

    url: str
    status: int
    fields: tuple[Header, ...]

    def field(self, name: str) -> str:
        """The first of that name, "" if there is none."""
        return next((value for key, value in self.fields if key.lower() == name), "")


class Intercept:
    """For one page. `document` is the last that came for its main frame; `too_large`: it was longer
    than the task wants, and was refused."""

    document: Document | None = None
    too_large = 0

    def __init__(
        self, session: "api.CDPSession", request: Request, own: list[Header], block: frozenset[str]
    ) -> None:
        self._session = session
        self._request = request
        self._own = own
        self._block = {one for name in block for one in TYPES.get(name, ())}
        self.frame = ""  # the main one
        self._is_first = True
        self._chain = ""  # the network's name for the first navigation and its redirects
        self._tasks: set[asyncio.Task[None]] = set()
        self.asked = ""  # where the main frame was led last

    async def begin(self) -> None:
        """Raises playwright's Error."""
        self._session.on("Fetch.requestPaused", self._paused)
        patterns: list[dict[str, str]] = [
            {"resourceType": "Document"},
            {"resourceType": "Document", "requestStage": _AT_ANSWER},
        ]
        stopped = self._block - {"Document", _EVENTS}
        if _EVENTS in self._block:
            stopped |= {*_EVENTS_ARE}
        patterns += [{"resourceType": one} for one in sorted(stopped)]
        if self._own:
            patterns += [{"urlPattern": one} for one in _places(self._request.url)]
        await self._session.send("Fetch.enable", {"patterns": patterns})

    def again(self) -> None:
        """The page is asked for once more, as if it had not been."""
        self._is_first = True
        self.document = None

    def _paused(self, event: dict[str, Any]) -> None:
        name, params = self._decide(event)
        task = asyncio.get_running_loop().create_task(self._send(name, params))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, name: str, params: dict[str, Any]) -> None:
        try:
            await self._session.send(name, params)
        except Exception as error:  # noqa: BLE001 - the request is gone, or the page
            logger.debug("%s: %s", name, error)

    def _decide(self, event: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        answer: dict[str, Any] = {"requestId": event["requestId"]}
        kind, frame = event.get("resourceType", ""), event.get("frameId", "")
        is_document = kind == "Document"
        if is_document and not self.frame:
            self.frame = frame  # of a page that is empty, the first navigation is its own
        is_page = is_document and frame == self.frame
        if "responseStatusCode" in event or "responseErrorReason" in event:
            return (
                self._judge_answer(event, answer) if is_page else ("Fetch.continueRequest", answer)
            )
        if _accepts(event) == _EVENTS_ACCEPT:
            kind = _EVENTS
        if kind in self._block and not is_page:
            return "Fetch.failRequest", {**answer, "errorReason": "BlockedByClient"}
        return "Fetch.continueRequest", {**answer, **self._change(event, is_page=is_page)}

    def _change(self, event: dict[str, Any], *, is_page: bool) -> dict[str, Any]:
        """What is sent instead of what the browser would."""
        sent, request = event["request"], self._request
        url = sent["url"].partition("#")[0]
        if is_page:
            self.asked = url
        in_chain = is_page and (self._is_first or event.get("networkId", "") == self._chain != "")
        changed: dict[str, Any] = {}
        method = sent["method"]
        if is_page and self._is_first:
            self._is_first = False
            method = request.method
            self._chain = event.get("networkId", "")
            if request.method != "GET":
                changed["method"] = request.method
            if isinstance(request.body, bytes) and request.body:
                changed["postData"] = base64.b64encode(request.body).decode()
        own = self._own if in_chain or same_place(url, request.url) else []
        fields = own_headers(own, url, request.url, is_page=in_chain)
        if method != request.method:  # a redirect has dropped the body
            fields = [one for one in fields if not one[0].lower().startswith("content-")]
        if fields:
            changed["headers"] = merge_headers(sent["headers"], fields)
        return changed

    def _judge_answer(
        self, event: dict[str, Any], answer: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        if "responseStatusCode" in event:
            fields = tuple((one["name"], one["value"]) for one in event.get("responseHeaders", ()))
            url = event["request"]["url"].partition("#")[0]
            self.document = Document(url, event["responseStatusCode"], fields)
            length, most = self.document.field("content-length"), self._request.max_body
            if 0 < most < (int(length) if length.isdecimal() else 0):
                self.too_large = int(length)
                return "Fetch.failRequest", {**answer, "errorReason": "BlockedByClient"}
        return "Fetch.continueRequest", answer


def _accepts(event: dict[str, Any]) -> str:
    accept: str = event["request"].get("headers", {}).get("Accept", "")
    return accept


def _places(url: str) -> list[str]:
    """Patterns for all that is at the task's place."""
    scheme, _, rest = url.partition("://")
    place = rest.partition("/")[0]
    escaped = place.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?")
    patterns = [f"{scheme}://{escaped}/*"]
    if scheme == "http" and ":" not in place.rpartition("]")[2]:
        patterns.append(f"https://{escaped}/*")
    return patterns
