"""Whether a task goes on, and through what: the ways out it still has, and one rule for repeating.

A decision module: it asks the pool's chooser, which costs no I/O; times are arguments. A list or
pool route is tried until its budget of attempts is spent, any other route once. Another proxy is
taken when the *proxy* failed, and only if the request may be repeated.

Whoever drives attempts (a fetch, a tunnel) asks the same object::

    leave   -> an exit, or End          before each request of a task
    limits  -> what the attempt may take
    decide  -> Another | Keep | End     when it has come to something
    release                             when the task has ended, however it did

A tunnel may have several attempts under way at once, of which the first that stands is taken::

    race    -> a further exit, or None  beside those under way
    lose                                one has failed, and others are still under way
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from fetcher.errors import Code, Outcome
from fetcher.model import (
    DIRECT,
    NO_WISHES,
    Attempt,
    Exit,
    Limits,
    ProxyChooser,
    Request,
    Response,
    Target,
    Trust,
    Upload,
    Verdict,
    Wishes,
)
from fetcher.proxy import Proxy
from fetcher.route.route import (
    Direct,
    Env,
    Environment,
    Pool,
    Route,
    Unreadable,
    Way,
    environment_proxy,
)
from fetcher.urls import origin_of

# RFC 9110 9.2.2: repeating these changes nothing more than asking once.
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})

# Attempts through proxies that nobody has checked yet count for no budget, but for these.
MOST_UNCHECKED: Final = 40


# So many unchecked proxies must say the same error; gateways that are broken are no rarity, and all
# of them say the same.
_ALIKE: Final = 2
_GATEWAY_ALIKE: Final = 4
_GATEWAY: Final = frozenset({502, 503, 504})


class WaysOut(msgspec.Struct, frozen=True, kw_only=True):
    """What leads out of a process. Attempts, but for the last one on a list or pool route, get
    `attempt_timeout` seconds until the first byte, `attempt_connect` of them to reach the proxy."""

    environment: Environment = Environment()
    chooser: ProxyChooser | None = None
    is_own: Callable[[Proxy], bool] | None = None  # ourselves: what goes through it comes back
    attempt_timeout: float = 15.0
    attempt_connect: float = 5.0


class Another(msgspec.Struct, frozen=True):
    """The same request again, through `exit`; the one before has been released."""

    exit: Exit


class Keep(msgspec.Struct, frozen=True):
    """What came is the task's own, good or bad."""


class End(msgspec.Struct, frozen=True):
    """Nothing came that the task asked for. `no_way`: its route leads nowhere any more."""

    reason: str
    no_way: bool = False


KEEP: Final = Keep()


