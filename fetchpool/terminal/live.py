"""One live line at the bottom of a terminal; whatever else is written there stands above it.

rich is imported when there is something to show, as most starts have no terminal.
"""

import logging
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

_DUMB: Final = ("dumb", "unknown")  # values of TERM


def is_terminal(stream: TextIO) -> bool:
    """Whether a line on it can be written anew."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in _DUMB


def is_in_front(stream: TextIO) -> bool:
    """Whether we are who the user of this terminal talks to: not in the background, nor the child
    of another who writes there."""
    try:
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except (OSError, ValueError):  # it is the terminal of another session, or none
        return False


def open_console(stream: TextIO) -> "Console":
    """rich's console on `stream`, which takes texts as they are."""
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, emoji=False)


class LiveLine:
    """On a terminal, see `is_terminal`. Log lines that go to the same terminal are led past it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live: Live | None = None
        self._led: list[tuple[logging.StreamHandler[Any], Any]] = []
        self._is_closed = False

    def show(self, line: str) -> None:
        """`line` in the place of the one before, cut to the width of the terminal."""
        if self._is_closed:
            return
        from rich.text import Text

        live = self._live or self._start()
        live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)

    def say(self, line: str) -> None:
        """`line`, whole, above the live one; it stays."""
        above = self._stream if self._live is None else _Above(self._live.console)
        above.write(f"{line}\n")
        above.flush()

    def close(self) -> None:
        """Take the line away for good; may be called again."""
        self._is_closed = True
        for handler, stream in self._led:
            handler.setStream(stream)
        self._led = []
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _start(self) -> "Live":
        from rich.live import Live

        console = open_console(self._stream)
        self._led = [(handler, handler.stream) for handler in self._find_handlers()]
        for handler, _ in self._led:
            handler.setStream(_Above(console))
        # Without a thread of its own: `show` is called often enough.
        self._live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=self._is_ours(sys.stdout),
            redirect_stderr=self._is_ours(sys.stderr),
        )
        self._live.start()
        console.show_cursor(True)  # a process that is killed could not give it back
        return self._live

    def _find_handlers(self) -> Iterator["logging.StreamHandler[Any]"]:
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and self._is_ours(handler.stream):
                yield handler

    def _is_ours(self, stream: TextIO) -> bool:
        """Whether it is the same terminal."""
        try:
            is_same = os.path.sameopenfile(stream.fileno(), self._stream.fileno())
        except (OSError, ValueError, AttributeError):  # what tests and notebooks put there
            return False
        return is_same and stream.isatty()


class _Above:
    """A stream of whole lines that come to stand above the live one, however long they are."""

    def __init__(self, console: "Console") -> None:
        self._console = console

    def write(self, lines: str) -> None:
        from rich.text import Text

        self._console.print(Text(lines.removesuffix("\n")), soft_wrap=True)

    def flush(self) -> None:
        self._console.file.flush()
