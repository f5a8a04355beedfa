"""Prints lines and tables: on a terminal in its width, their headings bold; plainly elsewhere.

rich is imported where there is a terminal, and nowhere else.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, TextIO

from fetchpool.commands.tables import Block, Table, fit, plain
from fetchpool.terminal.live import open_console

if TYPE_CHECKING:
    from rich.console import Console

# rich takes 1 to 4 ms to lay out a row: beyond so many, what is too wide is for the terminal to
# break.
LAID_OUT: Final = 500


def print_blocks(blocks: Iterable[Block], stream: TextIO) -> None:
    """Lines and tables one under the other; a table has an empty line before it, unless it is the
    first of all."""
    console = open_console(stream) if stream.isatty() else None
    for number, block in enumerate(blocks):
        if number and isinstance(block, Table):
            write_lines(stream, [""])
        if console is None:
            write_lines(stream, plain(block))
        elif isinstance(block, Table):
            _print_table(console, block, stream)
        else:
            _print_text(console, block)


def write_lines(stream: TextIO, lines: Iterable[str]) -> None:
    stream.write("".join(f"{line}\n" for line in lines))
    stream.flush()


def _print_text(console: "Console", text: str, style: str = "") -> None:
    from rich.text import Text

    console.print(Text(text, style))


def _print_table(console: "Console", table: Table, stream: TextIO) -> None:
    table, gone = fit(table, console.width)
    heading, *rows = plain(table)
    if max(map(len, (heading, *rows))) <= console.width or len(rows) > LAID_OUT:
        _print_text(console, heading, "bold")
        write_lines(stream, rows)
    else:
        _lay_out(console, table)
    if gone:
        words = f"(not shown, as {console.width} columns are too few: {', '.join(gone)})"
        _print_text(console, words, "dim")


def _lay_out(console: "Console", table: Table) -> None:
    from rich.table import Table as RichTable
    from rich.text import Text

    laid = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, heading in enumerate(table.headings):
        laid.add_column(
            heading,
            justify="right" if place in table.numbers else "left",
            no_wrap=place in table.numbers
            or (bool(table.folds | table.cuts) and place not in table.folds),
            overflow="fold",
        )
    for row in table.rows:
        laid.add_row(*map(Text, row))
    console.print(laid)
