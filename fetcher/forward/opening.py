"""Opening: all attempts for one tunnel, until one stands, its route ends, or its time does.

A driver, readable from top to bottom:

    politeness -> supply -> session -> leave -> attempt -> vetting -> the tunnel has it
                                          ^        |
                                          +--------+  failed: as fail-over decides
    and again from there, when what stood turns out to have lied.

While a CONNECT is slow, another proxy's may race it; see `hedge`.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

from msgspec.structs import replace

from fetcher.errors import ANSWERED, Outcome, TaskError
from fetcher.forward.connect import Connecting
from fetcher.forward.hedge import LONGEST
from fetcher.forward.means import Means
from fetcher.forward.model import Authority, Caller, Refused, session_of
from fetcher.forward.refusals import (
    refuse_end,
    refuse_impolite,
    refuse_late,
    refuse_response,
    refuse_session,
)
from fetcher.forward.vetting import TLS_PORTS, Vetting
from fetcher.model import Cancellable, Exit, Request, Response, Target, Wishes
from fetcher.proxy import Proxy
from fetcher.route.failover import Another, End, Failover, is_certificate_failure
from fetcher.route.route import Pool
from fetcher.run.polite import build_polite
from fetcher.session.model import NoExit, Session, Sticky

MOST_AT_ONCE: Final = 3  # attempts, of which two race
VERY_SLOW: Final = 2 * LONGEST  # seconds; whoever needs more to stand is left alone for a while
# Openings through other proxies that failed TLS alike, after which the target itself is to blame.
_ALIKE: Final = 2


class Opening:
    """`stands` is called with each path that was opened, `refused` at most once, at the end; none
    of them behind `cancel`, and perhaps in `begin` itself.

    The path that stands, and the use of its exit, are this object's until `cancel` or `again`;
    `settle` says that it was good.
    """

    standing: Connecting | None = None
    moves = 0  # of the session
    _was_slow = False  # what stands
    _session: Sticky | None = None
    _waits_for: Cancellable | None = None
    _vetting: Vetting | None = None
    _timer: asyncio.Handle | None = None
    _tls_failures = 0  # while vetting
    _session_failures = 0

    def __init__(
        self,
        means: Means,
        caller: Caller,
        target: Authority,
        *,
        stands: Callable[[Connecting], None],
        refused: Callable[[Refused], None],
    ) -> None:
        shared, rules = means.fetcher.shared, means.rules
        policy = shared.policy
        self.means = means
        self.caller = caller
        self.target = target
        self._stands: Callable[[Connecting], None] | None = stands
        self._refused: Callable[[Refused], None] | None = refused
        self._loop = asyncio.get_running_loop()
        self._began = monotonic()
        self._timeout = policy.defaults.timeout or policy.defaults.max_timeout or 3600.0
        self.deadline = self._began + self._timeout
        self._request = Request(
            url=target.url, method="CONNECT", connect_timeout=policy.defaults.connect_timeout
        )
        steering, route = caller.steering, rules.route
        wants = steering.session is not None or steering.is_sticky
        self._keeps_exit = wants and means.has_pool
        if self._keeps_exit:
            route = means.pool_only  # a session has one exit, and no other way
        self._failover = Failover(
            route, policy.ways, rules.retries, trust=rules.trust, site=steering.site
        )
        self._running: list[Connecting] = []
        self._suspects: list[Proxy] = []  # to blame if another one does it

    @property
    def _kept(self) -> Session:
        return session_of(self.caller, self.target)

    @property
    def exit(self) -> Exit | None:
        """Of what stands."""
        return self.standing.exit if self.standing is not None else None

    # 1. Its start: when the politeness clock says, if there is to be a delay.

    def begin(self) -> None:
        if not self.caller.steering.is_polite:
            self._ask_supply()
            return
        try:
            polite = build_polite(
                self.means.fetcher.shared, self.means.rules.delay, self._timeout, None
            )
        except TaskError as error:
            self._refuse(refuse_impolite(str(error)))
            return
        self._waits_for = polite
        polite.line_up(self.target.url, self._may_start, is_direct=self._failover.is_direct)

    def _may_start(self, reason: str | None) -> None:
        self._waits_for = None
        self._put_off(monotonic() - self._began)
        if reason is not None:
            self._refuse(refuse_impolite(reason))
        else:
            self._ask_supply()

    def _put_off(self, waited: float) -> None:
        """Its time begins later, by what was waited for others than proxies."""
        self._began += waited
        self.deadline += waited

    # 2. What to ask the pool for.

    def _ask_supply(self) -> None:
        steering, shunned = self.caller.steering, self.means.shunned
        shunned.look(monotonic())
        wishes = Wishes(country=steering.country, widens=True, avoid=shunned)
        self._failover.want(wishes)
        route = self._failover.route
        way = route[0]
        if type(way) is not Pool:
            self._leave()
            return
        if len(route) == 1 and not self._keeps_exit:
            exit = self._failover.leave(None, self.target.url)
            if not isinstance(exit, End):  # whoever has one need not look for it
                self._attempt(exit)
                return
        site = way.site or steering.site
        target = Target(self.target.host, tunnelled=True, site=site, wishes=wishes)
        waiting = self.means.supply.wait(target, self._supplied)
        if waiting is not None:
            self._waits_for = waiting

    def _supplied(self, wishes: Wishes) -> None:
        self._waits_for = None
        self._failover.want(wishes)
        if self._keeps_exit:
            self._find_session()
        else:
            self._leave()

    # 2a. A session's exit.

    def _find_session(self) -> None:
        sessions = self.means.sessions
        if sessions is None:
            self._refuse(refuse_session(NoExit.NOWHERE))
            return
        self._waits_for = sessions.find(self._kept, self._propose, self._found)

    def _propose(self) -> Proxy | None:
        """Who might become the session's exit; its use is not lent by this."""
        chooser = self.means.chooser
        if chooser is None:
            return None
        wishes = replace(self._failover.wishes, preferred=None, only=False)
        [way] = self._failover.route
        site = (way.site if type(way) is Pool else None) or self.caller.steering.site
        exit = chooser.pick(
            Target(self.target.host, tunnelled=True, site=site, wishes=wishes),
            self._failover.tried,
        )
        if exit is None or exit.proxy is None:
            return None
        chooser.release(exit.proxy)
        return exit.proxy

    def _found(self, found: Sticky | NoExit) -> None:
        self._waits_for = None
        if isinstance(found, NoExit):
            self._refuse(refuse_session(found, self._failover.attempts))
            return
        self._session = found
        self.moves = found.moves
        if found.proxy is not None:
            self._failover.move(replace(self._failover.wishes, preferred=found.proxy, only=True))
        self._leave()

    def _fail_session(self, proxy: Proxy) -> None:
        """It was not reached: who comes next, its session says. No more often than another tunnel
        would try."""
        self._session_failures += 1
        sessions = self.means.sessions
        if sessions is None or self._session_failures > self._failover.budget:
            self._refuse_last("the session's proxy was not reached")
            return
        self._waits_for = sessions.fail(self._kept, proxy, self._propose, self._found)

    # 3. An attempt.

    def _leave(self) -> None:
        way = self._failover.leave(None, self.target.url)
        if isinstance(way, End):
            wanted = self._session.proxy if self._session is not None else None
            if wanted is not None:
                self._fail_session(wanted)  # the pool has lost it
            else:
                self._refuse(refuse_end(way, None, self._failover.attempts))
            return
        if self._session is not None and way.proxy != self._session.proxy:
            self._failover.release(way)
            self._refuse_last("no proxy in the pool for this session")
            return
        self._attempt(way)

    def _attempt(self, exit: Exit, *, races: bool = False) -> None:
        left = self.deadline - monotonic()
        if left <= 0:
            self._failover.release(exit)
            self._refuse(refuse_late(self._timeout, self._failover.attempts))
            return
        if not races:
            self.means.hedge.begin()
        limit = min(self._failover.limit_connect(exit, self._request), left)
        connecting = Connecting(self.means.network, exit, self.target, limit, self._ended)
        self._running.append(connecting)
        connecting.begin()
        if exit.from_pool and self._running:
            self._arm()

    # 3a. Another one beside it, while it is slow.

    def _arm(self) -> None:
        may_race = self._session is None and self.means.rules.hedge > 0
        if may_race and self._timer is None and len(self._running) < MOST_AT_ONCE:
            self._timer = self._loop.call_later(self.means.hedge.after, self._race)

    def _race(self) -> None:
        self._timer = None
        others = []
        for one in self._running:
            if one.exit.proxy is not None:
                others.append(one.exit.proxy)
                if not one.is_slow:
                    one.is_slow = True
                    self.means.shunned.begin_waiting(one.exit.proxy)
        if not others:
            return
        exit = self._failover.race(self.target.url, others)
        if exit is None:
            return
        if not self.means.hedge.spend():
            self._failover.release(exit)
            self._arm()  # others may have earned one by then
            return
        self._attempt(exit, races=True)

    # 4. It has come to something.

    def _ended(self, connecting: Connecting, response: Response) -> None:
        self._running.remove(connecting)
        self._unmark(connecting)
        if response.outcome is ANSWERED:
            self.means.fetcher.shared.meters.tunnels.record(response.timing)
            self._take(connecting)
        else:
            self._fail(connecting, response)

    def _take(self, connecting: Connecting) -> None:
        """The first that stands; the others are closed before a byte of the client has left."""
        now = monotonic()
        took = now - connecting.began
        if connecting.exit.proxy is not None:
            self.means.hedge.learn(took)
        self._stop_racing(began=connecting.began)
        self._was_slow = took > VERY_SLOW
        self.standing = connecting
        if self._needs_vetting(connecting.exit, now):
            self._vet(connecting)
        else:
            self._tell(connecting)

    def _stop_racing(self, began: float | None) -> None:
        """Whoever has been overtaken by one that `began` later was slow."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = monotonic()
        for other in self._running:
            other.cancel()
            self._unmark(other)
            self._failover.release(other.exit)
            proxy = other.exit.proxy
            if began is not None and proxy is not None and other.began < began:
                self.means.shunned.blame(proxy, now)
        self._running.clear()

    def _unmark(self, connecting: Connecting) -> None:
        if connecting.is_slow and connecting.exit.proxy is not None:
            connecting.is_slow = False
            self.means.shunned.end_waiting(connecting.exit.proxy)

    def _fail(self, connecting: Connecting, response: Response) -> None:
        exit, now = connecting.exit, monotonic()
        took, left = now - connecting.began, self.deadline - now
        self._suspect(exit, response, now)
        if self._running:
            self._failover.lose(exit, self._request, response, took=took, left=left)
            self._arm()
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._go_on(exit, response, took, left)

    def _suspect(self, exit: Exit, response: Response, now: float) -> None:
        if exit.proxy is None or response.unproven:
            return
        if response.outcome is Outcome.PROXY:
            self.means.shunned.blame(exit.proxy, now)
        elif response.outcome is Outcome.PATH:
            self._suspects.append(exit.proxy)

    def _go_on(self, exit: Exit, response: Response, took: float, left: float) -> None:
        """Through another proxy, if fail-over says so."""
        if self._session is not None and exit.proxy is not None:
            self._failover.lose(exit, self._request, response, took=took, left=left)
            self._go_on_in_session(exit.proxy, response, left)
            return
        step = self._failover.decide(exit, self._request, response, took=took, left=left)
        if isinstance(step, Another):
            self._attempt(step.exit)
            return
        self._failover.release(exit)
        if isinstance(step, End):
            self._refuse(refuse_end(step, None, self._failover.attempts))
        else:
            self._refuse(refuse_response(response, self._failover.attempts))

    def _go_on_in_session(self, proxy: Proxy, response: Response, left: float) -> None:
        sessions, session = self.means.sessions, self._session
        lied = response.connect_code // 100 == 2
        # A session's first exit has still to show that it is of any use.
        of_no_use = response.outcome is Outcome.PATH and session is not None and session.is_new
        failed = response.outcome is Outcome.PROXY or lied or of_no_use
        if left > 0 and failed and not response.unproven:
            self._fail_session(proxy)
            return
        if sessions is not None and response.connect_code:
            sessions.confirm(self._kept, proxy)  # it has said no for its target
        self._refuse(refuse_response(response, self._failover.attempts))

    # 5. Whether a proxy that nobody has checked leaves TLS alone.

    def _needs_vetting(self, exit: Exit, now: float) -> bool:
        return (
            exit.unchecked
            and exit.proxy is not None
            and self.target.port in TLS_PORTS
            and self._tls_failures < _ALIKE
            and not self.means.vetted.has(exit.proxy, now)
        )

    def _vet(self, connecting: Connecting) -> None:
        left = max(self.deadline - monotonic(), 0.001)
        limit = min(self._failover.limit_connect(connecting.exit, self._request), left)
        self.means.hedge.begin()
        self._vetting = Vetting(
            self.means.network,
            connecting.exit,
            self.target,
            limit,
            lambda response: self._vetted(connecting, response),
        )
        self._vetting.begin()

    def _vetted(self, connecting: Connecting, response: Response) -> None:
        self._vetting = None
        proxy = connecting.exit.proxy
        assert proxy is not None
        if response.outcome is ANSWERED:
            self.means.vetted.add(proxy, monotonic())
            self._tell(connecting)
            return
        if is_certificate_failure(response):
            self._tls_failures += 1
            if self._tls_failures >= _ALIKE:  # the target's own, for the client to judge
                self._tell(connecting)
                return
        self.again(response)

    def _tell(self, connecting: Connecting) -> None:
        if self._stands is not None:
            self._stands(connecting)

    # 6. What the tunnel says of it.

    def again(self, response: Response) -> None:
        """What stood was of no use, as `response` says; go on, or refuse."""
        connecting, self.standing = self.standing, None
        assert connecting is not None
        connecting.cancel()
        now = monotonic()
        self._suspect(connecting.exit, response, now)
        took, left = now - connecting.began, self.deadline - now
        self._go_on(connecting.exit, response, took, left)

    @property
    def may_go_on(self) -> bool:
        """Whether another proxy could follow what stands, were that of no use."""
        exit = self.exit
        replays = self.means.rules.replay and self._failover.fails_over
        return replays and exit is not None and exit.proxy is not None

    @property
    def patience(self) -> float:
        """Seconds that what stands may take for its first byte, if it is not the last."""
        return max(min(self._failover.ways.attempt_timeout, self.deadline - monotonic()), 0.001)

    @property
    def patience_of_last(self) -> float:
        """The same for the last one that there is, which has all of the time; 0 for others."""
        left, exit = self.deadline - monotonic(), self.exit
        if exit is None or left <= 0 or self._failover.limits(exit, self._request, left).first_byte:
            return 0.0
        # Of a session's exits fail-over sees one at a time.
        if self._session is not None and self._session_failures < self._failover.budget:
            return 0.0
        return left

    def absolve(self) -> None:
        """What other proxies were suspected of was the target's own doing."""
        self._suspects.clear()

    def put_off(self, waited: float) -> None:
        """So long the client has sent nothing; that time was his."""
        self._put_off(waited)

    def settle(self, response: Response | None) -> None:
        """What stands is what the client asked for; `response`: what that shows the pool, if
        anything. The exit is used on."""
        exit, now = self.exit, monotonic()
        if exit is None or exit.proxy is None:
            return
        if self._was_slow and exit.from_pool:
            self.means.shunned.blame(exit.proxy, now)  # nobody was there to race it
        else:
            self.means.shunned.forgive(exit.proxy)
        for proxy in self._suspects:
            if proxy != exit.proxy:
                self.means.shunned.blame(proxy, now)
        self._suspects.clear()
        if response is not None:
            self._failover.note(exit, self._request, response)
        if self._session is not None and self.means.sessions is not None:
            self.means.sessions.confirm(self._kept, exit.proxy)

    # 7. The end, in one place.

    def cancel(self) -> None:
        """Nobody wants it any more, or the tunnel has ended: everything stops, and what was lent
        is given back. Harmless when that has been done."""
        self._refused = self._stands = None
        if self._waits_for is not None:
            self._waits_for.cancel()
            self._waits_for = None
        if self._vetting is not None:
            self._vetting.cancel()
            self._vetting = None
        self._stop_racing(began=None)
        connecting, self.standing = self.standing, None
        if connecting is not None:
            connecting.cancel()
            self._failover.release(connecting.exit)

    def _refuse_last(self, reason: str) -> None:
        attempts = self._failover.attempts
        if attempts:
            reason = f"{attempts[-1].error} (then: {reason})"
        self._refuse(refuse_end(End(reason, no_way=not attempts), None, attempts))

    def _refuse(self, refused: Refused) -> None:
        tell = self._refused
        self.cancel()
        if tell is not None:
            tell(refused)
