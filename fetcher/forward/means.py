"""Means: what all connections of the forward proxy share in one process."""

import msgspec

from fetcher.forward.gate import Gate
from fetcher.forward.model import Quotas, Sessions
from fetcher.forward.own import Own
from fetcher.forward.supply import Supply
from fetcher.model import ProxyChooser, Trust
from fetcher.route.route import Route
from fetcher.run.fetcher import Fetcher


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The settings, as far as connections ask for them. Seconds; 0 = no limit."""

    route: Route
    trust: Trust = Trust.GUARDED
    connect_ports: frozenset[int] = frozenset()  # empty: all
    max_connections: int = 0
    idle: float = 300.0
    replay: bool = True
    hedge: float = 0.1
    delay: float = 1.0  # between two starts at one host, for those who are polite
    is_tls: bool = False


class Means(msgspec.Struct, kw_only=True):
    """`fetcher` has the clients, the resolver, the route's chooser and all limits of attempts
    (`fetcher.shared.policy`)."""

    fetcher: Fetcher
    rules: Rules
    supply: Supply
    quotas: Quotas
    gate: Gate = msgspec.field(default_factory=lambda: Gate({}))
    sessions: Sessions | None = None  # None: there is no Redis, and sessions are refused
    own: Own = msgspec.field(default_factory=Own)

    @property
    def chooser(self) -> ProxyChooser | None:
        return self.fetcher.shared.policy.ways.chooser
