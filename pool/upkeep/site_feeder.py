"""Leads proxies that are good in universal into the sets of all further sites, and out again."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from msgspec.structs import replace

from fetcher.errors import ProxyError, RedisAway
from fetcher.proxy import Proxy, parse_proxy
from pool.model import UNKNOWN, Added, Candidate
from pool.rounds import Rounds
from pool.settings import Pool
from pool.sites import newcomer
from pool.store import Changes, Member, ProxySet, Store, Trail

logger = logging.getLogger(__name__)

EVERY: Final = 2.0  # seconds


class Feeder:
    """Follows universal's changes, so that its cost grows with them; reads everything at first,
    and every `pool.resync` seconds, for what others write. Several of them do no harm.

    `sites`: the further sites by name. `clock` gives seconds that never go back.
    """

    def __init__(
        self,
        universal: Store,
        sites: Mapping[str, Store],
        pool: Pool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._universal = universal
        self._sites = sites
        self._pool = pool
        self._clock = clock
        self._trails = [Trail(one) for one in universal.sets]
        self._read_at: float | None = None
        self._rounds = Rounds("feeding the sites", self.step, EVERY)

    async def run(self) -> None:
        await self._rounds.run()

    def stop(self) -> None:
        self._rounds.stop()

    async def step(self) -> None:
        """Take over what changed, or everything if that is due."""
        try:
            due = self._read_at is None or self._clock() - self._read_at >= self._pool.resync
            if due:
                await self._read()
            for trail in self._trails:
                if not await trail.follow(partial(self._take, trail.set)):
                    await self._read()
        except RedisAway:
            self._read_at = None  # it may come back with less than it had
            raise

    async def _read(self) -> None:
        for trail in self._trails:
            await trail.mark()
            one = trail.set
            async for members in one.scan():
                good = [member for member in members if self._is_good(member)]
                records = await one.records([member.member for member in good])
                await self._feed(
                    one,
                    [
                        replace(member, record=record)
                        for member, record in zip(good, records, strict=True)
                    ],
                )
        for name, store in self._sites.items():
            await self._sweep(name, store)
        self._read_at = self._clock()

    async def _sweep(self, name: str, store: Store) -> None:
        """Lead out who is not in universal any more; who never was, as others have put it in, comes
        there too."""
        for source, one in zip(self._universal.sets, store.sets, strict=True):
            async for members in one.scan():
                missing = await self._find_missing(source, [member.member for member in members])
                records = dict(zip(missing, await one.records(missing), strict=True))
                strange = {
                    member: _parse(member) for member in missing if not records[member].source
                }
                # But for those that universal has buried.
                await self._universal.add(
                    Candidate(proxy, UNKNOWN) for proxy in strange.values() if proxy is not None
                )
                gone = [member for member in missing if strange.get(member, True) is not None]
                await self._lead_out(name, store, await self._find_missing(source, gone))

    async def _find_missing(self, source: ProxySet, names: Sequence[str]) -> list[str]:
        scores = await source.scores(names)
        return [name for name, score in zip(names, scores, strict=True) if score is None]

    async def _take(self, one: ProxySet, changes: Changes) -> None:
        await self._feed(one, [member for member in changes.members if self._is_good(member)])
        await self._retell(one, changes.members)
        gone = [member.member for member in changes.members if member.score is None]
        for name, store in self._sites.items():
            await self._lead_out(name, store, gone)

    def _is_good(self, member: Member) -> bool:
        return member.score is not None and member.score >= self._pool.score.max

    async def _feed(self, one: ProxySet, members: Sequence[Member]) -> None:
        candidates = self._newcomers(one, members)
        for name, store in self._sites.items():
            added = await store.add(candidates) if candidates else Added()
            if added.new:
                logger.debug("%d good proxies are new to the site %s", added.new, name)

    async def _retell(self, one: ProxySet, members: Sequence[Member]) -> None:
        """What the operator says of his own counts wherever they are, though they may be failing
        by now."""
        candidates = self._newcomers(
            one, [member for member in members if _is_own(member) and not self._is_good(member)]
        )
        names = [candidate.proxy.member for candidate in candidates]
        for store in self._sites.values():
            counterpart = store.http if one is self._universal.http else store.others
            scores = await counterpart.scores(names)
            there = [
                candidate
                for candidate, score in zip(candidates, scores, strict=True)
                if score is not None
            ]
            await store.add(there)

    def _newcomers(self, one: ProxySet, members: Sequence[Member]) -> list[Candidate]:
        is_http = one is self._universal.http
        candidates = []
        for member in members:
            proxy = _parse(member.member)
            if proxy is not None and (proxy.scheme == "http") is is_http:
                candidates.append(newcomer(Candidate(proxy, member.record or UNKNOWN)))
        return candidates

    async def _lead_out(self, name: str, store: Store, members: Sequence[str]) -> None:
        # Without a tomb: who is good in universal again may come back at once.
        removed = await store.remove(members, tombstone=0.0) if members else 0
        if removed:
            logger.debug("%d proxies left the site %s with universal", removed, name)


def _is_own(member: Member) -> bool:
    return member.score is not None and member.record is not None and member.record.own


def _parse(member: str) -> Proxy | None:
    """None for what others wrote in a spelling of their own: under ours it would be another."""
    try:
        proxy = parse_proxy(member)
    except ProxyError:
        return None
    return proxy if proxy.member == member else None
