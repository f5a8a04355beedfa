"""Duties: tasks that ask Redis until they are told to end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

from fetcher.errors import RedisAway

logger = logging.getLogger(__name__)

_LAST_WAIT: Final = 5.0  # seconds for them to end once they are cancelled


async def repeat(step: Callable[[], Awaitable[None]], every: float, name: str) -> None:
    """Take a step every so many seconds, until cancelled; one that finds Redis away is made up for
    by the next."""
    while True:
        try:
            await step()
        except RedisAway as error:  # the lanes say it louder
            logger.debug("%s: %s", name, error)
        await asyncio.sleep(every)


async def end_all(duties: Collection["asyncio.Task[Any]"]) -> None:
    """Cancel until all have ended: redis-py may swallow one cancellation while it connects.

    Whoever is cancelled in here hears of it when that is done.
    """
    left = set(duties)
    cancelled: asyncio.CancelledError | None = None
    deadline = asyncio.get_running_loop().time() + _LAST_WAIT
    while left and asyncio.get_running_loop().time() < deadline:
        for duty in left:
            duty.cancel()
        try:
            await asyncio.wait(left, timeout=0.1)
        except asyncio.CancelledError as error:
            cancelled = error
        left = {duty for duty in left if not duty.done()}
    if left:
        logger.error("%d background tasks did not end within %g s", len(left), _LAST_WAIT)
    if cancelled is not None:
        raise cancelled
