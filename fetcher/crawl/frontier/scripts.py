"""The Lua of the frontier. Each script is one step of a crawl: all of it happens, or nothing.

A host is *open* while it has items in lists of its own, or leases. Its record is
``{queued, running, failures, reached, lowest, highest, due}``: items in its lists, leases, failures
to reach it in a row, whether it was ever reached, the depths between which its lists lie, and
when it may be asked again (ms). It stands in `hosts` while something is queued and fewer than it
may have are under way. All that arrives for other hosts waits in the backlog, which costs a fifth;
hosts are opened from there, lowest depth first, when few of those that are open are due.

Seen and done URLs lie in sets of integers, which Redis keeps as sorted arrays of 8 bytes an entry
as long as a set has at most 512 (`set-max-intset-entries`). Buckets are split one by one as they
fill (linear hashing), so that each has 200 to 400 at any number: 9 to 11 bytes a URL.
"""

from typing import Final

# KEYS[1] is the crawl's tag with a colon behind it; all other names are made of it. They lie in its
# slot, and Redis only wants to know the slot.
_COMMON: Final = """
local tag = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local numbers = {}

local function count(field, by)
    numbers[field] = (numbers[field] or 0) + by
end

local function save_counts()
    for field, by in pairs(numbers) do
        if by ~= 0 then redis.call('HINCRBY', tag .. 'counts', field, by) end
    end
    numbers = {}
end

local function counted(...)
    local values = redis.call('HMGET', tag .. 'counts', ...)
    for i, value in ipairs(values) do values[i] = tonumber(value or 0) end
    return values
end

-- Host records -----------------------------------------------------------------------------------

local records, touched = {}, {}

local function host_of(host)
    local record = records[host]
    if record == nil then
        local packed = redis.call('HGET', tag .. 'h', host)
        record = packed and cmsgpack.unpack(packed) or false
        records[host] = record
    end
    return record
end

local function open_host(host)
    local record = {0, 0, 0, 0, 1, 0, 0}
    records[host] = record
    touched[host] = true
    count('hosts', 1)
    return record
end

-- How many of a host may be under way: until it has been reached, no more than it may still fail.
local function places(record, per_host)
    if record[4] == 1 and record[3] == 0 then return per_host end
    return math.min(3, per_host, 5 - record[3])
end

local function save_hosts(per_host)
    for host in pairs(touched) do
        local record = records[host]
        if record[1] == 0 and record[2] == 0 then
            redis.call('HDEL', tag .. 'h', host)
            redis.call('ZREM', tag .. 'hosts', host)
            records[host] = nil
            count('hosts', -1)
        else
            redis.call('HSET', tag .. 'h', host, cmsgpack.pack(record))
            if record[1] > 0 and record[2] < places(record, per_host) then
                redis.call('ZADD', tag .. 'hosts', record[7], host)
            else
                redis.call('ZREM', tag .. 'hosts', host)
            end
        end
    end
    touched = {}
end

local function push(host, record, depth, item, at_head)
    redis.call(at_head and 'LPUSH' or 'RPUSH', tag .. 'q:' .. depth .. ':' .. host, item)
    if record[1] == 0 then
        record[5], record[6] = depth, depth
    else
        record[5], record[6] = math.min(record[5], depth), math.max(record[6], depth)
    end
    record[1] = record[1] + 1
    touched[host] = true
end

-- Drops what a host has queued; how many that were.
local function drop(host, record, reason)
    local dropped = record[1]
    if dropped > 0 then
        for depth = record[5], record[6] do
            redis.call('UNLINK', tag .. 'q:' .. depth .. ':' .. host)
        end
        record[1] = 0
        touched[host] = true
        count('queued', -dropped)
        count('skipped', dropped)
        redis.call('HINCRBY', tag .. 'tally', 'skip:' .. reason, dropped)
    end
end

-- Sets of integers -------------------------------------------------------------------------------

local sets = {}

local function set_of(name)
    local set = sets[name]
    if not set then
        local size, buckets = unpack(counted(name .. '_size', name .. '_buckets'))
        set = {size = size, buckets = math.max(1, buckets), level = 1, was = size, had = buckets}
        while set.level * 2 <= set.buckets do set.level = set.level * 2 end
        sets[name] = set
    end
    return set
end

local function bucket_of(set, member)
    local hash = tonumber(string.sub(member, -9))
    local bucket = hash % (set.level * 2)
    if bucket >= set.buckets then bucket = hash % set.level end
    return bucket
end

local function split(name, set)
    local from, to = set.buckets - set.level, set.buckets
    local key = tag .. name .. ':'
    local moved = {}
    for _, member in ipairs(redis.call('SMEMBERS', key .. from)) do
        if tonumber(string.sub(member, -9)) % (set.level * 2) == to then
            moved[#moved + 1] = member
        end
    end
    for i = 1, #moved, 500 do
        local last = math.min(i + 499, #moved)
        redis.call('SREM', key .. from, unpack(moved, i, last))
        redis.call('SADD', key .. to, unpack(moved, i, last))
    end
    set.buckets = to + 1
    if set.buckets == set.level * 2 then set.level = set.buckets end
end

local function put(name, member)
    local set = set_of(name)
    if redis.call('SADD', tag .. name .. ':' .. bucket_of(set, member), member) == 0 then
        return false
    end
    set.size = set.size + 1
    if set.size > set.buckets * 200 then split(name, set) end
    return true
end

local function save_sets()
    for name, set in pairs(sets) do
        if set.size ~= set.was then count(name .. '_size', set.size - set.was) end
        if set.buckets ~= set.had then count(name .. '_buckets', set.buckets - set.had) end
    end
    sets = {}
end

-- What arrives -----------------------------------------------------------------------------------

local down_known = nil
local backlog, backlog_low = {}, nil

local function is_down(host)
    if down_known == nil then down_known = redis.call('EXISTS', tag .. 'down') == 1 end
    return down_known and redis.call('HEXISTS', tag .. 'down', host) == 1
end

local function skip(reason)
    count('skipped', 1)
    redis.call('HINCRBY', tag .. 'tally', 'skip:' .. reason, 1)
end

-- Queues an item unless it has been seen; whether it is new.
local function enqueue(id, host, depth, item, limit_host)
    if not put('seen', id) then
        count('duplicates', 1)
        return false
    end
    if is_down(host) then
        skip('host_down')
        return false
    end
    if limit_host > 0 then
        local given = tonumber(redis.call('HGET', tag .. 'budget', host) or 0)
        if given >= limit_host then
            skip('limit_host')
            return false
        end
    end
    count('queued', 1)
    local record = host_of(host)
    if record then
        push(host, record, depth, item)
        return true
    end
    local list = backlog[depth]
    if not list then
        list = {}
        backlog[depth] = list
    end
    list[#list + 1] = host .. '\\n' .. item
    return true
end

local function save_backlog()
    for depth, list in pairs(backlog) do
        for i = 1, #list, 1000 do
            redis.call('RPUSH', tag .. 'b:' .. depth, unpack(list, i, math.min(i + 999, #list)))
        end
        redis.call('ZADD', tag .. 'backlogs', depth, depth)
    end
    backlog = {}
end

local function settle_state()
    local meta = redis.call('HMGET', tag .. 'meta', 'state', 'seeded')
    if meta[1] ~= 'running' or meta[2] ~= '1' then return end
    local left = counted('queued', 'running')
    if left[1] == 0 and left[2] == 0 then
        redis.call('HSET', tag .. 'meta', 'state', 'finished', 'ended', time[1])
    end
end
"""

