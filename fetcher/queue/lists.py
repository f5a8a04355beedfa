"""pyspider's lists in Redis: tasks leased from one, results handed over with the release.

All keys and scripts of the hot path stand here. Lists and messages are pyspider's own (RPUSH, taken
from the left, msgpack); beside them, under the in-list's name as hash tag:

=============================  ======  ==========================================================
``{IN}:leases:WORKER``         hash    lease id -> message, of all that WORKER has taken
``{IN}:waiting:WORKER``        set     those of these leases whose transfers have not begun
``{IN}:workers``               zset    WORKER -> when its leases run out (Redis time, seconds)
``{IN}:seq``                   string  the number of the last lease given out
``{IN}:server``                string  the run id of the server, and since when it serves
``{IN}:deliveries``            hash    SHA-1 of a message -> deliveries that counted, all in vain
``{IN}:reasons``               hash    SHA-1 of a message in the dead list -> why it is there
=============================  ======  ==========================================================

A message is in the list or in one lease, never nowhere: scripts write the lease before they
trim the list, and push the result before they drop the lease. A script that fails half-way has
then doubled something, not lost it.

A lease id is ``NUMBER``, or ``NUMBER:DELIVERY`` where a delivery has failed before. As nearly all
transfers begin as soon as their message is here, a take counts as their beginning, and what waits
is the exception that is told (`wait`); so the hot path pays nothing. Only of a message that has
been delivered in vain before (or may be delivered but once) the beginning is told, and before it
takes place: it waits from the start, until `begin`.
"""

import os
import secrets
import socket
from collections.abc import Collection, Sequence
from typing import Any, Final

from redis.asyncio import Redis

from fetcher.errors import RedisAway
from fetcher.queue.transport import BATCH_BYTES, BATCH_COUNT, Finished, Lease
from fetcher.redis.call import call
from fetcher.settings import Queue

RECOVER_BYTES: Final = 10_000_000  # about as many go back in one call
READ_AT_ONCE: Final = 16  # messages whose sizes nobody knows: a script that reads stops Redis

# A count that nobody has asked for in a day is of a message that another program has taken.
DELIVERIES_KEPT: Final = 86_400  # seconds
DELIVERIES_MAX: Final = 100_000  # messages; beyond, all counts begin anew

# KEYS in, leases, workers, seq, out, deliveries, waiting
# ARGV worker, room, bytes, lease seconds, maxsize of out, max_bytes of out, max_deliveries, and
#      how many messages are read at once
# -> {-1} when out is full, {0} when in is empty,
#    else {first number, {index, delivery, ...} of those that wait, message, message, ...}
_TAKE: Final = """
local size = redis.call('LLEN', KEYS[5])
if tonumber(ARGV[5]) > 0 and size >= tonumber(ARGV[5]) then return {-1} end
if tonumber(ARGV[6]) > 0 and size > 0
    and (redis.call('MEMORY', 'USAGE', KEYS[5]) or 0) >= tonumber(ARGV[6]) then return {-1} end
local room, most, widest = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[8])
local items, n, bytes, width = {}, 0, 0, 1
while n < room and width > 0 do
    width = math.min(width, room - n)
    local part = redis.call('LRANGE', KEYS[1], n, n + width - 1)
    if #part < width then room = n + #part end
    for _, item in ipairs(part) do
        if n > 0 and bytes + #item > most then room = n break end
        n = n + 1
        items[n] = item
        bytes = bytes + #item
    end
    -- As many as there is room for if they are like those so far.
    width = math.min(2 * width, widest, math.floor((most - bytes) * n / math.max(bytes, 1)))
end
if n == 0 then return {0} end
local first = redis.call('INCRBY', KEYS[4], n) - n + 1
local once, any_failed = ARGV[7] == '1', redis.call('EXISTS', KEYS[6]) == 1
local fields, waiting, answer = {}, {}, {first, {}}
for i = 1, n do
    local id = string.format('%.0f', first + i - 1)
    local failed = any_failed and redis.call('HGET', KEYS[6], redis.sha1hex(items[i]))
    if failed or once then
        local delivery = (failed or 0) + 1
        id = id .. ':' .. delivery
        waiting[#waiting + 1] = id
        answer[2][2 * #waiting - 1] = i
        answer[2][2 * #waiting] = delivery
    end
    fields[2 * i - 1] = id
    fields[2 * i] = items[i]
    answer[i + 2] = items[i]
end
redis.call('ZADD', KEYS[3], redis.call('TIME')[1] + ARGV[4], ARGV[1])
if #waiting > 0 then redis.call('SADD', KEYS[7], unpack(waiting)) end
redis.call('HSET', KEYS[2], unpack(fields))
redis.call('LTRIM', KEYS[1], n, -1)
return answer
"""

