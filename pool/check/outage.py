"""When failing checks say more of the site, or of our own line, than of the proxies.

A decision module: `now` counts seconds on any steady clock, the same one throughout. It holds
counts only: failures wait in `canary`, no more of them than the lane has places.

While nothing has passed lately, a site is in doubt: then its canary (its own page, fetched without
a proxy) is asked. It works: the proxies are to blame. It does not: this is an outage, and no
failure counts until the canary or a check comes through.

A process whose own line is down begins an outage for all; those whose checks pass end it again.
"""

from collections.abc import Iterable
from typing import Final

from pool.model import Kind

CHECKS: Final = 50  # so many in a row without a pass put the site in doubt

# A small pool takes long for so many: in it each proxy may fail about twice.
CYCLES: Final = 2

# The canary is asked once in a cycle, and not less than once a minute while it is needed.
SELDOM: Final = 60.0

# Whose checks pass ends what others may have begun no oftener than that: it costs two calls.
AGAIN: Final = 1.0  # seconds

# In an outage a site's proxies are looked at this much more seldom than good ones.
SLOWER: Final = 2


class OutageWatch:
    """The checks of one site in this process. `cycle`: seconds between two of a good proxy."""

    def __init__(self, cycle: float) -> None:
        self.is_outage = False
        self._cycle = cycle
        self._failures = 0  # since the last pass
        self._passed: float | None = None
        self._end_told: float | None = None
        self._asked: float | None = None  # when the canary was heard of; None: it has to be asked

    def note(self, kinds: Iterable[Kind], now: float) -> None:
        """Count how checks ended, in the order in which they did."""
        for kind in kinds:
            if kind is Kind.PASSED:
                self._failures, self._passed = 0, now
                self._asked, self.is_outage = None, False
            elif proves_by_site(kind):
                self._failures += 1

    def is_doubtful(self, now: float) -> bool:
        """Whether nothing has passed lately, so that failures may be the site's or ours."""
        if self._passed is None or self._failures >= CHECKS:
            return True
        return now - self._passed > CYCLES * self._cycle

    def is_canary_due(self, now: float) -> bool:
        return self._asked is None or now - self._asked >= min(self._cycle, SELDOM)

    def hear(self, works: bool, now: float) -> None:
        """What the canary told."""
        self._asked, self.is_outage = now, not works

    @property
    def is_end_due(self) -> bool:
        """Whether a check has passed since others were last told that there is no outage."""
        if self.is_outage or self._passed is None:
            return False
        return self._end_told is None or self._passed - self._end_told >= AGAIN

    def note_end(self, now: float) -> None:
        """All have been told that there is no outage."""
        self._end_told = now

    def pause(self, draw: float) -> float:
        """Seconds until the next check of a proxy whose failure is dropped; `draw` in [0, 1)."""
        return self._cycle * SLOWER * (1 + draw) / 2

    @property
    def holds(self) -> float:
        """Seconds for which others may believe in the outage without hearing of it again."""
        return 3 * max(self._cycle, 1.0)


def proves_by_site(kind: Kind) -> bool:
    """Whether a check failed in such a way that site or line may be to blame.

    What cannot be read as a proxy, or leads where nobody may go, is bad by itself.
    """
    return kind.counts and kind not in (Kind.PASSED, Kind.UNUSABLE)
