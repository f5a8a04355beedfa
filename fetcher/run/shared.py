"""Shared: what all fetches of a process share. They read it, and count in it."""

from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace

from fetcher.auto.memory import Memory
from fetcher.client.body_budget import Budget
from fetcher.dns.resolver import Resolver
from fetcher.model import NO_WISHES, WEB, Cancellable, Clients, Result, Task, Trust, Wishes
from fetcher.politeness.backoff import By
from fetcher.politeness.slots import Starts
from fetcher.robots.keeper import RobotsKeeper
from fetcher.route.failover import Failover, WaysOut
from fetcher.route.route import ENVIRONMENT, Route
from fetcher.stats.meters import Meters
from fetcher.stats.windows import Stats
from fetcher.task.request import Defaults, Plan
from fetcher.task.s3 import S3
from fetcher.task.schemes import FOR_EVERYBODY


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every task, by the settings.

    `route` is taken by tasks that name no proxy. `allow_private`: "all" also lets a public site
    redirect to a private address. `schemes` are the URLs that are taken; of them file and ftp need
    a client of that kind, s3 the keys in `s3`. `robots_ttl`: seconds for which a robots.txt holds.
    `delay_by`: whose the delay is that a task keeps.
    """

    defaults: Defaults
    route: Route = ENVIRONMENT
    ways: WaysOut = WaysOut()
    allow_private: bool | str = True
    schemes: Sequence[str] = FOR_EVERYBODY
    s3: S3 = S3()
    robots_ttl: float = 3600.0
    delay_by: By = "host"


Run = Callable[["Shared", Task, Callable[[Result], None], Trust, Route], Cancellable]


class Shared:
    """One per process. `run` starts a fetch of ours: that of a robots.txt. Without a `clock`,
    which lives in Redis, no task may keep a delay."""

    def __init__(
        self,
        clients: Clients,
        policy: Policy,
        run: Run,
        *,
        budget: Budget | None = None,
        resolver: Resolver | None = None,
        clock: Starts | None = None,
    ) -> None:
        self.clients = clients
        self.memory = Memory()  # of what rendering has changed; that of a service is in Redis
        self.missing: dict[str, str] = {}  # kind -> why it is not among the clients, and what helps
        self.complained: dict[str, float] = {}  # what about -> when last; see `run/rendering`
        self.web = clients[WEB]
        self.policy = policy
        # What is not kept needs no limit but that of the task itself.
        self.stream_defaults = replace(policy.defaults, max_body=0)
        self.budget = budget or Budget()  # the bodies that are held
        self.resolver = resolver
        self.clock = clock
        self.robots = RobotsKeeper(
            lambda task, done, trust, route: run(self, task, done, trust, route),
            ttl=policy.robots_ttl,
        )
        self.stats = Stats()
        self.meters = Meters()
        self.in_flight = 0
        self.ended = 0  # since the start
        self.errors = 0  # exceptions of our own, each logged with its traceback
        direct = Failover(policy.route, policy.ways, 0, trust=Trust.OPEN)
        self._direct: Failover | None = direct if direct.is_direct else None

    def failover_of(
        self, route: Route, plan: Plan, trust: Trust, wishes: Wishes = NO_WISHES
    ) -> Failover:
        """A task's ways out. All that leave by the one direct way share theirs (0.5 us)."""
        if route is self.policy.route and self._direct is not None and not plan.retry_unsafe:
            return self._direct
        return Failover(
            route,
            self.policy.ways,
            plan.retries,
            trust=trust,
            site=plan.site,
            retry_unsafe=plan.retry_unsafe,
            wishes=wishes,
        )
