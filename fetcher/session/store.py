"""Exits that sessions keep: three scripts, each for all who ask in one turn of the loop.

For 1, 10 and 100 records a call takes Redis some 35, 130 and 950 us.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from fetcher.proxy import Proxy, parse_proxy
from fetcher.redis.call import call

MOST: Final = 100_000  # sessions; beyond, those go that were not used for longest. 370 bytes each
IDLE: Final = 600.0  # seconds without use after which one ends that was given no lifetime
TOUCH: Final = 5.0  # seconds within which a use is not written down again

# KEYS the index, records    ARGV base of the records' keys, idle, touch, most, then what is theirs
_COMMON: Final = """
local base, idle, touch = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local most, index = tonumber(ARGV[4]), KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function read(key)
  local found = redis.call('HMGET', key, 'proxy', 'moves', 'failures', 'works', 'lasts')
  if not found[1] then return nil end
  return {proxy = found[1], moves = tonumber(found[2]), failures = tonumber(found[3]),
          works = found[4] == '1', lasts = found[5] == '1'}
end
local function note(key, left)
  redis.call('ZADD', index, now, string.sub(key, #base + 1))
  if redis.call('PTTL', index) < left then redis.call('PEXPIRE', index, left) end
end
local function use(key, lasts)
  local used = redis.call('ZSCORE', index, string.sub(key, #base + 1))
  if used and now - used < touch then return end
  if not lasts then redis.call('PEXPIRE', key, idle) end
  note(key, redis.call('PTTL', key))
end
local function create(key, proxy, lifetime)
  local left = lifetime > 0 and lifetime or idle
  redis.call('HSET', key, 'proxy', proxy, 'moves', 0, 'failures', 0, 'works', 0,
             'lasts', lifetime > 0 and 1 or 0)
  redis.call('PEXPIRE', key, left)
  note(key, left)
  for _, name in ipairs(redis.call('ZRANGE', index, 0, 1)) do
    if redis.call('EXISTS', base .. name) == 0 then redis.call('ZREM', index, name) end
  end
  local over = redis.call('ZCARD', index) - most
  if over > 0 then
    local gone = redis.call('ZPOPMIN', index, over)
    for i = 1, #gone, 2 do redis.call('DEL', base .. gone[i]) end
  end
end
local out = {}
local function say(proxy, moves, code)
  out[#out + 1] = proxy
  out[#out + 1] = moves
  out[#out + 1] = code
end
local function say_as_it_is(record)
  local code = record.works and (record.failures == 0 and 0 or 1) or 3
  say(record.proxy, record.moves, code)
end
"""

# ARGV behind, for each record: who is proposed or '', lifetime
# -> for each: proxy or '', moves, 0 it works | 1 it has failed since | 3 it never worked yet
_FIND: Final = """
for i = 2, #KEYS do
  local key = KEYS[i]
  local proposed, lifetime = ARGV[2 * i + 1], tonumber(ARGV[2 * i + 2])
  local record = read(key)
  if record then
    use(key, record.lasts)
    say_as_it_is(record)
  else
    if proposed ~= '' then create(key, proposed, lifetime) end
    say(proposed, 0, 3)
  end
end
return out
"""

# ARGV behind, for each record: who was reached
_CONFIRM: Final = """
for i = 2, #KEYS do
  if redis.call('HGET', KEYS[i], 'proxy') == ARGV[i + 3] then
    redis.call('HSET', KEYS[i], 'failures', 0, 'works', 1)
  end
end
"""

# ARGV behind, for each record: who was not reached, who is proposed or '', lifetime, strict (1 | 0)
# -> as FIND, or 2 as the code: there is no other, as it is strict
_FAIL: Final = """
for i = 2, #KEYS do
  local key, arg = KEYS[i], 4 * i - 3
  local failed, proposed = ARGV[arg], ARGV[arg + 1]
  local lifetime, strict = tonumber(ARGV[arg + 2]), ARGV[arg + 3] == '1'
  local record = read(key)
  if proposed == failed then proposed = '' end
  if not record then
    if proposed ~= '' then create(key, proposed, lifetime) end
    say(proposed, 0, 3)
  elseif record.proxy ~= failed then
    say_as_it_is(record)
  else
    local failures = redis.call('HINCRBY', key, 'failures', 1)
    if record.works and failures < 2 then
      say(record.proxy, record.moves, 1)
    elseif record.works and strict then
      say('', record.moves, 2)
    elseif proposed == '' then
      say('', record.moves, 1)
    else
      -- Whoever never worked had been nobody's exit.
      local moves = record.moves + (record.works and 1 or 0)
      redis.call('HSET', key, 'proxy', proposed, 'moves', moves, 'failures', 0, 'works', 0)
      say(proposed, moves, 3)
    end
  end
end
return out
"""


class Finding(msgspec.Struct, frozen=True):
    """Who asks for a record's exit, and who becomes it if there is none. Seconds."""

    record: str
    proposed: Proxy | None
    lifetime: float = 0.0


class Failing(msgspec.Struct, frozen=True):
    """Whom a record's session did not reach, and who may be the next."""

    record: str
    failed: Proxy
    proposed: Proxy | None
    lifetime: float = 0.0
    is_strict: bool = False


class Kept(msgspec.Struct, frozen=True):
    """A record as it is now. `is_certain`: its proxy was reached last time. `is_new`: it never was.
    `is_over`: there is no other, as the session is strict."""

    proxy: Proxy | None
    moves: int = 0
    is_certain: bool = False
    is_new: bool = False
    is_over: bool = False


class SessionStore:
    """The scripts, called, each with as many records as may be. Raises `RedisAway`."""

    def __init__(
        self,
        redis: Redis,
        prefix: str,
        *,
        idle: float = IDLE,
        touch: float = TOUCH,
        most: int = MOST,
    ) -> None:
        self._index = f"{{{prefix}:sessions}}:exits"
        self._base = f"{{{prefix}:sessions}}:exit:"
        self._limits = (self._base, _milli(idle), _milli(touch), most)
        self._find = redis.register_script(_COMMON + _FIND)
        self._confirm = redis.register_script(_COMMON + _CONFIRM)
        self._fail = redis.register_script(_COMMON + _FAIL)

    async def find(self, asked: Sequence[Finding]) -> list[Kept]:
        """The exit of each; two who find none agree on what the first proposes."""
        args: list[Any] = []
        for one in asked:
            args += (_member(one.proposed), _milli(one.lifetime))
        return _read(await self._call(self._find, [one.record for one in asked], args))

    async def confirm(self, reached: Mapping[str, Proxy]) -> None:
        """Of each record, who was reached: if he is still its exit, his failures are forgotten."""
        args = [proxy.member for proxy in reached.values()]
        await self._call(self._confirm, reached, args)

    async def fail(self, failures: Sequence[Failing]) -> list[Kept]:
        """Who is the exit of each now; one who comes late hears who took his place."""
        args: list[Any] = []
        for one in failures:
            named = (one.failed.member, _member(one.proposed))
            args += (*named, _milli(one.lifetime), int(one.is_strict))
        return _read(await self._call(self._fail, [one.record for one in failures], args))

    async def _call(self, script: Any, records: Any, args: list[Any]) -> Any:
        keys = [self._index, *(self._base + record for record in records)]
        return await call(script(keys=keys, args=[*self._limits, *args]))


def _read(answer: Sequence[Any]) -> list[Kept]:
    return [
        Kept(
            parse_proxy(member.decode()) if member else None,
            moves,
            is_certain=code == 0,
            is_new=bool(member) and code == 3,
            is_over=code == 2,
        )
        for member, moves, code in zip(answer[::3], answer[1::3], answer[2::3], strict=True)
    ]


def _member(proxy: Proxy | None) -> str:
    return proxy.member if proxy is not None else ""


def _milli(seconds: float) -> int:
    return round(seconds * 1000)
