import asyncio
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchpool.commands.progress import RATED, Progress, heed_cancel
from tests.terminal import Terminal, a_terminal, shown

ROOT = Path(__file__).parents[3]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    with a_terminal(monkeypatch) as one:
        yield one


async def test_a_cancel_that_was_lost_is_heeded() -> None:
    heed_cancel()
    begun, over = asyncio.Event(), asyncio.Event()

    async def lose() -> None:
        try:
            begun.set()
            await over.wait()
        except asyncio.CancelledError:
            heed_cancel()

    task = asyncio.create_task(lose())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_without_a_terminal_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.update("1 of 2 checked", 1, 2)
        progress.say("a line")
        progress.say("a warning", err=True)
    assert stream.getvalue() == ""
    assert capsys.readouterr() == ("a line\n", "a warning\n")


def test_rich_is_not_needed_without_a_terminal() -> None:
    program = (
        "import io, sys; from fetchpool.commands.progress import *;"
        "Progress(io.StringIO()).update('1', 1); sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_one_line_lives_and_goes(terminal: Terminal) -> None:
    with Progress(terminal.stream) as progress:
        progress.update("[bold]1[/] of 2 checked", 1, 2)
        assert "[bold]1[/] of 2 checked" in shown(terminal.read("checked"))[0]
        progress.update("2 of 2 checked", 2, 2)
        terminal.read("2 of 2 checked")
    progress.close()
    terminal.stream.write("end")
    last = terminal.read("end")
    assert "\x1b[?25h" in last  # the cursor is there again
    assert last.endswith("\x1b[2Kend")  # and the line is not


@pytest.mark.parametrize(
    ("seconds", "done", "words"),
    [(RATED - 0.1, 9, "read"), (RATED, 9, "read, 9.0 a second"), (RATED, 0, "read")],
)
def test_a_rate_is_told_when_there_is_one(
    terminal: Terminal, seconds: float, done: int, words: str
) -> None:
    times = iter((5.0, 5.0 + seconds))
    with Progress(terminal.stream, clock=lambda: next(times)) as progress:
        progress.update("nothing", 0)
        progress.update("read", done)
        assert re.search(f" {words}$", shown(terminal.read(words))[-1])


def test_lines_stand_above_it(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", terminal.stream)
    with Progress(terminal.stream, clock=lambda: 5.0) as progress:
        progress.update("1 of 2 checked", 1, 2)
        progress.say("[a line] " + "x" * 99)
        assert "[a line] " + "x" * 99 in shown(terminal.read("x" * 99))
        progress.say("two")  # at the same moment
        progress.say("three")
    terminal.stream.write("end")
    got = shown(terminal.read("end"))
    assert got.index("two") + 1 == got.index("three") < got.index("end")


def test_lines_that_go_elsewhere_are_not_held_back(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(terminal.stream) as progress:
        progress.update("1 of 2 checked", 1, 2)
        for number in range(3):
            progress.say(f"{number}")
        assert capsys.readouterr().out == "0\n1\n2\n"
