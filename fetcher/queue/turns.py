"""Turns: whose turn it is to begin, of the tasks that may not begin as soon as they are here.

A decision module. Two rules: of the tasks to one host at most `per_host` are under way, and a task
that has brought down all its workers but the last it may have runs alone. Who waits is named by its
lease; nothing is known here of tasks that begin while `is_open`. A lone one is alone as long as its
lease: were another to bring down the worker before its outcome is stored, it would be blamed.
"""

from collections.abc import Iterable

Line = dict[bytes, None]  # in order of arrival


class Turns:
    """Decides for one lane. `per_host` 0: no limit."""

    def __init__(self, per_host: int = 0) -> None:
        self._per_host = per_host
        self.lone: bytes | None = None  # who runs alone now, until its outcome is stored
        self._alone: Line = {}  # who has to
        self._behind: dict[bytes, str] = {}  # who came meanwhile, and to which host
        self._lines: dict[str, Line] = {}  # who waits for each host
        self._under_way: dict[str, int] = {}
        self._hosts: dict[bytes, str] = {}  # of those that are under way
        self._waiting: Line = {}
        self.is_open = per_host == 0  # everyone may begin, and need not ask

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def is_closed(self) -> bool:
        """Nobody else may begin: one runs alone, or is to."""
        return self.lone is not None or bool(self._alone)

    def ask(self, lease: bytes, host: str, *, alone: bool, running: int) -> list[bytes]:
        """One has come: who begins now, beside `running` others; it or perhaps one that waited. If
        it is not among them, it waits. `host` "": none."""
        if alone:
            self._alone[lease] = None
            self.is_open = False
        elif self.is_closed:
            self._behind[lease] = host
        else:
            self._lines.setdefault(host, {})[lease] = None
        self._waiting[lease] = None
        return self._advance([host], running)

    def end(self, lease: bytes, running: int) -> list[bytes]:
        """One is no longer under way, `running` others are: who begins now."""
        was_closed = self.is_closed
        host = self._leave(lease)
        if was_closed and not self.is_closed:
            for late, its_host in self._behind.items():
                self._lines.setdefault(its_host, {})[late] = None
            self._behind.clear()
            self.is_open = self._per_host == 0
            return self._advance(list(self._lines), running)
        return self._advance([host], running)

    def _leave(self, lease: bytes) -> str:
        if lease == self.lone:
            self.lone = None
        host = self._hosts.pop(lease, "")
        if host:
            self._under_way[host] -= 1
            if not self._under_way[host]:
                del self._under_way[host]
        return host

    def _advance(self, hosts: Iterable[str], running: int) -> list[bytes]:
        if self.lone is not None:
            return []
        if self._alone:
            if running:
                return []
            self.lone = next(iter(self._alone))
            del self._alone[self.lone], self._waiting[self.lone]
            return [self.lone]
        return [lease for host in hosts for lease in self._admit(host)]

    def _admit(self, host: str) -> list[bytes]:
        """Whoever of that host's line there is a place for."""
        line = self._lines.get(host, {})
        admitted = []
        while line and (not host or not self._is_full(host)):
            lease = next(iter(line))
            del line[lease], self._waiting[lease]
            admitted.append(lease)
            if host:
                self._hosts[lease] = host
                self._under_way[host] = self._under_way.get(host, 0) + 1
        if not line:
            self._lines.pop(host, None)
        return admitted

    def _is_full(self, host: str) -> bool:
        return 0 < self._per_host <= self._under_way.get(host, 0)

    def clear(self) -> list[bytes]:
        """Nobody waits any more; who did."""
        waiting = list(self._waiting)
        for line in (self._alone, self._behind, self._lines, self._waiting):
            line.clear()
        self.is_open = self._per_host == 0 and self.lone is None
        return waiting
