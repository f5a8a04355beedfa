"""pyspider's lists in Redis: tasks leased from one, results handed over with the release.

All keys and scripts of the hot path stand here. Lists and messages are pyspider's own (RPUSH, taken
from the left, msgpack); beside them, under the in-list's name as hash tag:

=============================  ======  ==========================================================
``{IN}:leases:WORKER``         hash    lease id -> message, of all that WORKER has taken
``{IN}:workers``               zset    WORKER -> when its leases run out (Redis time, seconds)
``{IN}:seq``                   string  the last lease id given out
=============================  ======  ==========================================================

A message is in the list or in one lease, never nowhere: scripts write the lease before they
trim the list, and push the result before they drop the lease. A script that fails half-way has
then doubled something, not lost it.
"""

import os
import secrets
import socket
from collections.abc import Collection, Sequence
from typing import Any, Final

from redis.asyncio import Redis

from fetcher.queue.transport import Finished, Lease
from fetcher.redis.call import call
from fetcher.settings import Queue

# Bytes of messages in one script call: cut by size as well as by count, so that neither side
# ever stands still for one huge batch.
BATCH_BYTES: Final = 200_000
BATCH_COUNT: Final = 1000  # more than 3,999 lease fields overflow Lua's stack

# KEYS in, leases, workers, seq, out
# ARGV worker, room, bytes, lease seconds, maxsize of out, max_bytes of out
# -> {-1} when out is full, {0} when in is empty, else {first lease id, message, message, ...}
_TAKE: Final = """
local size = redis.call('LLEN', KEYS[5])
if tonumber(ARGV[5]) > 0 and size >= tonumber(ARGV[5]) then return {-1} end
if tonumber(ARGV[6]) > 0 and size > 0
    and (redis.call('MEMORY', 'USAGE', KEYS[5]) or 0) >= tonumber(ARGV[6]) then return {-1} end
local items = redis.call('LRANGE', KEYS[1], 0, ARGV[2] - 1)
local n, bytes = 0, 0
while n < #items and (n == 0 or bytes + #items[n + 1] <= tonumber(ARGV[3])) do
    n = n + 1
    bytes = bytes + #items[n]
end
if n == 0 then return {0} end
local first = redis.call('INCRBY', KEYS[4], n) - n + 1
local fields, answer = {}, {first}
for i = 1, n do
    fields[2 * i - 1] = string.format('%.0f', first + i - 1)
    fields[2 * i] = items[i]
    answer[i + 1] = items[i]
end
redis.call('ZADD', KEYS[3], redis.call('TIME')[1] + ARGV[4], ARGV[1])
redis.call('HSET', KEYS[2], unpack(fields))
redis.call('LTRIM', KEYS[1], n, -1)
return answer
"""

# KEYS leases, out, dead    ARGV dead_max, then (lease id, 'out', payload) or (lease id, 'dead', '')
# -> the lease ids that were no longer ours: their payloads were dropped
_FINISH: Final = """
local out, dead, lost = {items = {}, leases = {}}, {items = {}, leases = {}}, {}
for i = 2, #ARGV, 3 do
    if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
        local is_out = ARGV[i + 1] == 'out'
        local list = is_out and out or dead
        list.items[#list.items + 1] = is_out and ARGV[i + 2] or redis.call('HGET', KEYS[1], ARGV[i])
        list.leases[#list.leases + 1] = ARGV[i]
    else
        lost[#lost + 1] = ARGV[i]
    end
end
-- Where one list cannot be written, what went into the other is not pushed again.
local function push(key, list)
    redis.call('RPUSH', key, unpack(list.items))
    redis.call('HDEL', KEYS[1], unpack(list.leases))
end
if #out.items > 0 then push(KEYS[2], out) end
if #dead.items > 0 then
    push(KEYS[3], dead)
    redis.call('LTRIM', KEYS[3], -ARGV[1], -1)
end
return lost
"""

# KEYS in, leases    ARGV lease ids in rising order    -> how many went back
# To the head, in their old order.
_GIVE_BACK: Final = """
local back = {}
for i = #ARGV, 1, -1 do
    local message = redis.call('HGET', KEYS[2], ARGV[i])
    if message then back[#back + 1] = message end
end
if #back > 0 then
    redis.call('LPUSH', KEYS[1], unpack(back))
    redis.call('HDEL', KEYS[2], unpack(ARGV))
end
return #back
"""

# KEYS workers    ARGV worker, lease seconds    -> 1, or 0 when the leases had been taken over
_RENEW: Final = """
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], redis.call('TIME')[1] + ARGV[2], ARGV[1])
return 1
"""

# KEYS in, workers    ARGV prefix of the lease keys, perhaps a worker    -> {worker, number} or {}
# Takes over from that worker, else from one whose lease has run out: its tasks go back to the
# head in their old order. The lease key lies in the slot of the others, so the script may
# compute it.
_RECOVER: Final = """
local now = redis.call('TIME')[1]
local worker = ARGV[2]
    or redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. now, 'LIMIT', 0, 1)[1]
if not worker then return {} end
local leases = ARGV[1] .. worker
local ids = redis.call('HKEYS', leases)
table.sort(ids, function(a, b) return tonumber(a) > tonumber(b) end)
for _, id in ipairs(ids) do redis.call('LPUSH', KEYS[1], redis.call('HGET', leases, id)) end
redis.call('DEL', leases)
redis.call('ZREM', KEYS[2], worker)
return {worker, #ids}
"""


