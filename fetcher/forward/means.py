"""Means: what all connections of the forward proxy share in one process."""

from functools import cached_property

import msgspec

from fetcher.forward.connect import Network, build_tls
from fetcher.forward.gate import Gate
from fetcher.forward.hedge import Hedge
from fetcher.forward.model import Quotas
from fetcher.forward.own import Own
from fetcher.forward.shunned import Shunned
from fetcher.forward.supply import Supply
from fetcher.forward.tunnels import Tunnels
from fetcher.forward.vetting import Vetted
from fetcher.model import ProxyChooser, Trust
from fetcher.route.route import Pool, Route
from fetcher.run.fetcher import Fetcher
from fetcher.session.model import Sessions


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The settings, as far as connections ask for them. Seconds; 0 = no limit."""

    route: Route
    trust: Trust = Trust.GUARDED
    connect_ports: frozenset[int] = frozenset()  # empty: all
    max_connections: int = 0
    idle: float = 300.0
    retries: int = 3  # other proxies that are tried for a request
    replay: bool = True
    hedge: float = 0.1
    delay: float = 1.0  # between two starts at one host, for those who are polite
    is_tls: bool = False


class Tally(msgspec.Struct, kw_only=True):
    """What tunnels have come to, since the start."""

    opened: int = 0  # granted to a client
    refused: int = 0
    moved: int = 0  # to another proxy, behind the grant: the exit that it named is outdated
    broken: int = 0  # closed behind the grant without an answer: no proxy was left


class Means(msgspec.Struct, kw_only=True, dict=True):
    """`fetcher` has the clients, the resolver, the route's chooser and all limits of attempts
    (`fetcher.shared.policy`)."""

    fetcher: Fetcher
    rules: Rules
    supply: Supply
    quotas: Quotas
    gate: Gate = msgspec.field(default_factory=lambda: Gate({}))
    sessions: Sessions | None = None  # None: there is no Redis, and sessions are refused
    own: Own = msgspec.field(default_factory=Own)
    ca_file: str | None = None  # whom to believe, for proxies that are spoken to over TLS
    shunned: Shunned = msgspec.field(default_factory=Shunned)
    vetted: Vetted = msgspec.field(default_factory=Vetted)
    tally: Tally = msgspec.field(default_factory=Tally)
    tunnels: Tunnels = msgspec.field(default_factory=Tunnels)

    @cached_property
    def hedge(self) -> Hedge:
        return Hedge(self.rules.hedge)

    @cached_property
    def network(self) -> Network:
        """What the attempts to open tunnels share."""
        shared = self.fetcher.shared
        return Network(
            resolver=shared.resolver,
            trust=self.rules.trust,
            tls=build_tls(self.ca_file),
            own=self.own,
            bindaddress=shared.policy.defaults.bindaddress,
        )

    @cached_property
    def has_pool(self) -> bool:
        """Whether the route leads through the pool's proxies at all."""
        return bool(self.pool_only)

    @cached_property
    def pool_only(self) -> tuple[Pool, ...]:
        """The route's way through a pool, for those who keep to one exit; empty: there is none."""
        return tuple(way for way in self.rules.route if type(way) is Pool)[:1]

    @property
    def chooser(self) -> ProxyChooser | None:
        return self.fetcher.shared.policy.ways.chooser
