"""`auto` in a real browser: a hundred sites of which thirty need their scripts."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from fetcher.auto.look import look
from fetcher.model import Result, Task
from fetcher.rendering import CHROMIUM
from fetcher.run.fetcher import Fetcher
from fetcher.settings import Fetcher as Settings
from fetcher.settings import Renderer
from fetchpool.serve.build_renderer import rendering
from tests.auto_sites import Site, sites
from tests.fetchpool.command import run
from tests.rendering import program
from tests.serving import Serve, serving

pytestmark = pytest.mark.timeout(300)


def serve(site: Site) -> Serve:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode()
                kind, body = site.files.get(path, ("text/html", "nothing here"))
                if path == "/":
                    kind, body = site.type, site.html
                data = body.encode()
                writer.write(
                    f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n"
                    f"Content-Length: {len(data)}\r\n\r\n".encode()
                    + data
                )
                await writer.drain()

    return answer


async def fetch_all(fetcher: Fetcher, ports: Mapping[int, Site], how: str) -> dict[int, Result]:
    """Four at once."""
    tasks = [
        {"url": f"http://127.0.0.1:{port}/", "fetch": {"fetch_type": how, "js_wait": "idle"}}
        for port in ports
    ]
    found = {}
    async for task, result in fetcher.fetch_many(tasks, concurrency=4):
        assert not isinstance(task, Task | str)
        found[int(task["url"].split(":")[2].strip("/"))] = result
    return found


def choose(hundred: Sequence[Site], step: int) -> list[Site]:
    """The first of each kind, and every `step`th behind it."""
    seen: Counter[str] = Counter()
    chosen = []
    for one in hundred:
        if seen[one.kind] % step == 0:
            chosen.append(one)
        seen[one.kind] += 1
    return chosen


MORE = "<p>Read on: <a href=/more>more</a></p>"
LINKED = Site(
    "linked",
    True,
    "<main id=root></main><script src=/app.js></script>",
    "",
    {
        "/app.js": (
            "text/javascript",
            "fetch('/part').then(r => r.text()).then(t => document.getElementById('root')"
            ".innerHTML = t)",
        ),
        "/part": ("text/html", MORE + "<p>" + "shown by a script " * 20 + "</p>"),
        "/more": ("text/html", "<p>" + "said without one " * 20 + "</p>"),
        "/robots.txt": ("text/plain", ""),
    },
)


@pytest.mark.parametrize(("how", "rendered"), [("auto", [True, False]), ("js", [True, True])])
async def test_a_crawl_follows_the_links_that_scripts_have_made(
    tmp_path: Path, how: str, rendered: list[bool]
) -> None:
    program()
    async with serving(serve(LINKED)) as port:
        words = ["-s", "fetcher.renderer.sandbox=false", "crawl", f"http://127.0.0.1:{port}/",
                 "--render", how, "--delay", "0", "--out", "out.jsonl"]  # fmt: skip
        got = await asyncio.to_thread(lambda: run(tmp_path, *words, stdin=b""))
    assert got.code == 0, got.err
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    pages = {line["url"].removeprefix(f"http://127.0.0.1:{port}"): line for line in lines}
    assert list(pages) == ["/", "/more"]
    assert [line["rendered"] for line in pages.values()] == rendered
    assert "shown by a script" in pages["/"]["content"]


@pytest.mark.soak
async def test_of_a_hundred_sites_at_most_forty_are_rendered_and_nothing_is_missed(
    scale: int,
) -> None:
    """Of each kind a third, in the short version."""
    program()
    hundred = list(sites())
    assert (len(hundred), sum(one.needs for one in hundred)) == (100, 30)
    chosen = hundred if scale > 1 else choose(hundred, 3)
    needy = sum(one.needs for one in chosen)
    settings = Settings(renderer=Renderer(sandbox=False), timeout=60, proxy=False)
    async with contextlib.AsyncExitStack() as stack:
        # Each on a port of its own, so that it is a host of its own.
        ports = {await stack.enter_async_context(serving(serve(one))): one for one in chosen}
        fetcher = await stack.enter_async_context(Fetcher.from_settings(settings))
        await stack.enter_async_context(rendering(settings, fetcher))
        assert CHROMIUM in fetcher.shared.clients
        always = await fetch_all(fetcher, ports, "js")
        auto = await fetch_all(fetcher, ports, "auto")
        again = await fetch_all(fetcher, ports, "auto")
    assert {result.status_code for result in auto.values()} == {200}
    different = []
    for port, site in ports.items():
        if site.type.startswith("text/html"):
            seen = (look(one[port].content.decode()).text for one in (always, auto))
            if len(set(seen)) > 1:
                different.append(site.kind)
    renders = sum(bool(result.rendered) for result in auto.values())
    assert len(different) <= 1, different
    assert needy <= renders <= needy * 4 / 3
    # What rendering has not changed is not rendered again.
    assert sum(bool(result.rendered) for result in again.values()) == needy