# KEYS: the tag. ARGV: per_host, limit_host, and as msgpack: id, host, depth, item of each.
ADD: Final = (
    _COMMON
    + """
local per_host, limit_host = tonumber(ARGV[1]), tonumber(ARGV[2])
local given = cmsgpack.unpack(ARGV[3])
local new = 0
for i = 1, #given, 4 do
    if enqueue(given[i], given[i + 1], given[i + 2], given[i + 3], limit_host) then
        new = new + 1
    end
end
save_sets()
save_backlog()
save_hosts(per_host)
save_counts()
return new
"""
)

# KEYS: the tag. ARGV: worker, room, lease (ms), per_host, delay (ms), limit, limit_host, ready.
# Answers state, revision, now, when the next host is due (-1: none), queued, running, seeded, done,
# then lease, host, depth, delay that robots.txt asks for ("" or seconds), item of each.
TAKE: Final = (
    _COMMON
    + """
local worker, room, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local per_host, delay = tonumber(ARGV[4]), tonumber(ARGV[5])
local limit, limit_host, ready = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])

settle_state()
local meta = redis.call('HMGET', tag .. 'meta', 'state', 'revision', 'seeded')
local left = counted('queued', 'running', 'done', 'failed')
local answer = {meta[1] or 'gone', tonumber(meta[2] or 0), now, -1, left[1], left[2],
                tonumber(meta[3] or 0), left[3] + left[4]}
if meta[1] then redis.call('ZADD', tag .. 'workers', now + lease, worker) end
if meta[1] ~= 'running' then return answer end
if limit > 0 then
    room = math.min(room, limit - left[2] - left[3] - left[4])
    if left[3] + left[4] >= limit and left[2] == 0 then
        redis.call('HSET', tag .. 'meta', 'state', 'limited', 'reason', 'limit', 'ended', time[1])
        answer[1] = 'limited'
        return answer
    end
end

-- Opens hosts while few are due.
local backlogs = redis.call('ZRANGE', tag .. 'backlogs', 0, 0)
local due = redis.call('ZCOUNT', tag .. 'hosts', '-inf', now + 1000)
if room > 0 and backlogs[1] and due < ready then
    local depth = tonumber(backlogs[1])
    local entries = redis.call('LPOP', tag .. 'b:' .. depth, 1000)
    for i, entry in ipairs(entries or {}) do
        local at = string.find(entry, '\\n', 1, true)
        local host = string.sub(entry, 1, at - 1)
        if is_down(host) then
            count('queued', -1)
            skip('host_down')
        else
            local record = host_of(host)
            if not record then
                record = open_host(host)
                -- Hosts that are due at one time would be taken by their names.
                record[7] = now - 1 + i / 2000
            end
            push(host, record, depth, string.sub(entry, at + 1))
        end
    end
    if redis.call('EXISTS', tag .. 'b:' .. depth) == 0 then
        redis.call('ZREM', tag .. 'backlogs', depth)
    end
    save_hosts(per_host)
end

local delayed = redis.call('EXISTS', tag .. 'delays') == 1
local seq = tonumber(redis.call('HGET', tag .. 'counts', 'seq') or 0)
local was = seq
local leases = {}
local taken = 0
while room > taken do
    local hosts = redis.call('ZRANGEBYSCORE', tag .. 'hosts', '-inf', now, 'LIMIT', 0, room - taken)
    if #hosts == 0 then break end
    for _, host in ipairs(hosts) do
        local record = host_of(host)
        local may = record and record[1] > 0
        if may and limit_host > 0 then
            local given = tonumber(redis.call('HGET', tag .. 'budget', host) or 0)
            if given >= limit_host then drop(host, record, 'limit_host') end
            -- Those under way may fill it; `finish` brings the host back.
            may = given + record[2] < limit_host
        end
        if not may then
            redis.call('ZREM', tag .. 'hosts', host)
        else
            local item
            local depth = record[5]
            while depth <= record[6] do
                item = redis.call('LPOP', tag .. 'q:' .. depth .. ':' .. host)
                if item then break end
                depth = depth + 1
            end
            record[5] = depth
            touched[host] = true
            if not item then
                count('queued', -record[1])
                record[1] = 0
            else
                local own = delayed and redis.call('HGET', tag .. 'delays', host) or ''
                record[1], record[2] = record[1] - 1, record[2] + 1
                record[7] = now + math.max(delay, (tonumber(own) or 0) * 1000)
                seq = seq + 1
                taken = taken + 1
                leases[#leases + 1] = seq
                leases[#leases + 1] = depth .. '\\n' .. host .. '\\n' .. item
                local n = #answer
                answer[n + 1], answer[n + 2], answer[n + 3] = tostring(seq), host, depth
                answer[n + 4], answer[n + 5] = own or '', item
            end
        end
    end
    save_hosts(per_host)
end
save_hosts(per_host)
for i = 1, #leases, 1000 do
    redis.call('HSET', tag .. 'leases:' .. worker, unpack(leases, i, math.min(i + 999, #leases)))
end
count('queued', -taken)
count('running', taken)
count('seq', seq - was)
save_counts()
local next_due = redis.call('ZRANGE', tag .. 'hosts', 0, 0, 'WITHSCORES')
if next_due[2] then answer[4] = tonumber(next_due[2]) end
local left = counted('queued', 'running')
answer[5], answer[6] = left[1], left[2]
return answer
"""
)

