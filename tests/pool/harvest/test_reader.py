"""Bodies read in another process: the loop turns meanwhile, and what ends badly is replaced."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pool.harvest.reader import Reader, ReadingError
from pool.source import Source
from tests.redis_server import poll
from tests.resources import open_files
from tests.standstill import Standstill
from tests.wait import wait_until

TANGLE = b"<table><tr>" + b"<td>" * 300_000
SLOW: dict[str, Any] = {"select": {"row": "tr", "host": "td:nth-child(1)"}}


def make(**fields: Any) -> Source:
    return msgspec.convert({"name": "one", "url": "http://list.test/", **fields}, Source)


@asynccontextmanager
async def reading(seconds: float = 20.0) -> AsyncIterator[Reader]:
    reader = Reader(seconds)
    try:
        yield reader
    finally:
        await reader.close()


async def members(reader: Reader, body: bytes, limit: int = 9, **fields: Any) -> list[str]:
    found = await reader.read(make(**fields), body, "", limit)
    return [one.proxy.member for one in found]


def is_there(pid: int) -> bool:
    """Zombies count: they are somebody's who has not looked."""
    return Path(f"/proc/{pid}").exists()


async def test_one_process_reads_all_bodies_one_after_the_other() -> None:
    async with reading() as reader:
        assert reader.pid is None
        bodies = [b"8.8.4.%d:80" % n for n in range(1, 5)]
        found = await asyncio.gather(*(members(reader, body) for body in bodies))
        assert found == [[body.decode()] for body in bodies]
        pid = reader.pid
        assert await members(reader, b"8.8.4.1:80 8.8.4.2:80", limit=1) == ["8.8.4.1:80"]
        assert reader.pid == pid
    assert reader.pid is None
    assert pid is not None and not is_there(pid)


async def test_it_may_be_used_again_after_its_end_and_ended_without_a_use() -> None:
    reader = Reader(20.0)
    await reader.close()
    assert await members(reader, b"8.8.4.1:80") == ["8.8.4.1:80"]
    await reader.close()
    assert await members(reader, b"8.8.4.1:80") == ["8.8.4.1:80"]
    await reader.close()


async def test_a_body_that_takes_too_long_ends_its_process_and_no_other_body() -> None:
    async with reading(0.5) as reader:
        assert await members(reader, b"8.8.4.1:80") == ["8.8.4.1:80"]
        pid = reader.pid
        assert pid is not None
        slow = asyncio.create_task(members(reader, TANGLE, **SLOW))
        behind = asyncio.create_task(members(reader, b"8.8.4.2:80"))
        message = r"not read within 0\.5 s"
        with Standstill() as standstill, pytest.raises(ReadingError, match=message):
            await slow
        assert standstill.longest < 0.2
        assert await behind == ["8.8.4.2:80"]
        assert reader.pid != pid and not is_there(pid)


async def test_too_much_memory_is_said() -> None:
    async with reading() as reader:
        body = b"[" + b"[{}]," * 5_000_000 + b"0]"
        message = "more than 512 MB"
        with Standstill() as standstill, pytest.raises(ReadingError, match=message):
            await members(reader, body, json={"items": "x"})
        assert standstill.longest < 0.2
        assert reader.pid is None
        assert await members(reader, b"8.8.4.2:80") == ["8.8.4.2:80"]


async def test_a_process_that_was_killed_is_replaced() -> None:
    async with reading() as reader:
        await members(reader, b"8.8.4.1:80")
        pid = reader.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        try:  # it depends on who is quicker
            await members(reader, b"8.8.4.1:80")
        except ReadingError as error:
            assert str(error) == "the process that read it has died"
        assert await members(reader, b"8.8.4.2:80") == ["8.8.4.2:80"]
        assert not is_there(pid)


async def test_a_process_that_is_killed_at_work_is_the_bodys_error() -> None:
    async with reading() as reader:
        await members(reader, b"8.8.4.1:80")
        pid = reader.pid
        assert pid is not None
        task = asyncio.create_task(members(reader, TANGLE, **SLOW))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ReadingError, match="has died"):
            await task


async def test_who_waits_no_longer_leaves_no_process_at_work() -> None:
    async with reading() as reader:
        await members(reader, b"8.8.4.1:80")
        pid = reader.pid
        assert pid is not None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await members(reader, TANGLE, **SLOW)
        assert not is_there(pid)


async def test_neither_descriptors_nor_processes_are_left() -> None:
    async with reading(0.2) as reader:
        await members(reader, b"8.8.4.1:80")
    gc.collect()
    before = open_files()
    for _ in range(3):
        async with reading(0.2) as reader:
            with pytest.raises(ReadingError):
                await members(reader, TANGLE, **SLOW)
            await members(reader, b"8.8.4.1:80")
    gc.collect()
    await wait_until(lambda: open_files() <= before)


def descriptors(pid: int) -> dict[int, str]:
    return {int(one.name): os.readlink(one) for one in Path(f"/proc/{pid}/fd").iterdir()}


async def test_its_process_knows_none_of_our_descriptors() -> None:
    async with reading() as reader:
        await members(reader, b"8.8.4.1:80")
        assert reader.pid is not None
        names = descriptors(reader.pid)
        assert names.keys() - {0, 1, 2} == set(), names


PARENT = """
import asyncio, sys
from tests.pool.harvest.test_reader import SLOW, TANGLE, make
from pool.harvest.reader import Reader

async def main():
    reader = Reader(float(sys.argv[1]))
    await reader.read(make(), b"8.8.4.1:80", "", 9)
    print(reader.pid, flush=True)
    if sys.argv[2] == "busy":
        await reader.read(make(**SLOW), TANGLE, "", 9)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("work", ["idle", "busy"])
def test_it_ends_with_us_also_when_we_are_killed(work: str) -> None:
    command = [sys.executable, "-c", PARENT, "1", work]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
        poll(lambda: not is_alive(pid), "the process that reads to end", 20)


def is_alive(pid: int) -> bool:
    """Not even as a zombie, but for those whom this machine's first process never buries."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
