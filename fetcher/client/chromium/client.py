"""ChromiumClient: a `Client` whose transfers are pages, rendered one per context.

A driver. A page waits in line for its place, within its own deadline. What it comes to is told
once, whole; its context is closed behind that. One whose browser has ended gets a second try in the
next, where it may be repeated.
"""

import asyncio
import logging
from collections.abc import Collection

from fetcher.client.chromium.browser import Browser, BrowserFailed
from fetcher.client.chromium.browsers import Browsers
from fetcher.client.chromium.headers import join_head
from fetcher.client.chromium.outcome import (
    Failure,
    PageCrashed,
    RenderFailed,
    gone,
    late,
    may_repeat_page,
    twice,
)
from fetcher.client.chromium.seam import Listeners
from fetcher.client.chromium.visit import Visit
from fetcher.errors import Outcome
from fetcher.model import Exit, Limits, Request, Response, Sink, Timing
from fetcher.rendering import Rendered

logger = logging.getLogger(__name__)


class ChromiumClient:
    """`block`: hosts that no page gets anything from. Pages of all trusts share the browser; how
    far each is trusted is said by its `Egress`."""

    def __init__(
        self, browsers: Browsers, listeners: Listeners, block: Collection[str] = ()
    ) -> None:
        self.browsers = browsers
        self._listeners = listeners
        self._block = frozenset(host.lower().rstrip(".") for host in block)
        self._under_way: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def start(self, request: Request, exit: Exit, limits: Limits, sink: Sink) -> "PageTransfer":
        """Begin; `sink` hears of it from the loop, and of all of it at once."""
        transfer = PageTransfer(sink, limits.total)
        task = asyncio.get_running_loop().create_task(self._carry_out(transfer, request))
        transfer.task = task
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return transfer

    async def _carry_out(self, transfer: "PageTransfer", request: Request) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        until = began + transfer.seconds
        try:
            response = await self._try(transfer, request, until)
        except _Lost as lost:
            response = await self._try(transfer, request, until, lost.failure)
        response.timing = Timing(
            total=loop.time() - began, render=response.timing.render or loop.time() - began
        )
        sink, transfer.sink = transfer.sink, None
        if sink is not None:
            sink.done(response)

    async def _try(
        self, transfer: "PageTransfer", request: Request, until: float, first: Failure | None = None
    ) -> Response:
        """In one browser. Raises `_Lost` if that ends, and the page may be asked for once more.
        `first`: what became of the first try, where this is the second and last."""
        loop = asyncio.get_running_loop()
        browser: Browser | None = None
        visit: Visit | None = None
        try:
            async with asyncio.timeout_at(until):
                browser = await self.browsers.lend()
            began = loop.time()
            visit = Visit(browser, self._listeners, request, self._block)
            response = await visit.run(max(until - began, 0.001))
            response.timing = Timing(render=loop.time() - began)
            return response
        except Exception as error:  # noqa: BLE001 - what is no known end is logged
            is_lost = browser is not None and await _has_ended(browser, error)
            step = visit.step if visit is not None else "it waited for a place"
            failure = self._why(error, browser, transfer, step)
            tally = self.browsers.tally
            if is_lost and first is None and loop.time() < until and _may_repeat(browser, visit):
                tally.lose("repeated")
                logger.info("a page is asked for once more: %s", failure.message)
                raise _Lost(failure) from None
            if is_lost:
                tally.lose("failed")
            elif isinstance(error, PageCrashed):
                tally.lose("crashed")
            return _fail(request, visit, failure if first is None else twice(failure, first))
        finally:
            if browser is not None:
                closing = loop.create_task(self._close(browser, visit))
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

    def _why(
        self, error: Exception, browser: Browser | None, transfer: "PageTransfer", step: str
    ) -> Failure:
        if browser is not None and not browser.is_alive:
            return gone(f"{browser.reason}, while {step}")
        if isinstance(error, PageCrashed) and browser is not None:
            return gone(browser.explain_crash())
        if isinstance(error, RenderFailed):
            return error.failure
        if isinstance(error, BrowserFailed):
            return gone(str(error))
        if isinstance(error, TimeoutError):
            return late(transfer.seconds, step)
        if isinstance(error, ImportError):
            return gone("playwright is not installed: pip install -r requirements-js.txt")
        if type(error).__module__.startswith("playwright"):
            return gone(f"the browser says, while {step}: {str(error).splitlines()[0][:300]}")
        logger.error("a page could not be rendered", exc_info=error)
        return gone(f"{type(error).__name__}: {error}")

    async def _close(self, browser: Browser, visit: Visit | None) -> None:
        try:
            if visit is not None and not await visit.close():
                logger.info("a page did not close: its browser is replaced")
                browser.kill("hung", "the browser was ended, as a page of it did not close")
        except Exception:
            logger.exception("a page could not be closed")
        finally:
            self.browsers.give_back(browser)

    def kill(self) -> None:
        """End everything at once, where nobody can wait for it."""
        for task in list(self._under_way):
            task.cancel()
        self.browsers.kill()

    async def close(self) -> None:
        """Stop everything under way without telling its sink, and end the browser."""
        for task in list(self._under_way):
            task.cancel()
        await self.browsers.close()
        left = [*self._under_way, *self._closing]
        if left:
            await asyncio.wait(left, timeout=5)


class PageTransfer:
    """One page under way."""

    task: asyncio.Task[None] | None = None

    def __init__(self, sink: Sink, seconds: float) -> None:
        self.sink: Sink | None = sink  # None: nobody waits any more
        self.seconds = seconds

    def cancel(self) -> None:
        """Stop; the sink hears no more."""
        self.sink = None
        if self.task is not None:
            self.task.cancel()

    def pause(self) -> None:
        """All of it comes at once."""

    def resume(self) -> None:
        """As `pause`."""

    def extend(self, seconds: float) -> None:
        """Nothing is heard of it before its end."""


class _Lost(Exception):
    """A page's browser has ended, through no fault of the page's that we know of."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


async def _has_ended(browser: Browser, error: Exception) -> bool:
    """Whether a page came to its end with its browser."""
    is_own = isinstance(error, RenderFailed | TimeoutError) and not isinstance(error, PageCrashed)
    return not browser.is_alive if is_own else await browser.has_ended()


def _may_repeat(browser: Browser | None, visit: Visit | None) -> bool:
    """Whether a page whose browser has ended may have a second try."""
    if browser is None or browser.ended_by_its_page or visit is None:
        return False
    return may_repeat_page(visit.request, has_asked=visit.has_asked, has_acted=visit.has_acted)


def _fail(request: Request, visit: Visit | None, failure: Failure) -> Response:
    document = visit.document if visit is not None else None
    response = Response(
        url=document.url if document is not None else request.url,
        outcome=failure.outcome if failure.outcome is not Outcome.ANSWERED else Outcome.OURS,
        code=failure.code,
        message=failure.message,
        sent=visit is not None and visit.has_asked,
        rendered=Rendered(attempts=visit.tries) if visit is not None else None,
    )
    if document is not None:
        response.status = document.status
        response.head = join_head(document.status, document.fields)
    return response
