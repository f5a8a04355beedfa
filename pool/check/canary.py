"""Between the checks of a site and its scores: keeps an outage from being taken for dead proxies.

`outage` decides when a site is in doubt; here its canary is asked, while what checks proved waits.
That is as much as the lane has under way at the most: it waits, and takes no more meanwhile.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Final

from fetcher.model import DIRECT, Client
from fetcher.urls import loggable
from pool.check.ask import MAX_BODY, ask, build_limits, build_request
from pool.check.outage import OutageWatch, proves_by_site
from pool.check.rule import SiteRule, build_site_rule, classify
from pool.model import Checked, Kind, Settled
from pool.settings import Pool, Site
from pool.store import Store

logger = logging.getLogger(__name__)

_PAGES: Final = 3  # of a site's own that are asked, at the same time

# Another page than the one that is checked is up if it answers at all like a page.
_WORKS: Final = SiteRule(frozenset(range(200, 400)), None)


class Canary:
    """Settles the checks of one site, which has a canary. A failing Redis shows as RedisAway.

    `client` goes out directly and reaches what the operator names. `draw` gives numbers in [0, 1),
    `clock` seconds that never go back.
    """

    def __init__(
        self,
        store: Store,
        client: Client,
        pool: Pool,
        site: Site,
        *,
        user_agent: str,
        draw: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        own = not isinstance(site.canary, str)
        urls = site.url if own else [str(site.canary)]
        self.url = loggable(urls[0])  # what an outage is named by, in logs and in /healthz
        self._rule = build_site_rule(site) if own else _WORKS
        self._requests = [build_request(url, user_agent) for url in urls[:_PAGES]]
        self._store = store
        self._client = client
        self._draw = draw
        self._clock = clock
        self._watch = OutageWatch(pool.check.cycle)
        self._limits = build_limits(pool.check)
        self._told: bool | None = None  # whether Redis knows of an outage; None: nobody asked

    async def settle(self, batch: Sequence[Checked]) -> Settled:
        """Enter what checks proved, unless they fail for another reason than their proxies.

        May be repeated: what was entered before is void.
        """
        watch = self._watch
        watch.note((one.kind for one in batch), self._clock())
        if any(proves_by_site(one.kind) for one in batch) and watch.is_doubtful(self._clock()):
            asked = watch.is_canary_due(self._clock())
            if asked:
                watch.hear(await self._works(), self._clock())
            if watch.is_outage:
                if asked or not self._told:
                    await self._store.begin_outage(self.url, watch.holds)
                batch = [self._excuse(one) for one in batch]
        await self._tell()
        return await self._store.settle(batch)

    async def _works(self) -> bool:
        """Whether any of the pages is what it should be, without a proxy."""
        asked = (ask(self._client, request, DIRECT, self._limits) for request in self._requests)
        responses = await asyncio.gather(*asked)
        return any(classify(one, self._rule, MAX_BODY) is Kind.PASSED for one in responses)

    def _excuse(self, one: Checked) -> Checked:
        if not proves_by_site(one.kind):
            return one
        pause = self._watch.pause(self._draw())
        return Checked(one.check, Kind.OURS, one.check.record, pause)

    async def _tell(self) -> None:
        """Say it where other processes look, and in the log, once."""
        outage = self._watch.is_outage
        if outage == self._told and not self._watch.is_end_due:
            return
        if outage:
            logger.warning(
                "no proxy passes its check, and %s fails without a proxy too: failures cost"
                " no points until it works again",
                self.url,
            )
        else:
            await self._store.end_outage()
            self._watch.note_end(self._clock())
            if self._told:
                logger.info("%s works again: failures count", self.url)
        self._told = outage
