import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from fetcher.client.chromium.browser import Browser, BrowserFailed
from fetcher.client.chromium.folder import PREFIX, clear_leftovers
from fetcher.client.chromium.processes import command_of, is_alive, members
from tests.rendering import program
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def root(short_folder: Path) -> Path:
    return short_folder


def left_in(root: Path) -> list[Path]:
    return sorted(root.iterdir())


def environment_of(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


async def start() -> Browser:
    return await Browser.start(program(), sandbox=os.geteuid() != 0, memory=1 << 30)


async def test_it_has_a_group_and_a_folder_and_both_go_with_it(root: Path) -> None:
    browser = await start()
    assert browser.is_alive and browser.group > 1
    [folder] = left_in(root)
    assert folder.name.startswith(PREFIX)
    assert os.fsencode(folder) in command_of(browser.group)
    measured = await browser.measure()
    assert measured.processes >= 1 and measured.memory > 10 << 20
    environment = environment_of(browser.group)
    names = {one.partition(b"=")[0] for one in environment if one}
    assert {b"HOME", b"TMPDIR"} <= names and b"PYTEST_CURRENT_TEST" not in names
    group, driver = browser.group, browser.driver_pid
    await browser.close()
    await wait_until(lambda: not any(map(is_alive, members(group))), 5)
    assert not is_alive(driver)
    assert left_in(root) == []


async def test_one_that_hangs_is_killed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fetcher.client.chromium.browser.END", 0.3)
    browser = await start()
    os.killpg(browser.group, signal.SIGSTOP)
    await browser.close()
    await wait_until(lambda: not any(map(is_alive, members(browser.group))), 5)
    assert left_in(root) == []


async def test_one_that_was_killed_is_known_to_be_gone() -> None:
    browser = await start()
    browser.kill("hung", "for a reason")
    await wait_until(lambda: not browser.is_alive, 5)
    assert browser.reason == "for a reason" and browser.is_retired
    await browser.close()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("#!/bin/sh\nexit 3\n", "it ended with code 3"),
        ("#!/bin/sh\necho no such option >&2\necho more >&2\nexit 2\n", "no such option"),
        ("#!/bin/sh\nexec sleep 1000\n", ""),
    ],
)
async def test_a_program_that_is_no_browser_is_told_and_leaves_nothing(
    root: Path, words: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fetcher.client.chromium.browser.START", 2.0)
    path = root / "program"
    path.write_text(words)
    path.chmod(0o755)
    with pytest.raises(BrowserFailed) as caught:
        await Browser.start(str(path), sandbox=False, memory=0)
    said = str(caught.value)
    assert said.startswith(f"the browser does not start: {path}: {why}")
    assert "fetcher.renderer.sandbox" not in said
    assert left_in(root) == [path]


@pytest.mark.skipif(os.geteuid() != 0, reason="others have the sandbox")
async def test_root_is_told_that_there_is_no_sandbox_for_him() -> None:
    with pytest.raises(BrowserFailed, match=r"renderer\.sandbox: false"):
        await Browser.start(program(), sandbox=True, memory=0)


STARTS = """
import asyncio, os, sys
from fetcher.client.chromium.browser import Browser
async def main():
    browser = await Browser.start(sys.argv[1], sandbox=os.geteuid() != 0, memory=0)
    print(browser.group, browser.driver_pid, flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""


async def test_when_we_are_killed_it_ends_and_the_next_clears_up(root: Path) -> None:
    words = [sys.executable, "-c", STARTS, program()]
    environment = {**os.environ, "TMPDIR": str(root)}
    owner = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, env=environment
    )
    assert owner.stdout is not None
    group, driver = map(int, (await owner.stdout.readline()).split())
    owner.kill()
    await owner.wait()
    await wait_until(lambda: not is_alive(driver), 10)
    await wait_until(lambda: not any(map(is_alive, members(group))), 10)
    clear_leftovers(str(root))
    assert left_in(root) == []
