"""What a transfer of the browser's client promises."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from fetcher.client.chromium.browser import Browser, BrowserFailed
from fetcher.client.chromium.browsers import Browsers, Rules
from fetcher.client.chromium.client import ChromiumClient
from fetcher.errors import Code, Outcome
from fetcher.model import Response
from fetcher.rendering import Click, Scroll, Wait
from tests.rendering import LOAD, Renderer, Site, paging, rendering
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


# -- a second try ----------------------------------------------------------------------------------


def is_open(site: Site, path: str, times: int = 1) -> Callable[[], bool]:
    return lambda: site.paths().count(path) >= times


def end_browser(renderer: Renderer) -> Browser:
    """As somebody else does who kills it."""
    browser = renderer.browsers.current
    assert browser is not None
    os.killpg(browser.group, signal.SIGKILL)
    return browser


LATE = Wait("selector", selector="#late")


CLICKED = "<p onclick='fetch(location.pathname + \"/done\")'>hi"


def opening_late(at: int) -> Callable[[str], str]:
    """A page that is ready when it is asked for the `at`th time, and waits for ever before."""
    times = 0

    def answer(head: str) -> str:
        nonlocal times
        times += 1
        return CLICKED if times < at else f"{CLICKED}<b id=late>ready</b>"

    return answer


async def test_pages_that_were_lost_with_their_browser_are_asked_for_once_more() -> None:
    pages = {"/a": opening_late(2), "/b": opening_late(2)}
    async with rendering() as renderer, paging(pages) as site:
        lost = [asyncio.create_task(renderer.render(site.url(path), wait=LATE)) for path in pages]
        for path in pages:
            await wait_until(is_open(site, path), 20)
        first = end_browser(renderer)
        assert [(await one).status for one in lost] == [200, 200]
        assert [site.paths().count(path) for path in pages] == [2, 2]
        assert renderer.browsers.started == 2 and renderer.browsers.current is not first
        tally = renderer.browsers.tally
        assert tally.lost == {"repeated": 2} and tally.ended == {"crash": 1}


async def test_a_page_that_is_lost_twice_is_told_so() -> None:
    async with rendering() as renderer, paging({"/": opening_late(3)}) as site:
        lost = asyncio.create_task(renderer.render(site.url(), wait=LATE))
        for times in (1, 2):
            await wait_until(is_open(site, "/", times), 20)
            end_browser(renderer)
        response = await lost
        assert response.outcome is Outcome.OURS
        assert "the browser has ended, while" in response.message
        assert "(at the second try; the first: the browser has ended, while" in response.message
        assert site.paths().count("/") == 2
        assert renderer.browsers.tally.lost == {"repeated": 1, "failed": 1}


POST: dict[str, Any] = {"request": {"method": "POST", "body": b"x"}}
TELLS = "() => { fetch(location.pathname + '/done') }"
DONE = "/done"  # what is asked for behind the page's path when it has come so far


async def test_only_what_may_be_repeated_is() -> None:
    cases: list[tuple[dict[str, Any], str, bool]] = [
        (POST, "", False),
        ({"wait": LOAD, "actions": (Click("p"), LATE)}, DONE, False),
        ({"wait": LOAD, "actions": (Scroll("bottom"), LATE, Click("p"))}, "", True),
        ({"script": TELLS}, DONE, False),
        ({"script": TELLS, "run_at": "document-start", "retry_unsafe": True}, DONE, True),
    ]
    pages = {f"/{number}": opening_late(2) for number in range(len(cases))}
    async with rendering(pages=len(cases)) as renderer, paging(pages) as site:
        tried = [
            asyncio.create_task(
                renderer.render(site.url(path), **{"wait": LATE, "timeout": 50, **options})
            )
            for path, (options, _, _) in zip(pages, cases, strict=True)
        ]
        for path, (_, behind, _) in zip(pages, cases, strict=True):
            await wait_until(is_open(site, path + behind), 30)
        end_browser(renderer)
        for path, task, (options, _, is_repeated) in zip(pages, tried, cases, strict=True):
            response = await task
            assert (response.outcome is Outcome.ANSWERED) is is_repeated, (options, response)
            assert site.paths().count(path) == 1 + is_repeated, options


async def test_a_page_that_eats_memory_ends_alone_and_its_neighbour_hears_nothing_of_it() -> None:
    eats = "<script>const kept = []; setInterval(() => { if (kept.length < 200)"
    eats += " kept.push(new Uint8Array(8 << 20).fill(7)) }, 20)</script>"
    async with (
        rendering(memory=500 << 20) as renderer,
        paging({"/eats": eats, "/a": opening_late(2)}) as site,
    ):
        other = asyncio.create_task(renderer.render(site.url("/a"), wait=LATE, timeout=40))
        await wait_until(is_open(site, "/a"), 20)
        browser = renderer.browsers.current
        response = await renderer.render(site.url("/eats"), wait=Wait("time", 30), timeout=40)
        assert response.outcome is Outcome.OURS
        assert response.message.startswith("the page was ended: its browser had more than twice")
        assert browser is not None and browser.is_alive and browser.is_retired
        assert not other.done()
        other.cancel()
        assert site.paths().count("/a") == site.paths().count("/eats") == 1
        assert renderer.browsers.tally.lost == {"crashed": 1}
