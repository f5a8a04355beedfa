"""A fetcher of given parts."""

from collections.abc import Mapping
from typing import Any

from fetcher.dns.resolver import Resolver
from fetcher.model import WEB, Client, ProxyChooser, Trust
from fetcher.politeness.clock import Clock
from fetcher.route.failover import WaysOut
from fetcher.route.route import Environment
from fetcher.run.fetcher import Fetcher
from fetcher.run.path import run_robots
from fetcher.run.shared import Policy, Shared
from fetcher.task.request import Defaults


def build_fetcher(
    clients: Mapping[Trust, Client],
    defaults: Defaults,
    *,
    chooser: ProxyChooser | None = None,
    environment: Environment | None = None,
    attempt_timeout: float = 15.0,
    attempt_connect: float = 5.0,
    others: Mapping[str, Mapping[Trust, Client]] | None = None,
    clock: Clock | None = None,
    resolver: Resolver | None = None,
    **policy: Any,
) -> Fetcher:
    """`clients` are those of the web, `others` those of further kinds; `policy` is `Policy`'s."""
    ways = WaysOut(
        environment=environment or Environment(),
        chooser=chooser,
        attempt_timeout=attempt_timeout,
        attempt_connect=attempt_connect,
    )
    own = Policy(defaults=defaults, ways=ways, **policy)
    kinds = {WEB: clients, **(others or {})}
    return Fetcher(Shared(kinds, own, run_robots, clock=clock, resolver=resolver))
