"""A double of a renderer: a client that answers as one does, from a table, and runs no script."""

import asyncio
from collections.abc import Mapping
from typing import Any

from fetcher.errors import Code, Outcome
from fetcher.model import Exit, Limits, Request, Response, Sink, Timing
from fetcher.rendering import Rendered

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"


class Painting:
    """One transfer."""

    def __init__(self, painter: "Painter") -> None:
        self.painter = painter
        self.handle: asyncio.Handle | None = None

    def cancel(self) -> None:
        if self.handle is not None:
            self.handle.cancel()
            self.painter.cancelled += 1

    def pause(self) -> None:
        raise AssertionError("a rendered page comes whole")

    resume = pause

    def extend(self, seconds: float) -> None:
        raise AssertionError("a rendered page comes whole")


class Painter:
    """`pages`: URL -> HTML, or a response. What is not in there takes all the time there is."""

    def __init__(self, pages: Mapping[str, str | Response] | None = None) -> None:
        self.pages = dict(pages or {})
        self.asked: list[tuple[Request, Exit, Limits]] = []
        self.cancelled = 0

    def start(self, request: Request, exit: Exit, limits: Limits, sink: Sink) -> Painting:
        self.asked.append((request, exit, limits))
        assert sink.whole
        painting, loop = Painting(self), asyncio.get_running_loop()
        page = self.pages.get(request.url)
        if page is None:
            painting.handle = loop.call_later(limits.total, sink.done, late(request.url))
        else:
            answer = page if isinstance(page, Response) else painted(request.url, page)
            painting.handle = loop.call_soon(sink.done, answer)
        return painting


def painted(
    url: str, html: str, head: bytes = HEAD, status: int = 200, **rendered: Any
) -> Response:
    """What a renderer answers."""
    return Response(
        url=url,
        outcome=Outcome.ANSWERED,
        status=status,
        head=head,
        body=html.encode(),
        timing=Timing(total=0.2, render=0.1),
        rendered=Rendered(**rendered),
        sent=True,
    )


def late(url: str) -> Response:
    return failed(url, Code.OPERATION_TIMEDOUT, "Operation timed out after 1 milliseconds")


def failed(url: str, code: Code, message: str) -> Response:
    return Response(url=url, outcome=Outcome.OURS, code=code, message=message)
