"""One sorted set of proxies and the keys beside it: typed calls of its scripts."""

import functools
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from fetcher.redis.call import call
from pool.admission import read_member
from pool.model import (
    UNKNOWN,
    Added,
    Candidate,
    Check,
    Checked,
    Consequence,
    Entered,
    Kind,
    Record,
    Settled,
)
from pool.settings import Pool
from pool.store import scripts
from pool.store.calls import BATCH, batches, to_bytes, to_ms, to_text
from pool.store.cleaning import clean_record

# Removed members stay among the changes for this long after their tomb has closed, so that every
# snapshot has seen them go.
GRACE: Final = 120.0  # seconds

# Tombs of one sorted set: an hour of removals at 200 checks a second is 72,000 at the most.
TOMBS_MAX: Final = 100_000

_RECORD: Final = msgspec.msgpack.Decoder(Record)
_ENCODER: Final = msgspec.msgpack.Encoder()


class Member(msgspec.Struct, frozen=True):
    """A member as Redis has it; `score` None: it is gone. `record` None: it was not asked for."""

    member: str
    score: float | None
    record: Record | None = None


class Version(msgspec.Struct, frozen=True):
    """A point in a set's history; another epoch means that Redis was emptied in between."""

    n: int
    epoch: int


class Changes(msgspec.Struct, frozen=True):
    """What changed, oldest first; `last` is where to go on, `newest` where the end is.

    `outage`: the URL that fails even without a proxy, while that keeps failures from counting.
    """

    members: list[Member]
    last: int
    newest: Version
    outage: str | None = None


