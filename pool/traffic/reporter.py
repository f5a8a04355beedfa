"""Carries what traffic and clients' reports show of proxies into Redis, about once a second."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

from fetcher.errors import RedisAway
from pool.model import Consequence, Effect, Entry, Spelled
from pool.rounds import Rounds
from pool.snapshot.snapshot import Snapshot
from pool.store import Store
from pool.traffic.evidence import Evidence, Mark, Seen, put_off

logger = logging.getLogger(__name__)

EVERY: Final = 1.0  # seconds


class SitePool(msgspec.Struct, frozen=True):
    """A site's proxies: in Redis, and as this process knows them."""

    store: Store
    snapshot: Snapshot


class Reporter:
    """Gathers evidence in memory and enters it. What Redis cannot take now is kept for later, in
    bounds.

    `sites`: every site by name. `cycle`: seconds between two checks of a good proxy. `clock` gives
    seconds that never go back, `now` seconds since the epoch.
    """

    def __init__(
        self,
        sites: Mapping[str, SitePool],
        cycle: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._sites = sites
        self._cycle = cycle
        self._clock = clock
        self._now = now
        self._evidence = Evidence()
        self._rounds = Rounds("entering what traffic showed", self.step, EVERY)

    def note(self, seen: Seen) -> None:
        """Costs no I/O."""
        self._evidence.note(seen, self._clock())

    async def run(self) -> None:
        await self._rounds.run()

    def stop(self) -> None:
        self._rounds.stop()

    async def step(self) -> None:
        """Enter what was gathered since the last time."""
        by_site: defaultdict[str, list[Mark]] = defaultdict(list)
        for mark in self._evidence.take(self._clock()):
            if mark.site in self._sites:  # else a request named a site that there is not
                by_site[mark.site].append(mark)
        while by_site:
            name, marks = by_site.popitem()
            site = self._sites[name]
            try:
                entered = await site.store.enter(
                    one for mark in marks for one in self._find(site.snapshot, mark)
                )
            except RedisAway:
                self._evidence.give_back(
                    [*marks, *(one for rest in by_site.values() for one in rest)]
                )
                raise
            logger.debug("traffic on %s: %d proxies, %s", name, len(marks), entered)

    def _find(self, snapshot: Snapshot, mark: Mark) -> Iterator[Consequence]:
        """The mark for each member that means its proxy; as we spell it, if none is known yet."""
        entries = snapshot.find_proxy(mark.proxy)
        if not entries:
            yield Consequence(mark.proxy, mark.effect)
        for entry in entries:
            spelled = Spelled(entry.proxy.scheme, entry.member)
            yield Consequence(spelled, mark.effect, self._delay(entry, mark))

    def _delay(self, entry: Entry, mark: Mark) -> float:
        if mark.effect is Effect.POINT:
            return 0.0
        return put_off(entry.record, self._cycle, self._now())
