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

    While Redis is away the wait doubles, up to 30 s; one line is logged when it goes and one when
    it is back. Any other exception of a step is logged with its traceback, and the rounds go on.
    """

    def __init__(self, name: str, step: Callable[[], Awaitable[object]], seconds: float) -> None:
        self._name = name
        self._step = step
        self._seconds = seconds
        self._stopped = asyncio.Event()
        self._failures = 0

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
                logger.warning("%s: %s; trying again until it is back", self._name, error)
            self._failures += 1
        except Exception:
            logger.exception("%s failed; going on", self._name)
        else:
            if self._failures:
                logger.info("%s: Redis is back", self._name)
            self._failures = 0

    def stop(self) -> None:
        """`run` returns after the step that is under way."""
        self._stopped.set()
