"""What the lane asks of a queue: leases, outcomes, and who else holds what.

A transport keeps a message in one of three places: where it waits, under one worker's lease, or
where its outcome is. Every call may be repeated after `RedisAway`. Its tests hold every transport
to what is said here.
"""

from collections.abc import Collection, Sequence
from typing import Final, Protocol

import msgspec

from fetcher.settings import Queue

# In one call: cut by size as well as by count, so that neither side ever stands still for one huge
# batch.
BATCH_BYTES: Final = 200_000
BATCH_COUNT: Final = 1000  # more than 3,999 lease fields overflow Lua's stack


class Lease(msgspec.Struct, frozen=True):
    """A message that this worker holds. What `id` is made of is the transport's business."""

    id: bytes
    message: bytes
    deliveries: int = 1  # this one counted; before it, those whose lease ran out after their start
    waits: bool = False  # it has not begun until `begin` says so; others begin by being taken


class Finished(msgspec.Struct, frozen=True):
    """What becomes of a leased message: a result, the dead list, or both; or, with neither, it goes
    back to the head."""

    id: bytes
    result: bytes | memoryview | None = None  # for the out queue
    reason: str | None = None  # for which the message goes to the dead list, as it is


class Transport(Protocol):
    """The queue of one worker. Raises `RedisAway`."""

    settings: Queue
    worker: str

    async def take(self, room: int) -> Sequence[Lease] | None:
        """Up to `room` messages under lease, none when there are none, None when out is full."""

    async def finish(self, batch: Sequence[Finished]) -> Sequence[bytes]:
        """Store at most `BATCH_COUNT` outcomes and drop their leases in one step; the leases we no
        longer held."""

    async def wait(self, ids: Collection[bytes]) -> None:
        """Their transfers have not begun, although they were taken."""

    async def begin(self, ids: Collection[bytes]) -> None:
        """From here on it counts when these leases run out."""

    async def give_back(self, ids: Collection[bytes]) -> int:
        """Return messages to the head in their old order; how many went."""

    async def give_back_unknown(self, known: Collection[bytes]) -> int:
        """Return what is leased to us beyond `known`: taken by a call whose answer was lost."""

    async def renew(self) -> bool:
        """Keep all our leases for another while; False when there are none (any more)."""

    async def recover(self) -> tuple[str, int] | None:
        """Take over from a dead worker, or go on with that: its name and how many tasks went back.

        None if there is no dead one.
        """

    async def retire(self) -> int:
        """Return all that we hold and be forgotten; how many tasks went back."""

    async def served_for(self) -> float:
        """Seconds since the server was started, or took the place of another in a fail-over; all
        workers are told the same, however young they are."""

    async def answers(self) -> bool:
        """Whether the server answers at all."""

    async def wait_for_arrival(self, seconds: float) -> bool:
        """Wait until there is something to take; False when `seconds` have passed."""
