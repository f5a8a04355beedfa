"""Chromium as a service has it: from a task to its result, and what is said where there is none."""

import os
from pathlib import Path
from typing import Any

import pytest

import fetchpool.serve.build_renderer as module
from fetcher.client.chromium.client import ChromiumClient
from fetcher.forward.own import Own
from fetcher.model import Trust
from fetcher.run.fetcher import Fetcher
from fetcher.settings import Fetcher as Settings
from fetcher.settings import Renderer
from fetchpool.serve.build_renderer import (
    build_renderer,
    describe_renderer,
    find_missing,
    rendering,
)
from tests.rendering import paging, program

pytestmark = pytest.mark.timeout(60)

PAGE = "<p id=a></p><script>document.getElementById('a').textContent = 'written'</script>"


def settings(**renderer: Any) -> Settings:
    own = {"chromium": program(), "sandbox": os.geteuid() != 0, **renderer}
    return Settings(proxy=False, renderer=Renderer(**own))


async def test_a_task_is_rendered_from_its_options_to_its_result() -> None:
    chosen = settings(block=["ads.localhost"])
    page = PAGE + "<script src=http://ads.localhost:1/></script>"
    async with (
        paging({"/": (200, {"Set-Cookie": "c=1"}, page)}) as site,
        Fetcher.from_settings(chosen) as fetcher,
        rendering(chosen, fetcher),
    ):
        task = {
            "url": site.url(),
            "taskid": "t",
            "fetch": {
                "fetch_type": "js",
                "headers": {"X-Key": "k", "User-Agent": "me/1"},
                "cookies": {"mine": "yes"},
                "js_script": "() => document.title + document.cookie",
                "js_screenshot": True,
                "js_wait": "load",
                "save": {"a": 1},
            },
        }
        result = await fetcher.fetch(task)
    assert result.status_code == 200 and result.rendered is True, result.error
    assert b">written</p>" in result.content
    assert result.js_script_result == "mine=yes; c=1"
    assert result.cookies == {"mine": "yes", "c": "1"} or result.cookies == {"c": "1"}
    assert isinstance(result.screenshot, bytes) and result.save == {"a": 1}
    assert result.timing.render
    [(_, _, head, _)] = [one for one in site.asked if one[1] == "/"]
    assert "X-Key: k\r\n" in head and "User-Agent: me/1\r\n" in head
    assert "Cookie: mine=yes\r\n" in head


async def test_who_is_guarded_is_refused_with_the_guards_words() -> None:
    chosen = settings()
    async with (
        paging({"/": PAGE}) as site,
        Fetcher.from_settings(chosen) as fetcher,
        rendering(chosen, fetcher),
    ):
        task = {"url": site.url(), "fetch": {"fetch_type": "chromium"}}
        result = await fetcher.fetch(task, trust=Trust.GUARDED)
        assert result.status_code == 599 and "127.0.0.1 is not public" in str(result.error)
        assert site.asked == []


async def test_robots_txt_is_asked_by_the_path() -> None:
    chosen = settings()
    robots = (200, {"Content-Type": "text/plain"}, "User-agent: *\nDisallow: /")
    async with (
        paging({"/": PAGE, "/robots.txt": robots}) as site,
        Fetcher.from_settings(chosen) as fetcher,
        rendering(chosen, fetcher),
    ):
        result = await fetcher.fetch(site.url(), fetch_type="js", robots_txt=True)
        assert result.status_code == 403 and site.paths() == ["/robots.txt"]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("off", "fetcher.renderer.chromium is off"),
        ("/nowhere/chromium", "there is no program /nowhere/chromium"),
    ],
)
async def test_what_is_missing_is_said_to_who_asks(wanted: str, words: str) -> None:
    chosen = settings(chromium=wanted)
    assert words in str(find_missing(wanted))
    async with Fetcher.from_settings(chosen) as fetcher:
        assert build_renderer(chosen, fetcher, Own()) is None
        told = describe_renderer(None, fetcher)
        assert told["works"] is False and words in told["reason"]
        result = await fetcher.fetch("http://127.0.0.1:1/", fetch_type="js")
        assert result.status_code == 501 and words in result.content.decode()


async def test_health_says_whether_the_browser_starts(tmp_path: Path) -> None:
    odd = tmp_path / "program"
    odd.write_text("#!/bin/sh\nexit 3\n")
    odd.chmod(0o755)
    chosen = settings(chromium=str(odd))
    async with paging({"/": PAGE}) as site, Fetcher.from_settings(chosen) as fetcher:
        client = build_renderer(chosen, fetcher, Own())
        assert client is not None
        await fetcher.fetch(site.url(), fetch_type="js")
        told = describe_renderer(client, fetcher)
        assert told["works"] is False
        assert "does not start" in told["reason"] and "code 3" in told["reason"]
        odd.unlink()
        odd.symlink_to(program())
        result = await fetcher.fetch(site.url(), fetch_type="js")
        assert result.rendered is True, result.error
        assert describe_renderer(client, fetcher) == {"works": True, "reason": ""}
        await client.close()


def test_without_playwright_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert find_missing("auto") == (
        "playwright is not installed: pip install -r requirements-js.txt"
    )


def test_without_a_browser_it_is_said_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_program", lambda wanted: None)
    assert "apt install chromium-headless-shell" in str(find_missing("auto"))


async def test_nothing_starts_before_the_first_page(tmp_path: Path) -> None:
    chosen = settings()
    async with Fetcher.from_settings(chosen) as fetcher, rendering(chosen, fetcher):
        client = fetcher.shared.clients["chromium"][Trust.OPEN]
        assert isinstance(client, ChromiumClient)
        told = describe_renderer(client, fetcher)
        assert told == {"works": None, "reason": "it starts with the first page"}
        assert client is fetcher.shared.clients["chromium"][Trust.GUARDED]
        assert client.browsers.started == 0
