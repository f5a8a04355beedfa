"""Keeps the operator's own proxies in the pool as the settings name them."""

import logging
from collections.abc import Callable
from math import inf

from fetcher.proxy import Proxy, parse_proxy
from pool.admission import canonical_own
from pool.model import Candidate, Record
from pool.settings import OwnProxy, Pool
from pool.store import Store

logger = logging.getLogger(__name__)

SOURCE = "settings"


class OwnProxies:
    """The proxies of `pool.proxies`: trusted, never refused, and put back if they were lost.

    Any number of processes may keep them. Those that have left the settings leave the pool once, at
    the start: a process with other settings, which may still run, puts back its own.
    """

    def __init__(
        self, store: Store, pool: Pool, *, clock: Callable[[], float], now: Callable[[], float]
    ) -> None:
        self._store = store
        self._cycle = pool.harvest.cycle
        self._clock = clock
        self._now = now
        self._own = dict(_read(one) for one in pool.proxies)
        self._turn = -inf  # on `clock`
        self._expiry = inf  # when the next one expires
        self._has_swept = False

    async def step(self) -> None:
        """Put in, and take out, what is due; costs nothing otherwise. Raises RedisAway."""
        now = self._now()
        if self._clock() < self._turn and now < self._expiry:
            return
        expiries = {proxy: _expiry(own) for proxy, own in self._own.items()}
        valid = [
            Candidate(proxy, _record(own, now))
            for proxy, own in self._own.items()
            if expiries[proxy] > now
        ]
        if valid:
            await self._store.add(valid, operator=True)
        expired = [proxy.member for proxy, expiry in expiries.items() if expiry <= now]
        if expired and await self._store.remove(expired):
            logger.warning("%d of the proxies in pool.proxies have expired", len(expired))
        if not self._has_swept:
            await self._sweep()
        self._expiry = min((expiry for expiry in expiries.values() if expiry > now), default=inf)
        self._turn = self._clock() + self._cycle

    async def _sweep(self) -> None:
        """Take out those that settings named earlier."""
        named = {proxy.member for proxy in self._own}
        ours = await self._store.find(lambda record: record.own and record.source == SOURCE)
        left = ours - named
        if left and await self._store.remove(sorted(left), tombstone=0.0):
            logger.info("%d proxies are no longer in pool.proxies", len(left))
        self._has_swept = True


def _read(given: str | OwnProxy) -> tuple[Proxy, OwnProxy]:
    own = OwnProxy(url=given) if isinstance(given, str) else given
    return canonical_own(parse_proxy(own.url)), own


def _expiry(own: OwnProxy) -> float:
    return inf if own.expires is None else own.expires.timestamp()


def _record(own: OwnProxy, now: float) -> Record:
    return Record(
        source=SOURCE, own=True, never_check=own.never_check, country=own.country, added=now
    )
