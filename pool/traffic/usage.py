"""How many requests are under way through each proxy.

A decision module: it counts what it is told, in this process alone.

A pick is not always followed by a request: whoever only looks whether another proxy is left lets
its exit fall at once, and a task may be cancelled, or run out of time, without a report. So what
counts is not a report but the exit itself: its proxy is in use for as long as anybody holds it.
"""

from typing import Final

from fetcher.model import Exit
from fetcher.proxy import Proxy

# Free proxies are small machines, and what comes from one address in crowds is banned.
CAP: Final = 8


class Lease:
    """One use of a proxy, from `Busy.take` until nobody holds this any more."""

    __slots__ = ("_busy", "_proxy")

    def __init__(self, busy: "Busy", proxy: Proxy) -> None:
        self._busy = busy
        self._proxy = proxy

    def __del__(self) -> None:
        self._busy.give(self._proxy)


class Lent(Exit, frozen=True, kw_only=True):
    """An exit that counts as a use of its proxy; its copies are the same use."""

    lease: Lease


class Busy:
    """The uses of all proxies; those that nobody uses take no room."""

    def __init__(self) -> None:
        self._uses: dict[Proxy, int] = {}

    def __len__(self) -> int:
        return sum(self._uses.values())

    def uses(self, proxy: Proxy) -> int:
        return self._uses.get(proxy, 0)

    def lend(self, proxy: Proxy, *, trusted: bool) -> Lent:
        """The exit through a proxy of the pool."""
        self._uses[proxy] = self.uses(proxy) + 1
        return Lent(proxy=proxy, trusted=trusted, from_pool=True, lease=Lease(self, proxy))

    def give(self, proxy: Proxy) -> None:
        """One use has ended."""
        left = self._uses[proxy] - 1
        if left:
            self._uses[proxy] = left
        else:
            del self._uses[proxy]
