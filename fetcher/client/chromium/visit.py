"""Visit: one page from its context to its content.

A driver, to be read from top to bottom:

    listener -> context -> navigation -> script -> wait -> actions -> screenshot -> content

One deadline is over all of it. Whatever hangs is left where it is: the context is closed behind it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Collection
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from fetcher.client.chromium import scripts
from fetcher.client.chromium.browser import Browser
from fetcher.client.chromium.capture import Capture
from fetcher.client.chromium.headers import build_cookies, split_headers
from fetcher.client.chromium.intercept import Document, Intercept
from fetcher.client.chromium.outcome import (
    RenderFailed,
    download,
    from_net_error,
    from_refusal,
    gone,
    spent,
    too_large,
    wrong,
)
from fetcher.client.chromium.seam import Listener, Listeners
from fetcher.errors import ANSWERED
from fetcher.model import Egress, Request, Response
from fetcher.rendering import Click, Render, Rendered, Scroll, Type, Wait

if TYPE_CHECKING:
    import playwright.async_api as api

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A page that loads for ever is taken as it is, so long before its deadline.
RESERVE: Final = 2.0  # seconds, and at most
RESERVE_SHARE: Final = 0.2  # of all the time there is
IDLE_MOST: Final = 10.0  # seconds that are waited for silence behind the load
SETTLE_MOST: Final = 3.0  # and behind actions
FIND_MOST: Final = 10.0  # and for what an action wants
LOOK: Final = 0.1  # between two looks for something to scroll to
CLOSE: Final = 5.0  # for a context to close
HIGHEST: Final = 16_384  # CSS pixels of a picture of the whole page
MOST_PICTURE: Final = 32 << 20  # bytes of a picture
TRAFFIC: Final = 4  # times `max_body` may a page load with all that it wants

_OF_THE_WIRE: Final = frozenset(
    {"content-length", "content-encoding", "transfer-encoding", "content-type"}
)
_REFUSING: Final = frozenset({400, 403, 408, 500, 501, 502, 503, 504})


class Visit:
    """`run` it once, then `close` it, however it ended. `step` says what it is at."""

    step = "the browser was starting"
    context: "api.BrowserContext | None" = None
    listener: Listener | None = None
    intercept: Intercept  # from `_open` on, as is `session`
    capture: Capture | None = None
    session: "api.CDPSession"
    _shown: Document | None = None

    def __init__(
        self, browser: Browser, listeners: Listeners, request: Request, block: Collection[str]
    ) -> None:
        assert request.render is not None and request.egress is not None
        self.request = request
        self.render: Render = request.render
        self.egress: Egress = request.egress
        self._browser = browser
        self._listeners = listeners
        self._blocked_hosts = block
        self._began = monotonic()
        self._most = TRAFFIC * request.max_body
        self._crashed: asyncio.Future[None] | None = None
        self._world: int | None = None
        self._script_value: Any = None

    @property
    def document(self) -> Document | None:
        """The answer that the page's document came in last."""
        intercept: Intercept | None = getattr(self, "intercept", None)
        return intercept.document if intercept is not None else None

    async def run(self, seconds: float) -> Response:
        """Raises `RenderFailed`, playwright's Error, and TimeoutError; `seconds` are left."""
        until = asyncio.get_running_loop().time() + seconds
        async with asyncio.timeout_at(until):
            self._lenient_until = until - min(RESERVE, seconds * RESERVE_SHARE)
            self.step = "its context was opened"
            page = await self._open()
            self.step = "it was loading"
            answer = await self._navigate(page)
            await self._watch(self._wait_for(page, "load", lenient=True))
            await self._run_script()
            self.step = "it was waited for"
            await self._watch(self._wait(page, self.render.wait))
            await self._act(page)
            self.step = "its picture was taken"
            screenshot = await self._watch(self._take_screenshot(page))
            self.step = "its content was read"
            return await self._finish(page, answer, screenshot)

    # 1. A listener, a context, a page that is empty yet.

    async def _open(self) -> "api.Page":
        request, render = self.request, self.render
        self.listener = await self._listeners.open(
            self.egress, request.url, self._blocked_hosts, self._most
        )
        agent, own = split_headers(request.headers)
        options: dict[str, Any] = {
            "viewport": {"width": render.width, "height": render.height},
            "ignore_https_errors": not request.validate_cert,
        }
        if agent is not None:
            options["user_agent"] = agent
        self.context = await self._browser.open_context(self.listener.port, options)
        await self._add_cookies(self.context)
        page = await self.context.new_page()
        self.context.on("page", self._close_other)
        self._crashed = asyncio.get_running_loop().create_future()
        page.on("crash", lambda _: self._crash())
        self.session = await self.context.new_cdp_session(page)
        block = render.block if render.images else render.block | {"image"}
        self.intercept = Intercept(self.session, request, own, block)
        await self.intercept.begin()
        self.capture = Capture(page, render.capture) if render.capture else None
        self._shown: Document | None = None
        page.on("framenavigated", lambda frame: self._navigated(page, frame))
        if render.script is not None and render.run_at == "document-start":
            source = scripts.at_start(render.script)
            await self.session.send("Page.enable")
            await self.session.send("Page.addScriptToEvaluateOnNewDocument", {"source": source})
        return page

    async def _add_cookies(self, context: "api.BrowserContext") -> None:
        cookies: list[Any] = build_cookies(self.request.cookie, self.request.url)
        if not cookies:
            return
        try:
            await context.add_cookies(cookies)
        except Exception:  # noqa: BLE001 - one that no browser takes spoils them all
            for cookie in cookies:
                try:
                    await context.add_cookies([cookie])
                except Exception as error:  # noqa: BLE001 - a cookie's value is a secret
                    logger.debug("a cookie is none for browsers: %s", type(error).__name__)

    def _close_other(self, page: "api.Page") -> None:
        """What a page opens beside itself."""
        task = asyncio.get_running_loop().create_task(page.close())
        task.add_done_callback(lambda one: one.cancelled() or one.exception())

    def _crash(self) -> None:
        if self._crashed is not None and not self._crashed.done():
            self._crashed.set_result(None)

    def _navigated(self, page: "api.Page", frame: "api.Frame") -> None:
        document = self.intercept.document
        if frame != page.main_frame or document is None:
            return
        if document.url == frame.url.partition("#")[0]:
            self._shown = document

    async def _watch(self, doing: Awaitable[T]) -> T:
        """Do it, unless the page crashes: then nothing answers any more."""
        assert self._crashed is not None
        task = asyncio.get_running_loop().create_task(_await(doing))
        try:
            await asyncio.wait((task, self._crashed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                task.cancel()
        if not task.done() or (self._crashed.done() and task.exception() is not None):
            raise RenderFailed(gone("the page has crashed"))
        return task.result()

    # 2. To the page's document.

    async def _navigate(self, page: "api.Page") -> "api.Response | None":
        url = self.request.url
        try:
            answer = await self._watch(page.goto(url, wait_until="commit", timeout=0))
        except RenderFailed:
            raise
        except Exception as error:
            raise self._explain(error) from error
        fate = self._fate(answer.url if answer is not None else url)
        refused = fate.refused if fate is not None else None
        is_refusal = answer is not None and answer.status in _REFUSING
        # The listener's own words, for a page of plain http.
        if refused is not None and is_refusal and self._document_field("proxy-status"):
            self.intercept.document = None
            raise RenderFailed(from_refusal(refused))
        return answer

    def _document_field(self, name: str) -> str:
        document = self.intercept.document
        return document.field(name) if document is not None else ""

    def _fate(self, url: str) -> Any:
        return self.listener.fate(url) if self.listener is not None else None

    def _explain(self, error: Exception) -> Exception:
        """Why there is no document."""
        text, intercept = str(error), self.intercept
        if not self._browser.is_alive:
            return error
        if intercept.too_large:
            return RenderFailed(too_large(intercept.too_large, self.request.max_body))
        if self.listener is not None and self.listener.is_spent:
            return RenderFailed(spent(self._most))
        if "Download is starting" in text:
            return RenderFailed(download(self._document_field("content-type")))
        failure = from_net_error(text)
        fate = self._fate(intercept.asked or self.request.url)
        if fate is not None and fate.refused is not None:
            return RenderFailed(from_refusal(fate.refused))
        return RenderFailed(failure) if failure is not None else error

    # 3. The task's script.

    async def _run_script(self) -> None:
        script = self.render.script
        if script is None:
            return
        self.step = "its script was running"
        if self.render.run_at == "document-end":
            self._script_value = await self._value_of(scripts.at_end(script), script)

    async def _value_of(self, source: str, script: str | None) -> Any:
        answer = await self._evaluate(source, is_promise=True)
        details = answer.get("exceptionDetails")
        if details is not None and script is not None and _is_syntax(details):
            answer = await self._evaluate(scripts.as_statements(script), is_promise=True)
            details = answer.get("exceptionDetails")
        if details is not None:
            logger.debug("js_script: %s", details.get("text"))
            return None
        value = answer.get("result", {}).get("value")
        if isinstance(value, str):
            try:
                return msgspec.json.decode(value)
            except msgspec.DecodeError:
                return None
        if value == -1:
            raise RenderFailed(
                wrong(f"js_script: its value is over {scripts.MOST_RESULT} characters of JSON")
            )
        return None

    async def _evaluate(
        self, source: str, *, is_promise: bool = False, world: int | None = None
    ) -> dict[str, Any]:
        """Of DevTools, whom no content security policy stops; empty if the page has gone on."""
        params: dict[str, Any] = {
            "expression": source,
            "awaitPromise": is_promise,
            "returnByValue": True,
        }
        if world is not None:
            params["contextId"] = world
        try:
            return await self._watch(self.session.send("Runtime.evaluate", params))
        except RenderFailed:
            raise
        except Exception as error:
            if not self._browser.is_alive or "context" not in str(error).lower():
                raise
            logger.debug("the page went on: %s", error)  # it has navigated
            return {}

    async def _read(self, source: str) -> Any:
        """The value of `source` in a world of our own, where a page has changed nothing."""
        for _ in range(3):  # a page may go on just now
            frame = self.intercept.frame
            made = await self._watch(
                self.session.send("Page.createIsolatedWorld", {"frameId": frame})
            )
            answer = await self._evaluate(source, world=made["executionContextId"])
            if "result" in answer and "exceptionDetails" not in answer:
                return answer["result"].get("value")
        return None

    # 4. Waiting.

    async def _wait(self, page: "api.Page", wait: Wait) -> None:
        if wait.until == "idle":
            await self._wait_for(page, "networkidle", lenient=True, most=IDLE_MOST)
        elif wait.until == "time":
            await asyncio.sleep(wait.seconds)
        elif wait.until == "selector":
            await page.locator(f"css={wait.selector}").first.wait_for(state="attached", timeout=0)

    async def _wait_for(
        self, page: "api.Page", state: Any, *, lenient: bool, most: float = 0.0
    ) -> None:
        """Until the page is in that state; not for ever, as some never are."""
        left = self._lenient_until - asyncio.get_running_loop().time()
        seconds = min(left, most) if most else left
        try:
            async with asyncio.timeout(max(seconds, 0.001)):
                await page.wait_for_load_state(state, timeout=0)
        except TimeoutError:
            if not lenient:
                raise

    # 5. What somebody would do with the page.

    async def _act(self, page: "api.Page") -> None:
        for number, action in enumerate(self.render.actions):
            self.step = f"js_actions[{number}] was done"
            try:
                async with asyncio.timeout(FIND_MOST if not isinstance(action, Wait) else None):
                    await self._watch(self._do(page, action))
            except TimeoutError:
                if asyncio.get_running_loop().time() >= self._lenient_until:
                    raise
                raise RenderFailed(
                    wrong(f"js_actions[{number}]: the page has nothing that fits within 10 s")
                ) from None
        if self.render.actions and self.render.wait.until == "idle":
            self.step = "it was waited for"
            await self._watch(self._wait_for(page, "networkidle", lenient=True, most=SETTLE_MOST))

    async def _do(self, page: "api.Page", action: Any) -> None:
        if isinstance(action, Scroll):
            for _ in range(int(FIND_MOST / LOOK)):
                if await self._read(scripts.scroll(action.to)):
                    return
                await asyncio.sleep(LOOK)
            raise TimeoutError
        elif isinstance(action, Click):
            await page.locator(f"css={action.selector}").first.click(timeout=0)
        elif isinstance(action, Type):
            field = page.locator(f"css={action.selector}").first
            await field.press_sequentially(action.text, timeout=0)
        else:
            await self._wait(page, action)

    # 6. What it looks like.

    async def _take_screenshot(self, page: "api.Page") -> bytes | None:
        wanted = self.render.screenshot
        if wanted is None:
            return None
        options: dict[str, Any] = {"type": "png", "timeout": 0}
        if wanted == "full":
            options["full_page"] = True
            height = await self._read(scripts.height())
            if isinstance(height, int | float) and height > HIGHEST:
                width = self.render.width
                options["clip"] = {"x": 0, "y": 0, "width": width, "height": HIGHEST}
        picture = await page.screenshot(**options)
        if len(picture) > MOST_PICTURE:
            raise RenderFailed(wrong(f"js_screenshot: over {MOST_PICTURE} bytes"))
        return picture

    # 7. What it says.

    async def _finish(
        self, page: "api.Page", answer: "api.Response | None", screenshot: bytes | None
    ) -> Response:
        render, most = self.render, self.request.max_body
        if render.script is not None and render.run_at == "document-start":
            self._script_value = await self._value_of(scripts.kept_value(), None)
        html = await self._read(scripts.content(most)) or ""
        body = html.encode("utf-8", "replace")
        if most:
            body = body[:most].decode("utf-8", "ignore").encode() if len(body) > most else body
        captured = await self.capture.finish() if self.capture is not None else None
        assert self.context is not None
        cookies = await self._watch(self.context.cookies())
        status, fields, url = await self._describe(page, answer)
        fate = self._fate(url)
        proxy = fate.exit.proxy if fate is not None and fate.exit is not None else None
        return Response(
            url=url,
            outcome=ANSWERED,
            status=status,
            head=build_head(status, fields),
            body=body,
            rendered=Rendered(
                script_result=self._script_value,
                screenshot=screenshot,
                captured=captured,
                proxy=proxy.url if proxy is not None else None,
                attempts=fate.tries if fate is not None else 1,
                cookies={one["name"]: one["value"] for one in cookies},
            ),
        )

    async def _describe(
        self, page: "api.Page", answer: "api.Response | None"
    ) -> tuple[int, list[tuple[str, str]], str]:
        """Status, fields and URL of the document that is shown."""
        shown, url = self._shown, page.url
        if not url.startswith(("http://", "https://")):
            url = shown.url if shown is not None else self.request.url
        is_first = answer is not None and (
            shown is None or answer.url.partition("#")[0] == shown.url
        )
        if answer is not None and is_first:
            fields = await self._watch(answer.headers_array())
            return answer.status, [(one["name"], one["value"]) for one in fields], url
        if shown is not None:
            return shown.status, list(shown.fields), url
        return 200, [], url

    # 8. The end.

    async def close(self) -> bool:
        """Whether its context could be closed in time."""
        if self.listener is not None:
            await self.listener.close()
        context = self.context
        if context is None:
            return True
        try:
            async with asyncio.timeout(CLOSE):
                await context.close()
        except TimeoutError:
            return False
        except Exception as error:  # noqa: BLE001 - the browser has ended
            logger.debug("a context: %s", error)
        return True


def build_head(status: int, fields: Collection[tuple[str, str]]) -> bytes:
    """The document's fields as a head, for content that is HTML in UTF-8 now."""
    kind = next((value for name, value in fields if name.lower() == "content-type"), "text/html")
    kind = f"{kind.partition(';')[0].strip() or 'text/html'}; charset=utf-8"
    kept = [(name, value) for name, value in fields if name.lower() not in _OF_THE_WIRE]
    return join_head(status, [*kept, ("Content-Type", kind)])


def join_head(status: int, fields: Collection[tuple[str, str]]) -> bytes:
    """As they are."""
    lines = [f"HTTP/1.1 {status}"]
    lines += [f"{name}: {line}" for name, value in fields for line in value.split("\n")]
    text = "\r\n".join((*lines, "", ""))
    with contextlib.suppress(UnicodeEncodeError):
        return text.encode("latin-1")
    return text.encode()


async def _await(doing: Awaitable[T]) -> T:
    return await doing


def _is_syntax(details: dict[str, Any]) -> bool:
    name: object = details.get("exception", {}).get("className")
    return name == "SyntaxError"
