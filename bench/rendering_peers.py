"""`python -m bench.rendering_peers own|bare PROGRAM COUNT AT_ONCE`: so many pages, one Sample.

The origin is in here, too, and the same for both. The browser has been started and has shown a few
pages when the measuring begins.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec
import uvloop
from playwright.async_api import async_playwright

from bench.measure import Spent
from fetcher.client.chromium.browser import Browser
from fetcher.client.chromium.browsers import Browsers, Rules
from fetcher.client.chromium.client import ChromiumClient
from fetcher.client.sinks import WholeBody
from fetcher.errors import ANSWERED
from fetcher.forward.listener import Listeners
from fetcher.forward.means import Means
from fetcher.forward.means import Rules as DoorRules
from fetcher.forward.quotas import KeyQuotas
from fetcher.forward.supply import Supply
from fetcher.model import DIRECT, Egress, Limits, Request, Response, Trust
from fetcher.rendering import CHROMIUM, Render, Wait
from fetcher.route.route import DIRECT as GO_DIRECT
from fetcher.run.fetcher import Fetcher
from fetcher.settings import PerKey

WARM: Final = 8  # pages before the measuring
TIMEOUT: Final = 60.0
TEXT: Final = "written by a script"

_FILES: Final = {
    "/": (
        "text/html",
        "<!doctype html><link rel=icon href='data:,'><link rel=stylesheet href=/s.css>"
        "<div id=a></div>" + "<p>some text of a page</p>" * 200 + "<script src=/j.js></script>",
    ),
    "/s.css": ("text/css", "p { margin: 1em; color: #333 } #a { font-weight: bold }"),
    "/j.js": (
        "text/javascript",
        "const x = new XMLHttpRequest(); x.open('GET', '/api', false); x.send();"
        "document.getElementById('a').textContent = JSON.parse(x.responseText).text",
    ),
    "/api": ("application/json", f'{{"text": "{TEXT}"}}'),
}

Load = Callable[[], Awaitable[None]]


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            kind, text = _FILES[head.split(b" ", 2)[1].decode()]
            lines = (
                f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\n\r\n"
            )
            writer.write(lines.encode() + text.encode())
    except (OSError, EOFError):
        writer.close()


async def measure(load: Load, count: int, at_once: int) -> None:
    async def work(left: list[None]) -> None:
        while left:
            left.pop()
            await load()

    async def work_off(pages: int) -> None:
        left: list[None] = [None] * pages
        await asyncio.gather(*(work(left) for _ in range(at_once)))

    await work_off(WARM)
    spent = Spent()
    await work_off(count)
    sys.stdout.write(msgspec.json.encode(spent.sample(count)).decode() + "\n")


async def bare(program: str, url: str, count: int, at_once: int) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, chromium_sandbox=os.geteuid() != 0, args=["--disable-gpu"]
        )

        async def load() -> None:
            context = await browser.new_context()
            page = await context.new_page()
            await page.goto(url, wait_until="load")
            assert TEXT in await page.content()
            await context.close()

        await measure(load, count, at_once)
        await browser.close()


async def own(program: str, url: str, count: int, at_once: int) -> None:
    async with Fetcher.from_settings() as fetcher:
        means = Means(
            fetcher=fetcher,
            rules=DoorRules(route=GO_DIRECT),
            supply=Supply(None, 1),
            quotas=KeyQuotas(PerKey(), ()),
        )
        start = partial(Browser.start, program, sandbox=os.geteuid() != 0, memory=0)
        browsers = Browsers(start, Rules(pages=at_once, recycle=0, memory=0))
        client = ChromiumClient(browsers, Listeners(means))
        loop = asyncio.get_running_loop()

        async def load() -> None:
            came: asyncio.Future[Response] = loop.create_future()
            egress = Egress(
                route=GO_DIRECT,
                trust=Trust.OPEN,
                deadline=loop.time() + TIMEOUT,
                attempt_timeout=TIMEOUT,
            )
            render = Render(kind=CHROMIUM, wait=Wait("load"))
            request = Request(url=url, render=render, egress=egress, max_body=1 << 24)
            limits = Limits(total=TIMEOUT, connect=TIMEOUT)
            client.start(request, DIRECT, limits, WholeBody(came.set_result))
            response = await came
            assert response.outcome is ANSWERED and TEXT.encode() in response.body

        await measure(load, count, at_once)
        await client.close()


async def main(who: str, program: str, count: str, at_once: str) -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    await {"own": own, "bare": bare}[who](program, url, int(count), int(at_once))
    server.close()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
