"""The two duties that keep a queue alive beside its lane.

`Arrivals` wakes the loop when a message comes to an empty queue; `Heartbeat` renews our leases and
takes over dead workers'.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from fetcher.errors import RedisAway
from fetcher.queue.lane import QueueLane
from fetcher.queue.transport import Transport

logger = logging.getLogger(__name__)

# Seconds one blocking wait lasts, so that a dead connection is noticed.
_WAIT: Final = 5.0


class Arrivals:
    """Wakes the loop when a message arrives on an empty list, within a millisecond."""

    def __init__(self, lane: QueueLane, wake: Callable[[], None]) -> None:
        self._lane = lane
        self._wake = wake

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._lane.empty.wait()
            try:
                arrived = await self._lane.queue.wait_for_arrival(_WAIT)
            except RedisAway:  # the lane itself says so, and when it is over
                await asyncio.sleep(1)
                continue
            if arrived:
                self._lane.empty.clear()
                self._wake()


class Heartbeat:
    """Renews this worker's leases, and takes over those of workers that have died."""

    def __init__(self, queue: Transport) -> None:
        self._queue = queue
        self._server: tuple[str, float] | None = None  # run id, since when we know it

    async def run(self) -> None:
        """Until cancelled."""
        every = self._queue.settings.lease / 4
        while True:
            try:
                await self.beat(asyncio.get_running_loop().time())
            except RedisAway as error:
                logger.debug("no heartbeat: %s", error)
            await asyncio.sleep(every)

    async def beat(self, now: float) -> None:
        """Renew, then recover; `now` in seconds of any steady clock.

        After a start or fail-over of Redis nobody has been able to renew, so nothing is taken
        over until one lease has passed since we first saw this server.
        """
        await self._queue.renew()
        run_id = await self._queue.run_id()
        if self._server is None or self._server[0] != run_id:
            self._server = (run_id, now)
        if now - self._server[1] < self._queue.settings.lease:
            return
        while taken_over := await self._queue.recover():
            logger.warning("took over from %s: %d tasks go back to the head", *taken_over)
