"""Reading, waiting and acting on pages that change meanwhile, in a real browser."""

import pytest

from fetcher.errors import Outcome
from fetcher.rendering import IDLE, Click, Scroll, Wait
from tests.rendering import Renderer, paging, seen

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


async def test_a_script_that_leads_away_has_no_value_and_the_page_it_leads_to_counts(
    renderer: Renderer,
) -> None:
    async with paging({"/": "<p>a", "/b": "<p>b"}) as site:
        response = await renderer.render(
            site.url(),
            script="() => { location = '/b'; return new Promise(() => 0) }",
            wait=Wait("selector", selector="p"),
        )
        assert response.outcome is Outcome.ANSWERED, response
        assert seen(response).script_result is None
        assert response.url == site.url("/b") and b"<p>b" in response.body


async def test_a_click_that_leads_on_is_waited_for(renderer: Renderer) -> None:
    slow = "<p>b<script>fetch('/x').then(() => document.body.append('written'))</script>"
    async with paging({"/": "<a href=/b>b</a>", "/b": slow, "/x": "x"}) as site:
        response = await renderer.render(site.url(), actions=(Click("a"),), wait=IDLE)
        assert response.url == site.url("/b") and b"written" in response.body


async def test_what_comes_late_is_scrolled_to(renderer: Renderer) -> None:
    page = "<script>setTimeout(() => { document.body.innerHTML = '<p id=late>x' }, 300)</script>"
    async with paging({"/": page}) as site:
        response = await renderer.render(site.url(), actions=(Scroll("#late"),))
        assert response.outcome is Outcome.ANSWERED and b"late" in response.body


async def test_selectors_are_css_and_nothing_else(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fetcher.client.chromium.tab.FIND_MOST", 0.3)
    async with paging({"/": "<p>text"}) as site:
        for selector in ("text=text", "xpath=//p", "//p"):
            response = await renderer.render(site.url(), actions=(Click(selector),))
            assert response.outcome is not Outcome.ANSWERED and response.message


async def test_a_page_without_a_document_is_empty(renderer: Renderer) -> None:
    page = "<script>onload = () => document.documentElement.remove()</script>"
    async with paging({"/": page}) as site:
        response = await renderer.render(site.url())
        assert response.outcome is Outcome.ANSWERED and response.body == b""
