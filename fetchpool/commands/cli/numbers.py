"""Numbers of the command line: which there may be is said in a sentence, and not in each help."""

import math
from typing import Any

import click


class Number(click.ParamType[float]):
    """A number that is `least` or more."""

    name = "number"

    def __init__(self, least: float) -> None:
        self._least = least

    def convert(self, value: Any, param: Any, context: Any) -> float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number", param, context)
        if number < self._least:
            self.fail(f"{value} is too small: expected {self._least:g} or more", param, context)
        return number


class Whole(click.ParamType[int]):
    """A whole number that is `least` or more."""

    name = "whole number"

    def __init__(self, least: int) -> None:
        self._least = least

    def convert(self, value: Any, param: Any, context: Any) -> int:
        try:
            number = int(value)
        except ValueError:
            self.fail(f"{value!r} is no whole number", param, context)
        if number < self._least:
            self.fail(f"{value} is too small: expected {self._least} or more", param, context)
        return number
