"""Texts of others, fit to be shown in one line.

A decision module.
"""

import sys


def printable(text: str, most: int = sys.maxsize) -> str:
    """`text` in `most` characters at most, in which what would steer a terminal is a "?"."""
    if len(text) <= most and text.isprintable():
        return text
    end = "..." if len(text) > most else ""
    shown = "".join(one if one.isprintable() else "?" for one in text[: most - len(end)])
    return shown + end