class ProxySet:
    """One sorted set of proxies with the keys beside it."""

    def __init__(self, client: Redis, key: str, prefix: str) -> None:
        self.key = key
        self._client = client
        beside = ("due", "tombs", "records", "changes", "version", "charged")
        self._keys = [key, *(f"{prefix}:{{{key}}}:{name}" for name in beside)]
        self._records = self._keys[3]
        self._add = self._script(scripts.ADD)
        self._make_room = self._script(scripts.MAKE_ROOM)
        self._claim = self._script(scripts.CLAIM)
        self._settle = self._script(scripts.SETTLE)
        self._claim_these = self._script(scripts.CLAIM_THESE)
        self._give_back = self._script(scripts.GIVE_BACK)
        self._remove = self._script(scripts.REMOVE)
        self._adopt = self._script(scripts.ADOPT)
        self._clean = self._script(scripts.CLEAN)
        self._forget = self._script(scripts.FORGET)
        self._enter = self._script(scripts.ENTER)
        self._set_outage = self._script(scripts.OUTAGE)
        self._changes = self._script(scripts.CHANGES)

    def _script(self, text: str) -> AsyncScript:
        return self._client.register_script(scripts.COMMON + text)

    async def _run(self, script: AsyncScript, args: Sequence[Any]) -> Any:
        return await call(script(keys=self._keys, args=args))

    async def size(self) -> int:
        return int(await call(self._client.zcard(self.key)))

    async def add(
        self, candidates: Sequence[Candidate], pool: Pool, *, room: int, who: str
    ) -> Added:
        """`room`: members the set may have, -1 for any number. `who` asks: as in the script."""
        args: list[Any] = [pool.score.initial, room, who, pool.score.max, to_ms(pool.tombstone)]
        for one in candidates:
            record = clean_record(one.record)
            args += to_bytes(one.proxy.member), _ENCODER.encode(record)
            args += _whose(record), _spell_source(record.source)
        return Added(*await self._run(self._add, args))

    async def make_room(self, n: int, pool: Pool) -> int:
        """Remove the worst `n` of those that have failed since they came; how many there were."""
        args = [n, pool.score.initial, to_ms(pool.tombstone)]
        return int(await self._run(self._make_room, args))

    async def claim(self, n: int, seconds: float) -> list[Check]:
        return self._checks(await self._run(self._claim, [n, to_ms(seconds)]))

    async def claim_these(self, members: Sequence[str], seconds: float) -> list[Check]:
        args = [to_ms(seconds), *map(to_bytes, members)]
        return self._checks(await self._run(self._claim_these, args))

    def _checks(self, rows: Sequence[Any]) -> list[Check]:
        return [
            Check(
                self.key, to_text(member), read_member(to_text(member)), int(claim), _record(record)
            )
            for member, claim, record in _rows(rows, 3)
        ]

    async def settle(self, batch: Sequence[Checked], pool: Pool) -> Settled:
        args: list[Any] = [pool.score.max, pool.score.min, to_ms(pool.tombstone)]
        for one in batch:
            args += to_bytes(one.check.member), one.check.claim, _spell_end(one.kind)
            args += to_ms(one.delay), _ENCODER.encode(one.record)
        return Settled(*await self._run(self._settle, args))

    async def enter(self, consequences: Sequence[Consequence], pool: Pool) -> Entered:
        args: list[Any] = [pool.score.max, pool.score.min, to_ms(pool.tombstone)]
        args.append(to_ms(pool.check.cycle))
        for one in consequences:
            args += to_bytes(one.proxy.member), one.effect.value, to_ms(one.delay)
        return Entered(*await self._run(self._enter, args))

    async def set_outage(self, url: str, seconds: float) -> None:
        await self._run(self._set_outage, [url, to_ms(seconds)])

    async def give_back(self, checks: Sequence[Check]) -> int:
        args = [value for check in checks for value in (to_bytes(check.member), check.claim)]
        return int(await self._run(self._give_back, args))

    async def remove(self, members: Sequence[str], tombstone: float) -> int:
        return int(await self._run(self._remove, [to_ms(tombstone), *map(to_bytes, members)]))

    async def count_due(self) -> int:
        """Members that a checker would be given now."""
        seconds, micros = await call(self._client.time())
        now = seconds * 1000 + micros // 1000
        return int(await call(self._client.zcount(self._keys[1], "-inf", now)))

    async def adopt(self, members: Sequence[str], spread: float) -> int:
        return int(await self._run(self._adopt, [to_ms(spread), *map(to_bytes, members)]))

    async def clean(self) -> int:
        """Drop old tombs, at most a batch of them; the number dropped."""
        return int(await self._run(self._clean, [to_ms(GRACE), TOMBS_MAX, BATCH]))

    async def forget(self) -> int:
        """Drop what is left of members never due that others removed; how many there were."""
        passed_over = forgotten = 0
        while True:
            looked_at, gone = await self._run(self._forget, [passed_over, BATCH])
            passed_over, forgotten = passed_over + looked_at - gone, forgotten + gone
            if looked_at < BATCH:
                return int(forgotten)

    async def changes(self, last: int, n: int = BATCH) -> Changes:
        """At most `n` of the changes after `last`."""
        newest, epoch, outage, *rows = await self._run(self._changes, [last, n])
        members = []
        for member, change, score, record in _rows(rows, 4):
            last = int(float(change))
            known = float(score) if score else None
            members.append(Member(to_text(member), known, _record(record)))
        return Changes(members, last, Version(int(newest), int(epoch)), to_text(outage) or None)

    async def version(self) -> Version:
        n, epoch = await call(self._client.hmget(self._keys[5], ["n", "epoch"]))
        return Version(int(n or 0), int(epoch or 0))

    async def scan(self, n: int = BATCH) -> AsyncIterator[list[Member]]:
        """All members in pieces of at most `n`, without records; some may come twice."""
        cursor = 0
        while True:
            # Up to 128 short members come at once whatever the count: Redis keeps them as one.
            cursor, rows = await call(self._client.zscan(self.key, cursor, count=n))
            for piece in batches(rows, n):
                yield [Member(to_text(member), score) for member, score in piece]
            if not cursor:
                return

    async def scores(self, members: Sequence[str]) -> list[float | None]:
        """None for those that are not there."""
        if not members:
            return []
        names: list[Any] = [to_bytes(member) for member in members]
        return list(await call(self._client.zmscore(self.key, names)))

    async def records(self, members: Sequence[str]) -> list[Record]:
        if not members:
            return []
        names = [to_bytes(member) for member in members]
        return [_record(raw) for raw in await call(self._client.hmget(self._records, names))]


def _spell_end(kind: Kind) -> str:
    if not kind.counts:
        return "none"
    return "pass" if kind is Kind.PASSED else "fail"


def _whose(record: Record) -> str:
    if record.never_check:
        return "never"
    return "own" if record.own else ""


@functools.lru_cache(maxsize=256)
def _spell_source(name: str) -> bytes:
    """The field of a record that names its source, as it is packed; nothing without a source."""
    return _ENCODER.encode("source") + _ENCODER.encode(name) if name else b""


def _record(raw: bytes | None) -> Record:
    if not raw:
        return UNKNOWN
    try:
        return clean_record(_RECORD.decode(raw))
    except msgspec.MsgspecError:  # written by a later version: the score still counts
        return UNKNOWN


def _rows(flat: Sequence[Any], width: int) -> Iterator[Sequence[Any]]:
    return (flat[i : i + width] for i in range(0, len(flat), width))
