"""A real terminal for tests, and what it would show."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import pytest

WIDTH = 60


class Terminal:
    """`stream` writes to it; `read` gives what it was told, to the end of `until`."""

    def __init__(self) -> None:
        self._inner, outer = os.openpty()
        self.stream: TextIO = os.fdopen(outer, "w", encoding="utf-8")

    def read(self, until: str) -> str:
        self.stream.flush()
        got = b""
        while until.encode() not in got:
            got += os.read(self._inner, 65536)
        return got.decode()

    def close(self) -> None:
        self.stream.close()
        os.close(self._inner)


@contextmanager
def a_terminal(monkeypatch: pytest.MonkeyPatch, width: int = WIDTH) -> Iterator[Terminal]:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))  # else that of the one that the tests run on
    monkeypatch.setenv("TERM", "xterm")
    one = Terminal()
    yield one
    one.close()


def shown(text: str) -> list[str]:
    """What a terminal would show of it, without empty lines."""
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    return [line.rstrip() for line in re.split(r"[\r\n]+", plain) if line.strip()]
