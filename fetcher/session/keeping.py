"""Keeping: the exit of one request that belongs to a session, and the next one if it is lost.

A driver. Each exit that the session has in turn is a fetch of its own, which its entrance runs::

    find -> go(wishes)                        the entrance runs a fetch with these
    confirm                                   an answer has begun to come through it
    lost -> go(wishes), or end() or refuse()  the fetch came to no answer: was it the exit?
"""

from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Final

from msgspec.structs import replace

from fetcher.errors import Outcome
from fetcher.model import Attempt, Cancellable, ProxyChooser, Response, Target, Wishes
from fetcher.proxy import Proxy
from fetcher.route.failover import IDEMPOTENT, is_upload, may_repeat
from fetcher.run.path import Ending, Fetching
from fetcher.session.model import NoExit, Session, Sessions, Sticky
from fetcher.task.request import Plan

_REACHED: Final = (Outcome.ANSWERED, Outcome.PATH)


class Keeping:
    """One request's. `target` is what its proxies are wanted for, `retries` how many other exits
    may follow the first one, `deadline` when all of them have to be through.

    `go` is called with what to wish for each fetch, `refuse` when nobody knows of an exit; both
    later, from the loop, and none of them behind `cancel`.
    """

    sticky: Sticky | None = None  # the exit that the session has; None: not known yet
    attempts: Sequence[Attempt] = ()  # of the fetches that came to no answer
    _tries = 0
    _asking: Cancellable | None = None

    def __init__(
        self,
        sessions: Sessions | None,
        session: Session,
        chooser: ProxyChooser | None,
        target: Target,
        *,
        retries: int,
        deadline: float,
        go: Callable[[Wishes], None],
        refuse: Callable[[NoExit], None],
    ) -> None:
        self._sessions = sessions
        self._session = session
        self._chooser = chooser
        self._target = target
        self._retries = retries
        self._deadline = deadline
        self._go = go
        self._refuse = refuse

    @property
    def moves(self) -> int:
        return self.sticky.moves if self.sticky is not None else 0

    # 1. Which exit it has.

    def find(self, wishes: Wishes | None = None) -> None:
        """`wishes` are for who becomes it where there is none; by default those in `target`."""
        if self._sessions is None:
            self._refuse(NoExit.NOWHERE)
            return
        wishes = self._target.wishes if wishes is None else wishes
        propose, found = partial(self._propose, wishes), partial(self._found, wishes)
        self._asking = self._sessions.find(self._session, propose, found)

    def _propose(self, wishes: Wishes, *avoided: Proxy) -> Proxy | None:
        """Who would be taken now, rather one that lets tunnels through: the session's next request
        may well be for https."""
        if self._chooser is None:
            return None
        target = replace(self._target, wishes=wishes)
        for wanted in (replace(target, tunnelled=True), target):
            exit = self._chooser.pick(wanted, avoided)
            if exit is not None and exit.proxy is not None:
                self._chooser.release(exit.proxy)
                return exit.proxy
        return None

    def _found(self, wishes: Wishes, sticky: Sticky | NoExit) -> None:
        self._asking = None
        if isinstance(sticky, NoExit):
            self._refuse(sticky)
            return
        self.sticky = sticky
        self._tries += sticky.proxy is not None
        followed = sticky.is_new and self._tries <= self._retries
        # If there is none, the fetch says so.
        self._go(replace(wishes, preferred=sticky.proxy, only=True, followed=followed))

    def fit(self, plan: Plan) -> Plan:
        """What the next fetch may take. With no retry at all, a proxy's own 407 would be taken for
        the target's."""
        return replace(plan, timeout=max(self._deadline - monotonic(), 0.001), retries=1)

    # 2. What became of it.

    def confirm(self) -> None:
        """It was reached."""
        sticky = self.sticky
        if self._sessions is not None and sticky is not None and sticky.proxy is not None:
            self._sessions.confirm(self._session, sticky.proxy)

    def lost(
        self, fetching: Fetching, end: Callable[[], None], wishes: Wishes | None = None
    ) -> bool:
        """Whether it was the exit that kept `fetching` from an answer; then the session says which
        is the next, and `end` is called when it has heard of it and there is none to be tried."""
        sessions, sticky, response = self._sessions, self.sticky, fetching.response
        self.attempts = [*self.attempts, *fetching.attempts]
        if sessions is None or sticky is None or sticky.proxy is None:
            return False
        is_gone = fetching.ending is Ending.NO_PROXY
        if not is_gone and not _is_unreached(response, is_new=sticky.is_new):
            if response is not None and response.outcome in _REACHED:
                self.confirm()
            return False
        self._deadline = fetching.deadline  # what it waited for its turn is no time of its own
        may_go_on = self._tries <= self._retries and monotonic() < self._deadline
        wishes = self._target.wishes if wishes is None else wishes
        propose = partial(self._propose, wishes, sticky.proxy)
        if is_gone and propose() is None:
            return False  # a pool that has nobody, as one that has just begun, knows of no exit
        following = partial(self._moved, wishes, end)
        if not may_go_on or not _may_begin_again(fetching, is_gone=is_gone):
            following = partial(self._noted, end)
        self._asking = sessions.fail(self._session, sticky.proxy, propose, following)
        return True

    def _moved(self, wishes: Wishes, end: Callable[[], None], sticky: Sticky | NoExit) -> None:
        if isinstance(sticky, Sticky) and sticky.proxy is None:
            self._noted(end, sticky)  # there is no other
        else:
            self._found(wishes, sticky)

    def _noted(self, end: Callable[[], None], _: Sticky | NoExit) -> None:
        self._asking = None
        end()

    def cancel(self) -> None:
        """Nobody wants the answer any more. Harmless when it has come."""
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None


def _is_unreached(response: Response | None, *, is_new: bool) -> bool:
    """Whether the proxy could not be reached, or would not know us. One that is new to its session
    has still to show that it is of any use."""
    if response is None:
        return False
    failed = (Outcome.PROXY, Outcome.PATH) if is_new else (Outcome.PROXY,)
    return response.outcome in failed or response.stranger


def _may_begin_again(fetching: Fetching, *, is_gone: bool) -> bool:
    """Whether all of it may be asked for once more: of a chain of redirects, from its first request
    on, which has been answered."""
    first = fetching.first
    if fetching.hops and (first.method not in IDEMPOTENT or is_upload(first.body)):
        return False
    response = fetching.response
    return is_gone or response is None or may_repeat(fetching.request, response, retry_unsafe=False)
