"""Hedge: after how long a second CONNECT may race one that is slow, and how many may.

A decision module: seconds and counts are arguments. Of all CONNECTs a share may be such racers;
some are lent in advance and counted first, so that a young process may race and the share holds.
"""

from collections import deque
from typing import Final

SHORTEST: Final = 0.05  # seconds; two CONNECTs at once would be the rule below
LONGEST: Final = 0.75  # so that slow one and racer together stay well below 1.5 seconds
UNKNOWN: Final = 0.5  # before anything is known
_KEPT: Final = 200  # set-ups
_EVERY: Final = 20  # of which the percentile is taken anew
_ENOUGH: Final = 20  # set-ups before it means something

LENT: Final = 25.0  # racers before anything has been earned
MOST: Final = 100.0  # that may be saved up


class Hedge:
    """One for all tunnels of a process. `share`: of all CONNECTs that may race others; 0: none."""

    def __init__(self, share: float) -> None:
        self.connects = 0  # begun, racers apart
        self.spent = 0  # racers
        self._share = share
        self._earned = 0.0
        self._setups: deque[float] = deque(maxlen=_KEPT)
        self._news = 0
        self.after = UNKNOWN
        """Seconds after which a CONNECT is slow: the 95th percentile of recent ones."""

    def begin(self) -> None:
        """A CONNECT has begun that races no other."""
        self.connects += 1
        self._earned = min(self._earned + self._share, max(self.spent, LENT) + MOST)

    def spend(self) -> bool:
        """Whether one may race now; then it is counted."""
        if self._share <= 0 or self.spent + 1 > max(LENT, self._earned):
            return False
        self.spent += 1
        return True

    def learn(self, seconds: float) -> None:
        """A CONNECT has come through in that time, counted from its own start.

        A very slow one counts as `LONGEST`: it tells that there are such, and not how long one
        should wait for them.
        """
        self._setups.append(min(seconds, LONGEST))
        self._news += 1
        if self._news >= _EVERY and len(self._setups) >= _ENOUGH:
            self._news = 0
            ordered = sorted(self._setups)
            self.after = max(ordered[int(len(ordered) * 0.95)], SHORTEST)
