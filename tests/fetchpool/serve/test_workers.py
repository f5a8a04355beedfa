"""Parents and workers as real processes, of small programs; tests/e2e has those of the service."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchpool.serve.workers import PAUSE_FIRST, PAUSE_MOST, WELL, next_pause
from tests.fetchpool.command import MAIN, environment
from tests.redis_server import poll

pytestmark = pytest.mark.timeout(30)

PROGRAM = """
import asyncio, logging, os, signal, sys
from fetchpool.serve.workers import spawn_workers

logging.basicConfig(level="INFO", format="%(message)s")
def announce():
    if "now" in sys.argv:
        os.kill(os.getpid(), signal.SIGTERM)


worker = spawn_workers(2, {}, drain=float(sys.argv[1]), announce=announce)
if isinstance(worker, int):
    sys.exit(worker)
print("worker", worker.number, os.getpid(), flush=True)


async def serve():
    stop = asyncio.Event()
    worker.stop_on(stop)
    print("ready", worker.number, flush=True)
    await stop.wait()
    print("stopped", worker.number, flush=True)

"""
SERVE = "asyncio.run(serve())"
STUBBORN = "signal.pause()"  # with the signals blocked, as they are in the beginning


class Running:
    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def said(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str, times: int = 1) -> None:
        poll(lambda: self.said.count(text) >= times, f"{text!r}, {times} times")

    def pids(self, number: int) -> list[int]:
        """Of the workers that have had this number."""
        return [int(pid) for pid in re.findall(rf"^worker {number} (\d+)$", self.said, re.M)]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(10)


@contextlib.contextmanager
def running(folder: Path, body: str, *words: str, drain: float = 5) -> Iterator[Running]:
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROGRAM + body, str(drain), *words],
            cwd=MAIN.parent,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield Running(process, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # a session of our own: workers too
        process.wait(10)


@pytest.mark.parametrize(
    ("last", "lived", "pause"),
    [
        (0, 0, PAUSE_FIRST),
        (0, 1e6, PAUSE_FIRST),
        (0.5, 0, 1.0),
        (1, 0, 2.0),
        (14, 0, 28.0),
        (15, 0, PAUSE_MOST),
        (16, 0, PAUSE_MOST),
        (PAUSE_MOST, 0, PAUSE_MOST),
        (PAUSE_MOST, WELL - 1, PAUSE_MOST),
        (PAUSE_MOST, WELL, PAUSE_FIRST),
        (PAUSE_MOST, WELL + 1, PAUSE_FIRST),
    ],
)
def test_the_pause_doubles_until_a_worker_has_lived_well(
    last: float, lived: float, pause: float
) -> None:
    assert next_pause(last, lived) == pause


def test_who_stops_it_as_soon_as_it_is_announced_is_heard(tmp_path: Path) -> None:
    with running(tmp_path, SERVE, "now") as one:
        assert one.process.wait(10) == 0
        assert "stopping 2 workers" in one.said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_parent_or_to_all_of_them_stops_each_once(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running(tmp_path, SERVE) as one:
        one.wait_for("ready", 2)
        os.killpg(one.process.pid, number)
        assert one.process.wait(10) == 0
        assert [one.said.count(f"stopped {n}") for n in (1, 2)] == [1, 1]
        assert "Traceback" not in one.said
        assert "ended" not in one.said


def test_a_stop_that_takes_long_says_once_how_long_it_may_take(tmp_path: Path) -> None:
    with running(tmp_path, STUBBORN) as one:
        one.wait_for("worker", 2)
        one.process.send_signal(signal.SIGINT)
        hint = "still under way: at most 5 s (Ctrl-C again ends it at once; nothing is lost)"
        one.wait_for(hint)
        assert one.end(signal.SIGINT) == 128 + signal.SIGINT
        assert one.said.count("still under way") == 1


def test_a_signal_before_a_worker_can_hear_it_is_heard_later(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with running(tmp_path, f"open({str(gate)!r}).close()\n{SERVE}") as one:
        one.wait_for("worker", 2)
        one.process.send_signal(signal.SIGTERM)
        one.wait_for("stopping 2 workers")
        assert "ready" not in one.said
        gate.open("wb").close()
        assert one.process.wait(10) == 0
        assert one.said.count("stopped") == 2


def test_crashed_ones_are_replaced_after_growing_pauses(tmp_path: Path) -> None:
    body = f"if worker.number == 1: os.kill(os.getpid(), signal.SIGKILL)\n{SERVE}"
    with running(tmp_path, body) as one:
        one.wait_for("ended by SIGKILL", 3)
        for pid, pause in zip(one.pids(1), ("0.5", "1", "2"), strict=True):
            words = f"worker 1 (pid {pid}) ended by SIGKILL; another starts in {pause} s"
            assert words in one.said
        assert len(one.pids(2)) == 1
        assert one.end() == 0  # and does not wait for the next one


@pytest.mark.parametrize("code", [0, 1, 3])
def test_one_that_ends_unasked_is_replaced(tmp_path: Path, code: int) -> None:
    once = tmp_path / "once"
    body = f"""
if worker.number == 2 and not os.path.exists({str(once)!r}):
    open({str(once)!r}, "w").close()
    sys.exit({code})
{SERVE}"""
    with running(tmp_path, body) as one:
        one.wait_for("ready", 2)
        assert f"ended with exit code {code}; another starts in 0.5 s" in one.said
        assert (len(one.pids(1)), len(one.pids(2))) == (1, 2)
        assert one.end() == 0


def test_one_that_finds_fault_with_the_settings_ends_all(tmp_path: Path) -> None:
    with running(tmp_path, f"if worker.number == 2: sys.exit(2)\n{SERVE}") as one:
        assert one.process.wait(10) == 2
        assert "ended with exit code 2: stopping" in one.said
        assert one.said.count("worker 2 ") == len(one.pids(2)) + 1 == 2


def test_one_may_ask_for_the_end_of_all(tmp_path: Path) -> None:
    body = "if worker.number == 2: worker.stop_all(); worker.stop_all()\n" + SERVE
    with running(tmp_path, body) as one:
        assert one.process.wait(10) == 0
        assert one.said.count("stopped") == 2


def test_the_stubborn_are_killed_in_the_end(tmp_path: Path) -> None:
    with running(tmp_path, STUBBORN, drain=-29.9) as one:
        one.wait_for("worker", 2)
        assert one.end() == 1
        assert "did not end within 0.1 s and are killed: worker 1 (pid" in one.said


def test_a_second_signal_kills_them_at_once(tmp_path: Path) -> None:
    with running(tmp_path, STUBBORN, drain=60) as one:
        one.wait_for("worker", 2)
        one.process.send_signal(signal.SIGTERM)
        one.wait_for("stopping 2 workers")
        assert one.end(signal.SIGINT) == 128 + signal.SIGINT


def test_a_crash_while_stopping_is_told_by_the_exit_code(tmp_path: Path) -> None:
    with running(tmp_path, SERVE + "\nif worker.number == 2: sys.exit(3)") as one:
        one.wait_for("ready", 2)
        assert one.end() == 1
        assert "ended with exit code 3\n" in one.said


def test_they_stop_when_the_parent_is_killed(tmp_path: Path) -> None:
    with running(tmp_path, SERVE) as one:
        one.wait_for("ready", 2)
        one.end(signal.SIGKILL)
        one.wait_for("stopped", 2)
        for number in (1, 2):
            assert f"worker {number}: the parent process is gone: stopping" in one.said