# KEYS leases, out, dead, deliveries, waiting, reasons
# ARGV dead_max, the words 'LEASE KIND SIZE LEASE KIND SIZE ...', and the payloads of so many bytes
#      in one: of 'out' a result, of 'dead' a reason; 'both' has a reason, and stands before the
#      'out' of its lease. (An argument costs redis-py 2 us, and a message in one of ours 0.3.)
# -> the lease ids that were no longer ours: their payloads were dropped
_FINISH: Final = """
local function new() return {items = {}, leases = {}} end
local out, dead, after, both, reasons, lost = new(), new(), new(), {}, {}, {}
local at, behind = 1, 1
for id, kind, size in string.gmatch(ARGV[2], '(%S+) (%S+) (%S+)') do
    at, behind = behind, behind + size
    if redis.call('HEXISTS', KEYS[1], id) == 0 then
        if kind ~= 'both' then lost[#lost + 1] = id end
    elseif kind == 'out' then
        local list = both[id] and after or out
        list.items[#list.items + 1] = string.sub(ARGV[3], at, behind - 1)
        list.leases[#list.leases + 1] = id
    else
        local message = redis.call('HGET', KEYS[1], id)
        dead.items[#dead.items + 1] = message
        reasons[#reasons + 1] = redis.sha1hex(message)
        reasons[#reasons + 1] = string.sub(ARGV[3], at, behind - 1)
        if kind == 'both' then both[id] = true else dead.leases[#dead.leases + 1] = id end
    end
end
local function drop(ids)
    for _, id in ipairs(ids) do
        if string.find(id, ':', 1, true) then
            redis.call('HDEL', KEYS[4], redis.sha1hex(redis.call('HGET', KEYS[1], id)))
            redis.call('SREM', KEYS[5], id)
        end
    end
    if #ids > 0 then redis.call('HDEL', KEYS[1], unpack(ids)) end
end
-- Where one list cannot be written, what went into the other is not pushed again.
local function push(list)
    if #list.items == 0 then return end
    redis.call('RPUSH', KEYS[2], unpack(list.items))
    drop(list.leases)
end
push(out)
if #after.items > 0 then redis.call('LLEN', KEYS[2]) end  -- raises, if it is no list
if #dead.items > 0 then
    if redis.call('LLEN', KEYS[3]) == 0 then redis.call('DEL', KEYS[6]) end
    redis.call('RPUSH', KEYS[3], unpack(dead.items))
    drop(dead.leases)
    local over = redis.call('LLEN', KEYS[3]) - ARGV[1]
    if over > 0 then
        for _, message in ipairs(redis.call('LRANGE', KEYS[3], 0, over - 1)) do
            redis.call('HDEL', KEYS[6], redis.sha1hex(message))
        end
        redis.call('LTRIM', KEYS[3], -ARGV[1], -1)
    end
    local left = redis.call('LLEN', KEYS[3])
    local from = 2 * math.max(0, #dead.items - left) + 1
    redis.call('HSET', KEYS[6], unpack(reasons, from))
    -- Somebody else has taken messages out: rather none of the old reasons than ever more.
    if redis.call('HLEN', KEYS[6]) > left then
        redis.call('DEL', KEYS[6])
        redis.call('HSET', KEYS[6], unpack(reasons, from))
    end
end
push(after)
return lost
"""

