"""What is stopped in a real browser, and what is not."""

import pytest

from fetcher.client.chromium.intercept import TYPES
from fetcher.rendering import IDLE
from tests.rendering import Renderer, paging

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

PAGE = """<link rel=stylesheet href=/stylesheet><link rel=manifest href=/manifest>
<style>@font-face { font-family: f; src: url(/font) } p { font-family: f }</style><p>text
<img src=/image><script src=/script></script><video src=/media autoplay></video>
<script>fetch('/xhr'); navigator.sendBeacon('/ping'); new EventSource('/eventsource')</script>
<iframe src=/document></iframe>"""
LOADED = ("stylesheet", "font", "image", "script", "media", "xhr", "eventsource", "document")


@pytest.mark.parametrize("kind", LOADED)
async def test_a_blocked_type_is_not_asked_for_and_all_others_are(
    renderer: Renderer, kind: str
) -> None:
    pages = {"/": PAGE, **{f"/{one}": (200, {"Content-Type": "text/css"}, "") for one in LOADED}}
    async with paging(pages) as site:
        response = await renderer.render(
            site.url(), wait=IDLE, images=True, block=frozenset({kind})
        )
        assert response.status == 200
        asked = {path.removeprefix("/") for path in site.paths()}
        assert kind not in asked
        assert asked >= set(LOADED) - {kind}


async def test_all_types_have_a_name_in_the_browser() -> None:
    assert all(TYPES.values()) and TYPES["xhr"] == TYPES["fetch"]


async def test_one_page_that_is_refused_by_its_length_is_not_read(renderer: Renderer) -> None:
    async with paging({"/": "x" * 1001, "/fits": "x" * 1000}) as site:
        for path, status, words in (("/", 200, "1001 bytes"), ("/fits", 200, "")):
            response = await renderer.render(site.url(path), request={"max_body": 1000})
            assert response.status == status and words in response.message


async def test_secrets_go_with_requests_of_workers_and_frames_of_the_same_place_only(
    renderer: Renderer,
) -> None:
    page = "<iframe src=/frame></iframe><iframe src=http://other.localhost:%d/frame></iframe>"
    async with paging({"/frame": "<p>other"}) as other, paging({"/frame": "<p>own"}) as site:
        site.pages = {"/": page % other.port, "/frame": "<p>own"}
        await renderer.render(site.url(), wait=IDLE, request={"headers": (b"X-Key: k",)})
        [own] = [head for _, path, head, _ in site.asked if path == "/frame"]
        [others] = [head for _, path, head, _ in other.asked if path == "/frame"]
    assert "X-Key: k" in own and "X-Key" not in others
