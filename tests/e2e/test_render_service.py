"""Pages rendered by the whole service: by its queue, by /fetch, and nothing left at its end."""

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import umsgpack  # type: ignore[import-untyped]

from fetcher.client.chromium.folder import PREFIX
from fetcher.client.chromium.processes import command_of, is_alive
from tests.e2e.service import ServiceProcess
from tests.rendering import Site, paging, program
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(120)

PAGE = "<title>t</title><p id=a></p><script>document.getElementById('a').textContent = 'written'"
PAGE += "</script>"
LATE = PAGE + "<script async src=/never></script>"


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Pytest's own has a name that is too long for a socket of Chromium's in it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextlib.asynccontextmanager
async def service(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ServiceProcess]:
    """One whose browser keeps its files in a folder of its own."""
    own = folder / "tmp"
    own.mkdir()
    monkeypatch.setenv("TMPDIR", str(own))
    monkeypatch.setattr(tempfile, "tempdir", None)
    settings: dict[str, Any] = {
        "api": {"port": 0, "proxy": "direct", "allow_private": True},
        "fetcher": {
            "proxy": "direct",
            "drain": 10,
            "renderer": {"chromium": program(), "sandbox": os.geteuid() != 0},
        },
        "pool": {"harvest": {"enabled": False}, "check": {"enabled": False}},
    }
    with ServiceProcess(folder, **settings) as one:
        await asyncio.to_thread(one.start)
        yield one


def browsers_of(folder: Path) -> list[int]:
    """Processes whose command line names this folder."""
    own = os.fsencode(folder / "tmp")
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    return [pid for pid in pids if own in command_of(pid) and is_alive(pid)]


def folders_in(folder: Path) -> list[str]:
    return [path.name for path in (folder / "tmp").glob(f"{PREFIX}*")]


async def fetch(service: ServiceProcess, site: Site, path: str = "/", *words: str) -> Any:
    target = "&".join([f"/fetch?url={quote(site.url(path), safe='')}", "render=js", *words])
    return await asyncio.to_thread(service.get, target)


async def test_the_queue_and_fetch_render_and_a_stop_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        paging({"/": PAGE, "/late": LATE, "/never": lambda head: None}) as site,
        service(tmp_path, monkeypatch) as one,
    ):
        assert browsers_of(tmp_path) == []  # nobody has asked for it yet
        answer = await fetch(one, site)
        assert answer.status == 200 and b">written</p>" in answer.body
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["x-fetch-url"] == site.url()
        assert browsers_of(tmp_path) != []

        redis = one.redis()
        task = {
            "taskid": "t",
            "project": "p",
            "url": site.url(),
            "fetch": {"fetch_type": "js", "js_script": "() => document.title", "save": 7},
        }
        await asyncio.to_thread(redis.rpush, "scheduler2fetcher", umsgpack.packb(task))
        came: list[Any] = []

        def is_there() -> bool:
            came.extend(filter(None, [redis.lpop("fetcher2processor")]))
            return bool(came)

        await wait_until(is_there, 30)
        told, result = umsgpack.unpackb(came[0])
        redis.close()
        assert told == task
        assert result["status_code"] == 200 and result["save"] == 7
        assert result["js_script_result"] == "t" and b"written" in result["content"]

        waiting = asyncio.create_task(fetch(one, site, "/late", "timeout=5"))
        await wait_until(lambda: "/late" in site.paths(), 20)
        one.send(signal.SIGTERM)
        assert (await waiting).status == 200  # what is under way is finished
        assert await asyncio.to_thread(one.wait) == 0
        assert browsers_of(tmp_path) == [] and folders_in(tmp_path) == []


async def test_after_a_kill_no_process_is_left_and_the_next_clears_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with paging({"/": PAGE}) as site, service(tmp_path, monkeypatch) as one:
        assert (await fetch(one, site)).status == 200
        assert browsers_of(tmp_path) and folders_in(tmp_path)
        await asyncio.to_thread(one.kill)
        await wait_until(lambda: browsers_of(tmp_path) == [], 15)
        await asyncio.to_thread(one.start)
        before = folders_in(tmp_path)
        assert (await fetch(one, site)).status == 200
        assert len(folders_in(tmp_path)) == 1
        assert folders_in(tmp_path) != before or before == []


async def test_ctrl_c_is_not_for_the_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        paging({"/": PAGE, "/late": LATE, "/never": lambda head: None}) as site,
        service(tmp_path, monkeypatch) as one,
    ):
        assert (await fetch(one, site)).status == 200
        waiting = asyncio.create_task(fetch(one, site, "/late", "timeout=4"))
        await wait_until(lambda: "/late" in site.paths(), 20)
        os.killpg(os.getpgid(one.process.pid), signal.SIGINT)  # as a terminal does
        answer = await waiting
        assert answer.status == 200 and b"written" in answer.body
        assert await asyncio.to_thread(one.wait) == 0
        assert browsers_of(tmp_path) == []
