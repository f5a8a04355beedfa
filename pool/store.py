"""The pool in Redis: the one place that knows its keys and scripts.

A site's proxies lie in two sorted sets, ProxyPool's own (`proxies:universal`, `proxies:SITE`;
HTTP proxies as `[user:pass@]host:port`) and one for all other schemes (`proxies:universal:socks`,
URLs). Beside each sorted set KEY lie, under our prefix and with KEY as hash tag, so that one
script may touch them on a Cluster:

    PREFIX:{KEY}:due       sorted set  member -> when its next check is due: an even number. A claim
                                       moves it on, to an odd one; +inf: never
    PREFIX:{KEY}:tombs     sorted set  removed member -> until when it may not be added again
    PREFIX:{KEY}:records   hash        member -> Record (MessagePack)
    PREFIX:{KEY}:changes   sorted set  member -> number of its last change; removed ones too
    PREFIX:{KEY}:version   hash        n: number of the last change, epoch: when the first one was;
                                       frozen: the URL that fails without any proxy, until: when
    PREFIX:{KEY}:charged   sorted set  member -> until when traffic costs it nothing more

and for all sites together `PREFIX:sources`, a hash of source name -> SourceAccount,
`PREFIX:source:NAME`, which exists while NAME need not be harvested again (empty, or the version of
a declaration that is paused), and `PREFIX:validators:NAME`, those of NAME's pages; `PREFIX:judge`,
the secret of our judges, and `PREFIX:check-bytes:DAY`, what checks have used. Times are
milliseconds on Redis's own clock, as checkers run on many machines. Every update asks first whether
the member is still there: nothing revives a proxy that was removed.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

import msgspec
from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from fetcher.errors import FetchpoolError, ProxyError
from fetcher.proxy import Proxy, parse_proxy
from pool.model import (
    UNKNOWN,
    Added,
    Candidate,
    Check,
    Checked,
    Entered,
    Found,
    Kind,
    Record,
    Settled,
    SourceAccount,
    Validators,
)
from pool.settings import Pool
from pool.sites import site_key

BATCH: Final = 1000  # items of one call: a script of that size blocks Redis for about 2 ms

# Removed members stay among the changes for this long after their tomb has closed, so that every
# snapshot has seen them go.
GRACE: Final = 120.0  # seconds

# Tombs of one sorted set: an hour of removals at 200 checks a second is 72,000 at the most.
TOMBS_MAX: Final = 100_000

_TWO_DAYS: Final = 172_800  # seconds: checkers' clocks and midnights may differ

# What all scripts of a sorted set share.
# KEYS: the sorted set, due, tombs, records, changes, version, charged.
_COMMON: Final = """
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local now = clock()
local function changed(member)
  local n = redis.call('HINCRBY', KEYS[6], 'n', 1)
  if n == 1 then redis.call('HSET', KEYS[6], 'epoch', now) end
  redis.call('ZADD', KEYS[5], n, member)
end
local function even(time) return string.format('%d', time - time % 2) end
local function odd(time) return string.format('%d', time - (time + 1) % 2) end
local function frozen()
  local seen = redis.call('HMGET', KEYS[6], 'frozen', 'until')
  return seen[1] and tonumber(seen[2] or 0) > now and seen[1] or ''
end
local function bury(member, closes)
  redis.call('ZREM', KEYS[1], member)
  redis.call('ZREM', KEYS[2], member)
  redis.call('HDEL', KEYS[4], member)
  redis.call('ZADD', KEYS[3], closes, member)
  changed(member)
end
local function lower(member, score, max, min, tomb)
  if math.min(score, max) - 1 <= min then
    bury(member, now + tomb)
    return false
  elseif score > max then
    redis.call('ZADD', KEYS[1], 'XX', max - 1, member)
  else
    redis.call('ZINCRBY', KEYS[1], -1, member)
  end
  return true
end
local function is_own(member)
  local read, record = pcall(cmsgpack.unpack, redis.call('HGET', KEYS[4], member) or '')
  return read and type(record) == 'table' and record.own == true
end
local spared = 0
local function make_room(initial, tomb)
  while spared < 1000 do
    local worst = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. initial, 'LIMIT', spared, 1)
    if #worst == 0 then return false end
    if not is_own(worst[1]) then
      bury(worst[1], now + tomb)
      return true
    end
    spared = spared + 1
  end
  return false
