"""Of one page in a real browser; what a task gets of it is in `test_visit`."""

import asyncio

import pytest

from fetcher.rendering import IDLE, Wait
from tests.rendering import Renderer, paging, seen

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


async def test_what_never_ends_holds_up_nobody(renderer: Renderer) -> None:
    page = "<script>fetch('/never'); fetch('/a')</script>"
    async with paging({"/": page, "/a": "a", "/never": lambda head: None}) as site:
        response = await renderer.render(
            site.url(), wait=Wait("time", 0.5), capture=frozenset({"xhr"})
        )
        captured = seen(response).captured
        assert captured is not None and [one.content for one in captured] == [b"a"]


async def test_only_what_is_asked_for_is_kept(renderer: Renderer) -> None:
    page = "<link rel=stylesheet href=/s.css><script src=/j.js></script>"
    pages = {"/": page, "/s.css": "p {}", "/j.js": (200, {"Content-Type": "a/b"}, "fetch('/x')")}
    async with paging(pages) as site:
        for types, paths in (
            ({"stylesheet"}, ["/s.css"]),
            ({"script"}, ["/j.js"]),
            ({"document", "xhr"}, ["/", "/x"]),
        ):
            response = await renderer.render(site.url(), wait=IDLE, capture=frozenset(types))
            captured = seen(response).captured
            assert captured is not None
            assert [one.url for one in captured] == [site.url(path) for path in paths]
            await asyncio.sleep(0)


async def test_nothing_is_kept_where_nothing_is_asked_for(renderer: Renderer) -> None:
    async with paging({"/": "<script>fetch('/')</script>"}) as site:
        assert seen(await renderer.render(site.url())).captured is None
