"""A row of a source, and the account of what a source had.

A decision module: types and their meaning.
"""

from typing import Final

import msgspec

MAX_PROBLEMS: Final = 10  # that are told in words
MAX_SHOWN: Final = 100  # characters of what could not be read


class Row(msgspec.Struct, frozen=True):
    url: str  # canonical
    number: int  # of its line, or of its place in a sitemap; from 1
    is_sitemap: bool = False  # an index names it: its answer is a sitemap


class Account(msgspec.Struct):
    """What a source had so far."""

    kind: str = ""  # as `kinds` has them, of what was read in the end
    rows: int = 0  # that were given
    refused: int = 0  # that are no URL
    beyond: int = 0  # behind the most that a sitemap may have
    problems: list[str] = []  # the first of those refused, and why reading ended early

    def refuse(self, number: int, text: str, reason: str) -> None:
        """A row that is none."""
        self.refused += 1
        if len(self.problems) < MAX_PROBLEMS:
            shown = text[:MAX_SHOWN] + ("..." if len(text) > MAX_SHOWN else "")
            self.problems.append(f"line {number}: {shown!a}: {reason}")

    def complain(self, problem: str) -> None:
        """The reading ended early; this is told in any case."""
        self.problems.append(problem)