# KEYS in, leases, waiting    ARGV lease ids in rising order    -> how many went back
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
    redis.call('SREM', KEYS[3], unpack(ARGV))
end
return #back
"""

# KEYS leases, waiting    ARGV lease ids
_WAIT: Final = """
for _, id in ipairs(ARGV) do
    if redis.call('HEXISTS', KEYS[1], id) == 1 then redis.call('SADD', KEYS[2], id) end
end
"""

# KEYS workers    ARGV worker, lease seconds    -> 1, or 0 when the leases had been taken over
# It writes in any case: a server that takes no writes has to be noticed by idle workers too.
_RENEW: Final = """
redis.call('ZADD', KEYS[1], 'XX', redis.call('TIME')[1] + ARGV[2], ARGV[1])
return redis.call('ZSCORE', KEYS[1], ARGV[1]) and 1 or 0
"""

# KEYS server    ARGV run id, seconds since it started    -> seconds as text
# A server that nobody has seen yet has served since its start; one in the place of another that was
# seen, only since now: a replica that took over may have been up for months.
_SERVED: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local id, since = string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) (%S+)$')
if id ~= ARGV[1] then
    since = id and now or now - ARGV[2]
    redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. string.format('%.3f', since))
end
return string.format('%.3f', now - since)
"""

