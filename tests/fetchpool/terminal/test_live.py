import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fetchpool.terminal.live import LiveLine, is_in_front, is_terminal
from tests.terminal import Terminal, shown

ROOT = Path(__file__).parents[3]
WIDTH = 60


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setenv("TERM", "xterm")
    one = Terminal()
    yield one
    one.close()


@pytest.fixture
def logged(terminal: Terminal) -> Iterator[logging.StreamHandler[Any]]:
    """A handler that writes to the same terminal, by another descriptor."""
    with os.fdopen(os.dup(terminal.stream.fileno()), "w", encoding="utf-8") as stream:
        handler = logging.StreamHandler(stream)
        logging.getLogger().addHandler(handler)
        yield handler
        logging.getLogger().removeHandler(handler)


def test_each_line_takes_the_place_of_the_one_before(terminal: Terminal) -> None:
    live = LiveLine(terminal.stream)
    live.show("one")
    live.show("two")
    got = terminal.read("two")
    assert "\n" not in got
    assert got.endswith("one\r\x1b[2Ktwo")
    live.close()


def test_it_is_cut_to_the_width(terminal: Terminal) -> None:
    live = LiveLine(terminal.stream)
    live.show("x" * 2 * WIDTH)
    [line] = shown(terminal.read("…"))
    assert line == "x" * (WIDTH - 1) + "…"
    live.close()


def test_the_cursor_is_there_all_the_time(terminal: Terminal) -> None:
    live = LiveLine(terminal.stream)
    live.show("one")
    got = terminal.read("one")
    assert got.rindex("\x1b[?25h") > got.rindex("\x1b[?25l")
    live.close()


def test_after_its_end_nothing_is_shown_any_more(terminal: Terminal) -> None:
    live = LiveLine(terminal.stream)
    live.show("one")
    live.close()
    live.close()
    live.show("two")
    terminal.stream.write("end")
    got = terminal.read("end")
    assert "two" not in got
    assert got.endswith("\x1b[1A\x1b[2Kend")  # where the line was


def test_a_word_stands_above_it_whole_and_stays(terminal: Terminal) -> None:
    live = LiveLine(terminal.stream)
    live.say("before")
    live.show("one")
    terminal.read("one")
    text = "[bold]a[/] " + "b" * 2 * WIDTH
    live.say(text)
    assert terminal.read("one") == f"\r\x1b[2K{text}\r\none"
    live.close()
    live.say("afterwards")
    assert terminal.read("afterwards\r\n").endswith("\x1b[2Kafterwards\r\n")


def test_log_lines_stand_above_it_as_they_are(
    terminal: Terminal, logged: logging.StreamHandler[Any]
) -> None:
    stream = logged.stream
    live = LiveLine(terminal.stream)
    live.show("one")
    terminal.read("one")
    text = "[bold]a[/] :smile: " + "b" * 2 * WIDTH
    logging.getLogger("some").warning(text)
    assert terminal.read("one") == f"\r\x1b[2K{text}\r\none"
    live.close()
    assert logged.stream is stream
    logging.getLogger("some").warning("afterwards")
    assert terminal.read("afterwards\r\n").endswith("\x1b[2Kafterwards\r\n")


def test_what_is_logged_elsewhere_goes_there(terminal: Terminal) -> None:
    handler = logging.StreamHandler(io.StringIO())
    logging.getLogger().addHandler(handler)
    live = LiveLine(terminal.stream)
    live.show("one")
    logging.getLogger("some").warning("a")
    live.close()
    logging.getLogger().removeHandler(handler)
    assert handler.stream.getvalue() == "a\n"


@pytest.mark.parametrize(
    ("term", "is_one"), [("xterm", True), ("", True), ("dumb", False), ("unknown", False)]
)
def test_a_terminal_that_cannot_go_back_is_none(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, term: str, is_one: bool
) -> None:
    monkeypatch.setenv("TERM", term)
    assert is_terminal(terminal.stream) is is_one
    assert not is_terminal(io.StringIO())


def test_the_terminal_of_others_is_not_ours(terminal: Terminal) -> None:
    assert not is_in_front(terminal.stream)
    assert not is_in_front(io.StringIO())


def test_rich_is_not_needed_until_something_is_shown() -> None:
    program = (
        "import sys; from fetchpool.terminal.live import *;"
        "LiveLine(sys.stdout).close(); sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
