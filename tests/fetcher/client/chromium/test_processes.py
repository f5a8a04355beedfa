import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from fetcher.client.chromium.processes import (
    child_of,
    command_of,
    is_alive,
    kill_group,
    measure,
    members,
)
from tests.wait import wait_until

PROGRAM = """
import subprocess, sys
kept = bytearray(32 << 20)
for at in range(0, len(kept), 4096): kept[at] = 1
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"],
                         stdin=subprocess.PIPE)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def group() -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, "-c", PROGRAM, "a-word-of-its-own"]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
        kill_group(process.pid)


def test_a_group_is_measured_as_a_whole(group: subprocess.Popen[bytes]) -> None:
    assert group.pid in members(group.pid) and len(list(members(group.pid))) == 2
    measured = measure(group.pid)
    assert measured.processes == 2
    assert 32 << 20 < measured.memory < 200 << 20


async def test_a_group_is_killed_as_a_whole(group: subprocess.Popen[bytes]) -> None:
    assert is_alive(group.pid)
    kill_group(group.pid)
    await wait_until(lambda: not any(map(is_alive, members(group.pid))), 10)
    assert not is_alive(group.pid)
    group.wait()
    kill_group(group.pid)  # harmless
    assert measure(group.pid).processes == 0


def test_nobody_kills_what_is_no_group() -> None:
    kill_group(0)  # would be our own
    kill_group(1)
    assert is_alive(os.getpid())


def test_a_child_is_found_by_its_words(group: subprocess.Popen[bytes]) -> None:
    assert child_of(os.getpid(), b"a-word-of-its-own") == group.pid
    assert child_of(os.getpid(), b"no-word-of-it") is None
    assert child_of(1, b"a-word-of-its-own") is None
    assert b"a-word-of-its-own" in command_of(group.pid)
    assert command_of(2**22 + 1) == b""


def test_what_else_is_named_counts_for_memory_and_not_as_a_process(
    group: subprocess.Popen[bytes],
) -> None:
    alone, together = measure(group.pid), measure(group.pid, os.getpid(), 2**22 + 1)
    assert together.processes == alone.processes == 2
    assert together.memory > alone.memory + (10 << 20)


def test_the_largest_renderer_is_named() -> None:
    words = [sys.executable, "-c", PROGRAM, "--type=renderer"]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        measured = measure(process.pid)
        assert measured.largest == process.pid and 32 << 20 < measured.most < measured.memory
        kill_group(process.pid)


def test_what_is_no_renderer_is_not_named(group: subprocess.Popen[bytes]) -> None:
    measured = measure(group.pid)
    assert (measured.largest, measured.most) == (0, 0)
