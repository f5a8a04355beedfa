"""How many requests are under way through each proxy.

A decision module: it counts what it is told, in this process alone. A use begins with a pick and
ends when whoever holds it says so (`PoolChooser.release`), however its task has ended.
"""

from typing import Final

from fetcher.proxy import Proxy

# Free proxies are small machines, and what comes from one address in crowds is banned.
CAP: Final = 8


class Usage:
    """The uses of all proxies; those that nobody uses take no room."""

    def __init__(self) -> None:
        self._uses: dict[Proxy, int] = {}

    def __len__(self) -> int:
        return sum(self._uses.values())

    def of(self, proxy: Proxy) -> int:
        """The uses of one proxy."""
        return self._uses.get(proxy, 0)

    def begin(self, proxy: Proxy) -> None:
        """One use more."""
        self._uses[proxy] = self.of(proxy) + 1

    def end(self, proxy: Proxy) -> None:
        """One use less. Raises KeyError for a proxy that is not in use."""
        left = self._uses[proxy] - 1
        if left:
            self._uses[proxy] = left
        else:
            del self._uses[proxy]
