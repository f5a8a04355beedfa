"""The checks of a site out of the settings: its lane, its canary, and the judges."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from fetcher.model import Client, Trust
from fetcher.stats.meters import Meters
from pool.check.ask import build_limits
from pool.check.canary import Canary
from pool.check.echo_judges import EchoJudges
from pool.check.lane import CheckLane
from pool.check.rule import find_weakness
from pool.settings import Pool
from pool.sites import UNIVERSAL
from pool.store import Checkers, Store

logger = logging.getLogger(__name__)

Clients = Mapping[Trust, Client]
"""Proxies are asked through the guarded one; what the operator names through the open one."""


def build_checks(
    store: Store,
    clients: Clients,
    pool: Pool,
    name: str,
    *,
    user_agent: str,
    judges: EchoJudges | None = None,
    checkers: Checkers | None = None,
    meters: Meters | None = None,
) -> CheckLane:
    """The lane of the site called `name`; failures go by its canary, if it has one."""
    site = pool.sites[name]
    if (weakness := find_weakness(site)) is not None:
        logger.warning("pool.sites.%s.%s", name, weakness)
    canary = None
    if site.canary is not False:
        canary = Canary(store, clients[Trust.OPEN], pool, site, user_agent=user_agent)
    lane = CheckLane(
        store,
        clients[Trust.GUARDED],
        pool,
        site,
        user_agent=user_agent,
        name=name,
        judges=judges,
        checkers=checkers,
        meters=meters,
        settle=canary.settle if canary is not None else None,
    )
    if name != UNIVERSAL:
        lane.name = f"checks of {name}"
    return lane


def build_echo_judges(
    urls: Sequence[str],
    tunnel_page: str | None,
    clients: Clients,
    pool: Pool,
    *,
    secret: Callable[[], Awaitable[bytes]],
    user_agent: str,
) -> EchoJudges | None:
    """None if there is nobody to ask."""
    if not urls and tunnel_page is None:
        return None
    return EchoJudges(
        urls,
        clients[Trust.OPEN],
        secret,
        build_limits(pool.check),
        user_agent=user_agent,
        tunnel_page=tunnel_page,
        allow_private=pool.allow_private,
    )