# KEYS: the tag. ARGV: worker, batch (0: of no number, applied however often it comes), per_host,
# limit_host, kept (most lives), and as msgpack five lists of:
#   marks: part, before, after
#   numbers: "counts" or "tally", field, by
#   outcomes: lease, what, reached, due (ms from now), id of a page that is done, item
#       what: d a page, f no answer and no more attempts, s skipped, m moved (a redirect, a list);
#             r another attempt, b back to where it was
#       reached: 1 it was, 0 it was not, - nobody knows
#   arrivals: id, host, depth, item
#   lives: "lives", "skips", "delays", "scopes" or "robots", field, value
# Answers {"ok"}, {"again"} if the batch has been applied, {"lost", lease...} of leases that are not
# ours any more, or {"marks", part, mark...} where marks are not what we take them for. Nothing is
# applied then.
FINISH: Final = (
    _COMMON
    + """
local worker, batch, per_host = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local limit_host, kept = tonumber(ARGV[4]), tonumber(ARGV[5])
local marks, changes, outcomes, arrivals, lives = unpack(cmsgpack.unpack(ARGV[6]))

if batch > 0 and tonumber(redis.call('HGET', tag .. 'batches', worker) or 0) >= batch then
    return {'again'}
end

local wrong = {'marks'}
for i = 1, #marks, 3 do
    local mark = redis.call('HGET', tag .. 'parts', marks[i]) or '0 0'
    if mark ~= marks[i + 1] then
        wrong[#wrong + 1] = marks[i]
        wrong[#wrong + 1] = mark
    end
end
if #wrong > 1 then return wrong end

local leases = tag .. 'leases:' .. worker
local lost = {'lost'}
local held = {}
for i = 1, #outcomes, 6 do
    local value = redis.call('HGET', leases, outcomes[i])
    if not value then lost[#lost + 1] = outcomes[i] end
    held[i] = value
end
if #lost > 1 then return lost end

for i = 1, #marks, 3 do redis.call('HSET', tag .. 'parts', marks[i], marks[i + 2]) end
for i = 1, #changes, 3 do
    if changes[i] == 'counts' then
        count(changes[i + 1], changes[i + 2])
    else
        redis.call('HINCRBY', tag .. changes[i], changes[i + 1], changes[i + 2])
    end
end

for i = 1, #outcomes, 6 do
    local value = held[i]
    local first = string.find(value, '\\n', 1, true)
    local second = string.find(value, '\\n', first + 1, true)
    local depth = tonumber(string.sub(value, 1, first - 1))
    local host = string.sub(value, first + 1, second - 1)
    local what, reached, due = outcomes[i + 1], outcomes[i + 2], outcomes[i + 3]
    local record = host_of(host) or open_host(host)
    touched[host] = true
    redis.call('HDEL', leases, outcomes[i])
    record[2] = math.max(0, record[2] - 1)
    count('running', -1)
    if reached == '1' then
        record[3], record[4] = 0, 1
    elseif reached == '0' then
        record[3] = record[3] + 1
    end
    -- While it has other pages to try, a host that was not reached is tried with these.
    if due > 0 and not (what == 'r' and reached == '0' and record[1] > 0) then
        record[7] = math.max(record[7], now + due)
    end
    if what == 'r' or what == 'b' then
        if what == 'b' and outcomes[i + 5] == '' then
            push(host, record, depth, string.sub(value, second + 1), true)
        else
            push(host, record, depth, outcomes[i + 5], what == 'b')
        end
        count('queued', 1)
        if what == 'r' then count('retried', 1) end
    else
        if what == 'd' then
            put('done', outcomes[i + 4])
            count('done', 1)
            if limit_host > 0 then
                local given = redis.call('HINCRBY', tag .. 'budget', host, 1)
                if given >= limit_host then drop(host, record, 'limit_host') end
            end
        elseif what == 'f' then
            count('failed', 1)
        elseif what == 's' then
            count('skipped', 1)
        end
    end
    if record[3] >= 5 and reached == '0' then
        drop(host, record, 'host_down')
        redis.call('HSET', tag .. 'down', host, time[1])
        down_known = true
    end
end

for i = 1, #arrivals, 4 do
    enqueue(arrivals[i], arrivals[i + 1], arrivals[i + 2], arrivals[i + 3], limit_host)
end

local room = {}
for i = 1, #lives, 3 do
    local name = lives[i]
    if name == 'scopes' then
        redis.call('SADD', tag .. name, lives[i + 1])
    else
        local most = name == 'lives' and kept or name == 'robots' and 10000 or 100000
        room[name] = room[name] or most - redis.call('HLEN', tag .. name)
        if room[name] > 0 then
            room[name] = room[name] - redis.call('HSET', tag .. name, lives[i + 1], lives[i + 2])
        end
    end
end

if batch > 0 then redis.call('HSET', tag .. 'batches', worker, batch) end
save_sets()
save_backlog()
save_hosts(per_host)
save_counts()
settle_state()
return {'ok'}
"""
)

