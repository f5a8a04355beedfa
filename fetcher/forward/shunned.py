"""Shunned: proxies that were slow or lied a moment ago, and are left alone while there are others.

A decision module: `now` counts seconds on any steady clock. It is no judgement, which is the pool's
and needs more: one failure costs a proxy seconds, each further one four times as many, and one
success makes it all forgotten.
"""

from collections import OrderedDict
from typing import Final

from fetcher.proxy import Proxy

FIRST: Final = 20.0  # seconds
FACTOR: Final = 4.0
LONGEST: Final = 300.0
FORGOTTEN: Final = 600.0  # seconds after the last failure
MOST: Final = 5_000  # proxies that are remembered; the oldest is forgotten for a further one


class Shunned:
    """One for all tunnels of a process, in memory: a container of those that are left alone."""

    def __init__(self) -> None:
        # proxy -> (failures in a row, when the last was); the newest comes last
        self._failures: OrderedDict[Proxy, tuple[int, float]] = OrderedDict()
        self._until: dict[Proxy, float] = {}
        self._next = 0.0  # before that nothing of `_until` is over
        self._slow: dict[Proxy, int] = {}  # proxy -> attempts that wait for it just now

    def __contains__(self, proxy: object) -> bool:
        return proxy in self._until or proxy in self._slow

    def __len__(self) -> int:
        return len(self._until)

    def begin_waiting(self, proxy: Proxy) -> None:
        """An attempt takes longer than nearly all do: nobody else need try that now."""
        self._slow[proxy] = self._slow.get(proxy, 0) + 1

    def end_waiting(self, proxy: Proxy) -> None:
        """That attempt has ended. Raises KeyError for one that has not begun."""
        left = self._slow[proxy] - 1
        if left:
            self._slow[proxy] = left
        else:
            del self._slow[proxy]

    def look(self, now: float) -> None:
        """Let those go whose time is over."""
        if self._until and now >= self._next:
            self._until = {proxy: until for proxy, until in self._until.items() if until > now}
            self._next = min(self._until.values(), default=0.0)

    def blame(self, proxy: Proxy, now: float) -> None:
        """It was slow, lied, or was not reached. While it is shunned, others who had taken it
        before say nothing new."""
        self.look(now)
        if proxy in self._until:
            return
        count, last = self._failures.pop(proxy, (0, now))
        count = 1 if now - last > FORGOTTEN else count + 1
        self._failures[proxy] = (count, now)
        if len(self._failures) > MOST:
            oldest, _ = self._failures.popitem(last=False)
            self._until.pop(oldest, None)
        until = now + min(FIRST * FACTOR ** min(count - 1, 10), LONGEST)
        self._next = min(self._next, until) if self._until else until
        self._until[proxy] = until

    def forgive(self, proxy: Proxy) -> None:
        """It has just worked."""
        if self._failures.pop(proxy, None) is not None:
            self._until.pop(proxy, None)
