"""The lane of due checks: takes what is due, asks the site through it, enters how that ended.

Who passed and has not been looked into for a while is asked by a judge besides, before his check
ends: once over http, once over https. That changes what is known of him, never his score.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from itertools import cycle
from typing import Any, Final

from fetcher.client.sinks import WholeBody
from fetcher.errors import RedisAway
from fetcher.model import Client, Exit, Request, Response, Timing
from fetcher.stats.meters import Meters
from pool.admission import admit
from pool.check.ask import MAX_BODY, ask, build_limits, build_request
from pool.check.due import DAY, DayBudget, TokenBucket, estimate_bytes, next_check
from pool.check.echo_judges import EchoJudges
from pool.check.proof import (
    NOTHING,
    EchoReading,
    Learned,
    is_https,
    is_proof_due,
    learn,
    learn_pass,
    read_plain,
    read_tunnel,
)
from pool.check.rule import build_site_rule, classify
from pool.model import Check, Checked, Kind, Record, Settled
from pool.score import next_record
from pool.settings import Pool, Site
from pool.sites import UNIVERSAL
from pool.store import Checkers, Store

logger = logging.getLogger(__name__)

# A claim outlives its check by this, so that a slow hand-over does not have it checked twice.
CLAIM_MARGIN: Final = 30.0  # seconds

# The site, a judge over http and one over https, and each judge asked directly when in doubt.
_MOST_REQUESTS: Final = 5


class CheckLane:
    """A `Lane` of checks by one site's rule. A failing Redis shows as RedisAway.

    `client` is the guarded one unless the settings allow private proxies: a proxy's name may lead
    anywhere, and only sockets tell. Without `judges` nobody looks into proxies beyond the rule;
    `checkers` is where the bytes of all checkers are counted, if the settings limit them. `settle`
    enters how checks ended (`Canary.settle`), the store itself if there is none. `meters` count
    them, under the site's `name`. `draw` gives numbers in [0, 1), `clock` seconds that never go
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
        name: str = UNIVERSAL,
        judges: EchoJudges | None = None,
        checkers: Checkers | None = None,
        settle: Callable[[Sequence[Checked]], Awaitable[Settled]] | None = None,
        meters: Meters | None = None,
        draw: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.window = pool.check.concurrency
        self._store = store
        self._client = client
        self._pool = pool
        self._site = name
        self._rule = build_site_rule(site)
        self._requests = cycle([build_request(url, user_agent) for url in site.url])
        self._judges = judges
        self._checkers = checkers
        self._settle = settle or store.settle
        self._meters = meters or Meters()
        self._draw = draw
        self._clock = clock
        self._now = now
        self._bucket = TokenBucket(pool.check.rate)
        self._budget = DayBudget(pool.check.bytes_per_day if checkers is not None else 0)
        self._is_slower = False  # the budget has held back a check
        self._uncounted = 0  # bytes used since they were last entered
        self._limits = build_limits(pool.check)
        requests = _MOST_REQUESTS if judges is not None else 1
        self._claim = pool.check.timeout * requests + CLAIM_MARGIN
        self._looking: set[asyncio.Task[None]] = set()  # checks that have come to a judge

    async def take(self, room: int) -> Sequence[Check]:
        """Due checks, now claimed by us."""
        n = self._bucket.room(room, self._clock())
        if n and self._checkers is not None and self._pool.check.bytes_per_day:
            n = self._budget.room(n, await self._spend(self._checkers), self._now())
            self._say_slower(n == 0)
        checks = await self._store.claim(n, self._claim) if n else []
        self._bucket.spend(len(checks))
        self._budget.under_way += len(checks)
        return checks

    async def _spend(self, checkers: Checkers) -> int:
        """Enter the bytes used; what all checkers have used today."""
        size, self._uncounted = self._uncounted, 0
        try:
            return await checkers.spend(int(self._now() // DAY), size)
        except BaseException:
            self._uncounted += size
            raise

    def _say_slower(self, slower: bool) -> None:
        """Once a process: it comes and goes all day long."""
        if slower and not self._is_slower:
            self._is_slower = True
            logger.info("checks are rarer than pool.check.cycle, or bytes_per_day would be used up")

    def start(self, item: Check, done: Callable[[Checked], None]) -> None:
        """Ask the site through one proxy, on a connection of its own."""
        proxy, record = item.proxy, item.record
        trusted = self._pool.allow_private or record.own
        # What the settings refuse of the operator's own never comes here.
        refused = None if record.own or proxy is None else admit(proxy, allow_private=trusted)
        if proxy is None or refused is not None:
            self._budget.note(0)
            unusable = self._enter(record, Kind.UNUSABLE, Timing())
            checked = self._conclude(item, Kind.UNUSABLE, unusable)
            asyncio.get_running_loop().call_soon(done, checked)
            return
        exit = Exit(proxy=proxy, trusted=trusted, from_pool=True)
        request = next(self._requests)

        def finish(response: Response) -> None:
            self._meters.checks.record(response.timing)
            kind = classify(response, self._rule, MAX_BODY)
            size = self._add_up(request, response)
            known = self._enter(record, kind, response.timing)
            if kind is Kind.PASSED:
                known = learn_pass(known, proxy, request.url)
                if self._is_proof_due(known):
                    self._spawn(self._look_into(item, exit, known, request.url, size, done))
                    return
            self._budget.note(size)
            done(self._conclude(item, kind, known))

        self._client.start(request, exit, self._limits, WholeBody(finish))

    def _enter(self, record: Record, kind: Kind, timing: Timing) -> Record:
        return next_record(
            record, kind, now=self._now(), seconds=timing.total, connect=timing.connect or None
        )

    def _conclude(self, check: Check, kind: Kind, record: Record) -> Checked:
        self._meters.count("checks", self._site, kind.value)
        if kind.counts:
            delay = next_check(record, self._pool.check, self._draw())
        else:
            delay = self._pool.check.cycle * (1 + self._draw()) / 2
        return Checked(check, kind, record, delay)

    def _add_up(self, request: Request, response: Response) -> int:
        size = estimate_bytes(request, response)
        self._uncounted += size
        return size

    # -- what a judge says of one that passed ------------------------------------------------------

    def _is_proof_due(self, record: Record) -> bool:
        return self._judges is not None and is_proof_due(
            record, self._pool.check.cycle, self._now()
        )

    async def _look_into(
        self,
        item: Check,
        exit: Exit,
        record: Record,
        url: str,
        size: int,
        done: Callable[[Checked], None],
    ) -> None:
        """Ask the judges through a proxy that let `url` pass, and end its check."""
        try:
            for scheme in ("http", "https"):
                if scheme == "http" or not is_https(url):
                    learned, used = await self._ask_judge(scheme, item.member, exit)
                    record, size = learn(record, learned, self._now()), size + used
        except RedisAway as error:
            logger.debug("a judge could not be looked at: %s", error)
        except Exception:
            logger.exception("asking a judge through a proxy failed")
        self._budget.note(size)
        done(self._conclude(item, Kind.PASSED, record))

    async def _ask_judge(self, scheme: str, member: str, exit: Exit) -> tuple[Learned, int]:
        """What the next judge tells of a proxy, and how many bytes that took."""
        assert self._judges is not None and exit.proxy is not None
        chosen = self._judges.take(scheme)
        if chosen is None or (scheme == "https" and exit.proxy.noconnect):
            return NOTHING, 0
        question, request = self._judges.build_question(chosen)
        self._bucket.spend(1)
        response = await ask(self._client, request, exit, self._limits)
        if scheme == "https":
            reading = read_tunnel(response, question, exit.proxy)
        else:
            reading = read_plain(response, question)
        if reading.told:
            self._judges.heard(chosen)
        elif not await self._judges.doubt(chosen, question, member):
            reading = EchoReading()
        return reading.learned, self._add_up(request, response)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    # -- the end of a batch ------------------------------------------------------------------------

    async def finish(self, batch: Sequence[Checked]) -> None:
        """Enter how checks ended; repeating it changes nothing."""
        settled = await self._settle(batch)
        logger.debug(
            "%d checks: %d kept, %d removed, %d void",
            *(len(batch), settled.kept, settled.removed, settled.void),
        )

    async def give_back(self, items: Sequence[Check]) -> None:
        for task in self._looking:
            task.cancel()
        await self._store.give_back(items)
