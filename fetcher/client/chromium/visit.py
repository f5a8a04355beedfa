"""Visit: one page from its context to its content.

A driver, to be read from top to bottom:

    listener -> context -> navigation -> script -> wait -> actions -> picture -> content

One deadline is over all of it. Whatever hangs is left where it is: the context is closed behind it.
"""

import asyncio
import json
import logging
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

from fetcher.client.chromium import scripts
from fetcher.client.chromium.browser import Browser
from fetcher.client.chromium.capture import Capture
from fetcher.client.chromium.headers import Header, build_cookies, split_headers
from fetcher.client.chromium.intercept import Document, Intercept
from fetcher.client.chromium.outcome import (
    RenderFailed,
    download,
    from_net_error,
    from_proxy_status,
    from_refusal,
    may_be_the_exits,
    spent,
    too_large,
    wrong,
)
from fetcher.client.chromium.seam import Fate, Listener, Listeners
from fetcher.client.chromium.tab import SETTLE_MOST, Tab
from fetcher.client.page_head import build_head
from fetcher.errors import ANSWERED
from fetcher.model import Egress, Request, Response
from fetcher.rendering import Click, Render, Rendered, Type
from fetcher.route.failover import IDEMPOTENT
from fetcher.task.script_result import TooMuch, fit_script_result

if TYPE_CHECKING:
    import playwright.async_api as api

logger = logging.getLogger(__name__)

# A page that loads for ever is taken as it is, so long before its deadline.
RESERVE: Final = 2.0  # seconds, and at most
RESERVE_SHARE: Final = 0.2  # of all the time there is
CLOSE: Final = 5.0  # for a context to close
NAVIGATIONS: Final = 3  # through exits that turn out to be of no use
TRAFFIC: Final = 4  # times `max_body` may a page load with all that it wants


