"""HostTurns: of the tasks to one host, at most so many are under way; the others stand in line.

A decision module. A line is in the order of arrival, whoever has sent the tasks.
"""

from typing import Generic, TypeVar

T = TypeVar("T")


class HostTurns(Generic[T]):
    """`per_host`: 1 or more. Whoever has asked leaves, once, however it ends."""

    def __init__(self, per_host: int) -> None:
        self._per_host = per_host
        self._under_way: dict[str, int] = {}
        self._lines: dict[str, dict[T, None]] = {}

    def ask(self, host: str, who: T) -> bool:
        """Whether it may begin; else it waits in line."""
        under_way = self._under_way.get(host, 0)
        if under_way < self._per_host:
            self._under_way[host] = under_way + 1
            return True
        self._lines.setdefault(host, {})[who] = None
        return False

    def leave(self, host: str, who: T) -> T | None:
        """It is over, or waits no more: who may begin now, if anybody."""
        line = self._lines.get(host, {})
        if who in line:
            del line[who]
            following = None
        elif line:
            following = next(iter(line))
            del line[following]
        else:
            following = None
            self._end(host)
        if not line:
            self._lines.pop(host, None)
        return following

    def _end(self, host: str) -> None:
        self._under_way[host] -= 1
        if not self._under_way[host]:
            del self._under_way[host]
