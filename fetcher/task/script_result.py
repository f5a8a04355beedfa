"""What a page's script has returned, as every entrance can carry it on.

A decision module. It is a page's doing, so it may be anything that JSON has: half characters, which
have no bytes, numbers that msgpack has no room for, a million things, or one a million deep.
"""

from collections.abc import Mapping
from math import inf
from typing import Any, Final

MAX_DEPTH: Final = 64
MAX_THINGS: Final = 50_000  # 20 ms
MAX_TEXT: Final = 1_048_576  # characters of all texts together

_LEAST: Final = -(2**63)
_MOST: Final = 2**64 - 1


class TooMuch(ValueError):
    """It is more than is carried; the text says how much that is."""


def fit_script_result(value: Any) -> Any:
    """The same of dicts, lists, texts, numbers, truths and null. Raises `TooMuch`."""
    return _Fitting().fit(value, 0)


class _Fitting:
    def __init__(self) -> None:
        self.things = 0
        self.text = 0

    def fit(self, value: Any, depth: int) -> Any:
        self.things += 1
        if self.things > MAX_THINGS:
            raise TooMuch(f"the script's result has more than {MAX_THINGS} things in it")
        if depth > MAX_DEPTH:
            raise TooMuch(f"the script's result is more than {MAX_DEPTH} deep")
        if value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, str):
            return self.fit_text(value)
        if isinstance(value, int):
            return value if _LEAST <= value <= _MOST else _as_float(value)
        if isinstance(value, Mapping):
            return {
                self.fit_text(str(name)): self.fit(one, depth + 1) for name, one in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.fit(one, depth + 1) for one in value]
        return self.fit_text(str(value))  # a date, or another thing that JSON has no form for

    def fit_text(self, text: str) -> str:
        self.text += len(text)
        if self.text > MAX_TEXT:
            raise TooMuch(f"the script's result has more than {MAX_TEXT} characters of text")
        return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _as_float(value: int) -> float:
    """As a script itself would have it."""
    try:
        return float(value)
    except OverflowError:
        return inf if value > 0 else -inf
