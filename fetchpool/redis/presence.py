"""Whether a Redis server is there: said once when that changes, for all who ask it."""

import logging
import time
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)

SOON: Final = 1.0  # seconds of absence that are not worth a number


class Presence:
    """Of the server `where`, which is its URL as it may be logged. `clock` gives seconds.

    Says nothing of one that has never been there: whoever asked it first has its error. `quiet`:
    another process of ours says all of it.
    """

    def __init__(
        self, where: str, clock: Callable[[], float] = time.monotonic, *, quiet: bool = False
    ) -> None:
        self._where = where
        self._clock = clock
        self._quiet = quiet
        self._was_here = False
        self._gone_at: float | None = None

    def here(self) -> None:
        """There is a connection."""
        self._was_here = True
        if self._gone_at is None:
            return
        away = self._clock() - self._gone_at
        self._gone_at = None
        level = logging.DEBUG if self._quiet else logging.INFO
        logger.log(level, "Redis is back%s", f" after {away:.0f} s" if away >= SOON else "")

    def gone(self, reason: str) -> None:
        """There is none, for this `reason`."""
        if self._was_here and self._gone_at is None:
            self._gone_at = self._clock()
            level = logging.DEBUG if self._quiet else logging.WARNING
            logger.log(
                level, "Redis at %s is gone: %s; what needs it waits until it is back",
                self._where, reason,
            )  # fmt: skip
