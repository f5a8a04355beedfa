"""Lines and tables as commands print them, whoever shows them.

A decision module: values in; texts out that have nothing in them that a terminal would obey.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

NONE: Final = "-"  # what nobody knows, or what there is nothing of

FOLDED: Final = 24  # characters that a column keeps at least if its texts may fold or be cut

_GAP: Final = 2  # between two columns
_CUT: Final = "..."


class Table(msgspec.Struct):
    """Rows of texts; columns in `numbers` (by place) stand to the right.

    Where there is not the room for all, columns in `spare` go, the first one first; texts of those
    in `folds` go on in the next line instead, and those in `cuts` end with "...".
    """

    headings: Sequence[str]
    rows: list[Sequence[str]]
    numbers: frozenset[int]
    spare: Sequence[int] = ()
    folds: frozenset[int] = frozenset()
    cuts: frozenset[int] = frozenset()


Block = str | Table  # what is printed, one under the other


def cut(text: str, length: int) -> str:
    """`text`, in so many characters at the most."""
    return text if len(text) <= length else f"{text[: length - len(_CUT)]}{_CUT}"


def yes_or_no(known: bool | None) -> str:
    return NONE if known is None else "yes" if known else "no"


def measure(table: Table) -> list[int]:
    """The width of each column."""
    return [max(map(len, column)) for column in zip(table.headings, *table.rows, strict=True)]


def fit(table: Table, width: int) -> tuple[Table, list[str]]:
    """The table as wide as it may be, and the headings that had to go for it."""
    widths = measure(table)
    least = [
        min(size, max(FOLDED, len(heading))) if place in table.folds | table.cuts else size
        for place, (size, heading) in enumerate(zip(widths, table.headings, strict=True))
    ]
    kept = list(range(len(least)))
    gone: list[int] = []
    for place in table.spare:
        if sum(least[one] + _GAP for one in kept) - _GAP <= width:
            break
        kept.remove(place)
        gone.append(place)
    over = sum(widths[one] + _GAP for one in kept) - _GAP - width
    for place in sorted(table.cuts.intersection(kept)):
        less = min(max(over, 0), widths[place] - least[place])
        widths[place] -= less
        over -= less
    if not gone and not table.cuts:
        return table, []
    narrow = Table(
        [table.headings[one] for one in kept],
        [
            [cut(row[one], widths[one]) if one in table.cuts else row[one] for one in kept]
            for row in table.rows
        ],
        frozenset(place for place, one in enumerate(kept) if one in table.numbers),
        folds=frozenset(place for place, one in enumerate(kept) if one in table.folds),
        cuts=frozenset(place for place, one in enumerate(kept) if one in table.cuts),
    )
    return narrow, [table.headings[one] for one in sorted(gone)]


def plain(block: Block) -> list[str]:
    """A block in lines, its columns below each other."""
    if isinstance(block, str):
        return [block]
    widths = measure(block)
    gap = " " * _GAP
    return [
        gap.join(
            text.rjust(width) if place in block.numbers else text.ljust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (block.headings, *block.rows)
    ]
