"""The politeness clock in Redis: its keys and its Lua.

All keys of the clock stand here. KEY is a host, a domain or an address:

=============================  ======  =========================================================
``{PREFIX:clock}:of:KEY``      string  four doubles: when the last start is, what delay it asked
                                       for, until when KEY is blocked, and for how long it was the
                                       last time without a Retry-After
``{PREFIX:clock}:blocked``     zset    KEY -> until when it is blocked
=============================  ======  =========================================================

Microseconds since 1970 by Redis' own clock: whole numbers, which a double holds. A key is gone a
minute after the delay of its last start, or when the quiet time after a block is over.
"""

from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis

from fetcher.redis.call import call

# For so long a start is remembered behind its own delay: one who comes with a longer delay of his
# own finds it. A million hosts in a minute would be 150 MB.
KEEP: Final = 60_000_000

LISTED: Final = 10_000  # blocked keys that can be told; the first to end are left out

_COMMON: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function read(key)
  local packed = redis.call('GET', key)
  if not packed then return {start = 0, delay = 0, till = 0, step = 0, refused = 0} end
  local start, delay, till, step = struct.unpack('<dddd', packed)
  return {start = start, delay = delay, till = till, step = step, refused = 0}
end
local function write(key, state, quiet, keep)
  local over = state.start + state.delay + keep
  if state.till > 0 then over = math.max(over, state.till + quiet) end
  local packed = struct.pack('<dddd', state.start, state.delay, state.till, state.step)
  redis.call('SET', key, packed, 'PX', math.max(1, math.ceil((over - now) / 1000)))
end
"""

# KEYS the states    ARGV quiet, keep, then for each slot: which key, delay, horizon, the start that
# was reserved before and missed, or 0: if nothing was reserved behind it, the next may be at once
# -> now, then for each slot: 1 granted, 0 not, 2 blocked; and when
_RESERVE: Final = """
local quiet, keep = tonumber(ARGV[1]), tonumber(ARGV[2])
local states, changed, out = {}, {}, {now}
for i = 3, #ARGV, 4 do
  local n, delay, horizon = tonumber(ARGV[i]), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local missed = tonumber(ARGV[i + 3])
  local state = states[n] or read(KEYS[n])
  states[n] = state
  local at = math.max(now, state.till)
  if state.start ~= missed then
    at = math.max(at, state.start + math.max(state.delay, delay))
  end
  local told = 1
  -- Behind a block the answer to one start may be a 429 that forbids the next.
  if state.till > 0 and state.start >= state.till and now < state.till + quiet then horizon = 0 end
  if at - now <= horizon then
    state.start, state.delay = at, delay
    changed[n] = true
  else
    at = at + state.refused * delay
    state.refused = state.refused + 1
    told = state.till > now and 2 or 0
  end
  out[#out + 1] = told
  out[#out + 1] = at
end
for n in pairs(changed) do write(KEYS[n], states[n], quiet, keep) end
return out
"""

# KEYS the state, blocked    ARGV quiet, keep, the key's name, Retry-After or -1, when the request
# started, jitter (a factor), base, most, how many are listed
# -> for how long it is blocked
_BLOCK: Final = """
local quiet, keep = tonumber(ARGV[1]), tonumber(ARGV[2])
local asked, started, jitter = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local state = read(KEYS[1])
if now > state.till + quiet then state.step = 0 end
if started < state.till then -- it was under way before: no answer to the block that there is
  if asked >= 0 then state.till = math.max(state.till, now + asked) end
elseif asked >= 0 then
  state.till = now + asked
else
  state.step = state.step > 0 and math.min(2 * state.step, tonumber(ARGV[8])) or tonumber(ARGV[7])
  state.till = now + math.floor(state.step * jitter)
end
write(KEYS[1], state, quiet, keep)
redis.call('ZREM', KEYS[2], ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
if state.till > now then
  redis.call('ZADD', KEYS[2], state.till, ARGV[3])
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - tonumber(ARGV[9]))
  local left = math.ceil((state.till - now) / 1000)
  redis.call('PEXPIRE', KEYS[2], math.max(redis.call('PTTL', KEYS[2]), left))
end
return math.max(0, state.till - now)
"""

# KEYS blocked    ARGV how many at most    -> now, then each that is blocked, and until when
_BLOCKED: Final = """
local found = redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', string.format('(%.0f', now),
  'WITHSCORES', 'LIMIT', 0, ARGV[1])
return {now, found}
"""


class Store:
    """The scripts, called. Times and durations in microseconds. Raises `RedisAway`."""

    def __init__(self, redis: Redis, prefix: str, *, base: int, most: int, quiet: int) -> None:
        self._of = f"{{{prefix}:clock}}:of:"
        self._blocked_key = f"{{{prefix}:clock}}:blocked"
        self._base = base
        self._most = most
        self._quiet = quiet
        self._reserve = redis.register_script(_COMMON + _RESERVE)
        self._block = redis.register_script(_COMMON + _BLOCK)
        self._blocked = redis.register_script(_COMMON + _BLOCKED)

    async def reserve(self, slots: Sequence[tuple[str, int, int, int]]) -> list[int]:
        """For (key, delay, horizon, start that was missed or 0): what the script answers."""
        numbers: dict[str, int] = {}
        args = [self._quiet, KEEP]
        for key, delay, horizon, missed in slots:
            args += (numbers.setdefault(key, len(numbers) + 1), delay, horizon, missed)
        keys = [self._of + key for key in numbers]
        answer: list[int] = await call(self._reserve(keys=keys, args=args))
        return answer

    async def block(self, key: str, *, retry_after: int | None, started: int, jitter: float) -> int:
        """For how long `key` is blocked now, after an answer to a request that began at `started`;
        `jitter` is a factor."""
        asked = -1 if retry_after is None else retry_after
        own = (self._base, self._most, LISTED)
        args: list[str | float] = [self._quiet, KEEP, key, asked, started, jitter, *own]
        return int(await call(self._block(keys=[self._of + key, self._blocked_key], args=args)))

    async def blocked(self, most: int) -> tuple[int, list[tuple[str, int]]]:
        """Now, and the keys that are blocked until when, the last to end first."""
        answer: Any = await call(self._blocked(keys=[self._blocked_key], args=[most]))
        now, found = answer
        pairs = zip(found[::2], found[1::2], strict=True)
        return now, [(name.decode(), int(float(till))) for name, till in pairs]
