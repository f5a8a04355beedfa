"""Pages rendered through a pool that is mostly bad, by the whole service."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from fetchpool.farm import Kind
from tests.e2e.forwarding import Scene, farming
from tests.rendering import program

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

# Half is dead, a third lies once CONNECT is granted or about what it fetches.
MIXTURE = {
    Kind.GOOD: 3,
    Kind.REFUSING: 5,
    Kind.HANGING: 2,
    Kind.AUTH: 2,
    Kind.RESETTING: 3,
    Kind.SILENT: 2,
    Kind.GARBAGE: 1,
}
PARTS = 3
# Chromium waits 30 s for a tunnel, in which so many attempts as `retries` allows have to fit.
ATTEMPT = 2
SHELL = """<!doctype html><title>shell</title><div id=root></div><script>
Promise.all([0, 1, 2].map((n) => fetch('/api/' + n).then((answer) => answer.json()))).then(
  (parts) => { document.getElementById('root').textContent = parts.map((p) => p.text).join(' ') })
</script>"""


async def post(scene: Scene, *tasks: Any) -> list[dict[str, Any]]:
    def ask() -> list[dict[str, Any]]:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", scene.service.port, timeout=150)
        try:
            connection.request(
                "POST", "/tasks", json.dumps(tasks), {"Content-Type": "application/json"}
            )
            answer = connection.getresponse()
            results: list[dict[str, Any]] = json.loads(answer.read())
            return results
        finally:
            connection.close()

    return await asyncio.to_thread(ask)


def renderer() -> dict[str, Any]:
    return {"chromium": program(), "sandbox": os.geteuid() != 0, "pages": 2}


async def test_an_application_of_three_parts_comes_whole_through_a_pool_that_is_mostly_bad(
    tmp_path: Path, scale: int
) -> None:
    settings = {"attempt_timeout": ATTEMPT, "renderer": renderer(), "retries": 10}
    async with farming(tmp_path, MIXTURE, score=100, fetcher=settings) as scene:
        lists = scene.farm.origin.lists
        lists["/app"] = ("text/html", SHELL.encode())
        for part in range(PARTS):
            text = json.dumps({"text": f"part{part}"})
            lists[f"/api/{part}"] = ("application/json", text.encode())
        count = 4 if scale == 1 else 40
        tasks = [
            {
                "url": f"http{'s' * (number % 2)}://app-{number}.farm.test/app",
                "fetch": {
                    "fetch_type": "js",
                    "proxy": "pool",
                    "validate_cert": False,
                    "js_capture": ["xhr"],
                    "timeout": 100,
                },
            }
            for number in range(count)
        ]
        results = await post(scene, *tasks)
        bad = {one.address for one in scene.farm.proxies if one.kind is not Kind.GOOD}
        for result in results:
            told = {name: result.get(name) for name in ("status_code", "error", "attempts")}
            assert result["status_code"] == 200, told
            assert result["rendered"] is True
            assert "part0 part1 part2" in result["content"], told
            assert len(result["captured"]) == PARTS
            if result["url"].startswith("https:"):  # most of the bad ones leave plain http alone
                assert result["proxy"].partition("://")[2] not in bad
        assert any(one.seen for one in scene.farm.proxies if one.address in bad)
        assert await scene.stop() == 0


async def test_an_empty_pool_is_said_and_never_left_alone(tmp_path: Path) -> None:
    async with farming(tmp_path, {Kind.GOOD: 1}, fetcher={"renderer": renderer()}) as scene:
        await scene.redis.delete("proxies:universal", "proxies:universal:socks")
        for url in (
            "http://127.0.0.1:44441/",
            f"{scene.farm.origin.url}/home",
            "https://a.farm.test/",
        ):
            task = {"url": url, "fetch": {"fetch_type": "js", "proxy": "pool:none", "timeout": 20}}
            [result] = await post(scene, task)
            assert result["status_code"] == 599 and "pool" in result["error"], result["error"]
        assert not scene.farm.origin.requests
