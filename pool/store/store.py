"""The proxies of one site: its two sorted sets as one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from redis.asyncio import Redis

from pool.model import Added, Candidate, Check, Checked, Consequence, Entered, Record, Settled
from pool.settings import Pool
from pool.sites import site_key
from pool.store.calls import BATCH, batches
from pool.store.proxy_set import ProxySet

T = TypeVar("T")


class Store:
    """The proxies of one site, whatever their scheme. Its methods raise RedisAway.

    Sequences of any length are taken; each call to Redis carries at most 1,000 of them. `key`
    names the site's first sorted set; None: the universal one, as in the settings.
    """

    def __init__(
        self, client: Redis, pool: Pool, prefix: str = "fetchpool", key: str | None = None
    ) -> None:
        self._pool = pool
        self.http = ProxySet(client, key or pool.key, prefix)
        self.others = ProxySet(client, f"{key or pool.key}:socks", prefix)
        self.sets = (self.http, self.others)
        self._first = 0

    def _split(
        self, items: Iterable[T], key: Callable[[T], str]
    ) -> Iterator[tuple[ProxySet, list[T]]]:
        """The items by the key of their set, in batches."""
        by_key: dict[str, list[T]] = {one.key: [] for one in self.sets}
        for item in items:
            by_key[key(item)].append(item)
        for one in self.sets:
            for batch in batches(by_key[one.key]):
                yield one, batch

    def _key(self, item: Candidate | Consequence) -> str:
        return (self.http if item.proxy.scheme == "http" else self.others).key

    async def add(
        self,
        candidates: Iterable[Candidate],
        *,
        operator: bool = False,
        caller: bool = False,
    ) -> Added:
        """Put in those that are not there, at the initial score and due at once; those that are
        never to be checked with the maximum, and never due.

        Those that are there keep score and record, but for what the operator says of his own: that
        they are his, from where, and whether they are checked; and who is found there from another
        source than this one is marked as shared. Callers are no source. Recently removed ones are
        refused, unless somebody asks for them: the operator by his settings, or a caller. Beyond
        `max_size` a newcomer takes the place of the worst proxy that has failed since it came, in
        its own set or else in the other; the operator's own need no room and are never replaced.
        """
        who = "operator" if operator else "caller" if caller else ""
        added = Added()
        for one, batch in self._split(candidates, self._key):
            other = self.others if one is self.http else self.http
            result = await self._add(one, other, batch, who)
            if result.full and await other.make_room(result.full, self._pool):
                again = await self._add(one, other, batch, who)
                result = Added(result.new + again.new, again.buried, again.full)
            added += result
        return added

    async def _add(
        self, one: ProxySet, other: ProxySet, batch: Sequence[Candidate], who: str
    ) -> Added:
        room = -1
        if self._pool.max_size:
            room = max(self._pool.max_size - await other.size(), 0)
        return await one.add(batch, self._pool, room=room, who=who)

    async def claim(self, n: int, seconds: float) -> list[Check]:
        """At most `n` members (and no more than 1,000) that are due, oldest first within a set.

        They are this process's for `seconds`; after that others may claim them.
        """
        n = min(n, BATCH)
        if n <= 0:
            return []
        self._first = 1 - self._first  # neither set starves the other
        first, second = self.sets[self._first], self.sets[1 - self._first]
        claimed = await first.claim((n + 1) // 2, seconds)
        if len(claimed) < n:
            claimed += await second.claim(n - len(claimed), seconds)
        if (n + 1) // 2 <= len(claimed) < n:
            claimed += await first.claim(n - len(claimed), seconds)
        return claimed

    async def count_due(self) -> int:
        """Members that are due and not claimed, at this moment."""
        return sum([await one.count_due() for one in self.sets])

    async def claim_these(self, members: Sequence[str], seconds: float) -> list[Check]:
        """Those of `members` that are there, due or not, for a check now; never those that are not
        to be checked."""
        claimed = []
        for one in self.sets:
            for part in batches(members):
                claimed += await one.claim_these(part, seconds)
        return claimed

    async def settle(self, batch: Iterable[Checked]) -> Settled:
        """Enter what checks proved. May be repeated: what was entered before is void."""
        kept = removed = void = 0
        for one, part in self._split(batch, lambda checked: checked.check.key):
            result = await one.settle(part, self._pool)
            kept, removed = kept + result.kept, removed + result.removed
            void += result.void
        return Settled(kept, removed, void)

    async def give_back(self, checks: Iterable[Check]) -> int:
        """Claims that are not carried out: the members are due at once."""
        parts = self._split(checks, lambda check: check.key)
        return sum([await one.give_back(part) for one, part in parts])

    async def remove(self, members: Sequence[str], tombstone: float | None = None) -> int:
        """Remove, with a tomb, so that no harvest brings them back soon; how many were there.

        `tombstone`: for how many seconds; None: as long as the settings say.
        """
        closes = self._pool.tombstone if tombstone is None else tombstone
        removed = 0
        for one in self.sets:  # whatever their spelling: others write too
            for part in batches(members):
                removed += await one.remove(part, closes)
        return removed

    async def find(self, accept: Callable[[Record], bool]) -> set[str]:
        """The members whose records `accept` takes."""
        found = set[str]()
        for one in self.sets:
            async for members in one.scan():
                names = [member.member for member in members]
                known = zip(names, await one.records(names), strict=True)
                found.update(name for name, record in known if accept(record))
        return found

    async def enter(self, consequences: Iterable[Consequence]) -> Entered:
        """Enter what traffic showed. A proxy that is not there stays away."""
        entered = Entered()
        for one, part in self._split(consequences, self._key):
            entered += await one.enter(part, self._pool)
        return entered

    async def begin_outage(self, url: str, seconds: float) -> None:
        """No traffic costs a proxy anything for so long: `url` fails without any proxy too."""
        for one in self.sets:
            await one.set_outage(url, seconds)

    async def end_outage(self) -> None:
        for one in self.sets:
            await one.set_outage("", 0.0)

    async def adopt(self) -> int:
        """Give a due time to members that others wrote, an old ProxyPool database among them."""
        adopted = 0
        for one in self.sets:
            async for members in one.scan():
                names = [member.member for member in members]
                adopted += await one.adopt(names, self._pool.check.cycle)
        return adopted

    async def clean(self) -> int:
        """Forget removals that everybody has seen and that bind nobody any more, and what others
        removed of those that are never due."""
        dropped = 0
        for one in self.sets:
            while part := await one.clean():
                dropped += part
            dropped += await one.forget()
        return dropped


async def remove_everywhere(stores: Sequence[Store], members: Sequence[str]) -> int:
    """From all sites, universal's store first; how many universal held. Raises RedisAway.

    Who was not in universal is led out of the other sites without us.
    """
    universal, *others = stores
    removed = await universal.remove(members) if members else 0
    for store in others if removed else ():
        await store.remove(members)
    return removed


def build_stores(client: Redis, pool: Pool, prefix: str = "fetchpool") -> dict[str, Store]:
    """The stores of all sites by name."""
    return {name: Store(client, pool, prefix, key=site_key(pool, name)) for name in pool.sites}