end
"""

# ARGV: initial score, members the set may have (-1: any number), who asks ("operator": no tomb and
# no limit counts, "caller": no tomb), maximum, milliseconds of a tomb, then member, record, "1" if
# it is never to be checked (it counts as good, then, and is due never) in turn.
# A full set makes room for a newcomer by the worst of those that have failed since they came, but
# never by the operator's own.
# Returns {added, refused by their tombs, refused for want of room}.
_ADD: Final = """
local initial, room, max = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[4]
local operator = ARGV[3] == 'operator'
local size = redis.call('ZCARD', KEYS[1])
local new, buried, full = 0, 0, 0
local function has_room()
  if room < 0 or operator or size < room then return true end
  if not make_room(initial, ARGV[5]) then return false end
  size = size - 1
  return true
end
for i = 6, #ARGV, 3 do
  local member, never = ARGV[i], ARGV[i + 2] == '1'
  local score = redis.call('ZSCORE', KEYS[1], member)
  if not score then
    local tomb = redis.call('ZSCORE', KEYS[3], member)
    if tomb and tonumber(tomb) > now and ARGV[3] == '' then
      buried = buried + 1
    elseif not has_room() then
      full = full + 1
    else
      redis.call('ZADD', KEYS[1], never and max or initial, member)
      redis.call('ZADD', KEYS[2], never and '+inf' or now, member)
      redis.call('HSET', KEYS[4], member, ARGV[i + 1])
      redis.call('ZREM', KEYS[3], member)
      changed(member)
      new, size = new + 1, size + 1
    end
  elseif operator then
    local spared = redis.call('ZSCORE', KEYS[2], member) == 'inf'
    if never and not (spared and tonumber(score) == tonumber(max)) then
      redis.call('ZADD', KEYS[1], max, member)
      redis.call('ZADD', KEYS[2], '+inf', member)
      redis.call('HSET', KEYS[4], member, ARGV[i + 1])
      changed(member)
    elseif spared and not never then
      redis.call('ZADD', KEYS[2], now, member)
      redis.call('HSET', KEYS[4], member, ARGV[i + 1])
      changed(member)
    end
  end
