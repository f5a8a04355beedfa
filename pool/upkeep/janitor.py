"""Takes in what others wrote into the pool, and forgets what binds nobody any more."""

import logging

from pool.rounds import Rounds
from pool.store import Store

logger = logging.getLogger(__name__)


class Janitor:
    """Every `seconds`; several of them on one pool do no harm."""

    def __init__(self, store: Store, seconds: float) -> None:
        self._store = store
        self._rounds = Rounds("looking for members of other writers", self.step, seconds)

    async def step(self) -> None:
        adopted = await self._store.adopt()
        if adopted:
            logger.info("took over %d proxies that others put into the pool", adopted)
        await self._store.clean()

    async def run(self) -> None:
        await self._rounds.run()

    def stop(self) -> None:
        self._rounds.stop()
