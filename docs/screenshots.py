"""`make screenshots`: the picture in README.md, drawn from what the demo really says.

Runs the demo until all is known, keeps what a reader looks at, and writes docs/demo.svg.
"""

import io
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT: Final = Path(__file__).resolve().parents[1]
PICTURE: Final = ROOT / "docs" / "demo.svg"
WIDTH: Final = 84  # columns
DEADLINE: Final = 120.0  # seconds

# As rich's own, without the fonts that it would have fetched from elsewhere.
FORMAT: Final = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<title>fetchpool demo: a table of what the pool has found out about each kind of proxy</title>
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: arial; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""

STYLES: Final = (
    (re.compile(r"^\$ .*"), "bold"),
    (re.compile(r"^what it is .*"), "bold"),
    (re.compile(r"fails: [\w ]+|alters pages|no CONNECT|no TLS through it"), "bright_red"),
    (re.compile(r"(?<!no )CONNECT\b|\belite\b"), "bright_green"),
    (re.compile(r"\btransparent\b(?=,)"), "yellow"),
)


def run_demo() -> list[str]:
    """All that it says."""
    ended = subprocess.run(
        [sys.executable, "main.py", "demo", "--once"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    return ended.stdout.splitlines()


def choose(said: Iterable[str]) -> Iterator[str]:
    """Of what the demo says: how it begins, its table, and two things to type."""
    lines = list(said)
    yield "$ fetchpool demo"
    yield lines[0]
    yield "..."
    table = next(index for index, line in enumerate(lines) if line.startswith("what it is"))
    end = next(index for index in range(table, len(lines)) if lines[index].startswith("At 100"))
    yield from (line for line in lines[table:end] if line.strip())
    yield ""
    asked = [index for index, line in enumerate(lines) if line.startswith("$ curl")]
    for index in (asked[0], asked[-1]):
        yield lines[index]
        yield from _until_empty(lines[index + 1 :])


def _until_empty(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if not line.strip():
            return
        yield line


def draw(lines: Iterable[str]) -> str:
    """An SVG of a terminal in which they stand."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor")
    for line in lines:
        text = Text(line[:WIDTH])
        for pattern, style in STYLES:
            text.highlight_regex(pattern, style)
        console.print(text, no_wrap=True, highlight=False)
    return console.export_svg(
        title="fetchpool demo", theme=MONOKAI, code_format=FORMAT, unique_id="demo"
    )


def main() -> None:
    PICTURE.write_text(draw(choose(run_demo())))
    print(f"{PICTURE.relative_to(ROOT)} written")


if __name__ == "__main__":
    main()
