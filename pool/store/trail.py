"""How far one reader has followed the changes of a set."""

from collections.abc import Awaitable, Callable

from pool.store.calls import BATCH
from pool.store.proxy_set import Changes, ProxySet, Version


class Trail:
    """Follows one set. Whoever reads everything calls `mark` before, and `follow` from then on.

    `piece`: changes that are handed over at once.
    """

    def __init__(self, one: ProxySet, piece: int = BATCH) -> None:
        self.set = one
        self._piece = piece
        self._known: Version | None = None  # until there all changes have been handed over

    @property
    def is_marked(self) -> bool:
        return self._known is not None

    async def mark(self) -> None:
        """Go on from here: what was changed before is read by other means."""
        self._known = await self.set.version()

    def forget(self) -> None:
        """Nobody knows any more where to go on."""
        self._known = None

    async def follow(self, take: Callable[[Changes], Awaitable[None]]) -> bool:
        """Hand over all changes since, oldest first, at least one piece, be it empty.

        False: Redis has lost what it had, or there is no mark, and everything is to be read anew.
        What `take` raises ends it, and its piece comes again.
        """
        while self._known is not None:
            known = self._known
            changes = await self.set.changes(known.n, self._piece)
            newest = changes.newest
            if newest.epoch != known.epoch or newest.n < known.n:
                self._known = None
                return False
            await take(changes)
            if len(changes.members) < self._piece:
                self._known = newest
                return True
            self._known = Version(changes.last, newest.epoch)
        return False
