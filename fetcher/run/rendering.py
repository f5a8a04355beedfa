"""Rendering: what a fetch that asks for a renderer has beside others.

A part of the path: it knows who renders, what is asked of him, and how his requests leave.
"""

import logging
from collections.abc import Mapping
from time import monotonic
from typing import Final

from msgspec.structs import replace

from fetcher.auto.model import LOOKED, Look, Need, has_changed
from fetcher.charset import decode_body
from fetcher.errors import Code, Outcome
from fetcher.head import field
from fetcher.model import Client, Egress, Fetch, Request, Response, Result, Trust
from fetcher.rendering import CHROMIUM, FINDS_EXITS, Render
from fetcher.run.shared import Shared
from fetcher.task.render import (
    AUTO,
    build_render,
    called,
    explain_absence,
    explain_type,
    find_kinds,
    spelled,
    wants_more,
)

logger = logging.getLogger(__name__)

COMPLAIN_AGAIN: Final = 300.0  # seconds between two log lines about the same

# Bytes of a page of a stream that are waited for; a longer one goes on, and says enough.
HELD: Final = 2_097_152

# How it ends where there is no browser, or a service that renders does not answer.
_RENDERERS_OWN: Final = frozenset(
    {Code.RECV_ERROR, Code.COULDNT_CONNECT, Code.COULDNT_RESOLVE_HOST, Code.WEIRD_SERVER_REPLY}
)

_PAGES: Final = frozenset({b"text/html", b"application/xhtml+xml"})


class NotEnabled(Exception):
    """There is nobody who renders such a task: who is missing, and how he is to be had."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason


class Rendering:
    """One task's. `clients` None: nobody is there, and the plain answer has to do (`auto` only).

    `is_on`: what is asked for now goes to him who renders. `plain` is the answer that there is
    without him, once it has come, and `response` the response that it tells of; `look` is what that
    page says.
    """

    __slots__ = ("clients", "is_on", "look", "plain", "render", "response")

    def __init__(self, render: Render, clients: Mapping[Trust, Client] | None) -> None:
        self.render = render
        self.clients = clients
        self.is_on = False
        self.plain: Result | None = None
        self.response: Response | None = None
        self.look = Look()

    def takes(self, request: Request, response: Response, trust: Trust) -> bool:
        """Whether it may be of use to render what has been answered plainly."""
        return (
            self.clients is not None
            and trust in self.clients
            and request.method == "GET"
            and 200 <= response.status < 300
            and is_page(response)
        )

    def consider(self, response: Response, result: Result) -> Need:
        """Look at the plain answer, and keep it: how much a rendering of it is needed."""
        self.plain, self.response, self.look = result, response, _look(response)
        return Need.CERTAIN if wants_more(self.render) else self.look.need

    def compare(self, response: Response) -> bool | None:
        """Whether the rendering has changed anything; None where nobody can tell."""
        return has_changed(self.look, _look(response))

    @property
    def finds_exits(self) -> bool:
        """Whether the page's own requests find their exits one by one, that for itself too."""
        return self.is_on and self.render.kind in FINDS_EXITS

    def ask(self, request: Request, egress: Egress) -> Request:
        """The same request, of him who renders."""
        own = egress if self.finds_exits else None
        return replace(request, render=self.render, egress=own)


def find_rendering(shared: Shared, fetch: Fetch, trust: Trust) -> Rendering | None:
    """What a task asks for that is to be rendered, perhaps; None of any other. Raises `NotEnabled`,
    and `TaskError` for options that are wrong."""
    kinds = find_kinds(fetch.fetch_type)
    if not kinds or not fetch.fetch_type:
        wrong = explain_type(fetch.fetch_type)
        if wrong is not None:
            _complain(shared, "that is unknown", f"a task is fetched plainly: {wrong}")
        return None
    fetch_type = spelled(fetch.fetch_type)
    trusted = []
    for kind in kinds:
        clients = shared.clients.get(kind)
        if clients is not None and trust in clients:
            rendering = Rendering(build_render(fetch, kind), clients)
            rendering.is_on = fetch_type != AUTO
            return rendering
        if clients is not None:
            trusted.append(kind)
    reason = explain_absence(kinds, trusted, shared.missing)
    if fetch_type != AUTO:
        raise NotEnabled(called(fetch_type), reason)
    _complain(shared, AUTO, f"pages are fetched plainly, as nobody renders them: {reason}")
    return Rendering(build_render(fetch, CHROMIUM), None)


def tell_of_plain(shared: Shared, response: Response) -> None:
    """Say it in the log where a renderer fails, and not the page: `auto` goes on without him."""
    if response.outcome is Outcome.OURS and response.code in _RENDERERS_OWN:
        _complain(shared, AUTO, f"a page is left as it came plainly: {response.message}")


def _complain(shared: Shared, about: str, sentence: str) -> None:
    """Now and then; each task may come upon it."""
    now = monotonic()
    if now - shared.complained.get(about, -COMPLAIN_AGAIN) >= COMPLAIN_AGAIN:
        shared.complained[about] = now
        logger.warning("fetch_type %s: %s", about, sentence)


def is_page(response: Response) -> bool:
    """Whether an answer says that it is HTML."""
    content_type = field(response.head, b"content-type") or b""
    return content_type.partition(b";")[0].strip().lower() in _PAGES


def _look(response: Response) -> Look:
    from fetcher.auto.look import look  # 10 ms, and few ask for it

    content_type = field(response.head, b"content-type") or b""
    # A character takes four bytes at the most.
    return look(decode_body(response.body[: 4 * LOOKED], content_type.decode("latin-1")))
