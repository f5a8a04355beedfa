"""HandOver: stores outcomes, and finds the one that cannot be stored, so that the others go out.

Redis takes no argument above 512 MB and closes the connection on one, so nobody can tell from the
error alone whose fault it is. A batch that fails twice although Redis answers is halved until the
culprit stands alone; that one is stored in a smaller form. If no form can be stored either, the
fault is not the message's, and all of it is tried again later.
"""

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
)

from fetcher.errors import RedisAway
from fetcher.queue.transport import BATCH_BYTES, BATCH_COUNT, Finished, Transport

logger = logging.getLogger(__name__)

# What is wrong with the server or a list, whatever the message is.
_OF_THE_SERVER: Final = (
    AuthenticationError, BusyLoadingError, NoPermissionError, OutOfMemoryError, ReadOnlyError,
)  # fmt: skip
# The same from within a script of Redis 6.2.
_CODES: Final = re.compile(
    r"\b(OOM|READONLY|LOADING|MISCONF|NOREPLICAS|MASTERDOWN|CLUSTERDOWN|NOPERM|WRONGTYPE|BUSY)\b"
)

Smaller = Callable[[Finished, RedisAway], Iterable[Finished]]
"""Forms of an outcome that could not be stored, ever smaller."""


class HandOver:
    """Of one lane: one batch at a time."""

    def __init__(self, queue: Transport, smaller: Smaller) -> None:
        self._queue = queue
        self._smaller = smaller
        self._stored: set[bytes] = set()  # of a batch that failed in the middle
        self._has_failed = False  # the last one, this being its repetition
        self.replaced: list[Finished] = []  # of the last batch, in the form in which it was stored

    async def finish(self, batch: Sequence[Finished]) -> list[bytes]:
        """Store all of it; the leases we no longer held. Raises `RedisAway`: then repeat it all."""
        if not self._has_failed:
            self.replaced = []
        lost: list[bytes] = []
        if self._stored:
            batch = [item for item in batch if item.id not in self._stored]
        for part in cut(batch):
            lost += await self._store(part)
            if len(part) < len(batch):
                self._stored.update([item.id for item in part])
        self._stored.clear()
        self._has_failed = False
        return lost

    async def _store(self, part: Sequence[Finished]) -> Sequence[bytes]:
        try:
            lost = await self._queue.finish(part)
        except RedisAway as error:
            repeated, self._has_failed = self._has_failed, True
            if not repeated or _is_of_the_server(error) or not await self._queue.answers():
                raise
            logger.warning("%d outcomes cannot be stored together: %s", len(part), error)
            return await self._store_apart(part)
        return lost

    async def _store_apart(self, part: Sequence[Finished]) -> Sequence[bytes]:
        if len(part) == 1:
            return await self._store_smaller(part[0])
        half, lost = len(part) // 2, list[bytes]()
        for some in (part[:half], part[half:]):
            lost += await self._store(some)
            self._stored.update([item.id for item in some])
        return lost

    async def _store_smaller(self, item: Finished) -> Sequence[bytes]:
        try:
            return await self._queue.finish([item])  # the connection may have broken by chance
        except RedisAway as error:
            failure = error
        for form in self._smaller(item, failure):
            if _is_of_the_server(failure):
                break
            try:
                lost = await self._queue.finish([form])
            except RedisAway as error:
                failure = error
                continue
            self._stored.add(item.id)
            self.replaced.append(form)
            return lost
        raise failure


def cut(batch: Sequence[Finished]) -> Sequence[Sequence[Finished]]:
    """Parts of at most `BATCH_COUNT` outcomes and `BATCH_BYTES`; a longer one stands alone."""
    sizes = [len(item.result or b"") for item in batch]
    if 0 < len(batch) <= BATCH_COUNT and sum(sizes) <= BATCH_BYTES:  # nearly always
        return [batch]
    parts: list[list[Finished]] = []
    together = 0
    for item, size in zip(batch, sizes, strict=True):
        together += size
        if not parts or together > BATCH_BYTES or len(parts[-1]) == BATCH_COUNT:
            parts.append([])
            together = size
        parts[-1].append(item)
    return parts


def _is_of_the_server(error: RedisAway) -> bool:
    cause = error.__cause__
    return isinstance(cause, _OF_THE_SERVER) or _CODES.search(str(cause)) is not None
