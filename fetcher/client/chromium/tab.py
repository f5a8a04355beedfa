"""Tab: one page that is open, as its visit uses it: read, waited for, acted on, pictured.

A driver. Each step ends when the page crashes, as nothing answers any more then. Nothing in here
has an end of its own: whoever calls has a deadline.
"""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fetcher.client.chromium import scripts
from fetcher.client.chromium.outcome import PageCrashed, RenderFailed, wrong
from fetcher.rendering import Action, Click, Scroll, Type, Wait

if TYPE_CHECKING:
    import playwright.async_api as api

logger = logging.getLogger(__name__)

T = TypeVar("T")

IDLE_MOST: Final = 10.0  # seconds that are waited for silence behind the load
SETTLE_MOST: Final = 3.0  # and behind actions
FIND_MOST: Final = 10.0  # and for what an action wants
LOOK: Final = 0.1  # between two looks for something to scroll to
HIGHEST: Final = 16_384  # CSS pixels of a picture of the whole page
MOST_PICTURE: Final = 32 << 20  # bytes of a picture
_TRIES: Final = 3  # to read a page that goes on to another just then


class Tab:
    """`session` is DevTools', whom no content security policy stops. A page that loads for ever is
    waited for until `lenient_until`, by the loop's clock, and then taken as it is."""

    frame = ""  # DevTools' name of the main one, once it is known

    def __init__(self, page: "api.Page", session: "api.CDPSession", lenient_until: float) -> None:
        self.page = page
        self.session = session
        self.lenient_until = lenient_until
        self._loop = asyncio.get_running_loop()
        self._crashed: asyncio.Future[None] = self._loop.create_future()
        page.on("crash", lambda _: self._crash())
        page.on("close", lambda _: self._crash())  # with its browser, say

    def _crash(self) -> None:
        if not self._crashed.done():
            self._crashed.set_result(None)

    async def watch(self, doing: Awaitable[T]) -> T:
        """Do it. Raises `RenderFailed` if the page crashes."""
        task = self._loop.create_task(_await(doing))
        try:
            await asyncio.wait((task, self._crashed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                task.cancel()
        if not task.done() or (self._crashed.done() and task.exception() is not None):
            raise PageCrashed
        return task.result()

    # -- reading -----------------------------------------------------------------------------------

    async def evaluate(
        self, source: str, *, is_promise: bool = False, world: int | None = None
    ) -> dict[str, Any]:
        """What DevTools make of `source`; empty if the page went on to another meanwhile."""
        params: dict[str, Any] = {
            "expression": source,
            "awaitPromise": is_promise,
            "returnByValue": True,
        }
        if world is not None:
            params["contextId"] = world
        try:
            answer: dict[str, Any] = await self.watch(self.session.send("Runtime.evaluate", params))
        except RenderFailed:
            raise
        except Exception as error:
            if not _is_passage(error):
                raise
            logger.debug("the page went on: %s", error)
            return {}
        return answer

    async def read(self, source: str) -> Any:
        """The value of `source` in a world of our own, where a page has changed nothing."""
        for _ in range(_TRIES):
            try:
                made = await self.watch(
                    self.session.send("Page.createIsolatedWorld", {"frameId": self.frame})
                )
            except RenderFailed:
                raise
            except Exception as error:
                if not _is_passage(error):
                    raise
                continue
            answer = await self.evaluate(source, world=made["executionContextId"])
            if "result" in answer and "exceptionDetails" not in answer:
                return answer["result"].get("value")
        return None

    async def check(self, steps: Sequence[Action]) -> None:
        """While the page is empty yet: raises `RenderFailed` for what is no CSS to the browser."""
        named = [one.to if isinstance(one, Scroll) else one.selector for one in steps]
        selectors = [one for one in named if isinstance(one, str) and one]
        if not selectors:
            return
        answer = await self.evaluate(scripts.find_no_selector(selectors))
        found = answer.get("result", {}).get("value")
        if found is not None:
            raise RenderFailed(wrong(f"{str(found)[:100]!r} is no CSS selector"))

    # -- waiting -----------------------------------------------------------------------------------

    async def wait(self, wait: Wait) -> None:
        if wait.until == "idle":
            await self.wait_for("networkidle", IDLE_MOST)
        elif wait.until == "time":
            await self.watch(asyncio.sleep(wait.seconds))
        elif wait.until == "selector":
            found = self.page.locator(f"css={wait.selector}").first
            await self.watch(found.wait_for(state="attached", timeout=0))

    async def wait_for(self, state: Any, most: float | None = None) -> None:
        """Until the page is in that state, but not for ever, as some never are."""
        left = self.lenient_until - self._loop.time()
        seconds = left if most is None else min(left, most)
        try:
            async with asyncio.timeout(max(seconds, 0.001)):
                await self.watch(self.page.wait_for_load_state(state, timeout=0))
        except TimeoutError:
            logger.debug("a page is not %s within %.1f s", state, seconds)

    # -- acting ------------------------------------------------------------------------------------

    async def act(self, number: int, action: Action) -> None:
        """Raises `RenderFailed` if the page has nothing to do that with."""
        if isinstance(action, Wait):
            await self.wait(action)
            return
        try:
            async with asyncio.timeout(FIND_MOST) as finding:
                await self.watch(self._do(action))
        except TimeoutError:
            if not finding.expired():
                raise
            what = f"js_actions[{number}]: the page has nothing that fits within {FIND_MOST:g} s"
            raise RenderFailed(wrong(what)) from None

    async def _do(self, action: Scroll | Click | Type) -> None:
        if isinstance(action, Scroll):
            while True:
                if await self.read(scripts.scroll(action.to)):
                    return
                await asyncio.sleep(LOOK)
        found = self.page.locator(f"css={action.selector}").first
        if isinstance(action, Click):
            await found.click(timeout=0)
        else:
            await found.press_sequentially(action.text, timeout=0)

    # -- a picture ---------------------------------------------------------------------------------

    async def picture(self, *, is_full: bool, width: int) -> bytes:
        """PNG of the window, or of the whole page as far as that is of a sensible height."""
        options: dict[str, Any] = {"type": "png", "timeout": 0}
        if is_full:
            options["full_page"] = True
            height = await self.read(scripts.height())
            if isinstance(height, int | float) and height > HIGHEST:
                options["clip"] = {"x": 0, "y": 0, "width": width, "height": HIGHEST}
        picture = await self.watch(self.page.screenshot(**options))
        if len(picture) > MOST_PICTURE:
            raise RenderFailed(wrong(f"js_screenshot: it is over {MOST_PICTURE} bytes"))
        return picture


async def _await(doing: Awaitable[T]) -> T:
    return await doing


def _is_passage(error: Exception) -> bool:
    """Whether an error of DevTools only says that the page has gone on to another."""
    text = str(error)
    return "context" in text or "navigated" in text or "No frame" in text
