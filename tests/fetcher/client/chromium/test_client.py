"""What a transfer of the browser's client promises."""

import asyncio
import logging

import pytest

from fetcher.client.chromium.browser import Browser, BrowserFailed
from fetcher.client.chromium.browsers import Browsers, Rules
from fetcher.client.chromium.client import ChromiumClient
from fetcher.errors import Code, Outcome
from fetcher.model import Response
from fetcher.rendering import Wait
from tests.rendering import Renderer, paging, rendering
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)


async def test_pages_wait_for_a_place_within_their_own_deadline() -> None:
    async with rendering(pages=1) as renderer, paging({"/": "<p>hi"}) as site:
        first = asyncio.create_task(renderer.render(site.url(), wait=Wait("time", 2)))
        await wait_until(lambda: site.asked != [], 20)
        response = await renderer.render(site.url(), timeout=0.5)
        assert response.code == Code.OPERATION_TIMEDOUT
        assert "it waited for a place" in response.message and not response.sent
        second = await renderer.render(site.url())
        assert (await first).status == second.status == 200


async def test_a_cancelled_page_is_closed_and_tells_nobody() -> None:
    async with rendering(pages=1) as renderer, paging({"/": "<p>hi"}) as site:
        came: list[Response] = []
        transfer = renderer.start(site.url(), came.append, wait=Wait("time", 9))
        await wait_until(lambda: site.asked != [], 20)
        transfer.pause()
        transfer.resume()
        transfer.extend(100)
        transfer.cancel()
        transfer.cancel()
        assert (await renderer.render(site.url(), timeout=5)).status == 200
        assert came == []
        transfer.cancel()


async def test_a_close_ends_everything_under_way_and_leaves_nothing() -> None:
    async with rendering() as renderer, paging({"/": "<p>hi"}) as site:
        came: list[Response] = []
        renderer.start(site.url(), came.append, wait=Wait("time", 9))
        await wait_until(lambda: site.asked != [], 20)
        await renderer.client.close()
        assert renderer.browsers.running == 0 and came == []
        assert renderer.own.ports == set()
        response = await renderer.render(site.url(), timeout=5)
        assert response.outcome is Outcome.OURS and "stopping" in response.message


async def test_why_there_is_no_browser_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async with rendering() as renderer:
        await look_for_reasons(renderer, caplog)


async def look_for_reasons(renderer: Renderer, caplog: pytest.LogCaptureFixture) -> None:
    for error, words in (
        (BrowserFailed("the browser does not start: no"), "does not start: no"),
        (ImportError("playwright"), "requirements-js.txt"),
        (ValueError("a bug"), "ValueError: a bug"),
    ):

        async def fail(error: Exception = error) -> Browser:
            raise error

        client = ChromiumClient(Browsers(fail, Rules()), renderer.listeners)
        one = Renderer(client, renderer.browsers, renderer.listeners, renderer.own)
        with caplog.at_level(logging.ERROR):
            caplog.clear()
            response = await one.render("http://127.0.0.1/")
        assert response.outcome is Outcome.OURS and words in response.message
        assert bool(caplog.records) is isinstance(error, ValueError)
        await client.close()