class Visit:
    """`run` it once, then `close` it, however it ended. `step` says what it is at."""

    step = "the browser was starting"
    listener: Listener | None = None
    intercept: Intercept | None = None
    capture: Capture | None = None
    has_acted = False  # what the task does with the page has begun, which may change something
    _opening: "asyncio.Task[api.BrowserContext] | None" = None
    _shown: Document | None = None  # the document that the window has
    _value: Any = None  # of the script

    def __init__(
        self, browser: Browser, listeners: Listeners, request: Request, block: Collection[str]
    ) -> None:
        assert request.render is not None and request.egress is not None
        self.request = request
        self.render: Render = request.render
        self.egress: Egress = request.egress
        self._browser = browser
        self._listeners = listeners
        self._block = block
        self._most = TRAFFIC * request.max_body

    @property
    def document(self) -> Document | None:
        """The answer that the page's document came in last."""
        return self.intercept.document if self.intercept is not None else None

    @property
    def has_asked(self) -> bool:
        """Whether something of the request may have left."""
        return self.intercept is not None and bool(self.intercept.asked)

    @property
    def tries(self) -> int:
        """Exits that were tried for the page itself."""
        fate = self._fate(self.request.url)
        return fate.tries if fate is not None else 1

    async def run(self, seconds: float) -> Response:
        """Raises `RenderFailed`, playwright's Error, and TimeoutError when `seconds` are over."""
        until = asyncio.get_running_loop().time() + seconds
        async with asyncio.timeout_at(until):
            self.step = "its context was opened"
            tab = await self._open(until - min(RESERVE, seconds * RESERVE_SHARE))
            self.step = "it was loading"
            answer = await self._navigate(tab)
            await tab.wait_for("load")
            self.step = "its script was running"
            await self._run_script(tab)
            self.step = "it was waited for"
            if self.render.wait.until == "selector":
                shown = self.render.wait.selector[:100]
                self.step = f"nothing matched js_wait {shown!r}, a selector (words: load, idle)"
            await tab.wait(self.render.wait)
            await self._act(tab)
            self.step = "its picture was taken"
            picture = None
            if self.render.screenshot is not None:
                is_full = self.render.screenshot == "full"
                picture = await tab.picture(is_full=is_full, width=self.render.width)
            self.step = "its content was read"
            return await self._finish(tab, answer, picture)

    # 1. A listener, a context, a page that is empty yet.

    async def _open(self, lenient_until: float) -> Tab:
        request, render = self.request, self.render
        if request.client_cert is not None:  # playwright would open connections of its own
            raise RenderFailed(wrong("client_cert: a page cannot be rendered with one"))
        listener = self.listener = await self._listeners.open(
            self.egress, request.url, self._block, self._most
        )
        agent, own = split_headers(request.headers)
        options: dict[str, Any] = {
            "viewport": {"width": render.width, "height": render.height},
            "ignore_https_errors": not request.validate_cert,
        }
        if agent is not None:
            options["user_agent"] = agent
        # Should the time be over meanwhile, it is closed all the same when it is there.
        self._opening = asyncio.get_running_loop().create_task(
            self._browser.open_context(listener.port, options)
        )
        context = await asyncio.shield(self._opening)
        await self._add_cookies(context)
        page = await context.new_page()
        context.on("page", _close_other)
        session = await context.new_cdp_session(page)
        tab = Tab(page, session, lenient_until)
        await tab.check([render.wait, *render.actions])
        block = render.block if render.images else render.block | {"image"}
        self.intercept = Intercept(session, request, own, block)
        await self.intercept.begin()
        if render.capture:
            self.capture = Capture(page, render.capture)
        page.on("framenavigated", lambda frame: self._navigated(page, frame))
        if render.script is not None and render.run_at == "document-start":
            self.has_acted = True
            source = scripts.at_start(render.script)
            await session.send("Page.enable")
            await session.send("Page.addScriptToEvaluateOnNewDocument", {"source": source})
        return tab

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

    def _navigated(self, page: "api.Page", frame: "api.Frame") -> None:
        document = self.document
        if frame != page.main_frame or document is None:
            return
        if document.url == frame.url.partition("#")[0]:
            self._shown = document

    # 2. To the page's document.

    async def _navigate(self, tab: Tab) -> "api.Response | None":
        url, intercept = self.request.url, self.intercept
        assert intercept is not None
        for left in reversed(range(NAVIGATIONS)):
            try:
                answer = await tab.watch(tab.page.goto(url, wait_until="commit", timeout=0))
                break
            except RenderFailed:
                raise
            except Exception as error:
                told = self._explain(error, intercept)
                if not left or not self._may_go_again(told, intercept.asked or url):
                    raise told from error
                intercept.again()
        tab.frame = intercept.frame
        document = intercept.document
        if document is not None:
            self._stop_if_refused(document.url, document.status, document.fields)
        return answer

    def _stop_if_refused(self, url: str, status: int, fields: Sequence[Header]) -> None:
        """Raises `RenderFailed` if that answer is the listener's own. Of plain http it is what has
        this field: what a target says of proxies is dropped."""
        said = next((value for name, value in fields if name.lower() == "proxy-status"), "")
        if said and url.startswith("http:"):
            assert self.intercept is not None
            self.intercept.document = None  # the site has not answered
            raise RenderFailed(from_proxy_status(status, said))

    def _may_go_again(self, told: Exception, url: str) -> bool:
        """Whether it was the exit's fault, and there are others."""
        return (
            isinstance(told, RenderFailed)
            and may_be_the_exits(told.failure)
            and self.request.method in IDEMPOTENT
            and self.listener is not None
            and self.listener.distrust(url)
        )

    def _field(self, name: str) -> str:
        return self.document.field(name) if self.document is not None else ""

    def _fate(self, url: str) -> Fate | None:
        return self.listener.fate(url) if self.listener is not None else None

    def _explain(self, error: Exception, intercept: Intercept) -> Exception:
        """Why there is no document."""
        text = str(error)
        if not self._browser.is_alive:
            return error
        if intercept.too_large:
            return RenderFailed(too_large(intercept.too_large, self.request.max_body))
        if self.listener is not None and self.listener.is_spent:
            return RenderFailed(spent(self._most))
        if "Download is starting" in text:
            return RenderFailed(download(self._field("content-type")))
        fate = self._fate(intercept.asked or self.request.url)
        if fate is not None and fate.refused is not None:
            intercept.document = None
            return RenderFailed(from_refusal(fate.refused))
        failure = from_net_error(text)
        return RenderFailed(failure) if failure is not None else error

    # 3. The task's script.

    async def _run_script(self, tab: Tab) -> None:
        script = self.render.script
        if script is not None and self.render.run_at == "document-end":
            self.has_acted = True
            self._value = await self._value_of(tab, scripts.at_end(script), script)

    async def _value_of(self, tab: Tab, source: str, script: str | None) -> Any:
        answer = await tab.evaluate(source, is_promise=True)
        details = answer.get("exceptionDetails")
        if details is not None and script is not None and _is_syntax(details):
            answer = await tab.evaluate(scripts.as_statements(script), is_promise=True)
            details = answer.get("exceptionDetails")
        if details is not None:
            logger.debug("js_script: %s", details.get("text"))
            return None
        value = answer.get("result", {}).get("value")
        if isinstance(value, str):
            try:
                return fit_script_result(json.loads(value))  # half characters, too
            except TooMuch as error:
                raise RenderFailed(wrong(f"js_script: {error}")) from None
            except (ValueError, RecursionError):
                return None
        if value == scripts.TOO_LONG:
            raise RenderFailed(
                wrong(f"js_script: its value is over {scripts.MOST_RESULT} characters of JSON")
            )
        return None

    # 4. What somebody would do with the page.

    async def _act(self, tab: Tab) -> None:
        for number, action in enumerate(self.render.actions):
            self.step = f"js_actions[{number}] was done"
            self.has_acted = self.has_acted or isinstance(action, Click | Type)
            await tab.act(number, action)
        if self.render.actions and self.render.wait.until == "idle":
            self.step = "it was waited for"
            await tab.wait_for("networkidle", SETTLE_MOST)

    # 5. What it says.

    async def _finish(
        self, tab: Tab, answer: "api.Response | None", picture: bytes | None
    ) -> Response:
        render, most = self.render, self.request.max_body
        if render.script is not None and render.run_at == "document-start":
            self._value = await self._value_of(tab, scripts.kept_value(), None)
        html = await tab.read(scripts.content(most)) or ""
        body = html.encode("utf-8", "replace")
        if 0 < most < len(body):
            body = body[:most].decode("utf-8", "ignore").encode()
        captured = await self.capture.finish() if self.capture is not None else None
        cookies = await tab.watch(tab.page.context.cookies())
        status, fields, url = await self._describe(tab, answer)
        self._stop_if_refused(url, status, fields)
        fate = self._fate(url)
        proxy = fate.exit.proxy if fate is not None and fate.exit is not None else None
        return Response(
            url=url,
            outcome=ANSWERED,
            status=status,
            head=build_head(status, fields),
            body=body,
            rendered=Rendered(
                script_result=self._value,
                screenshot=picture,
                captured=captured,
                proxy=proxy.url if proxy is not None else None,
                attempts=fate.tries if fate is not None else 1,
                cookies={one["name"]: one["value"] for one in cookies},
            ),
        )

    async def _describe(
        self, tab: Tab, answer: "api.Response | None"
    ) -> tuple[int, Sequence[Header], str]:
        """Status, fields and URL of the document that is shown."""
        shown, url = self._shown, tab.page.url
        if not url.startswith(("http://", "https://")):
            url = shown.url if shown is not None else self.request.url
        is_first = shown is None or (answer is not None and _bare(answer.url) == shown.url)
        if answer is not None and is_first:
            fields = await tab.watch(answer.headers_array())
            return answer.status, [(one["name"], one["value"]) for one in fields], url
        if shown is not None:
            return shown.status, shown.fields, url
        return 200, [], url

    # 6. The end.

    async def close(self) -> bool:
        """Whether its context could be closed in time."""
        if self.listener is not None:
            await self.listener.close()
        if self._opening is None:
            return True
        try:
            async with asyncio.timeout(CLOSE):
                await (await self._opening).close()
        except TimeoutError:
            return False
        except Exception as error:  # noqa: BLE001 - the browser has ended
            logger.debug("a context: %s", error)
        return True


def _close_other(page: "api.Page") -> None:
    """What a page opens beside itself."""
    task = asyncio.get_running_loop().create_task(page.close())
    _others.add(task)
    task.add_done_callback(_closed_other)


def _closed_other(task: "asyncio.Task[None]") -> None:
    _others.discard(task)
    if not task.cancelled():
        task.exception()  # it has gone with its context


_others: set["asyncio.Task[None]"] = set()  # the loop holds tasks weakly


def _bare(url: str) -> str:
    return url.partition("#")[0]


def _is_syntax(details: dict[str, Any]) -> bool:
    name: object = details.get("exception", {}).get("className")
    return name == "SyntaxError"
