"""How far a command is: one live line on a terminal, nothing elsewhere.

It goes to the stream that it is given, standard error as a rule, so that standard output stays free
for what the command prints. rich is imported where there is a terminal, and nowhere else.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TextIO

import click

from fetcher.crawl.units import show_rate
from fetchpool.terminal.live import is_terminal, open_console
from pool.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

RATED: Final = 1.0  # seconds after which it is said how many come in one
_FRAMES: Final = 5  # a second
_PRINTED: Final = 10  # times a second, at the most

_WIDTH: Final = 20  # characters of the bar


def heed_cancel() -> None:
    """Raise CancelledError if this task has been cancelled and goes on all the same.

    Before Python 3.12 a cancel is lost that meets `asyncio.wait_for` as it ends, which is how
    redis-py sends: nearly half of those that come in the midst of many short calls.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Progress:
    """Shown from the first `update` until `close`; what the command prints meanwhile goes through
    `say`. `stream` None: standard error."""

    def __init__(
        self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = is_terminal(self._stream)
        self._clock = clock
        self._began: float | None = None
        self._shown: RichProgress | None = None
        self._lines: list[str] = []  # to be printed above it
        self._printed = float("-inf")
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def update(self, words: str, done: int, total: int | None = None) -> None:
        """`words` say how far it is, `done` of `total` (None: nobody knows of how many)."""
        if not self._is_terminal:
            return
        now = self._clock()
        if self._began is None:
            self._began = now
        seconds = now - self._began
        if done and seconds >= RATED:
            words += f", {show_rate(done / seconds)} a second"
        if self._shown is None:
            self._shown = self._build()
            self._task = self._shown.add_task(words, completed=done, total=total)
            self._shown.start()
        assert self._task is not None
        self._shown.update(self._task, description=words, completed=done, total=total)

    def _build(self) -> "RichProgress":
        from rich.progress import BarColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Column

        return RichProgress(
            SpinnerColumn(),
            BarColumn(_WIDTH),
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis"),
            ),
            console=open_console(self._stream),
            refresh_per_second=_FRAMES,
            transient=True,
            # Standard output may be a file: what is printed there is no business of the line's.
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def say(self, line: str, *, err: bool = False) -> None:
        """Print a line to standard output or error, above the live one if that is in its way: some
        at once if they come fast, as rich takes a millisecond each time."""
        line = printable(line)
        if self._shown is None or not (sys.stderr if err else sys.stdout).isatty():
            click.echo(line, err=err)
            return
        self._lines.append(line)
        now = self._clock()
        if now - self._printed >= 1 / _PRINTED:
            self._printed = now
            self._flush()

    def _flush(self) -> None:
        from rich.text import Text

        if self._shown is not None and self._lines:
            self._shown.console.print(Text("\n".join(self._lines)), soft_wrap=True)
            self._lines.clear()

    def interrupt(self, words: str) -> None:
        """After Ctrl-C: `words` say what was done until then, in the place of the line."""
        self.close()
        click.echo(f"fetchpool: interrupted: {words}", err=True)

    def close(self) -> None:
        """Take the line away; may be called again."""
        if self._shown is not None:
            self._flush()
            self._shown.stop()
            self._shown = None
