"""What a child process does for its own good, in one."""

import io
import resource
import signal
import subprocess
import sys

import msgspec
import pytest

from fetcher.child_process import held, pack, read_frame
from tests.fetcher.parrot import Said

PROGRAM = [sys.executable, "-c", "from tests.fetcher.parrot import main; main()"]


def run(*arguments: str, frames: bytes = b"") -> tuple[int, list[str]]:
    done = subprocess.run([*PROGRAM, *arguments], input=frames, stdout=subprocess.PIPE, timeout=20)
    pipe, said = io.BytesIO(done.stdout), []
    while (frame := read_frame(pipe)) is not None:
        said.append(msgspec.msgpack.decode(frame, type=Said).text)
    return done.returncode, said


def test_frames_come_as_they_went() -> None:
    pipe = io.BytesIO(pack(Said("one")) + pack(Said("")) + pack(Said("x" * 70_000)))
    frames = [read_frame(pipe) for _ in range(4)]
    assert frames[3] is None
    said = [msgspec.msgpack.decode(frame, type=Said) for frame in frames[:3] if frame]
    assert said == [Said("one"), Said(""), Said("x" * 70_000)]


@pytest.mark.parametrize("rest", [b"", b"\0", b"\0\0\0"])
def test_a_torn_length_is_the_end(rest: bytes) -> None:
    assert read_frame(io.BytesIO(rest)) is None


def test_an_alarm_ends_what_goes_on_for_too_long() -> None:
    assert run("alarm") == (-signal.SIGALRM, [])


def test_an_alarm_that_was_taken_back_ends_nothing() -> None:
    assert run("twice", frames=pack(Said("one"))) == (0, ["one"])


def test_memory_has_a_limit_beyond_what_there_is() -> None:
    assert run("memory", str(32 << 20)) == (0, [str(32 << 20)])
    assert run("memory", str(65 << 20)) == (0, ["too much"])
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def test_what_is_held_is_told_in_bytes() -> None:
    assert 1 << 20 < held("VmRSS:") <= held("VmHWM:")
    assert held("Nothing:") == 0
