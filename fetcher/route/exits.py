"""The ways out that a task still has: its route, what was tried of it, and what is left.

A decision module: it asks the pool's chooser, which costs no I/O, and starts nothing. A list or
pool route is tried until its budget of attempts is spent; any other route once.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from fetcher.model import DIRECT, Attempt, Exit, ProxyChooser, Target, Trust
from fetcher.proxy import Proxy
from fetcher.route.route import Direct, Env, Environment, Pool, Route, environment_proxy
from fetcher.urls import origin_of


class Exits:
    """One task's way through its route. `retries`: how many others may be tried after the first.

    `site` is the pool's site that the task names, for a pool way that names none.
    """

    # As the attributes of the class until an attempt fails, which few do.
    way = 0  # index into the route
    attempts: Sequence[Attempt] = ()  # those that failed
    tried: Sequence[Proxy] = ()
    empty: str | None = None  # what the pool said when it had none

    def __init__(
        self,
        route: Route,
        retries: int,
        *,
        environment: Environment,
        chooser: ProxyChooser | None,
        trust: Trust,
        site: str | None,
    ) -> None:
        self.route = route
        self.environment = environment
        self.chooser = chooser
        self.trust = trust
        self.site = site
        # Whether another proxy is taken when one fails.
        fails_over = len(route) > 1 or type(route[0]) is Pool
        self.budget = retries + 1 if fails_over else 1
        self.fails_over = self.budget > 1

    @property
    def are_direct(self) -> bool:
        """Whether all that there is is the one direct way: nothing of a task is kept here then."""
        way = self.route[0]
        is_direct = type(way) is Direct or (type(way) is Env and not self.environment)
        return is_direct and len(self.route) == 1

    def is_last(self, exit: Exit, url: str) -> bool:
        """Whether nothing could follow an attempt through `exit`: it may take all the time left."""
        if exit.proxy is None or len(self.attempts) + 1 >= self.budget:
            return True
        if self.way + 1 < len(self.route):
            return False
        tried = [*self.tried, exit.proxy]
        return not isinstance(self.route[self.way], Pool) or self._pick(url, tried) is None

    def next(self, url: str) -> Exit | None:
        """The next exit for a request to `url`, or None when the route leads nowhere any more."""
        while self.way < len(self.route):
            exit = self._through(self.route[self.way], url)
            if exit is not None:
                if exit.proxy is not None and self.trust is Trust.GUARDED:
                    exit = replace(exit, judged=True)
                return exit
            self.way += 1
        return None

    def _through(self, way: Direct | Env | Pool | Proxy, url: str) -> Exit | None:
        if isinstance(way, Direct):
            return DIRECT
        if isinstance(way, Env):
            proxy = environment_proxy(self.environment, url)
            if proxy is None:
                return DIRECT
            return Exit(proxy=proxy) if proxy not in self.tried else None
        if isinstance(way, Proxy):
            # Named by an HTTP caller, a proxy is as little trusted as a URL.
            untried = way not in self.tried
            return Exit(proxy=way, trusted=self.trust is Trust.OPEN) if untried else None
        if not self._pool_has_budget():
            return None
        exit = self._pick(url, self.tried)
        if exit is None:
            self.empty = "this process has no pool"
            if self.chooser is not None:
                self.empty = f"no proxy in the pool ({self.chooser.describe(self.target(url))})"
        return exit

    def may_stay(self, exit: Exit | None, url: str) -> bool:
        """Whether the next hop, to `url`, may leave as the last one did.

        What the environment says depends on the URL; and what a pool gave for plain http may
        not be able to tunnel.
        """
        if exit is None or isinstance(self.route[self.way], Env):
            return False
        return not (exit.from_pool and url.startswith("https:"))

    def spend(self, proxy: Proxy, error: str, seconds: float) -> None:
        """Note an attempt that failed by its proxy."""
        self.attempts = [*self.attempts, Attempt(proxy.url, error, round(seconds, 3))]
        self.tried = [*self.tried, proxy]

    def is_another_left(self, url: str) -> bool:
        """Look before leaving: without another way the last response is the task's own."""
        if len(self.attempts) >= self.budget:
            return False
        way = self.route[self.way]
        if isinstance(way, Pool) and self._pool_has_budget() and self._pick(url, self.tried):
            return True
        return self.way + 1 < len(self.route)

    def target(self, url: str) -> Target:
        """What a pool proxy is wanted for."""
        scheme, host, _ = origin_of(url)
        way = self.route[min(self.way, len(self.route) - 1)]
        site = way.site if isinstance(way, Pool) and way.site else self.site
        return Target(host, scheme == "https", site)

    def _pick(self, url: str, tried: Sequence[Proxy]) -> Exit | None:
        return self.chooser.pick(self.target(url), tried) if self.chooser else None

    def _pool_has_budget(self) -> bool:
        """A pool way leaves one attempt to each way behind it."""
        left = self.budget - len(self.attempts)
        return left > len(self.route) - 1 - self.way or not self.attempts
