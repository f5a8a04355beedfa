"""Pages rendered by a real Chromium through its listeners, without any queue or path.

async with rendering() as renderer, paging({"/": "<p>hi"}) as site:
    response = await renderer.render(site.url("/"))
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any, Final

from fetcher.client.chromium.browser import Browser
from fetcher.client.chromium.browsers import Browsers, Rules
from fetcher.client.chromium.client import ChromiumClient
from fetcher.client.chromium.program import find_program
from fetcher.client.sinks import WholeBody
from fetcher.forward.listener import Listeners
from fetcher.forward.means import Means
from fetcher.forward.means import Rules as DoorRules
from fetcher.forward.own import Own
from fetcher.forward.supply import Supply
from fetcher.model import (
    DIRECT,
    Egress,
    Limits,
    ProxyChooser,
    Request,
    Response,
    Trust,
    Wishes,
)
from fetcher.rendering import CHROMIUM, Render, Rendered, Wait
from fetcher.route.route import DIRECT as GO_DIRECT
from fetcher.route.route import Route
from fetcher.run.fetcher import Fetcher
from tests.fetcher.forward.quotas import Unlimited
from tests.redis_server import unavailable
from tests.serving import serving

LOAD: Final = Wait("load")
TIMEOUT: Final = 20.0


def program() -> str:
    found = find_program("auto")
    if found is None:
        unavailable("no Chromium here: apt install chromium-headless-shell")
    assert found is not None
    return found


class Renderer:
    """What a service would have, taken apart for tests."""

    def __init__(
        self, client: ChromiumClient, browsers: Browsers, listeners: Listeners, own: Own
    ) -> None:
        self.client = client
        self.browsers = browsers
        self.listeners = listeners
        self.own = own

    def start(
        self,
        url: str,
        done: Callable[[Response], None],
        *,
        timeout: float = TIMEOUT,
        route: Route = GO_DIRECT,
        trust: Trust = Trust.OPEN,
        wishes: Wishes = Wishes(),  # noqa: B008 - it is frozen
        retry_unsafe: bool = False,
        request: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        options.setdefault("wait", LOAD)
        egress = Egress(
            route=route,
            trust=trust,
            wishes=wishes,
            retries=3,
            retry_unsafe=retry_unsafe,
            deadline=asyncio.get_running_loop().time() + timeout,
            attempt_timeout=2.0,
        )
        asked = Request(
            url=url,
            render=Render(kind=CHROMIUM, **options),
            egress=egress,
            **{"max_body": 1 << 24, **(request or {})},
        )
        return self.client.start(asked, DIRECT, Limits(total=timeout, connect=5), WholeBody(done))

    async def render(self, url: str, **options: Any) -> Response:
        came: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        transfer = self.start(url, came.set_result, **options)
        try:
            return await came
        finally:
            transfer.cancel()


def seen(response: Response) -> Rendered:
    assert response.rendered is not None, response
    return response.rendered


@contextlib.asynccontextmanager
async def rendering(
    *,
    chooser: ProxyChooser | None = None,
    block: tuple[str, ...] = (),
    pages: int = 4,
    recycle: int = 1000,
    memory: int = 2 << 30,
    allow_private: bool | str = True,
    **settings: Any,
) -> AsyncIterator[Renderer]:
    own = Own()
    settings = {"timeout": 20, "attempt_timeout": 2, **settings}
    async with Fetcher.from_settings(chooser=chooser, is_own=own.is_proxy, **settings) as fetcher:
        means = Means(
            fetcher=fetcher,
            rules=DoorRules(route=GO_DIRECT),
            supply=Supply(chooser, 1),
            quotas=Unlimited(),
            own=own,
            ca_file=settings.get("ca_file"),
        )
        listeners = Listeners(means, allow_private=allow_private)
        start = partial(Browser.start, program(), sandbox=os.geteuid() != 0, memory=memory)
        browsers = Browsers(start, Rules(pages=pages, recycle=recycle, memory=memory))
        client = ChromiumClient(browsers, listeners, block)
        try:
            yield Renderer(client, browsers, listeners, own)
        finally:
            await client.close()


class Site:
    """Answers by path; `asked` are the heads that came."""

    def __init__(self, pages: Mapping[str, Any]) -> None:
        self.pages = pages
        self.port = 0
        self.asked: list[tuple[str, str, str, bytes]] = []  # method, path, head, body

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def paths(self) -> list[str]:
        return [path for _, path, _, _ in self.asked]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, path, _ = head.split(" ", 2)
            length = 0
            for line in head.split("\r\n"):
                if line.lower().startswith("content-length:"):
                    length = int(line.partition(":")[2])
            body = await reader.readexactly(length)
            self.asked.append((method, path, head, body))
            answer = self.pages.get(path.partition("?")[0], (404, {}, "none"))
            if callable(answer):
                answer = answer(head)
                if asyncio.iscoroutine(answer):
                    answer = await answer
            if answer is None:  # it never comes
                await reader.read()
                return
            status, fields, text = answer if isinstance(answer, tuple) else (200, {}, answer)
            data = text.encode() if isinstance(text, str) else text
            lines = [f"HTTP/1.1 {status} X"]
            kinds = {"Content-Type": "text/html; charset=utf-8", **fields}
            for name, value in kinds.items():
                for one in value if isinstance(value, list) else [value]:
                    lines.append(f"{name}: {one}")
            lines += [f"Content-Length: {len(data)}", "", ""]
            writer.write("\r\n".join(lines).encode("latin-1") + data)
            await writer.drain()


@contextlib.asynccontextmanager
async def paging(pages: Mapping[str, Any]) -> AsyncIterator[Site]:
    site = Site(pages)
    async with serving(site.serve) as site.port:
        yield site
