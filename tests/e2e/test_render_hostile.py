"""Pages that mean harm to a browser, one after another in the same one."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from time import monotonic
from typing import Any

import pytest
import pytest_asyncio

from fetcher.client.chromium.processes import command_of, members
from fetcher.errors import Code, Outcome
from fetcher.model import Response
from fetcher.rendering import IDLE, Wait
from tests.rendering import Renderer, Site, paging, rendering, seen
from tests.wait import wait_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

DEADLINE = 1.5  # seconds
LATEST = 2.0  # behind it
GOOD = "<p id=a></p><script>document.getElementById('a').textContent = 'good'</script>"

# What ends with the deadline, whatever it does.
ENDLESS = {
    "a script that never ends": "<script>for (;;);</script>",
    "a script that blocks behind the load": (
        "<script>onload = () => setTimeout(() => { for (;;); }, 20)</script>"
    ),
    "an endless row of alerts": "<script>for (;;) alert('again')</script>",
    "prompts and confirmations": "<script>for (;;) { confirm('?'); prompt('!') }</script>",
    "a microtask that makes another": (
        "<script>const again = () => Promise.resolve().then(again); again()</script>"
    ),
    "a question at leaving": (
        "<script>onbeforeunload = (e) => { e.preventDefault(); return 'stay' };"
        " onload = () => { for (;;); }</script>"
    ),
    "synchronous requests": (
        "<script>for (;;) { const x = new XMLHttpRequest(); x.open('GET', '/good', false);"
        " try { x.send() } catch (e) {} }</script>"
    ),
}

# What is a nuisance, and still has content, or is told to have none.
RESTLESS = {
    "10,000 nodes a second": (
        "<script>setInterval(() => { for (let i = 0; i < 100; i++)"
        " document.body.append(document.createElement('i')) }, 10)</script>"
    ),
    "never silent": "<script>setInterval(() => fetch('/good'), 50)</script>",
    "pop-ups": "<script>setInterval(() => window.open('/popup'), 5)</script>",
    "reloads of itself": "<script>setTimeout(() => location.reload(), 300)</script>",
    "a history without end": (
        "<script>let n = 0; setInterval(() => history.pushState(0, '', '?' + n++), 5)</script>"
    ),
    "frames within frames": (
        "<script>if (location.search.length < 50)"
        " document.write('<iframe src=\"' + location.search + '?x\"></iframe>')</script>"
    ),
    "a service worker": (
        "<script>navigator.serviceWorker && navigator.serviceWorker.register('/sw.js')</script>"
    ),
    "downloads": (
        "<script>setInterval(() => { const a = document.createElement('a'); a.download = 'x';"
        " a.href = '/file'; a.click() }, 20)</script>"
    ),
    "printing": "<script>setInterval(() => print(), 20)</script>",
    "full screen, pointer lock, vibration": (
        "<script>setInterval(() => { document.documentElement.requestFullscreen().catch(() => 0);"
        " navigator.vibrate && navigator.vibrate(99) }, 20)</script>"
    ),
    "no document at all": "<script>document.documentElement.remove()</script>",
    "other ways to be text": (
        "<script>Object.defineProperty(Element.prototype, 'outerHTML', {get() { for (;;); }});"
        " String.prototype.slice = JSON.stringify = () => { for (;;); }</script>"
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    async with rendering() as one:
        yield one


async def assert_well(renderer: Renderer, url: str) -> None:
    response = await renderer.render(url)
    assert b">good</p>" in response.body, response


AT_ONCE = 4  # as many as there are places: who waits for one has his deadline, too


def batches(names: Mapping[str, str]) -> list[list[str]]:
    listed = list(names)
    return [listed[at : at + AT_ONCE] for at in range(0, len(listed), AT_ONCE)]


async def come(
    renderer: Renderer, site: Site, path: str, options: Mapping[str, Any]
) -> tuple[Response, float]:
    """What comes, and how long behind its deadline."""
    began = monotonic()
    response = await renderer.render(site.url(path), timeout=DEADLINE, **options)
    return response, monotonic() - began - DEADLINE


@pytest.mark.parametrize("names", batches(ENDLESS), ids=" ".join)
async def test_what_never_ends_ends_with_its_deadline(renderer: Renderer, names: list[str]) -> None:
    pages = {"/good": GOOD, **{f"/{n}": ENDLESS[name] for n, name in enumerate(names)}}
    async with paging(pages) as site:
        await assert_well(renderer, site.url("/good"))
        came = await asyncio.gather(
            *(come(renderer, site, f"/{n}", {"wait": IDLE}) for n in range(len(names)))
        )
        for name, (response, late) in zip(names, came, strict=True):
            assert response.outcome is not Outcome.ANSWERED, name
            assert response.code == Code.OPERATION_TIMEDOUT, (name, response)
            assert "timed out" in response.message and late < LATEST, name
        await assert_well(renderer, site.url("/good"))


@pytest.mark.parametrize("names", batches(RESTLESS), ids=" ".join)
async def test_a_nuisance_comes_to_an_end_in_time(renderer: Renderer, names: list[str]) -> None:
    pages = {
        "/good": GOOD,
        "/file": (200, {"Content-Type": "application/zip"}, "PK"),
        "/sw.js": (200, {"Content-Type": "text/javascript"}, ""),
        **{f"/{n}": GOOD + RESTLESS[name] for n, name in enumerate(names)},
    }
    async with paging(pages) as site:
        came = await asyncio.gather(
            *(come(renderer, site, f"/{n}", {"wait": IDLE}) for n in range(len(names)))
        )
        for name, (response, late) in zip(names, came, strict=True):
            assert late < LATEST, name
            assert response.outcome is Outcome.ANSWERED or response.message, name
        assert not {"/popup", "/sw.js"} & set(site.paths())
        await assert_well(renderer, site.url("/good"))


async def test_a_script_of_the_task_that_never_ends(renderer: Renderer) -> None:
    async with paging({"/": GOOD}) as site:
        for script in ("() => { for (;;); }", "() => new Promise(() => 0)"):
            response = await renderer.render(site.url(), script=script, timeout=2)
            assert response.code == Code.OPERATION_TIMEDOUT
            assert "its script was running" in response.message
        await assert_well(renderer, site.url())


async def test_a_page_whose_process_dies_fails_at_once_and_alone(renderer: Renderer) -> None:
    async with paging({"/": GOOD, "/b": GOOD}) as site:
        await assert_well(renderer, site.url())
        browser = renderer.browsers.current
        assert browser is not None
        waits = [
            asyncio.create_task(renderer.render(site.url(path), wait=Wait("time", 2), timeout=9))
            for path in ("/", "/b")
        ]
        await wait_until(lambda: {"/", "/b"} <= set(site.paths()), 10)
        await asyncio.sleep(0.5)  # a process for each
        renderers = [pid for pid in members(browser.group) if b"--type=renderer" in command_of(pid)]
        newest = max(renderers)
        os.kill(newest, signal.SIGKILL)
        one, other = sorted(await asyncio.gather(*waits), key=lambda came: came.outcome.value)
        assert one.outcome is Outcome.ANSWERED
        assert other.outcome is Outcome.OURS and "crashed" in other.message
        await assert_well(renderer, site.url())
        assert renderer.browsers.current is browser


async def test_a_browser_that_dies_is_replaced(renderer: Renderer) -> None:
    async with paging({"/": GOOD}) as site:
        await assert_well(renderer, site.url())
        first = renderer.browsers.current
        assert first is not None
        post = {"method": "POST"}  # which is not repeated
        waiting = asyncio.create_task(
            renderer.render(site.url(), wait=Wait("time", 5), timeout=9, request=post)
        )
        await wait_until(lambda: first.pages == 1, 10)
        await wait_until(lambda: len(site.asked) > 1, 10)
        began = monotonic()
        os.killpg(first.group, signal.SIGKILL)
        response = await waiting
        assert monotonic() - began < 2
        assert response.outcome is Outcome.OURS and "ended" in response.message, response
        await assert_well(renderer, site.url())
        second = renderer.browsers.current
        assert second is not None and second is not first
        await wait_until(lambda: not list(members(first.group)), 10)


async def test_a_page_that_eats_memory_ends_and_others_go_on() -> None:
    eats = "<script>const kept = []; setInterval(() => { for (let i = 0; i < 20; i++)"
    eats += " kept.push(new Uint8Array(4 << 20).fill(7)) }, 10)</script>"
    async with rendering(memory=400 << 20) as renderer, paging({"/": eats, "/good": GOOD}) as site:
        await assert_well(renderer, site.url("/good"))
        response = await renderer.render(site.url(), wait=Wait("time", 15), timeout=20)
        assert response.outcome is Outcome.OURS, response
        assert "memory" in response.message or "crashed" in response.message
        await assert_well(renderer, site.url("/good"))


async def test_a_result_of_a_page_that_lies_about_everything(renderer: Renderer) -> None:
    page = GOOD + "<script>JSON.stringify = () => 'x'.repeat(1 << 28);"
    page += " Object.defineProperty(String.prototype, 'length', {get: () => 1})</script>"
    async with paging({"/": page}) as site:
        response = await renderer.render(site.url(), script="() => 1", timeout=10)
        assert response.outcome is not Outcome.ANSWERED and "js_script" in response.message
        response = await renderer.render(site.url())
        assert seen(response).script_result is None
