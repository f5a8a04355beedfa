"""A session without Redis, for tests of those who ask for its exit."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from fetcher.model import Cancellable, Target
from fetcher.proxy import Proxy
from fetcher.session.model import NoExit, Session, Sessions, Sticky
from tests.fetcher.route.test_failover import Few


class Later:
    """A call from the loop."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._handle = asyncio.get_running_loop().call_soon(call)

    def cancel(self) -> None:
        self._handle.cancel()


class OneSession(Sessions):
    """Everybody's, in memory: it moves when it is told of a failure."""

    def __init__(self, proxy: Proxy | None = None, *, is_new: bool = False) -> None:
        self.proxy = proxy
        self.is_new = is_new
        self.moves = 0
        self.asked: list[Session] = []
        self.confirmed: list[Proxy] = []
        self.failed: list[Proxy] = []

    def find(
        self,
        session: Session,
        propose: Callable[[], Proxy | None],
        done: Callable[[Sticky | NoExit], None],
    ) -> Cancellable:
        self.asked.append(session)
        self.proxy = self.proxy or propose()
        return Later(partial(done, Sticky(self.proxy, self.moves, self.is_new)))

    def confirm(self, session: Session, proxy: Proxy) -> None:
        self.confirmed.append(proxy)

    def fail(
        self,
        session: Session,
        proxy: Proxy,
        propose: Callable[[], Proxy | None],
        done: Callable[[Sticky | NoExit], None],
    ) -> Cancellable:
        self.failed.append(proxy)
        if session.is_strict:
            return Later(partial(done, NoExit.STRICT))
        self.proxy = propose()
        self.moves += 1
        return Later(partial(done, Sticky(self.proxy, self.moves, self.is_new)))

    def close(self) -> None:
        """Nothing of it waits."""


class Wishing(Few):
    """A pool that heeds which proxy is preferred."""

    def _find(self, target: Target, tried: Sequence[Proxy]) -> Proxy | None:
        wishes = target.wishes
        found = [proxy for proxy in self.proxies if proxy not in tried]
        if wishes.only:
            found = [proxy for proxy in found if proxy == wishes.preferred]
        return next(iter(found), None)
