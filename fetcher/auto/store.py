"""What rendering has changed, in Redis: its keys and its Lua.

All of it stands here. OF is a host and the shape of a path, or a host alone:

==========================  ====  ===================================================
``{PREFIX:auto}:known``     hash  OF -> changed, same, streak; when it was learned (s)
``{PREFIX:auto}:learned``   zset  OF -> when it was learned
==========================  ====  ===================================================

By Redis' own clock. What was learned last of some OF holds for a week; the oldest makes place where
there are more than `MOST`: some 20 MB.
"""

from collections.abc import Sequence
from typing import Final

from redis.asyncio import Redis

from fetcher.auto.rule import KEEP, NOTHING, Known
from fetcher.redis.call import call

MOST: Final = 100_000
_AT_ONCE: Final = 100  # that go for one that comes

# KEYS known, learned    ARGV how long it holds, how many there may be, how many go at once,
# 1 changed or 0 same, then each OF
_LEARN: Final = """
local now = tonumber(redis.call('TIME')[1])
local keep, most, few = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local changed = ARGV[4] == '1'
for i = 5, #ARGV do
  local before = redis.call('HGET', KEYS[1], ARGV[i])
  local c, s, streak, at = 0, 0, 0, 0
  if before then
    c, s, streak, at = string.match(before, '^(%d+) (%d+) (-?%d+) (%d+)$')
    c, s, streak, at = tonumber(c), tonumber(s), tonumber(streak), tonumber(at)
    if at + keep < now then c, s, streak = 0, 0, 0 end
  end
  if changed then
    c, streak = math.min(c + 1, 1000000), math.min(math.max(streak, 0) + 1, 1000)
  else
    s, streak = math.min(s + 1, 1000000), math.max(math.min(streak, 0) - 1, -1000)
  end
  redis.call('HSET', KEYS[1], ARGV[i], string.format('%d %d %d %d', c, s, streak, now))
  redis.call('ZADD', KEYS[2], now, ARGV[i])
end
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - keep - 1, 'LIMIT', 0, few)
local over = redis.call('ZCARD', KEYS[2]) - #gone - most
if over > 0 then
  local oldest = redis.call('ZRANGE', KEYS[2], #gone, #gone + math.min(over, few) - 1)
  for _, one in ipairs(oldest) do gone[#gone + 1] = one end
end
if #gone > 0 then
  redis.call('HDEL', KEYS[1], unpack(gone))
  redis.call('ZREM', KEYS[2], unpack(gone))
end
redis.call('EXPIRE', KEYS[1], keep)
redis.call('EXPIRE', KEYS[2], keep)
return #gone
"""

# KEYS known    ARGV how long it holds, then each OF    -> of each, what is known, or ''
_ASK: Final = """
local now, out = tonumber(redis.call('TIME')[1]), {}
for i = 2, #ARGV do
  local found = redis.call('HGET', KEYS[1], ARGV[i])
  local at = found and tonumber(string.match(found, '(%d+)$'))
  out[i - 1] = at and at + tonumber(ARGV[1]) >= now and found or ''
end
return out
"""


class Store:
    """The scripts, called. `most` and `keep` are for tests. Raises `RedisAway`."""

    def __init__(
        self, redis: Redis, prefix: str, *, most: int = MOST, keep: int = int(KEEP)
    ) -> None:
        self._known = f"{{{prefix}:auto}}:known"
        self._learned = f"{{{prefix}:auto}}:learned"
        self._most = most
        self._keep = keep
        self._learn = redis.register_script(_LEARN)
        self._ask = redis.register_script(_ASK)

    async def ask(self, names: Sequence[str]) -> list[Known]:
        """What is known of each."""
        found: list[bytes] = await call(self._ask(keys=[self._known], args=[self._keep, *names]))
        return [_read(one) for one in found]

    async def learn(self, names: Sequence[str], *, changed: bool) -> None:
        """A rendering of each of them has changed something, or nothing."""
        args: list[str | int] = [self._keep, self._most, _AT_ONCE, int(changed), *names]
        await call(self._learn(keys=[self._known, self._learned], args=args))


def _read(found: bytes) -> Known:
    return Known(*map(int, found.split()[:3])) if found else NOTHING
