import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchpool.commands.printing import LAID_OUT, print_blocks
from fetchpool.commands.tables import Table
from tests.terminal import WIDTH, Terminal, a_terminal, shown

ROOT = Path(__file__).parents[3]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    with a_terminal(monkeypatch) as one:
        yield one


def printed(terminal: Terminal, *blocks: str | Table) -> str:
    print_blocks(blocks, terminal.stream)
    terminal.stream.write("end")
    return terminal.read("end")


def test_without_a_terminal_lines_and_tables_are_plain() -> None:
    stream = io.StringIO()
    table = Table(("name", "n"), [("x" * 100, "1")], frozenset({1}), spare=(1,))
    print_blocks([table, "a line", table], stream)
    whole = [f"name{' ' * 98}n", f"{'x' * 100}  1"]
    assert stream.getvalue().splitlines() == [*whole, "a line", "", *whole]


def test_rich_is_not_needed_without_a_terminal() -> None:
    program = (
        "import io, sys; from fetchpool.commands.printing import *;"
        "print_blocks(['a', Table(('b',), [('c',)], frozenset())], io.StringIO());"
        "sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_a_table_on_a_terminal_is_in_columns_and_obeys_no_markup(terminal: Terminal) -> None:
    table = Table(("name", "n"), [("[red]a[/]", "1"), ("x" * 100, "2")], frozenset({1}))
    rows = shown(printed(terminal, "[bold]line[/] :smile:", table))
    assert rows[0] == "[bold]line[/] :smile:"
    assert any(row.startswith("[red]a[/]") and row.endswith("1") for row in rows)
    assert "".join(rows).count("x") == 100  # folded, not cut
    assert max(map(len, rows)) == WIDTH


def test_a_table_that_fits_is_printed_as_it_is_below_a_bold_heading(terminal: Terminal) -> None:
    table = Table(("name", "n"), [("[red]a[/]", "1"), ("b", "20")], frozenset({1}))
    got = printed(terminal, table)
    assert "\x1b[1mname        n\x1b[0m\r\n" in got
    assert shown(got) == ["name        n", "[red]a[/]   1", "b          20", "end"]


def test_it_is_said_which_columns_have_no_room(terminal: Terminal) -> None:
    row = ("a" * 30, "b" * 20, "c" * 20)
    table = Table(("one", "two", "three"), [row], frozenset(), spare=(1,))
    rows = shown(printed(terminal, table))
    assert rows[1:3] == ["  ".join((row[0], row[2])), "(not shown, as 60 columns are too few: two)"]


@pytest.mark.parametrize(("count", "laid_out"), [(LAID_OUT, True), (LAID_OUT + 1, False)])
def test_a_long_table_is_not_laid_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], count: int, laid_out: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setenv("TERM", "xterm")
    table = Table(("a",), [("x" * 61,) for _ in range(count)], frozenset())
    print_blocks([table], sys.stdout)
    lines = shown(capsys.readouterr().out)
    assert len(lines) == 1 + count * (2 if laid_out else 1)
