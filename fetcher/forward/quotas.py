"""What a key may use, the same for all workers as near as a second.

A driver: it counts in memory, and `run` exchanges counts with the other workers through Redis. One
process alone is exact; while Redis is away, each goes on by what it knows.
"""

import math
import time
from collections.abc import Callable, Iterable
from typing import Final

from fetcher.forward.model import Quotas, Refused
from fetcher.forward.store.quotas import QuotaStore, Spent
from fetcher.redis.duties import repeat
from fetcher.settings import PerKey

EVERY: Final = 1.0  # seconds between two exchanges
SOON: Final = 1  # seconds after which one of many connections may have ended
_DAY: Final = 86_400


class KeyQuotas(Quotas):
    """`limits` hold for each key of `names`; callers without one share those of "".

    `clock` tells seconds that only go on, `wall` those since 1970: days are UTC's. With no limit
    nothing is counted, with no `store` nobody else is asked. `section` of the settings has the
    limits, and `everybody` is who has no key, in words.
    """

    def __init__(
        self,
        limits: PerKey,
        names: Iterable[str],
        store: QuotaStore | None = None,
        *,
        section: str = "forward.per_key",
        everybody: str = "the forward proxy",
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._most = limits.connections
        self._rate = limits.rate
        self._bytes = limits.bytes_per_day
        self._burst = max(1.0, limits.rate)
        self._store = store
        self._section = section
        self._everybody = everybody
        self._clock = clock
        self._wall = wall
        self._day = self._today()
        self._uses = {name: _Use(self._burst, clock()) for name in {"", *names}}

    def enter(self, key: str) -> Refused | None:
        if not self._most:
            return None
        use = self._uses[key]
        if use.here + use.elsewhere >= self._most:
            what = f"has {self._most} connections open, as many as {self._section}.connections"
            return self._refuse(key, f"{what} allows", SOON, "connection_limit_reached")
        use.here += 1
        return None

    def leave(self, key: str) -> None:
        if self._most:
            self._uses[key].here -= 1

    def ask(self, key: str) -> Refused | None:
        if self._bytes:
            use = self._uses_of_today()[key]
            if use.told.bytes + use.more.bytes >= self._bytes:
                what = f"has used the {self._bytes} bytes a day of {self._section}.bytes_per_day"
                return self._refuse(key, what, math.ceil(_DAY - self._wall() % _DAY))
        return self._ask_bucket(key) if self._rate else None

    def _ask_bucket(self, key: str) -> Refused | None:
        use = self._uses[key]
        self._fill(use)
        if use.tokens < 1:
            what = f"has made its {self._rate:g} requests a second of {self._section}.rate"
            return self._refuse(key, what, max(1, math.ceil((1 - use.tokens) / self._rate)))
        use.tokens -= 1
        use.more.requests += 1
        return None

    def _fill(self, use: "_Use") -> None:
        now = self._clock()
        use.tokens = min(self._burst, use.tokens + (now - use.since) * self._rate)
        use.since = now

    def spend(self, key: str, size: int) -> None:
        if self._bytes:
            self._uses[key].more.bytes += size

    async def run(self) -> None:
        """Exchange counts once a second, until cancelled; ends at once if there is nothing to."""
        if self._store is not None and (self._most or self._rate or self._bytes):
            await repeat(self.share, EVERY, f"quotas of {self._everybody}")

    async def share(self) -> None:
        """Tell the others what was used here, and hear what they have. Raises `RedisAway`."""
        if self._store is None:
            return
        uses, day = self._uses_of_today(), self._day
        here = {key: use.here for key, use in uses.items() if use.here}
        told = {key: Spent(use.more.requests, use.more.bytes) for key, use in uses.items()}
        elsewhere, sums = await self._store.share(day, here, told)
        for key, use in uses.items():
            use.elsewhere = elsewhere.get(key, 0)
            if day != self._day:
                continue  # midnight has passed meanwhile, and all that was told with it
            others = sums[key].requests - use.told.requests - told[key].requests
            if use.is_known:  # what was before this process began is past
                self._fill(use)
                use.tokens = max(-self._burst, use.tokens - max(0, others))
            use.is_known = True
            use.told = sums[key]
            use.more.requests -= told[key].requests
            use.more.bytes -= told[key].bytes

    def _refuse(
        self, key: str, what: str, wait: int, error: str = "http_request_denied"
    ) -> Refused:
        who = f"the key {key!a}" if key else self._everybody
        sentence = f"{who} {what}: try again in {wait} s"
        return Refused(status=429, error=error, sentence=sentence, retry_after=wait)

    def _uses_of_today(self) -> "dict[str, _Use]":
        today = self._today()
        if today != self._day:
            self._day = today
            for use in self._uses.values():
                use.told, use.more = Spent(), Spent()
        return self._uses

    def _today(self) -> int:
        return int(self._wall() // _DAY)


class _Use:
    """One key's, as far as this process knows."""

    __slots__ = ("elsewhere", "here", "is_known", "more", "since", "tokens", "told")

    def __init__(self, tokens: float, now: float) -> None:
        self.here = 0  # connections
        self.elsewhere = 0
        self.tokens = tokens  # requests that may be at once; below zero: others made too many
        self.since = now
        self.told = Spent()  # by all, when they were asked last, of this day
        self.more = Spent()  # here since then
        self.is_known = False  # the others have been asked