class Failover:
    """One task's way through its route.

    `retries`: how many other proxies may be tried after the first. `site` is the pool's site that
    the task names, for a pool way that names none; `wishes` is what else its proxies shall be. A
    task on the one direct way changes nothing here, so that many may share one.
    """

    # As the attributes of the class until an attempt fails, which few do.
    way = 0  # index into the route
    attempts: Sequence[Attempt] = ()  # those that failed by their proxies
    tried: Sequence[Proxy] = ()
    certificate_failures = 0
    doubted: Sequence[int] = ()  # statuses, as often as they came
    empty: str | None = None  # what the pool said when it had none
    wishes = NO_WISHES
    _aim: tuple[str, int, Target] | None = None  # the last URL, the way, and what was wanted then

    def __init__(
        self,
        route: Route,
        ways: WaysOut,
        retries: int,
        *,
        trust: Trust,
        site: str | None = None,
        retry_unsafe: bool = False,
        wishes: Wishes = NO_WISHES,
    ) -> None:
        if wishes is not NO_WISHES:
            self.wishes = wishes
        self.route = route
        self.ways = ways
        self.trust = trust
        self.site = site
        self.retry_unsafe = retry_unsafe
        # Whether another proxy is taken when one fails.
        fails_over = len(route) > 1 or type(route[0]) is Pool
        self.budget = retries + 1 if fails_over else 1
        self.fails_over = self.budget > 1
        self.is_direct = len(route) == 1 and (
            type(route[0]) is Direct or (type(route[0]) is Env and not ways.environment)
        )

    # -- before a request --------------------------------------------------------------------------

    def leave(self, exit: Exit | None, url: str) -> Exit | End:
        """The exit of a request to `url`; the task's last hop left through `exit`, if any.

        The next hop leaves as the last one did, unless the environment has a say for each URL, or
        what a pool gave for plain http would have to tunnel.
        """
        if self.is_direct:
            return DIRECT
        if exit is not None:
            stays = type(self.route[self.way]) is not Env
            if stays and not (exit.from_pool and url.startswith("https:")):
                return exit
            self.release(exit)
        following = self._next(url)
        return following if following is not None else self._explain_no_way()

    def limits(self, exit: Exit, request: Request, left: float) -> Limits:
        """What an attempt through `exit` may take of the `left` seconds.

        The last one has all of them: only the others must answer in time.
        """
        connect, first_byte = request.connect_timeout, 0.0
        if exit.proxy is not None and self.fails_over:
            connect = self.limit_connect(exit, request)
            if not self._is_last(exit.proxy, request.url):
                first_byte = min(self.ways.attempt_timeout, left)
        # On a kept connection libcurl repeats silently.
        fresh = not (self.retry_unsafe or request.method in IDEMPOTENT)
        if request.body is not None and is_upload(request.body):
            fresh = True
        return Limits(total=left, connect=connect, first_byte=first_byte, fresh=fresh)

    def limit_connect(self, exit: Exit, request: Request) -> float:
        """Seconds that an attempt through `exit` may take until its path stands."""
        connect = request.connect_timeout
        if self.fails_over and exit.proxy is not None:
            connect = min(connect, self.ways.attempt_connect)
        return connect

    def find_hold(self, exit: Exit, url: str) -> int:
        """Bytes of a body that must be looked at before anybody may have it."""
        chooser = self.ways.chooser
        if not exit.from_pool or chooser is None:
            return 0
        return chooser.find_hold(self._target(url))

    # -- after an attempt --------------------------------------------------------------------------

    def decide(
        self, exit: Exit, request: Request, response: Response, *, took: float, left: float
    ) -> Another | Keep | End:
        """What becomes of a task whose attempt came to `response`.

        It `took` so many seconds, and so many are `left`. The pool is told what its proxy did, and
        says what the site's rules make of the answer.
        """
        proxy = exit.proxy
        if proxy is None:
            return KEEP
        failed = is_proxys_failure(response)
        doubtful = exit.unchecked and self._is_doubtful(response)
        banned = exit.from_pool and self._report(proxy, request.url, response, took + left)
        if not self.fails_over or not (failed or banned or doubtful):
            return KEEP
        self._spend(exit, proxy, response, took)
        if left > 0 and self._may_go_on(request, response):
            is_last_way = self.way + 1 == len(self.route)
            following = self._next(request.url)
            if following is not None:
                self.release(exit)
                return Another(following)
            if not is_last_way:
                return self._explain_no_way()
        if failed and response.outcome is Outcome.ANSWERED:
            # The answer is the proxy's own; nobody who asked for any proxy wants to read it.
            return End(f"HTTP {response.status} from the last proxy tried")
        return KEEP

    def release(self, exit: Exit) -> None:
        """The use of `exit` has ended: each one that was handed out is given back once."""
        if exit.from_pool and exit.proxy is not None and self.ways.chooser is not None:
            self.ways.chooser.release(exit.proxy)

    # -- several attempts at once ------------------------------------------------------------------

    def race(self, url: str, others: Sequence[Proxy]) -> Exit | None:
        """A further exit, beside those through `others`; None if the pool has none that it would
        be of use to try."""
        chooser = self.ways.chooser
        if chooser is None or type(self.route[self.way]) is not Pool:
            return None
        exit = chooser.pick(self._target(url), [*self.tried, *others])
        if exit is None or self._is_loop(exit):
            return None
        if exit.proxy in self.wishes.avoid:
            self.release(exit)  # it has no better ones
            return None
        return self._judged(exit)

    def lose(
        self, exit: Exit, request: Request, response: Response, *, took: float, left: float
    ) -> None:
        """An attempt has failed, and what comes next is not for its failure to say: others are
        under way, or a session has its own rule. Its use has ended too."""
        if exit.proxy is None:
            return
        if exit.from_pool:
            self._report(exit.proxy, request.url, response, took + left)
        self._spend(exit, exit.proxy, response, took)
        self.release(exit)

    def note(self, exit: Exit, request: Request, response: Response) -> None:
        """Tell the pool how an attempt ended that is kept whatever it thinks of it."""
        if exit.from_pool and exit.proxy is not None:
            self._report(exit.proxy, request.url, response, self.ways.attempt_connect)

    def want(self, wishes: Wishes) -> None:
        """Ask the pool for something else from now on."""
        self.wishes, self._aim = wishes, None

    def move(self, wishes: Wishes) -> None:
        """As `want`; a proxy that is `preferred` is taken even if it has been tried."""
        self.want(wishes)
        self.tried = [proxy for proxy in self.tried if proxy != wishes.preferred]

    # -- the rules ---------------------------------------------------------------------------------

    def _may_go_on(self, request: Request, response: Response) -> bool:
        if is_certificate_failure(response):
            self.certificate_failures += 1
            if self.certificate_failures > 1:
                return False  # through two proxies the same: it is the origin's
        if len(self.attempts) >= self.budget:
            return False
        return may_repeat(request, response, retry_unsafe=self.retry_unsafe)

    def _is_doubtful(self, response: Response) -> bool:
        """Whether an answer may be the proxy's own, of which nobody knows yet what it does: an
        error is the target's when others say the same."""
        status = response.status
        if response.outcome is not Outcome.ANSWERED or status < 400:
            return False
        alike = _GATEWAY_ALIKE if status in _GATEWAY else _ALIKE
        self.doubted = [*self.doubted, status]
        return self.doubted.count(status) < alike

    def _is_last(self, proxy: Proxy, url: str) -> bool:
        """Whether nothing could follow an attempt through `proxy`; looks without taking."""
        if self.wishes.followed:
            return False
        if len(self.attempts) + 1 >= self.budget:
            return True
        if self.way + 1 < len(self.route):
            return False
        chooser = self.ways.chooser
        if chooser is None or type(self.route[self.way]) is not Pool:
            return True
        return not chooser.has_other(self._target(url), (*self.tried, proxy))

    def _next(self, url: str) -> Exit | None:
        """The next way, None when the route leads nowhere any more; the last one stays the last."""
        while True:
            exit = self._through(self.route[self.way], url)
            if exit is not None and self._is_loop(exit):
                continue
            if exit is not None:
                return self._judged(exit)
            if self.way + 1 == len(self.route):
                return None
            self.way += 1

    def _judged(self, exit: Exit) -> Exit:
        if exit.proxy is not None and self.trust is Trust.GUARDED:
            return replace(exit, judged=True)
        return exit

    def _is_loop(self, exit: Exit) -> bool:
        """Whether it leads back to us, so that it counts as tried."""
        proxy, is_own = exit.proxy, self.ways.is_own
        if proxy is None or is_own is None or not is_own(proxy):
            return False
        self.release(exit)
        self.tried = [*self.tried, proxy]
        self.empty = f"the proxy {proxy.authority} is this service itself: that would be a loop"
        return True

    def _through(self, way: Way, url: str) -> Exit | None:
        if isinstance(way, Direct):
            return DIRECT
        if isinstance(way, Env):
            proxy = environment_proxy(self.ways.environment, url)
            if proxy is None:
                return DIRECT
            if isinstance(proxy, Unreadable):
                self.empty = proxy.reason
                return None
            return Exit(proxy=proxy) if proxy not in self.tried else None
        if isinstance(way, Proxy):
            # Named by an HTTP caller, a proxy is as little trusted as a URL.
            untried = way not in self.tried
            return Exit(proxy=way, trusted=self.trust is Trust.OPEN) if untried else None
        return self._pick(url) if self._pool_has_budget() else None

    def _pick(self, url: str) -> Exit | None:
        chooser, target = self.ways.chooser, self._target(url)
        if chooser is None:
            self.empty = (
                "this fetcher knows no pool: Fetcher.with_pool(redis=...) makes one that does"
            )
            return None
        exit = chooser.pick(target, self.tried)
        if exit is None:
            self.empty = f"no proxy in the pool ({chooser.describe(target)})"
        return exit

    def _pool_has_budget(self) -> bool:
        """A pool way leaves one attempt to each way behind it."""
        left = self.budget - len(self.attempts)
        return left > len(self.route) - 1 - self.way or not self.attempts

    def _target(self, url: str) -> Target:
        """What a pool proxy is wanted for."""
        aim = self._aim
        if aim is not None and aim[0] == url and aim[1] == self.way:
            return aim[2]
        scheme, host, _ = origin_of(url)
        way = self.route[self.way]
        site = way.site if isinstance(way, Pool) and way.site else self.site
        target = Target(host, scheme == "https", site, self.wishes)
        self._aim = url, self.way, target
        return target

    def _report(self, proxy: Proxy, url: str, response: Response, had: float) -> bool:
        """Tell the pool how an attempt ended that `had` so many seconds; whether it is a ban."""
        chooser = self.ways.chooser
        if chooser is None:
            return False
        if response.code == Code.OPERATION_TIMEDOUT and had < self.ways.attempt_connect:
            response.unproven = True  # others get more time than that only to be reached
        return chooser.report(proxy, self._target(url), response) is Verdict.BANNED

    def _spend(self, exit: Exit, proxy: Proxy, response: Response, took: float) -> None:
        if exit.unchecked and len(self.attempts) < MOST_UNCHECKED:
            self.budget += 1
        error = response.message or f"HTTP {response.status}"
        self.attempts = [*self.attempts, Attempt(proxy.url, error, round(took, 3))]
        self.tried = [*self.tried, proxy]

    def _explain_no_way(self) -> End:
        reason = self.empty or "no way left to try"
        if self.attempts:
            reason = f"{self.attempts[-1].error} (then: {reason})"
        return End(reason, no_way=True)


def may_repeat(request: Request, response: Response, *, retry_unsafe: bool) -> bool:
    """Whether asking again is allowed at all.

    Any method while nothing of it has left for the target; idempotent ones until the first byte
    of an answer, or if it is a ban; others only when the task says so. A body that comes bit by
    bit can be sent once.
    """
    if not response.sent:
        return True
    if is_upload(request.body):
        return False
    if response.stranger:
        return True
    if response.outcome is not Outcome.ANSWERED and response.head:
        return False
    return retry_unsafe or request.method in IDEMPOTENT


def is_upload(body: bytes | Upload | None) -> bool:
    """Whether a body comes bit by bit."""
    return body is not None and not isinstance(body, bytes)


def is_proxys_failure(response: Response) -> bool:
    """Whether what happened through a proxy is a reason to take another one.

    One that asks who we are does so for itself: the answer is no page for anybody.
    """
    if response.outcome is Outcome.ANSWERED:
        return response.stranger
    return response.outcome in (Outcome.PROXY, Outcome.PATH)


def is_certificate_failure(response: Response) -> bool:
    """A certificate that failed inside a tunnel; seen through two proxies it is the origin's."""
    return response.code == Code.PEER_FAILED_VERIFICATION and response.outcome is Outcome.PATH
