"""Sub-pools that others fill: sorted sets `proxies:NAME` without a site of ours by that name.

They are served as they stand and checked by nobody. Read when somebody asks, and again after a
while: a snapshot for each, of which there are few.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from fetcher.errors import ProxyError
from fetcher.proxy import parse_proxy
from pool.model import Entry
from pool.settings import Score
from pool.snapshot.snapshot import Snapshot

TTL: Final = 1.0  # seconds: as soon as our own writes are seen by all
MOST: Final = 100  # sub-pools that are remembered; whoever asks for more names has them read anew

_PORT: Final = re.compile(r":[0-9]+/?\s*\Z")

Read = Callable[[str], Awaitable[Sequence[tuple[str, float]]]]


class _Kept(msgspec.Struct, frozen=True):
    pool: Snapshot
    until: float


class ForeignPools:
    """`read` gives the members and scores of a sorted set; `scale` is the pool's own."""

    def __init__(
        self, read: Read, scale: Score, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._scale = scale
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def find(self, key: str) -> Snapshot:
        """The sub-pool in the sorted set `key`, empty if there is none. Raises RedisAway.

        What is no proxy is left out.
        """
        kept = self._kept.get(key)
        if kept is None or kept.until <= self._clock():
            kept = _Kept(self._fill(await self._read(key)), self._clock() + TTL)
            self._kept[key] = kept
            if len(self._kept) > MOST:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return kept.pool

    def _fill(self, rows: Sequence[tuple[str, float]]) -> Snapshot:
        pool = Snapshot(self._scale)
        for member, score in rows:
            try:
                proxy = parse_proxy(member.strip())
            except ProxyError:
                continue
            if not _PORT.search(member):
                continue  # a word, which `parse_proxy` would give its default port
            pool.put(Entry(proxy.member, proxy, score))
        return pool
