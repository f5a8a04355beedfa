import io
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from fetcher.crawl.model import Counts
from fetcher.crawl.state import State
from fetcher.crawl.summary import Summary
from fetchpool.commands.crawl_view import EVERY, View
from tests.terminal import WIDTH, Terminal, a_terminal, shown

ROOT = Path(__file__).parents[3]
NOW = 1_796_040_000.0


def state(done: int = 0, phase: Any = "running") -> State:
    return State(name="mine", phase=phase, processes=1, counts=Counts(done=done, running=1))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    with a_terminal(monkeypatch) as one:
        yield one


# -- without a terminal ----------------------------------------------------------------------------


def test_without_a_terminal_there_is_a_line_now_and_then() -> None:
    stream = io.StringIO()
    view = View(stream, UTC)
    for number, seconds in enumerate((0.0, 1.0, EVERY - 0.1, EVERY, EVERY + 1)):
        view.update(state(number), NOW + seconds)
    assert re.findall(r"(\d) done", stream.getvalue()) == ["0", "3"]
    assert stream.getvalue().count("\n") == 2


def test_a_word_is_told_at_once() -> None:
    stream = io.StringIO()
    View(stream, UTC).say("stopping")
    assert stream.getvalue() == "stopping\n"


def test_a_new_phase_is_told_at_once() -> None:
    stream = io.StringIO()
    view = View(stream, UTC)
    for phase in ("running", "paused", "paused", "running"):
        view.update(state(0, phase), NOW)
    first, second, third = stream.getvalue().splitlines()
    assert second.startswith("paused: ")
    assert first == third


def test_the_summary_comes_at_the_end() -> None:
    stream = io.StringIO()
    View(stream, UTC).end(state(1, "finished"), Summary(statuses={200: 1}), NOW)
    got = stream.getvalue().splitlines()
    assert got[0] == "mine: finished"
    assert got[-3:] == ["", "status  pages", "200         1"]


def test_quiet_is_quiet(terminal: Terminal) -> None:
    pipe = io.StringIO()
    for stream in (pipe, terminal.stream):
        view = View(stream, UTC, quiet=True)
        view.update(state(), NOW)
        view.say("stopping")
        view.end(state(1, "finished"), Summary(statuses={200: 1}), NOW)
        view.close()
        stream.write("end")
    assert (terminal.read("end"), pipe.getvalue()) == ("end", "end")


def test_rich_is_not_needed_without_a_terminal() -> None:
    program = (
        "import io, sys; from datetime import UTC; from fetchpool.commands.crawl_view import *;"
        "from fetcher.crawl.state import State; from fetcher.crawl.summary import Summary;"
        "view = View(io.StringIO(), UTC); one = State(name='a');"
        "view.update(one, 0.0); view.end(one, Summary(), 0.0); sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


# -- on a terminal ---------------------------------------------------------------------------------


def test_on_a_terminal_there_is_one_line_that_lives(terminal: Terminal) -> None:
    view = View(terminal.stream, UTC)
    view.update(state(1), NOW)
    view.update(state(2), NOW + 0.1)
    got = terminal.read("2 done")
    assert re.findall(r"(\d) done", got) == ["1", "2"]
    assert "\n" not in got
    assert "\x1b[2K" in got  # the second takes the place of the first
    view.close()
    view.close()
    terminal.stream.write("end")
    assert "\x1b[?25h" in terminal.read("end")  # the cursor is there again


def test_a_word_stands_above_the_line(terminal: Terminal) -> None:
    view = View(terminal.stream, UTC)
    view.update(state(1), NOW)
    terminal.read("1 done")
    view.say("stopping")
    assert shown(terminal.read("1 done"))[0] == "stopping"
    view.close()


def test_the_line_is_cut_to_the_width(terminal: Terminal) -> None:
    view = View(terminal.stream, UTC)
    view.update(state(10**15, "paused"), NOW)
    [line] = shown(terminal.read("…"))
    assert (len(line), line[-1]) == (WIDTH, "…")
    view.close()


def test_the_summary_stands_where_the_line_was(terminal: Terminal) -> None:
    view = View(terminal.stream, UTC)
    view.update(state(1), NOW)
    view.end(state(1, "finished"), Summary(statuses={200: 1}), NOW)
    terminal.stream.write("end")
    got = terminal.read("end")
    assert "\x1b[1A\x1b[2Kmine: finished" in got  # one line up, emptied
    assert shown(got)[-3:] == ["status  pages", "200         1", "end"]
