"""Processes of a command that are replaced when they crash, and ended together."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fetchpool.serve.children import Children
from tests.wait import wait_until

CODE = """
import os, signal, sys, time
from pathlib import Path
place = Path(sys.argv[1])
(place / f"{os.getpid()}.begun").touch()
if sys.argv[2] == "deaf": signal.signal(signal.SIGTERM, signal.SIG_IGN)
(place / f"{os.getpid()}.ready").touch()
if sys.argv[2].isdecimal(): sys.exit(int(sys.argv[2]))
while not (place / "go").exists(): time.sleep(0.01)
"""


@asynccontextmanager
async def running(place: Path, word: str, count: int = 2) -> AsyncIterator[Children]:
    children = Children([sys.executable, "-c", CODE, str(place), word], count, (0, 4))
    try:
        yield children
    finally:
        children.kill()
        await children.end(10)


def begun(place: Path, what: str = "ready") -> list[int]:
    return sorted(int(path.stem) for path in place.glob(f"*.{what}"))


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_they_are_there_in_sessions_of_their_own_and_end_well(tmp_path: Path) -> None:
    async with running(tmp_path, "wait") as children:
        await wait_until(lambda: len(begun(tmp_path)) == 2)
        assert sorted(children.pids) == begun(tmp_path)
        assert {os.getsid(pid) for pid in children.pids} == set(children.pids)
        (tmp_path / "go").touch()
        await children.end(10)
        assert children.pids == []
    assert len(begun(tmp_path)) == 2


async def test_one_that_is_killed_is_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path, "wait", 1) as children:
        await wait_until(lambda: begun(tmp_path))
        os.kill(children.pids[0], signal.SIGKILL)
        await wait_until(lambda: len(begun(tmp_path)) == 2)
    assert "child 1 ended by SIGKILL; another starts in 0.5 s" in caplog.text


@pytest.mark.parametrize(("code", "said"), [(0, ""), (4, ""), (2, "no other is started")])
async def test_one_that_has_ended_for_good_is_not_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, code: int, said: str
) -> None:
    async with running(tmp_path, str(code), 1) as children:
        await children.end(10)
        assert children.pids == []
    assert len(begun(tmp_path)) == 1
    assert said in caplog.text and bool(said) == bool(caplog.text)


async def test_one_that_crashes_at_every_start_is_no_load(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path, "1", 1) as children:
        await wait_until(lambda: len(begun(tmp_path)) == 2)
        await wait_until(lambda: "another starts in 1 s" in caplog.text)
        children.stop()
        await children.end(10)  # and does not wait for that
    assert len(begun(tmp_path)) == 2


async def test_a_word_stops_all_of_them(tmp_path: Path) -> None:
    async with running(tmp_path, "wait") as children:
        await wait_until(lambda: len(begun(tmp_path)) == 2)
        pids = children.pids
        children.stop()
        await children.end(10)
        assert not any(map(is_there, pids))
    assert len(begun(tmp_path)) == 2


async def test_those_that_do_not_hear_are_killed(tmp_path: Path) -> None:
    async with running(tmp_path, "deaf") as children:
        await wait_until(lambda: len(begun(tmp_path)) == 2)
        pids = children.pids
        await children.end(0.1)
        assert not any(map(is_there, pids))


async def test_a_command_that_is_not_there_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    children = Children(["/no/such/command"], 1, ())
    await wait_until(lambda: "No such file" in caplog.text)
    children.stop()
    await asyncio.wait_for(children.end(10), 5)
