"""When a proxy is checked next, and how many checks may begin now.

A decision module: no clock and no randomness; `now` and `draw` are arguments.
"""

from typing import Final

from fetcher.model import Request, Response
from pool.model import Kind, Record
from pool.settings import Check

# The first wait after a failure, in check cycles; each further failure doubles it. A proxy that
# refuses, wants a password or speaks nonsense will hardly have changed by the next cycle.
_FIRST_WAIT: Final = {
    Kind.TIMEOUT: 1.0,
    Kind.BROKEN: 1.0,
    Kind.RULE: 2.0,
    Kind.REFUSED: 3.0,
    Kind.AUTH: 6.0,
    Kind.GARBAGE: 6.0,
    Kind.UNUSABLE: 6.0,
}

DAY: Final = 86400.0  # seconds

# Of a day's bytes this share may be used before its time, so that a start is quick.
_AHEAD: Final = 1 / 24

# What a check uses, before one has been seen; and beside what it says: packets without content
# (some ten of 40 bytes), and the certificates of TLS.
_FIRST_GUESS: Final = 3000.0
_PACKETS: Final = 400
_HANDSHAKE: Final = 5000

_MOST_DOUBLINGS: Final = 30  # beyond any back-off, and far from what a float cannot hold


def next_check(record: Record, times: Check, draw: float) -> float:
    """Seconds until the next check of a proxy with this record.

    A good one is seen again after `times.cycle`, an unchecked one at once. A failing one waits
    longer each time, at most `times.backoff_max` (0: a cycle), between half of that and all of it
    as `draw` in [0, 1) says, so that what failed together does not come back together.
    """
    if record.last is None:
        return 0.0
    if record.last is Kind.PASSED:
        return times.cycle
    if not times.backoff_max:
        return times.cycle
    first = _FIRST_WAIT.get(record.last, 1.0) * times.cycle
    longest = first * 2.0 ** min(max(record.failures - 1, 0), _MOST_DOUBLINGS)
    return min(longest, times.backoff_max) * (1 + draw) / 2


class TokenBucket:
    """How many checks may begin at `now` (seconds on any steady clock) at `rate` a second.

    It holds one second's worth, so that a pause is not followed by a storm. Rate 0 = no limit.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = max(rate, 1.0)
        self._tokens = self._most
        self._filled: float | None = None

    def room(self, wanted: int, now: float) -> int:
        """How many of `wanted` may begin; `spend` takes them."""
        if not self._rate:
            return wanted
        if self._filled is not None:
            passed = max(now - self._filled, 0.0)
            self._tokens = min(self._tokens + passed * self._rate, self._most)
        self._filled = now
        return max(min(wanted, int(self._tokens)), 0)

    def spend(self, n: int) -> None:
        if self._rate:
            self._tokens -= n


class DayBudget:
    """How many checks may begin when those of a day (UTC) may use `limit` bytes; 0 = no limit.

    The bytes are spread over the day, an hour's worth ahead: when they are short, checks begin
    more seldom and so every cycle is longer, but none is without checks until midnight.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._average = _FIRST_GUESS
        self.under_way = 0  # checks that have begun and not been noted

    def room(self, wanted: int, spent: int, now: float) -> int:
        """How many of `wanted` may begin at `now` (since the epoch), when all checkers have
        `spent` so many bytes of its day."""
        if not self._limit:
            return wanted
        share = min(now % DAY / DAY + _AHEAD, 1.0)
        left = self._limit * share - spent - self.under_way * self._average
        return max(min(wanted, int(left / self._average)), 0)

    def note(self, size: int) -> None:
        """A check has ended, which used `size` bytes; 0: nothing was sent, so it tells nothing of
        what others will use."""
        self.under_way -= 1
        if size > 0:
            self._average += 0.05 * (size - self._average)


def estimate_bytes(request: Request, response: Response) -> int:
    """What a transfer has cost, both ways; without what only the network sees it is a guess."""
    sent = len(request.url) + sum(len(line) + 2 for line in request.headers)
    tls = _HANDSHAKE if request.url[:6] == "https:" and response.address else 0
    return sent + len(response.head) + len(response.body) + _PACKETS + tls
