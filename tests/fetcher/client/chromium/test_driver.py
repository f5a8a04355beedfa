import asyncio
import gc
import os
import signal
import warnings
from pathlib import Path

import pytest

from fetcher.client.chromium.driver import Driver
from fetcher.client.chromium.processes import is_alive
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)


def environment_of(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


async def test_it_is_in_a_session_of_its_own_and_ends_when_it_is_told(tmp_path: Path) -> None:
    before = dict(os.environ)
    driver = await Driver.start(tmp_path)
    try:
        assert os.environ == before
        assert is_alive(driver.pid)
        assert os.getsid(driver.pid) == driver.pid  # Ctrl-C is not for it
        assert f"TMPDIR={tmp_path}".encode() in environment_of(driver.pid)
    finally:
        await driver.stop()
    await wait_until(lambda: not is_alive(driver.pid), 5)


async def test_those_of_several_loops_are_started_one_after_another(tmp_path: Path) -> None:
    async def start_and_stop(folder: Path) -> list[bytes]:
        driver = await Driver.start(folder)
        told = environment_of(driver.pid)
        await driver.stop()
        return told

    before = dict(os.environ)
    folders = [tmp_path / str(number) for number in range(3)]
    for folder in folders:
        os.mkdir(folder)
    here = start_and_stop(folders[0]), start_and_stop(folders[1])
    there = asyncio.to_thread(asyncio.run, start_and_stop(folders[2]))
    for folder, told in zip(folders, await asyncio.gather(*here, there), strict=True):
        assert f"TMPDIR={folder}".encode() in told
    assert os.environ == before


async def test_one_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fetcher.client.chromium.driver.STOP", 0.3)
    driver = await Driver.start(tmp_path)
    os.kill(driver.pid, signal.SIGSTOP)
    await driver.stop()
    await wait_until(lambda: not is_alive(driver.pid), 5)


async def test_a_node_that_is_none_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYWRIGHT_NODEJS_PATH", "/bin/false")
    with pytest.raises(Exception, match=r".+"):
        await Driver.start(tmp_path)
    assert os.environ["PLAYWRIGHT_NODEJS_PATH"] == "/bin/false"
    with warnings.catch_warnings():  # playwright leaves its pipes to the collector then
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
