"""What callers use, told by each process to all: one script, once a second."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from fetcher.redis.call import call

GONE: Final = 5.0  # seconds without a word after which a worker's connections are none
_KEPT: Final = 2 * 86_400  # seconds for which a day's sums are kept: clocks differ

# KEYS connections, spent    ARGV worker, its connections, gone, kept, then (field, more) ...
# -> {connections of the others, sums of the fields}
_SHARE: Final = """
local time = redis.call('TIME')
local now, gone = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[3])
redis.call('HSET', KEYS[1], ARGV[1], struct.pack('<d', now) .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], gone)
local all, others, sums = redis.call('HGETALL', KEYS[1]), {}, {}
for i = 1, #all, 2 do
  if now - struct.unpack('<d', all[i + 1]) > gone then
    redis.call('HDEL', KEYS[1], all[i])
  elseif all[i] ~= ARGV[1] then
    others[#others + 1] = string.sub(all[i + 1], 9)
  end
end
for i = 5, #ARGV, 2 do
  if ARGV[i + 1] == '0' then
    sums[#sums + 1] = redis.call('HGET', KEYS[2], ARGV[i]) or '0'
  else
    sums[#sums + 1] = redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
redis.call('EXPIRE', KEYS[2], ARGV[4])
return {others, sums}
"""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(dict[str, int]).decode


class Spent(msgspec.Struct):
    """What has been used of a day."""

    requests: int = 0
    bytes: int = 0


class QuotaStore:
    """The script, called. Raises `RedisAway`.

    When its answer is lost, nobody knows whether a second's use was counted; whoever tells it
    again counts it twice then, for once. `area`: whose callers they are; the API's have keys of
    their own.
    """

    def __init__(self, redis: Redis, prefix: str, worker: str, area: str = "forward") -> None:
        base = f"{{{prefix}:{area}}}"
        self._connections = f"{base}:connections"
        self._spent = f"{base}:spent:"
        self._worker = worker
        self._share = redis.register_script(_SHARE)

    async def share(
        self, day: int, connections: Mapping[str, int], more: Mapping[str, Spent]
    ) -> tuple[dict[str, int], dict[str, Spent]]:
        """Tell the open connections of this worker, and what it has used more of the day, by key;
        hear the connections of the others, and the sums of all."""
        args: list[Any] = [self._worker, _encode(connections), round(GONE * 1000), _KEPT]
        for key, spent in more.items():
            args += (f"requests:{key}", spent.requests, f"bytes:{key}", spent.bytes)
        keys = [self._connections, f"{self._spent}{day}"]
        others, sums = await call(self._share(keys=keys, args=args))
        elsewhere: dict[str, int] = {}
        for packed in others:
            for key, count in _decode(packed).items():
                elsewhere[key] = elsewhere.get(key, 0) + count
        totals = zip(more, sums[::2], sums[1::2], strict=True)
        return elsewhere, {key: Spent(int(asked), int(size)) for key, asked, size in totals}
