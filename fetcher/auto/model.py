"""How likely a page needs its scripts, what is seen of it, and whether a rendering has shown more.

A decision module.
"""

import enum
import re
from collections import Counter
from typing import Final

import msgspec

LOOKED: Final = 131_072  # characters of a page
MAX_TEXT: Final = 65_536  # characters that are compared
MAX_LINKS: Final = 1_000

_WORD: Final = re.compile(r"\w+")


class Need(enum.IntEnum):
    """How likely a rendering shows something else."""

    NEVER = 0  # there is no script
    UNLIKELY = 1
    LIKELY = 2
    CERTAIN = 3


class Look(msgspec.Struct, frozen=True):
    """A page as a reader without scripts sees it. `is_whole` False: it takes too long to read."""

    need: Need = Need.UNLIKELY
    why: str = ""
    text: str = ""
    links: frozenset[str] = frozenset()
    is_whole: bool = True


def has_changed(before: Look, after: Look) -> bool | None:
    """Whether a rendering has shown a reader something else, and more of it than a clock or a
    counter; None where nobody can tell."""
    if not before.is_whole or not after.is_whole:
        return None
    was, is_ = Counter(_WORD.findall(before.text)), Counter(_WORD.findall(after.text))
    differ = (is_ - was).total() + (was - is_).total()
    if differ > max(4, is_.total() // 50):
        return True
    new = len(after.links - before.links)
    return new > max(2, len(after.links) // 20)
