"""A child process, seen from its parent."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from fetcher.child import PIECE, Child
from fetcher.child_process import pack
from tests.fetcher.parrot import Said
from tests.standstill import Standstill

MOST = 4 << 20


@asynccontextmanager
async def parrot(
    *arguments: str, most: int = MOST, env: dict[str, str] | None = None
) -> AsyncIterator[Child]:
    child = await Child.start("tests.fetcher.parrot", *arguments, most=most, env=env)
    try:
        yield child
    finally:
        await child.end()


def said(frame: bytes) -> str:
    return msgspec.msgpack.decode(frame, type=Said).text


def is_there(pid: int) -> bool:
    """Zombies count: they are somebody's who has not looked."""
    return Path(f"/proc/{pid}").exists()


async def test_it_answers_frames_and_is_killed_in_the_end() -> None:
    async with parrot() as child:
        for text in ("one", "", "two"):
            await child.send(pack(Said(text)))
            assert said(await child.receive()) == text
        assert child.returncode is None
        assert is_there(child.pid)
    assert child.returncode == -signal.SIGKILL
    assert not is_there(child.pid)


async def test_frames_longer_than_a_pipe_go_both_ways_while_the_loop_turns() -> None:
    text = "x" * (3 * PIECE + 1)
    async with parrot() as child:
        with Standstill() as standstill:
            await child.send(pack(Said(text)))
            assert said(await child.receive()) == text
        assert standstill.longest < 0.2


@pytest.mark.parametrize(("most", "is_taken"), [(99, False), (100, True), (101, True)])
async def test_a_frame_has_a_limit(most: int, is_taken: bool) -> None:
    frame = msgspec.msgpack.encode(Said("x" * 92))
    assert len(frame) == 100
    async with parrot(most=most) as child:
        await child.send(pack(Said("x" * 92)))
        if is_taken:
            assert await child.receive() == frame
        else:
            with pytest.raises(EOFError):
                await child.receive()


async def test_its_environment_is_ours_and_more() -> None:
    async with parrot("env", env={"PARROT": "polly"}) as child:
        assert said(await child.receive()) == "polly"


async def test_one_that_has_died_is_no_end_of_ours() -> None:
    async with parrot() as child:
        os.kill(child.pid, signal.SIGTERM)
        with pytest.raises(EOFError):
            await child.receive()
        with pytest.raises(OSError):
            await child.send(b"x" * 1_000_000)
    assert child.returncode == -signal.SIGTERM


async def test_with_grace_it_ends_by_itself() -> None:
    child = await Child.start("tests.fetcher.parrot", "three", most=MOST)
    await child.end(grace=20.0)
    assert child.returncode == 3
    await child.end(grace=20.0)
    assert child.returncode == 3


async def test_who_does_not_end_by_itself_is_killed() -> None:
    child = await Child.start("tests.fetcher.parrot", "deaf", most=MOST)
    await child.end(grace=0.05)
    assert child.returncode == -signal.SIGKILL


async def test_who_is_not_waited_for_any_longer_is_killed_too() -> None:
    child = await Child.start("tests.fetcher.parrot", "deaf", most=MOST)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await child.end(grace=20.0)
    assert child.returncode == -signal.SIGKILL