# KEYS in, workers, deliveries
# ARGV prefixes of the keys of leases and of what waits, max_deliveries, seconds and number of
#      deliveries kept, bytes, perhaps a worker that retires
# -> {worker, number, number left} or {}
# Takes over from that worker, else from one whose lease has run out: its tasks go back to the
# head in their old order, and in the latter case their deliveries count if they had begun. The last
# go first, so that what is more than so many bytes may follow in a further call. The worker's keys
# lie in the slot of the others, so the script may compute them.
_RECOVER: Final = """
local now = redis.call('TIME')[1]
local worker = ARGV[7]
    or redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. now, 'LIMIT', 0, 1)[1]
if not worker then return {} end
local leases, waiting, waits = ARGV[1] .. worker, ARGV[2] .. worker, {}
for _, id in ipairs(redis.call('SMEMBERS', waiting)) do waits[id] = true end
local ids = redis.call('HKEYS', leases)
local function number(id) return tonumber(string.match(id, '^%d+')) end
table.sort(ids, function(a, b) return number(a) > number(b) end)
local counts = ARGV[3] ~= '0' and not ARGV[7] and #ids > 0
if counts and redis.call('HLEN', KEYS[3]) > tonumber(ARGV[5]) then redis.call('DEL', KEYS[3]) end
local n, bytes = 0, 0
while n < #ids and bytes < tonumber(ARGV[6]) do
    n = n + 1
    local id = ids[n]
    local message = redis.call('HGET', leases, id)
    bytes = bytes + #message
    redis.call('LPUSH', KEYS[1], message)
    if counts and not waits[id] then
        redis.call('HINCRBY', KEYS[3], redis.sha1hex(message), 1)
    end
    redis.call('HDEL', leases, id)
end
if counts then redis.call('EXPIRE', KEYS[3], ARGV[4]) end
if n == #ids then
    redis.call('DEL', waiting)
    redis.call('ZREM', KEYS[2], worker)
end
return {worker, n, #ids - n}
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
        self.server = f"{tag}:server"
        self.lease_prefix = f"{tag}:leases:"
        self.waiting_prefix = f"{tag}:waiting:"
        self.deliveries = f"{tag}:deliveries"
        self.reasons = f"{tag}:reasons"


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
        self._waiting = names.waiting_prefix + self.worker
        self._take = redis.register_script(_TAKE)
        self._finish = redis.register_script(_FINISH)
        self._give_back = redis.register_script(_GIVE_BACK)
        self._wait = redis.register_script(_WAIT)
        self._renew = redis.register_script(_RENEW)
        self._served = redis.register_script(_SERVED)
        self._recover = redis.register_script(_RECOVER)

    async def take(self, room: int) -> list[Lease] | None:
        """Up to `room` messages under lease, [] when there are none, None when out is full."""
        s, n = self.settings, self._names
        keys = [n.in_, self._leases, n.workers, n.seq, n.out, n.deliveries, self._waiting]
        room = min(room, BATCH_COUNT)
        args: list[Any] = [self.worker, room, BATCH_BYTES, s.lease, s.maxsize, s.max_bytes]
        args += [s.max_deliveries, READ_AT_ONCE]
        first, *rest = await call(self._take(keys=keys, args=args))
        if first == -1:
            return None
        if first == 0:
            return []
        waiting, *messages = rest
        leases = [Lease(b"%d" % (first + i), message) for i, message in enumerate(messages)]
        for index, delivery in zip(waiting[::2], waiting[1::2], strict=True):
            number, message = first + index - 1, messages[index - 1]
            leases[index - 1] = Lease(b"%d:%d" % (number, delivery), message, delivery, waits=True)
        return leases

    async def finish(self, batch: Sequence[Finished]) -> list[bytes]:
        """Push results and drop their leases in one step; the leases we no longer held."""
        n = self._names
        lost: list[bytes] = []
        back: list[bytes] = []
        words: list[bytes] = []
        payloads: list[bytes | memoryview] = []
        for item in batch:
            result = item.result
            if item.reason is not None:
                reason = item.reason.encode()
                kind = b"dead" if result is None else b"both"
                words.append(b"%b %b %d" % (item.id, kind, len(reason)))
                payloads.append(reason)
            if result is not None:
                words.append(b"%b out %d" % (item.id, len(result)))
                payloads.append(result)
            elif item.reason is None:
                back.append(item.id)
        if payloads:
            keys = [self._leases, n.out, n.dead, n.deliveries, self._waiting, n.reasons]
            # A long result stands alone in its batch, and is not copied.
            together = payloads[0] if len(payloads) == 1 else b"".join(payloads)
            args: list[Any] = [max(1, self.settings.dead_max), b" ".join(words), together]
            lost = await call(self._finish(keys=keys, args=args))
        await self.give_back(back)
        return lost

    async def wait(self, ids: Collection[bytes]) -> None:
        """Their transfers have not begun, although they were taken."""
        if ids:
            await call(self._wait(keys=[self._leases, self._waiting], args=list(ids)))

    async def begin(self, ids: Collection[bytes]) -> None:
        """From here on it counts when these leases run out."""
        if ids:
            await call(self._redis.srem(self._waiting, *ids))

    async def give_back(self, ids: Collection[bytes]) -> int:
        """Return messages to the head of the list in their old order."""
        rising = sorted(ids, key=_number)
        keys = [self._names.in_, self._leases, self._waiting]
        back = 0
        for end in range(len(rising), 0, -BATCH_COUNT):
            part = rising[max(0, end - BATCH_COUNT) : end]
            back += await call(self._give_back(keys=keys, args=part))
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
        back, left = 0, 1
        while left:
            _, moved, left = await self._take_over(self.worker)
            back += moved
        return int(back)

    async def recover(self) -> tuple[str, int] | None:
        """Take over from a dead worker: its name and how many tasks went back, or None."""
        answer = await self._take_over()
        return (answer[0].decode(), answer[1]) if answer else None

    async def _take_over(self, *worker: str) -> Any:
        n = self._names
        args: list[Any] = [n.lease_prefix, n.waiting_prefix, self.settings.max_deliveries]
        args += [DELIVERIES_KEPT, DELIVERIES_MAX, RECOVER_BYTES, *worker]
        return await call(self._recover(keys=[n.in_, n.workers, n.deliveries], args=args))

    async def served_for(self) -> float:
        """Seconds since this server was started, or took the place of another."""
        info = await call(self._redis.info("server"))
        args = [info["run_id"], info["uptime_in_seconds"]]
        return float(await call(self._served(keys=[self._names.server], args=args)))

    async def answers(self) -> bool:
        """Whether the server answers at all."""
        try:
            await call(self._redis.ping())
        except RedisAway:
            return False
        return True

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


def _number(id_: bytes) -> int:
    return int(id_.partition(b":")[0])
