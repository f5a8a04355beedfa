"""How a crawl is watched: one live line on a terminal, a line now and then elsewhere.

Everything goes to the stream that it is given, standard error as a rule, so that standard output
stays free for pages and items. rich is imported where there is a terminal, and nowhere else.
"""

from collections.abc import Iterable
from datetime import tzinfo
from typing import Final, TextIO

from fetcher.crawl.state import State
from fetcher.crawl.summary import Summary
from fetchpool.commands.crawl_lines import Block, Table, build_line, build_summary, plain
from fetchpool.terminal.live import LiveLine, is_terminal, open_console

EVERY: Final = 10.0  # seconds between lines where there is no terminal


class View:
    """Shows a crawl while it runs, and its summary at the end; `quiet` shows nothing.

    `now` is always by the clock of the state's own times. `zone` is that of the times shown.
    """

    def __init__(self, stream: TextIO, zone: tzinfo, *, quiet: bool = False) -> None:
        self._stream = stream
        self._zone = zone
        self._quiet = quiet
        self._live = LiveLine(stream) if not quiet and is_terminal(stream) else None
        self._last = float("-inf")
        self._phase = ""

    def update(self, state: State, now: float) -> None:
        """Show how it stands; to be called each second or so, and when its phase changes."""
        if self._quiet:
            return
        line = build_line(state, now, self._zone)
        if self._live is not None:
            self._live.show(line)
        elif now - self._last >= EVERY or state.phase != self._phase:
            self._last, self._phase = now, state.phase
            _write(self._stream, [line])

    def close(self) -> None:
        """Take the live line away; may be called again."""
        if self._live is not None:
            self._live.close()

    def end(self, state: State, summary: Summary, now: float) -> None:
        """Show what has become of it."""
        self.close()
        if not self._quiet:
            print_blocks(build_summary(state, summary, now, self._zone), self._stream)


def print_blocks(blocks: Iterable[Block], stream: TextIO) -> None:
    """Lines and tables one under the other; a table has an empty line before it."""
    if not stream.isatty():
        for block in blocks:
            _write(stream, ["", *plain(block)] if isinstance(block, Table) else plain(block))
        return
    from rich.table import Table as RichTable
    from rich.text import Text

    console = open_console(stream)
    for block in blocks:
        if isinstance(block, str):
            console.print(Text(block))
            continue
        table = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for place, heading in enumerate(block.headings):
            table.add_column(
                heading,
                justify="right" if place in block.numbers else "left",
                no_wrap=place in block.numbers,
                overflow="fold",
            )
        for row in block.rows:
            table.add_row(*map(Text, row))
        console.print()
        console.print(table)


def _write(stream: TextIO, lines: Iterable[str]) -> None:
    stream.write("".join(f"{line}\n" for line in lines))
    stream.flush()
