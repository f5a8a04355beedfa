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
# Seconds to the next heartbeat after one that failed: who lives says so as soon as it can again.
_SOON: Final = 1.0


class Arrivals:
    """Wakes the loop when a message arrives on an empty list, within a millisecond."""

    def __init__(self, lane: QueueLane, wake: Callable[[], None]) -> None:
        self._lane = lane
        self._wake = wake

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._lane.empty.wait()
            await asyncio.sleep(0)  # what was taken is sent first: to ask Redis takes 0.2 ms
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
        self._failed = False  # the last beat
        self._quiet_until = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        every = self._queue.settings.lease / 4
        while True:
            pause = every
            try:
                await self.beat(asyncio.get_running_loop().time())
            except RedisAway as error:
                logger.debug("no heartbeat: %s", error)
                pause = min(every, _SOON)
            await asyncio.sleep(pause)

    async def beat(self, now: float) -> None:
        """Renew, then recover; `now` in seconds of any steady clock.

        After a start or fail-over of Redis, and after any outage in which it took no writes, the
        living have yet to renew: nothing is taken over until one lease has passed.
        """
        lease = self._queue.settings.lease
        try:
            await self._queue.renew()
            served = await self._queue.served_for()
        except RedisAway:
            self._failed = True
            raise
        if self._failed:
            self._failed = False
            self._quiet_until = now + lease
        if now < self._quiet_until or served < lease:
            return
        while taken_over := await self._queue.recover():
            logger.warning("took over from %s: %d tasks go back to the head", *taken_over)