# KEYS: the tag. ARGV: per_host, most, and the worker; without one, the first whose time is over.
# Answers its name, how many of its leases went back, and how many are left of them.
RECOVER: Final = (
    _COMMON
    + """
local per_host, most, worker = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
if not worker then
    worker = redis.call('ZRANGEBYSCORE', tag .. 'workers', '-inf', now, 'LIMIT', 0, 1)[1]
    if not worker then return false end
end
local key = tag .. 'leases:' .. worker
local found = redis.call('HSCAN', key, 0, 'COUNT', most)[2]
local back = 0
for i = 1, #found, 2 do
    local value = found[i + 1]
    local first = string.find(value, '\\n', 1, true)
    local second = string.find(value, '\\n', first + 1, true)
    local host = string.sub(value, first + 1, second - 1)
    local record = host_of(host) or open_host(host)
    local item = string.sub(value, second + 1)
    -- Its first byte counts how often that has happened.
    item = string.char(math.min(255, string.byte(item, 1) + 1)) .. string.sub(item, 2)
    record[2] = math.max(0, record[2] - 1)
    push(host, record, tonumber(string.sub(value, 1, first - 1)), item, true)
    redis.call('HDEL', key, found[i])
    back = back + 1
end
count('running', -back)
count('queued', back)
local left = redis.call('HLEN', key)
if left == 0 then
    redis.call('ZREM', tag .. 'workers', worker)
    redis.call('HDEL', tag .. 'batches', worker)
end
save_hosts(per_host)
save_counts()
settle_state()
return {worker, back, left}
"""
)

# KEYS: the tag. ARGV: worker, lease (ms). Whether it is still known.
RENEW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1] .. 'meta', 'last', time[1])
return redis.call('ZADD', KEYS[1] .. 'workers', 'XX', 'CH', now + ARGV[2], ARGV[1])
"""