class Names:
    """The keys of a queue, by its settings."""

    def __init__(self, settings: Queue) -> None:
        tag = "{" + settings.in_ + "}"
        self.in_ = settings.in_
        self.out = settings.out
        self.dead = settings.dead
        self.workers = f"{tag}:workers"
        self.seq = f"{tag}:seq"
        self.lease_prefix = f"{tag}:leases:"


class ListTransport:
    """The list transport of one worker: leases, results and recovery, as commands to Redis.

    `blocking` is a connection of its own, for waiting; only those who wait need it.

    Raises `RedisAway`; every call may be repeated after one.
    """

    def __init__(self, redis: Redis, settings: Queue, blocking: Redis | None = None) -> None:
        self.settings = settings
        self._blocking = blocking
        self.worker = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._redis = redis
        self._names = names = Names(settings)
        self._leases = names.lease_prefix + self.worker
        self._take = redis.register_script(_TAKE)
        self._finish = redis.register_script(_FINISH)
        self._give_back = redis.register_script(_GIVE_BACK)
        self._renew = redis.register_script(_RENEW)
        self._recover = redis.register_script(_RECOVER)

    async def take(self, room: int) -> list[Lease] | None:
        """Up to `room` messages under lease, [] when there are none, None when out is full."""
        s, n = self.settings, self._names
        keys = [n.in_, self._leases, n.workers, n.seq, n.out]
        room = min(room, BATCH_COUNT)
        args: list[Any] = [self.worker, room, BATCH_BYTES, s.lease, s.maxsize, s.max_bytes]
        first, *messages = await call(self._take(keys=keys, args=args))
        if first == -1:
            return None
        return [Lease(b"%d" % (first + i), message) for i, message in enumerate(messages)]

    async def finish(self, batch: Sequence[Finished]) -> list[bytes]:
        """Push results and drop their leases in one step; the leases we no longer held."""
        n, lost = self._names, []
        for part in _cut(batch):
            args: list[Any] = [max(1, self.settings.dead_max)]
            back = []
            for item in part:
                if item.result is not None:
                    args += (item.id, "out", item.result)
                elif item.reason is not None:
                    args += (item.id, "dead", b"")
                else:
                    back.append(item.id)
            if len(args) > 1:
                lost += await call(self._finish(keys=[self._leases, n.out, n.dead], args=args))
            await self.give_back(back)
        return lost

    async def give_back(self, ids: Collection[bytes]) -> int:
        """Return messages to the head of the list in their old order."""
        rising = sorted(ids, key=int)
        back = 0
        for end in range(len(rising), 0, -BATCH_COUNT):
            part = rising[max(0, end - BATCH_COUNT) : end]
            back += await call(self._give_back(keys=[self._names.in_, self._leases], args=part))
        return back

    async def renew(self) -> bool:
        """Keep all our leases for another while; False when there are none (any more)."""
        args: list[Any] = [self.worker, self.settings.lease]
        return bool(await call(self._renew(keys=[self._names.workers], args=args)))

    async def give_back_unknown(self, known: Collection[bytes]) -> int:
        """Return what is leased to us but not in `known`: taken by a call whose answer was lost.

        Nobody else would take it over while we live and renew.
        """
        leases = await call(self._redis.hkeys(self._leases))
        return await self.give_back(set(leases).difference(known))

    async def retire(self) -> int:
        """Forget this worker; how many messages it still held, which went back to the head."""
        keys = [self._names.in_, self._names.workers]
        args = [self._names.lease_prefix, self.worker]
        return int((await call(self._recover(keys=keys, args=args)))[1])

    async def recover(self) -> tuple[str, int] | None:
        """Take over from one dead worker: its name and how many tasks went back, or None."""
        keys = [self._names.in_, self._names.workers]
        answer = await call(self._recover(keys=keys, args=[self._names.lease_prefix]))
        return (answer[0].decode(), answer[1]) if answer else None

    async def run_id(self) -> str:
        """Which run of which server answers: a fail-over or a restart changes it."""
        return str((await call(self._redis.info("server")))["run_id"])

    async def wait_for_arrival(self, seconds: float) -> bool:
        """Wait until the in list holds something; False when `seconds` have passed.

        BLMOVE from the head to the head of one list blocks while it is empty and takes nothing
        from anybody.
        """
        if self._blocking is None:
            raise ValueError("this queue was built without a connection to wait on")
        name = self._names.in_
        moved = self._blocking.blmove(name, name, seconds, "LEFT", "LEFT")  # type: ignore[arg-type]
        return await call(moved) is not None


def _cut(batch: Sequence[Finished]) -> list[list[Finished]]:
    """Parts of at most `BATCH_COUNT` results and about `BATCH_BYTES`."""
    parts: list[list[Finished]] = []
    size = BATCH_BYTES
    for item in batch:
        if size >= BATCH_BYTES or len(parts[-1]) >= BATCH_COUNT:
            parts.append([])
            size = 0
        parts[-1].append(item)
        size += len(item.result or b"")
    return parts
