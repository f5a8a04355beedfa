"""Keeps this process's snapshot of a pool in step with Redis.

Our own writes leave a numbered change behind, so following them costs by what changed; what
others write is found by reading all scores once in a while.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from fetcher.errors import RedisAway
from pool.admission import read_member
from pool.model import Entry, Record
from pool.rounds import Rounds
from pool.sites import with_proofs
from pool.snapshot.snapshot import Snapshot
from pool.store import Changes, Member, ProxySet, Store, Trail

POLL: Final = 0.5  # seconds: everybody sees a change within one

PIECE: Final = 250  # members taken over in one turn of the loop, at about 20 us each


Locate = Callable[[Record], tuple[Record, bool]]


def _claimed(record: Record) -> tuple[Record, bool]:
    return record, True


class Follower:
    """Fills `snapshot` from `store` and keeps it so; `resync` seconds between full readings.

    `ready` is set after the first full reading. `clock` gives seconds that never go back. Of a
    further site `universal` holds what judges have told of its proxies. `locate` gives a record the
    country of its exit, and says whether it is still its source's claim.
    """

    def __init__(
        self,
        store: Store,
        snapshot: Snapshot,
        resync: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        universal: Snapshot | None = None,
        locate: Locate = _claimed,
    ) -> None:
        self.ready = asyncio.Event()
        self.outage: str | None = None  # the URL of one: it fails without a proxy too
        self._universal = universal
        self._locate = locate
        self._store = store
        self._snapshot = snapshot
        self._resync = resync
        self._clock = clock
        self._read_at: float | None = None
        self._trails = [Trail(one, PIECE) for one in store.sets]
        self._members: dict[str, set[str]] = {one.key: set() for one in store.sets}
        self._rounds = Rounds("following the pool", self.step, POLL)

    @property
    def is_lost(self) -> bool:
        """Whether Redis has failed since all was read: what is known may be old."""
        return self.ready.is_set() and self._read_at is None

    async def run(self) -> None:
        await self._rounds.run()

    def stop(self) -> None:
        self._rounds.stop()

    async def step(self) -> None:
        """Take over what changed, or everything if that is due."""
        try:
            if self._read_at is None or self._clock() - self._read_at >= self._resync:
                await self.resync()
            for trail in self._trails:
                if not await trail.follow(partial(self._take, trail.set)):
                    self._forget()
                    await self.resync()
        except RedisAway:
            self._forget()  # it may come back with less than it had, and count from there
            raise

    def _forget(self) -> None:
        for trail in self._trails:
            trail.forget()
        self._read_at = None

    async def resync(self) -> None:
        """Read all scores, and the records of members that are new or have another score.

        The first time, and after Redis was away, all records.
        """
        for trail in self._trails:
            one = trail.set
            if not trail.is_marked:
                await trail.mark()
            seen: set[str] = set()
            async for members in one.scan(PIECE):
                seen.update(member.member for member in members)
                await self._compare(one, members)
            for member in self._members[one.key] - seen:
                self._remove(one, member)
        self._read_at = self._clock()
        self.ready.set()

    async def _compare(self, one: ProxySet, members: list[Member]) -> None:
        other = []
        for member in members:
            entry = self._snapshot.get(member.member)
            if self._read_at is None or entry is None or entry.score != member.score:
                other.append(member)
        records = await one.records([member.member for member in other])
        for member, record in zip(other, records, strict=True):
            self._put(one, member, record)

    async def _take(self, one: ProxySet, changes: Changes) -> None:
        if one is self._store.http:
            self.outage = changes.outage
        for member in changes.members:
            if member.score is None:
                self._remove(one, member.member)
            else:
                self._put(one, member, member.record or Record())

    def _put(self, one: ProxySet, member: Member, record: Record) -> None:
        old = self._snapshot.get(member.member)
        proxy = old.proxy if old is not None else read_member(member.member)
        if proxy is None:
            return  # its checks fail until it is gone; nobody is given it meanwhile
        assert member.score is not None
        known = self._universal.get(member.member) if self._universal is not None else None
        if known is not None:
            record = with_proofs(record, known.record)
        record, claimed = self._locate(record)
        self._members[one.key].add(member.member)
        self._snapshot.put(Entry(member.member, proxy, member.score, record, claimed))

    def _remove(self, one: ProxySet, member: str) -> None:
        self._members[one.key].discard(member)
        self._snapshot.remove(member)
