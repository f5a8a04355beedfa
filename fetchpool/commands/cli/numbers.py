"""Numbers of the command line: which there may be is said in a sentence, and not in each help."""

import math
from collections.abc import Callable
from typing import Any

import click


class Quantity(click.ParamType[float]):
    """A number as `parse` reads it, which raises ValueError with the sentence."""

    def __init__(self, name: str, parse: Callable[[str], float]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: Any, context: Any) -> float:
        try:
            return self._parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, context)


class Number(Quantity):
    """A number that is `least` or more."""

    def __init__(self, least: float) -> None:
        super().__init__("number", lambda text: _bound(_read_number(text), text, least))


class Whole(Quantity):
    """A whole number that is `least` or more."""

    def __init__(self, least: int) -> None:
        super().__init__("whole number", lambda text: _bound(_read_whole(text), text, least))


def _read_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is no number")
    return number


def _read_whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is no whole number") from None


def _bound(number: float, text: str, least: float) -> float:
    if number < least:
        raise ValueError(f"{text} is too small: expected {least:g} or more")
    return number
