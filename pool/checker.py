"""The lane of due checks: takes what is due, asks the site through it, enters the verdicts."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Final

from fetcher.model import Client, Exit, Limits, Request, Response
from fetcher.urls import fit_url
from pool.admission import admit
from pool.due import TokenBucket, next_check
from pool.judge import build_rule, judge
from pool.model import Check, Checked, Kind
from pool.score import next_record
from pool.settings import Pool, Site
from pool.store import Store

logger = logging.getLogger(__name__)

MAX_BODY: Final = 16384  # bytes read of an answer; a longer one counts as far as it was read

# A claim outlives its check by this, so that a slow hand-over does not have it checked twice.
CLAIM_MARGIN: Final = 30.0  # seconds


class CheckLane:
    """A `Lane` of checks by one site's rule. A failing Redis shows as StoreAway.

    `client` is the guarded one unless the settings allow private proxies: a proxy's name may lead
    anywhere, and only sockets tell. `draw` gives numbers in [0, 1), `clock` seconds that never go
    back, `now` seconds since the epoch.
    """

    name = "checks"

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
        now: Callable[[], float] = time.time,
    ) -> None:
        self.window = pool.check.concurrency
        self._store = store
        self._client = client
        self._pool = pool
        self._rule = build_rule(site)
        self._requests = cycle([_build_request(url, user_agent) for url in site.url])
        self._draw = draw
        self._clock = clock
        self._now = now
        self._bucket = TokenBucket(pool.check.rate)
        times = pool.check
        self._limits = Limits(total=times.timeout, connect=times.connect_timeout, fresh=True)

    async def take(self, room: int) -> Sequence[Check]:
        """Due checks, now claimed by us."""
        n = self._bucket.room(room, self._clock())
        checks = await self._store.claim(n, self._pool.check.timeout + CLAIM_MARGIN) if n else []
        self._bucket.spend(len(checks))
        return checks

    def start(self, item: Check, done: Callable[[Checked], None]) -> None:
        """Ask the site through one proxy, on a connection of its own."""
        proxy, record = item.proxy, item.record
        trusted = self._pool.allow_private or record.own
        if proxy is None or admit(proxy, allow_private=trusted) is not None:
            checked = self._conclude(item, Kind.UNUSABLE, 0.0)
            asyncio.get_running_loop().call_soon(done, checked)
            return

        def finish(response: Response) -> None:
            kind = judge(response, self._rule, MAX_BODY)
            done(self._conclude(item, kind, response.timing.total))

        exit = Exit(proxy=proxy, trusted=trusted, from_pool=True)
        self._client.start(next(self._requests), exit, self._limits, finish)

    def _conclude(self, check: Check, kind: Kind, seconds: float) -> Checked:
        record = next_record(check.record, kind, now=self._now(), seconds=seconds)
        if kind.is_verdict:
            delay = next_check(record, self._pool.check, self._draw())
        else:
            delay = self._pool.check.cycle * (1 + self._draw()) / 2
        return Checked(check, kind, record, delay)

    async def finish(self, batch: Sequence[Checked]) -> None:
        """Enter the verdicts; repeating it changes nothing."""
        settled = await self._store.settle(batch)
        logger.debug(
            "%d checks: %d kept, %d removed, %d void",
            *(len(batch), settled.kept, settled.removed, settled.void),
        )

    async def give_back(self, items: Sequence[Check]) -> None:
        await self._store.give_back(items)


def _build_request(url: str, user_agent: str) -> Request:
    line = b"User-Agent: " + user_agent.encode()
    return Request(url=fit_url(url), headers=(line,), max_body=MAX_BODY)
