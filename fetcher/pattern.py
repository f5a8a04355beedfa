r"""An operator's regular expressions, on an engine whose time is linear in the text (RE2).

A decision module: an expression in, what it finds in a text out. Python's own engine may take
hours on a page that was written for it, and holds the interpreter meanwhile.

The language is Python's, without what no automaton can do (look-around, back-references, atomic
groups, possessive repetitions, conditions) and without verbose mode. ``\d``, ``\w``, ``\s`` and
``\b`` go by ASCII.
"""

import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Final

import re2

# What RE2 spells in another way, or takes for something else, and what has to be read to find it.
_PIECE: Final = re.compile(
    r"""
    (?P<escape> \\ (?: u [0-9A-Fa-f]{4} | U [0-9A-Fa-f]{8} | . ) )
  | (?P<members> \[ \^? \]? )
  | (?P<end> \$ )
  | (?P<most> \{ , (?= [0-9]+ \} ) )
    """,
    re.VERBOSE | re.DOTALL,
)
_MEMBER: Final = re.compile(r"(?P<escape>\\(?:u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.))|\]", re.DOTALL)

# How RE2 complains, and what that means to whoever wrote the expression.
_REASONS: Final = (
    ("invalid perl operator: (?<", "it looks behind"),
    ("invalid perl operator: (?=", "it looks ahead"),
    ("invalid perl operator: (?!", "it looks ahead"),
    ("invalid perl operator: (?P", "it refers back to a group"),
    ("invalid perl operator: (?>", "it has an atomic group"),
    ("invalid perl operator: (?(", "it has a condition"),
    ("invalid perl operator: (?#", "it has a comment"),
    ("invalid perl operator: (?", "of the flags only i, m and s can be set"),
    ("bad repetition operator", "it has a possessive repetition"),
    ("invalid repetition size", "it repeats something more than 1000 times"),
    ("pattern too large", "it is too large"),
)
_REFERENCE: Final = re.compile(r"invalid escape sequence: \\[1-9]")


class Pattern:
    """What `compile_pattern` gives."""

    __slots__ = ("_names", "_regexp", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            re.compile(text)  # it alone tells where a slip is
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"not a regular expression: {error}") from None
        options = re2.Options()
        options.log_errors = False  # on standard error, beside the log
        try:
            # Bytes, since offsets into a str cost more than the search.
            self._regexp = re2.compile(_translate(text).encode(), options)
        except UnicodeEncodeError:
            raise ValueError("not for a linear engine: it holds half a character") from None
        except re2.error as error:
            raise ValueError(f"not for a linear engine: {_explain(error)}") from None
        self._names: dict[str, int] = {
            name.decode(): number for name, number in self._regexp.groupindex.items()
        }

    @property
    def names(self) -> Collection[str]:
        """Of its groups."""
        return self._names.keys()

    def search(self, text: str) -> bool:
        """Whether it is found anywhere in `text`."""
        return self._regexp.search(text.encode("utf-8", "replace")) is not None

    def find_groups(self, text: str) -> Iterator[dict[str, str | None]]:
        """The named groups of each match from left to right; None: not in this one."""
        for match in self._regexp.finditer(text.encode("utf-8", "replace")):
            groups = match.groups()
            yield {
                name: None if (part := groups[number - 1]) is None else part.decode()
                for name, number in self._names.items()
            }


@lru_cache(maxsize=256)
def compile_pattern(text: str) -> Pattern:
    """Raises ValueError that says what is wrong with it, or what no linear engine can do."""
    return Pattern(text)


def _translate(text: str) -> str:
    """An expression of Python's as RE2 spells it."""
    parts: list[str] = []
    position = 0
    while match := _PIECE.search(text, position):
        parts.append(text[position : match.start()])
        position = match.end()
        if match["escape"]:
            parts.append(r"\z" if match[0] == r"\Z" else _escape(match[0]))
        elif match["end"]:
            parts.append(r"(?:$|\n\z)")  # to Python also the place before a last line break
        elif match["most"]:
            parts.append("{0,")
        else:
            members, position = _read_members(text, position)
            parts.append(match[0] + members)
    parts.append(text[position:])
    return "".join(parts)


def _read_members(text: str, position: int) -> tuple[str, int]:
    """What is left of a set that has begun, and where it ends."""
    parts: list[str] = []
    while match := _MEMBER.search(text, position):
        parts.append(text[position : match.start()])
        position = match.end()
        if match["escape"] is None:
            return "".join([*parts, "]"]), position
        parts.append(_escape(match[0]))
    return "".join([*parts, text[position:]]), len(text)  # pragma: no cover: Python refuses it


def _escape(text: str) -> str:
    if len(text) == 2:
        return text
    half = 0xD800 <= int(text[2:], 16) <= 0xDFFF  # which RE2 would take, and never find
    return chr(int(text[2:], 16)) if half else rf"\x{{{text[2:]}}}"


def _explain(error: re2.error) -> str:
    words = str(error.args[0], "utf-8", "replace")
    if _REFERENCE.match(words):
        return "it refers back to a group"
    return next((reason for sign, reason in _REASONS if words.startswith(sign)), words)
