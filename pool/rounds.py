"""A step that is repeated until it is told to stop, whether Redis is there or not. A driver."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from fetcher.errors import RedisAway

logger = logging.getLogger(__name__)

LONGEST_WAIT: Final = 30.0  # seconds between attempts while Redis is away


class Rounds:
    """Runs `step` every `seconds`; the wait is counted from the end of a step.

    While Redis fails the wait doubles, up to 30 s; one line is logged when that begins and one when
    it is over, unless Redis is gone altogether, which others say. Any other exception of a step is
    logged with its traceback, and the rounds go on.
    """

    def __init__(self, name: str, step: Callable[[], Awaitable[object]], seconds: float) -> None:
        self._name = name
        self._step = step
        self._seconds = seconds
        self._stopped = asyncio.Event()
        self._failures = 0
        self._level = logging.INFO  # of the line that says that it is over

    async def run(self) -> None:
        while not self._stopped.is_set():
            await self._run_step()
            wait = self._seconds
            if self._failures:
                doubled = max(wait, 0.1) * 2.0 ** min(self._failures, 10)
                wait = max(wait, min(doubled, LONGEST_WAIT))
            try:
                await asyncio.wait_for(self._stopped.wait(), wait)
            except TimeoutError:
                continue

    async def _run_step(self) -> None:
        try:
            await self._step()
        except RedisAway as error:
            if not self._failures:
                self._level = logging.DEBUG if error.is_gone else logging.INFO
                level = logging.DEBUG if error.is_gone else logging.WARNING
                logger.log(level, "%s: %s; trying again until it is back", self._name, error)
            self._failures += 1
        except Exception:
            logger.exception("%s failed; going on", self._name)
        else:
            if self._failures:
                logger.log(self._level, "%s: Redis is back", self._name)
            self._failures = 0

    def stop(self) -> None:
        """`run` returns after the step that is under way."""
        self._stopped.set()
