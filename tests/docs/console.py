"""A console block: its commands, and the output that each is to have."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

ANYTHING: Final = "…"
PROMPT: Final = "$ "

_HERE: Final = re.compile(r"<<-?\s*['\"]?(\w+)")
_EXITS: Final = re.compile(r"#.*\bexits with (\d+)")
_BACKGROUND: Final = re.compile(r"(?<![&>])&(?![&>])")


class Command(NamedTuple):
    """What is typed, and what comes of it."""

    line: int  # of the block, from 0
    text: str
    expected: str  # "" if it does not matter

    @property
    def code(self) -> int:
        """0, or what a comment on the command says: `# exits with 2`."""
        said = _EXITS.search(self.text)
        return int(said[1]) if said else 0

    @property
    def stays(self) -> bool:
        """Whether it leaves something in the background."""
        return _BACKGROUND.search(self.text.partition("#")[0]) is not None


def parse_console(text: str) -> list[Command]:
    """Raises ValueError if the block does not begin with a command."""
    return list(_parse(text.splitlines()))


def _parse(lines: list[str]) -> Iterator[Command]:
    at = 0
    while at < len(lines):
        if not lines[at].startswith(PROMPT):
            raise ValueError(f"a command begins with '{PROMPT}': {lines[at]!r}")
        start = at
        typed = [lines[at].removeprefix(PROMPT)]
        at += 1
        here = _HERE.search(typed[0])
        while at < len(lines) and (typed[-1] != here[1] if here else typed[-1].endswith("\\")):
            typed.append(lines[at])
            at += 1
        out: list[str] = []
        while at < len(lines) and not lines[at].startswith(PROMPT):
            out.append(lines[at])
            at += 1
        yield Command(start, "\n".join(typed), "\n".join(out).strip("\n"))


def is_as_expected(got: str, expected: str) -> bool:
    """Whether the output is the expected one, in which … stands for anything: within a line for
    a part of it, where a line begins or ends and alone for lines as well. Blanks at lines' ends do
    not count.
    """
    pattern = "".join(map(_line_pattern, expected.strip("\n").splitlines()))
    lines = [line.rstrip() + "\n" for line in got.strip("\n").splitlines()]
    return re.fullmatch(pattern, "".join(lines)) is not None


def _line_pattern(line: str) -> str:
    line = line.rstrip()
    if line == ANYTHING:
        return r"(?:.*\n)*?"
    begins, ends = line.startswith(ANYTHING), line.endswith(ANYTHING)
    within = line.removeprefix(ANYTHING).removesuffix(ANYTHING).split(ANYTHING)
    words = r"[^\n]*?".join(map(re.escape, within))
    return (r"(?s:.*?)" if begins else "") + words + (r"(?s:.*?)\n" if ends else r"\n")