end
return {new, buried, full}
"""

# ARGV: how many to remove at the most, initial score, milliseconds of a tomb. The worst of those
# that have failed since they came, but never the operator's own. Returns how many.
_MAKE_ROOM: Final = """
local freed = 0
while freed < tonumber(ARGV[1]) and make_room(ARGV[2], ARGV[3]) do freed = freed + 1 end
return freed
"""

# ARGV: how many, milliseconds that a claim holds.
# Returns member, claim, record ('' if none) in turn. Members that others removed are forgotten.
_CLAIM: Final = """
local claimed = {}
local claim = odd(now + ARGV[2])
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, member in ipairs(due) do
  if redis.call('ZSCORE', KEYS[1], member) then
    redis.call('ZADD', KEYS[2], claim, member)
    claimed[#claimed + 1] = member
    claimed[#claimed + 1] = claim
    claimed[#claimed + 1] = redis.call('HGET', KEYS[4], member) or ''
  else
    bury(member, now)
  end
end
return claimed
"""

# ARGV: milliseconds that a claim holds, then members. Returns as the script above: those that are
# there, whoever has claimed them, but for those that are never to be checked.
_CLAIM_THESE: Final = """
local claimed = {}
local claim = odd(now + ARGV[1])
for i = 2, #ARGV do
  local member = ARGV[i]
  if redis.call('ZSCORE', KEYS[1], member) and redis.call('ZSCORE', KEYS[2], member) ~= 'inf' then
    redis.call('ZADD', KEYS[2], claim, member)
    claimed[#claimed + 1] = member
    claimed[#claimed + 1] = claim
    claimed[#claimed + 1] = redis.call('HGET', KEYS[4], member) or ''
  end
end
return claimed
"""

# ARGV: maximum, minimum, milliseconds of a tomb, then member, claim, verdict (pass, fail or none),
# milliseconds until the next check, record in turn.
# Returns {kept, removed, void}. `score.next_score` states the rule.
_SETTLE: Final = """
local max, min = tonumber(ARGV[1]), tonumber(ARGV[2])
local kept, removed, void = 0, 0, 0
for i = 4, #ARGV, 5 do
  local member, verdict = ARGV[i], ARGV[i + 2]
  local score = redis.call('ZSCORE', KEYS[1], member)
  local claim = redis.call('ZSCORE', KEYS[2], member)
  if not score or not claim or tonumber(claim) ~= tonumber(ARGV[i + 1]) then
    void = void + 1
  elseif verdict == 'fail' and not lower(member, tonumber(score), max, min, ARGV[3]) then
    removed = removed + 1
  else
    if verdict == 'pass' then redis.call('ZADD', KEYS[1], 'XX', max, member) end
    redis.call('ZADD', KEYS[2], 'XX', even(now + ARGV[i + 3]), member)
    if verdict ~= 'none' then
      redis.call('HSET', KEYS[4], member, ARGV[i + 4])
      changed(member)
    end
    kept = kept + 1
  end
end
return {kept, removed, void}
"""

# ARGV: member, claim in turn. They are due at once. Returns how many.
_GIVE_BACK: Final = """
local given = 0
for i = 1, #ARGV, 2 do
  local claim = redis.call('ZSCORE', KEYS[2], ARGV[i])
  if claim and tonumber(claim) == tonumber(ARGV[i + 1]) then
    redis.call('ZADD', KEYS[2], now, ARGV[i])
    given = given + 1
  end
end
return given
"""

# ARGV: milliseconds of a tomb, then members. Returns how many there were.
_REMOVE: Final = """
local removed = 0
for i = 2, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    bury(ARGV[i], now + ARGV[1])
    removed = removed + 1
  end
end
return removed
"""

# ARGV: milliseconds over which the first checks are spread, then members. Those which others wrote
# get a due time, whatever our tombs say. Returns how many.
_ADOPT: Final = """
local adopted = 0
for i = 2, #ARGV do
  local member = ARGV[i]
  if redis.call('ZSCORE', KEYS[1], member) and not redis.call('ZSCORE', KEYS[2], member) then
    local delay = math.floor(ARGV[1] * (i - 2) / (#ARGV - 1))
    redis.call('ZADD', KEYS[2], even(now + delay), member)
    redis.call('ZREM', KEYS[3], member)
    changed(member)
    adopted = adopted + 1
  end
end
return adopted
"""

# ARGV: maximum, minimum, milliseconds of a tomb, milliseconds in which a member loses one point at
# the most, then member, what becomes of its score (lift, point or none), milliseconds by which its
# next check may be put off, in turn. While the set is frozen nobody loses anything, nor does who is
# never checked, as nothing would lift it again; a check that somebody has claimed is not put off,
# as that would make it void.
# Returns {lifted, lowered, removed}.
_ENTER: Final = """
local max, min, tomb, pause = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local lifted, lowered, removed = 0, 0, 0
local immune = frozen() ~= ''
redis.call('ZREMRANGEBYSCORE', KEYS[7], '-inf', now)
for i = 5, #ARGV, 3 do
  local member, becomes, delay = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local score = tonumber(redis.call('ZSCORE', KEYS[1], member) or nil)
  local due = tonumber(redis.call('ZSCORE', KEYS[2], member) or nil)
  if score and becomes == 'lift' and score < max then
    redis.call('ZADD', KEYS[1], 'XX', max, member)
    changed(member)
    lifted = lifted + 1
  elseif score and becomes == 'point' and not immune and due ~= math.huge
      and redis.call('ZADD', KEYS[7], 'NX', now + pause, member) == 1 then
    if lower(member, score, max, min, tomb) then
      changed(member)
      lowered = lowered + 1
    else
      removed = removed + 1
    end
  end
  due = tonumber(redis.call('ZSCORE', KEYS[2], member) or nil)
  if due and delay > 0 and due < now + delay and (due <= now or due % 2 == 0) then
    redis.call('ZADD', KEYS[2], 'XX', even(now + delay), member)
  end
end
if redis.call('EXISTS', KEYS[7]) == 1 then
  redis.call('PEXPIRE', KEYS[7], math.max(pause, 1))
end
return {lifted, lowered, removed}
"""

# ARGV: a URL, milliseconds for which the set is frozen on its account; '' and 0 thaw it.
_FREEZE: Final = """
if ARGV[1] == '' then
  redis.call('HDEL', KEYS[6], 'frozen', 'until')
else
  redis.call('HSET', KEYS[6], 'frozen', ARGV[1], 'until', now + ARGV[2])
end
"""

# ARGV: milliseconds of grace, tombs at most, how many to look at.
# Drops tombs that closed longer ago, and the oldest above the number. Returns how many.
_CLEAN: Final = """
local old = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now - ARGV[1], 'LIMIT', 0, ARGV[3])
if #old == 0 then
  local excess = math.min(redis.call('ZCARD', KEYS[3]) - ARGV[2], ARGV[3])
  if excess > 0 then old = redis.call('ZRANGE', KEYS[3], 0, excess - 1) end
end
for _, member in ipairs(old) do
  redis.call('ZREM', KEYS[3], member)
  if not redis.call('ZSCORE', KEYS[1], member) then redis.call('ZREM', KEYS[5], member) end
end
return #old
"""

# ARGV: the last change known, how many.
# Returns the number of the newest change, its epoch, the URL that has frozen the set ('' if none),
# then member, its change, score and record ('' if it is gone, or has none) in turn, oldest change
# first.
_CHANGES: Final = """
local version = redis.call('HMGET', KEYS[6], 'n', 'epoch')
local seen = {version[1] or '0', version[2] or '0', frozen()}
if seen[1] == ARGV[1] then return seen end
local list = redis.call('ZRANGEBYSCORE', KEYS[5], '(' .. ARGV[1], '+inf', 'WITHSCORES',
                        'LIMIT', 0, ARGV[2])
for i = 1, #list, 2 do
  seen[#seen + 1] = list[i]
  seen[#seen + 1] = list[i + 1]
  seen[#seen + 1] = redis.call('ZSCORE', KEYS[1], list[i]) or ''
  seen[#seen + 1] = redis.call('HGET', KEYS[4], list[i]) or ''
end
return seen
"""

_RECORD: Final = msgspec.msgpack.Decoder(Record)
_ACCOUNT: Final = msgspec.msgpack.Decoder(SourceAccount)
_VALIDATORS: Final = msgspec.msgpack.Decoder(dict[str, Validators])
_ENCODER: Final = msgspec.msgpack.Encoder()

T = TypeVar("T")


class StoreAway(FetchpoolError):
    """Redis did not answer, or not in time; whether it did what was asked is not known."""


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

    `frozen`: the URL that fails even without a proxy, while it keeps verdicts from counting.
    """

    members: list[Member]
    last: int
    newest: Version
    frozen: str | None = None


class ProxySet:
    """One sorted set of proxies with the keys beside it."""

    def __init__(self, client: Redis, key: str, prefix: str) -> None:
        self.key = key
        self._client = client
        beside = ("due", "tombs", "records", "changes", "version", "charged")
        self._keys = [key, *(f"{prefix}:{{{key}}}:{name}" for name in beside)]
        self._records = self._keys[3]
        self._add = self._script(_ADD)
        self._make_room = self._script(_MAKE_ROOM)
        self._claim = self._script(_CLAIM)
        self._settle = self._script(_SETTLE)
        self._claim_these = self._script(_CLAIM_THESE)
        self._give_back = self._script(_GIVE_BACK)
        self._remove = self._script(_REMOVE)
        self._adopt = self._script(_ADOPT)
        self._clean = self._script(_CLEAN)
        self._enter = self._script(_ENTER)
        self._freeze = self._script(_FREEZE)
        self._changes = self._script(_CHANGES)

    def _script(self, text: str) -> AsyncScript:
        return self._client.register_script(_COMMON + text)

    async def _run(self, script: AsyncScript, args: Sequence[Any]) -> Any:
        try:
            return await script(keys=self._keys, args=args)
        except (RedisError, OSError) as error:
            raise StoreAway(f"Redis failed: {error}") from error

    async def size(self) -> int:
        return int(await _call(self._client.zcard(self.key)))

    async def add(
        self, candidates: Sequence[Candidate], pool: Pool, *, room: int, who: str
    ) -> Added:
        """`room`: members the set may have, -1 for any number. `who` asks: as in the script."""
        args: list[Any] = [pool.score.initial, room, who, pool.score.max, _ms(pool.tombstone)]
        for one in candidates:
            args += _raw(one.proxy.member), _ENCODER.encode(one.record)
            args.append(int(one.record.never_check))
        return Added(*await self._run(self._add, args))

    async def make_room(self, n: int, pool: Pool) -> int:
        """Remove the worst `n` of those that have failed since they came; how many there were."""
        args = [n, pool.score.initial, _ms(pool.tombstone)]
        return int(await self._run(self._make_room, args))

    async def claim(self, n: int, seconds: float) -> list[Check]:
        return self._checks(await self._run(self._claim, [n, _ms(seconds)]))

    async def claim_these(self, members: Sequence[str], seconds: float) -> list[Check]:
        args = [_ms(seconds), *map(_raw, members)]
        return self._checks(await self._run(self._claim_these, args))

    def _checks(self, rows: Sequence[Any]) -> list[Check]:
        return [
            Check(self.key, _text(member), _proxy(_text(member)), int(claim), _record(record))
            for member, claim, record in _rows(rows, 3)
        ]

    async def settle(self, batch: Sequence[Checked], pool: Pool) -> Settled:
        args: list[Any] = [pool.score.max, pool.score.min, _ms(pool.tombstone)]
        for one in batch:
            args += _raw(one.check.member), one.check.claim, _verdict(one.kind)
            args += _ms(one.delay), _ENCODER.encode(one.record)
        return Settled(*await self._run(self._settle, args))

    async def enter(self, findings: Sequence[Found], pool: Pool) -> Entered:
        args: list[Any] = [pool.score.max, pool.score.min, _ms(pool.tombstone)]
        args.append(_ms(pool.check.cycle))
        for one in findings:
            args += _raw(one.proxy.member), one.effect.value, _ms(one.delay)
        return Entered(*await self._run(self._enter, args))

    async def freeze(self, url: str, seconds: float) -> None:
        await self._run(self._freeze, [url, _ms(seconds)])

    async def give_back(self, checks: Sequence[Check]) -> int:
        args = [value for check in checks for value in (_raw(check.member), check.claim)]
        return int(await self._run(self._give_back, args))

    async def remove(self, members: Sequence[str], tombstone: float) -> int:
        return int(await self._run(self._remove, [_ms(tombstone), *map(_raw, members)]))

    async def adopt(self, members: Sequence[str], spread: float) -> int:
        return int(await self._run(self._adopt, [_ms(spread), *map(_raw, members)]))

    async def clean(self) -> int:
        """Drop old tombs, at most a batch of them; the number dropped."""
        return int(await self._run(self._clean, [_ms(GRACE), TOMBS_MAX, BATCH]))

    async def changes(self, last: int, n: int = BATCH) -> Changes:
        """At most `n` of the changes after `last`."""
        newest, epoch, frozen, *rows = await self._run(self._changes, [last, n])
        members = []
        for member, change, score, record in _rows(rows, 4):
            last = int(float(change))
            known = float(score) if score else None
            members.append(Member(_text(member), known, _record(record)))
        return Changes(members, last, Version(int(newest), int(epoch)), _text(frozen) or None)

    async def version(self) -> Version:
        n, epoch = await _call(self._client.hmget(self._keys[5], ["n", "epoch"]))
        return Version(int(n or 0), int(epoch or 0))

    async def scan(self, n: int = BATCH) -> AsyncIterator[list[Member]]:
        """All members in pieces of at most `n`, without records; some may come twice."""
        cursor = 0
        while True:
            # Up to 128 short members come at once whatever the count: Redis keeps them as one.
            cursor, rows = await _call(self._client.zscan(self.key, cursor, count=n))
            for piece in _batches(rows, n):
                yield [Member(_text(member), score) for member, score in piece]
            if not cursor:
                return

    async def scores(self, members: Sequence[str]) -> list[float | None]:
        """None for those that are not there."""
        if not members:
            return []
        names: list[Any] = [_raw(member) for member in members]
        return list(await _call(self._client.zmscore(self.key, names)))

    async def records(self, members: Sequence[str]) -> list[Record]:
        if not members:
            return []
        names = [_raw(member) for member in members]
        return [_record(raw) for raw in await _call(self._client.hmget(self._records, names))]


class Store:
    """The proxies of one site, whatever their scheme. Its methods raise StoreAway.

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
            for batch in _batches(by_key[one.key]):
                yield one, batch

    def _key(self, candidate: Candidate) -> str:
        return (self.http if candidate.proxy.scheme == "http" else self.others).key

    async def add(
        self,
        candidates: Iterable[Candidate],
        *,
        operator: bool = False,
        caller: bool = False,
    ) -> Added:
        """Put in those that are not there, at the initial score and due at once; those that are
        never to be checked with the maximum, and never due.

        Those that are there keep score and record, unless the operator has changed his mind about
        checking them. Recently removed ones are refused, unless
        somebody asks for them: the operator by his settings, or a caller. Beyond `max_size` a
        newcomer takes the place of the worst proxy that has failed since it came, if there is one;
        the operator's own need no room and are never replaced.
        """
        who = "operator" if operator else "caller" if caller else ""
        added = Added()
        for one, batch in self._split(candidates, self._key):
            result = await self._add(one, batch, who)
            other = self.others if one is self.http else self.http
            if result.full and await other.make_room(result.full, self._pool):
                again = await self._add(one, batch, who)
                result = Added(result.new + again.new, again.buried, again.full)
            added += result
        return added

    async def _add(self, one: ProxySet, batch: Sequence[Candidate], who: str) -> Added:
        room = -1
        if self._pool.max_size:
            elsewhere = sum([await other.size() for other in self.sets if other is not one])
            room = max(self._pool.max_size - elsewhere, 0)
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

    async def claim_these(self, members: Sequence[str], seconds: float) -> list[Check]:
        """Those of `members` that are there, due or not, for a check now; never those that are not
        to be checked."""
        claimed = []
        for one in self.sets:
            for part in _batches(members):
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
            for part in _batches(members):
                removed += await one.remove(part, closes)
        return removed

    async def enter(self, findings: Iterable[Found]) -> Entered:
        """Enter what traffic showed. A proxy that is not there stays away."""
        entered = Entered()
        parts = self._split(
            findings, lambda one: (self.http if one.proxy.scheme == "http" else self.others).key
        )
        for one, part in parts:
            entered += await one.enter(part, self._pool)
        return entered

    async def freeze(self, url: str, seconds: float) -> None:
        """No traffic costs a proxy anything for so long: `url` fails without any proxy too."""
        for one in self.sets:
            await one.freeze(url, seconds)

    async def thaw(self) -> None:
        for one in self.sets:
            await one.freeze("", 0.0)

    async def adopt(self) -> int:
        """Give a due time to members that others wrote, an old ProxyPool database among them."""
        adopted = 0
        for one in self.sets:
            async for members in one.scan():
                names = [member.member for member in members]
                adopted += await one.adopt(names, self._pool.check.cycle)
        return adopted

    async def clean(self) -> int:
        """Forget removals that everybody has seen and that bind nobody any more."""
        dropped = 0
        for one in self.sets:
            while part := await one.clean():
                dropped += part
        return dropped


def build_stores(client: Redis, pool: Pool, prefix: str = "fetchpool") -> dict[str, Store]:
    """The stores of all sites by name."""
    return {name: Store(client, pool, prefix, key=site_key(pool, name)) for name in pool.sites}


class Sources:
    """The accounts of the sources, and whose turn it is to harvest one. Raises StoreAway."""

    def __init__(self, client: Redis, prefix: str = "fetchpool") -> None:
        self._client = client
        self._accounts = f"{prefix}:sources"
        self._prefix = f"{prefix}:source"
        self._validators = f"{prefix}:validators"

    async def claim(self, name: str, seconds: float, version: str = "") -> bool:
        """Whether nobody has harvested it within its `seconds`; if so, it is ours now.

        A pause binds no other `version` of the declaration than the one that brought it about.
        """
        key, free = f"{self._prefix}:{name}", max(_ms(seconds), 1)
        if await _call(self._client.set(key, b"", nx=True, px=free)):
            return True
        held = await _call(self._client.get(key))
        if not held or _text(held) == version:
            return False
        # Of several who have seen that, one alone is told the old value.
        return bool(await _call(self._client.set(key, b"", xx=True, get=True, px=free)))

    async def pause(self, name: str, seconds: float, version: str) -> None:
        """Nobody who goes by this `version` harvests it for so long."""
        key = f"{self._prefix}:{name}"
        await _call(self._client.set(key, _raw(version), px=max(_ms(seconds), 1)))

    async def give_back(self, name: str) -> None:
        """It was not harvested after all."""
        await _call(self._client.delete(f"{self._prefix}:{name}"))

    async def account(self, name: str) -> SourceAccount:
        return _account(await _call(self._client.hget(self._accounts, name)))

    async def accounts(self) -> dict[str, SourceAccount]:
        rows = await _call(self._client.hgetall(self._accounts))
        return {_text(name): _account(raw) for name, raw in rows.items()}

    async def save(self, name: str, account: SourceAccount) -> None:
        await _call(self._client.hset(self._accounts, name, _ENCODER.encode(account)))

    async def validators(self, name: str) -> dict[str, Validators]:
        """Those of its pages, by whatever they were remembered by."""
        raw = await _call(self._client.get(f"{self._validators}:{name}"))
        try:
            return _VALIDATORS.decode(raw) if raw else {}
        except msgspec.MsgspecError:
            return {}

    async def remember(self, name: str, pages: dict[str, Validators], seconds: float) -> None:
        """These instead of those that were remembered, for so long."""
        key = f"{self._validators}:{name}"
        if not pages:
            await _call(self._client.delete(key))
            return
        await _call(self._client.set(key, _ENCODER.encode(pages), px=max(_ms(seconds), 1)))


class Foreign:
    """A key of another pool's: ProxyPool's sorted set, or proxy_pool's hash. Raises StoreAway."""

    def __init__(self, client: Redis, key: str) -> None:
        self.key = key
        self._client = client

    async def kind(self) -> str:
        """``zset``, ``hash``, ``none``, or another of Redis's words."""
        return _text(await _call(self._client.type(self.key)))

    async def read(self) -> AsyncIterator[list[tuple[str, str]]]:
        """Members or fields, and the fields' values, in pieces; some may come twice."""
        is_hash = await self.kind() == "hash"
        scan = self._client.hscan if is_hash else self._client.zscan
        cursor = 0
        while True:
            cursor, rows = await _call(scan(self.key, cursor, count=BATCH))
            pairs = rows.items() if is_hash else rows
            yield [(_text(name), _text(value) if is_hash else "") for name, value in pairs]
            if not cursor:
                return


class Judging:
    """What judges and checkers have in common. Raises StoreAway."""

    def __init__(self, client: Redis, prefix: str = "fetchpool") -> None:
        self._client = client
        self._secret = f"{prefix}:judge"
        self._spent = f"{prefix}:check-bytes"

    async def secret(self, fresh: bytes) -> bytes:
        """What the pool's own judge signs with; `fresh` from now on, if there is none."""
        await _call(self._client.set(self._secret, fresh, nx=True))
        known = await _call(self._client.get(self._secret))
        return fresh if known is None else bytes(known)

    async def spend(self, day: int, size: int) -> int:
        """Count `size` bytes of checks; all that were counted on `day` (since the epoch)."""
        key = f"{self._spent}:{day}"
        async with self._client.pipeline(transaction=True) as both:
            both.incrby(key, size)
            both.expire(key, _TWO_DAYS)
            total, _ = await _call(both.execute())
        return int(total)


async def _call(command: Any) -> Any:
    try:
        return await command
    except (RedisError, OSError) as error:
        raise StoreAway(f"Redis failed: {error}") from error


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _text(raw: bytes) -> str:
    # What others wrote may be no UTF-8; it must find its way back to the same bytes.
    return raw.decode("utf-8", "surrogateescape")


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _verdict(kind: Kind) -> str:
    if not kind.is_verdict:
        return "none"
    return "pass" if kind is Kind.PASSED else "fail"


def _record(raw: bytes | None) -> Record:
    if not raw:
        return UNKNOWN
    try:
        return _RECORD.decode(raw)
    except msgspec.MsgspecError:  # written by a later version: the score still counts
        return UNKNOWN


def _account(raw: bytes | None) -> SourceAccount:
    try:
        return _ACCOUNT.decode(raw) if raw else SourceAccount()
    except msgspec.MsgspecError:
        return SourceAccount()


def _proxy(member: str) -> Proxy | None:
    try:
        return parse_proxy(member)
    except ProxyError:
        return None


def _rows(flat: Sequence[Any], width: int) -> Iterator[Sequence[Any]]:
    return (flat[i : i + width] for i in range(0, len(flat), width))


def _batches(items: Sequence[T], n: int = BATCH) -> Iterator[list[T]]:
    return (list(items[i : i + n]) for i in range(0, len(items), n))
