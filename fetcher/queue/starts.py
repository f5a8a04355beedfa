"""Starts: tells the queue which of its leases wait and which begin, in as few calls as may be.

While one call is under way, what comes meanwhile gathers for the next.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from fetcher.errors import RedisAway
from fetcher.queue.transport import Transport

logger = logging.getLogger(__name__)

_PAUSE = 1.0  # seconds, while Redis is away


class Starts:
    """What has yet to be told; `forget` whatever goes another way."""

    def __init__(self, queue: Transport) -> None:
        self._queue = queue
        self._waits: set[bytes] = set()
        self._begins: dict[bytes, Callable[[], None] | None] = {}
        self._job: asyncio.Task[None] | None = None

    def wait(self, lease: bytes) -> None:
        """It has been taken, and will begin later."""
        self._waits.add(lease)
        self._tell()

    def begin(self, lease: bytes, then: Callable[[], None] | None = None) -> None:
        """It begins now; if there is a `then`, with that, once the queue knows."""
        self._begins[lease] = then
        self._tell()

    def forget(self, leases: Iterable[bytes]) -> None:
        """They were handed back: nothing of them begins any more."""
        for lease in leases:
            self._waits.discard(lease)
            self._begins.pop(lease, None)
        if self._job is not None and not self._waits and not self._begins:
            self._job.cancel()
            self._job = None

    def _tell(self) -> None:
        if self._job is None:
            self._job = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._waits or self._begins:
                try:
                    await self._tell_once()
                except RedisAway as error:  # the lane itself says so
                    logger.debug("not told what waits and what begins: %s", error)
                    await asyncio.sleep(_PAUSE)
        finally:
            if self._job is asyncio.current_task():
                self._job = None

    async def _tell_once(self) -> None:
        waits, begins = set(self._waits), list(self._begins)
        await self._queue.wait(waits)
        self._waits -= waits
        await self._queue.begin(begins)
        for lease in begins:
            then = self._begins.pop(lease, None)  # gone if it was handed back meanwhile
            if then is not None:
                try:
                    then()
                except Exception:
                    logger.exception("a task could not be started")
