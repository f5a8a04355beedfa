"""The Lua of a sorted set of proxies, one script for each method of `proxy_set.ProxySet`.

`COMMON` goes before each of them. Numbers come as texts; times are milliseconds on Redis's clock.
"""

from typing import Final

# What all scripts of a sorted set share.
# KEYS: the sorted set, due, tombs, records, changes, version, charged.
COMMON: Final = """
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local now = clock()
local function epoch() -- in microseconds: a set may be emptied and filled within a millisecond
  local time = redis.call('TIME')
  return string.format('%.0f', time[1] * 1000000 + time[2])
end
local function changed(member)
  local n = redis.call('HINCRBY', KEYS[6], 'n', 1)
  if n == 1 then redis.call('HSET', KEYS[6], 'epoch', epoch()) end
  redis.call('ZADD', KEYS[5], n, member)
end
local function even(time) return string.format('%d', time - time % 2) end
local function odd(time) return string.format('%d', time - (time + 1) % 2) end
local function outage()
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
-- The record of a member that is there with what its owner says of it, or nil if it says so. Who
-- was not checked, or is not from now on, begins anew: no check would forget what others showed.
local function retold(member, text)
  local given = cmsgpack.unpack(text)
  local read, known = pcall(cmsgpack.unpack, redis.call('HGET', KEYS[4], member) or '')
  if not read or type(known) ~= 'table' or known.never_check ~= given.never_check then
    return text
  end
  local same = true
  for _, name in ipairs({'source', 'own', 'country'}) do
    same = same and known[name] == given[name]
    known[name] = given[name]
  end
  return not same and cmsgpack.pack(known) or nil
end
-- The field of a record that says so, as both packers of MessagePack write it: no need to unpack.
local SHARED = '\\166shared\\195'
local kept = 0
local function make_room(initial, tomb)
  while kept < 1000 do
    local worst = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. initial, 'LIMIT', kept, 1)
    if #worst == 0 then return false end
    if not is_own(worst[1]) then
      bury(worst[1], now + tomb)
      return true
    end
    kept = kept + 1
  end
  return false
end
"""

# ARGV: initial score, members the set may have (-1: any number), who asks ("operator": no tomb and
# no limit counts, "caller": no tomb, "": a harvest), maximum, milliseconds of a tomb, then member,
# record, whose it is ("own": the operator's; "never": likewise, and never to be checked: it counts
# as good, then, and is due never), and the field of the record that names its source, in turn.
# What the operator says of his own counts for those that are there as well. Whatever it changes is
# due at once, so that a check under way, which knows the old record, is void.
# Whom a harvest finds there from another source is marked as shared, once; a check under way stays
# good, as SETTLE keeps the mark. Of 20,000 that are there, looking for the mark or for this source
# in their records takes Redis 50 to 80 ms more than the 80 of a look at their scores; marking them
# all takes 500, once, as their entry did.
# A full set makes room for a newcomer by the worst of those that have failed since they came, but
# never by the operator's own.
# Returns {added, refused by their tombs, refused for want of room}.
ADD: Final = """
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
local function share(member, source)
  local known = redis.call('HGET', KEYS[4], member)
  if not known or string.find(known, SHARED, 1, true) or string.find(known, source, 1, true) then
    return
  end
  local read, record = pcall(cmsgpack.unpack, known)
  local _, name = cmsgpack.unpack(source)
  if not read or type(record) ~= 'table' or record.own then return end
  if (record.source or '') == '' or record.source == name then return end
  record.shared = true
  redis.call('HSET', KEYS[4], member, cmsgpack.pack(record))
  changed(member)
end
for i = 6, #ARGV, 4 do
  local member, own, never = ARGV[i], ARGV[i + 2] ~= '', ARGV[i + 2] == 'never'
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
  elseif own then
    local record = retold(member, ARGV[i + 1])
    local spared = redis.call('ZSCORE', KEYS[2], member) == 'inf'
    if record or never ~= spared or never and tonumber(score) ~= tonumber(max) then
      if never then redis.call('ZADD', KEYS[1], max, member) end
      redis.call('ZADD', KEYS[2], never and '+inf' or now, member)
      if record then redis.call('HSET', KEYS[4], member, record) end
      changed(member)
    end
  elseif ARGV[3] == '' and ARGV[i + 3] ~= '' then
    share(member, ARGV[i + 3])
  end
end
return {new, buried, full}
"""

# ARGV: how many to remove at the most, initial score, milliseconds of a tomb. The worst of those
# that have failed since they came, but never the operator's own. Returns how many.
MAKE_ROOM: Final = """
local freed = 0
while freed < tonumber(ARGV[1]) and make_room(ARGV[2], ARGV[3]) do freed = freed + 1 end
return freed
"""

# ARGV: how many, milliseconds that a claim holds.
# Returns member, claim, record ('' if none) in turn. Members that others removed are forgotten.
CLAIM: Final = """
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
CLAIM_THESE: Final = """
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

# ARGV: maximum, minimum, milliseconds of a tomb, then member, claim, how its check ended
# (pass, fail or none), milliseconds until the next check, record in turn.
# A mark that came while the check was under way is kept.
# Returns {kept, removed, void}. `score.next_score` states the rule.
SETTLE: Final = """
local max, min = tonumber(ARGV[1]), tonumber(ARGV[2])
local kept, removed, void = 0, 0, 0
for i = 4, #ARGV, 5 do
  local member, ended = ARGV[i], ARGV[i + 2]
  local score = redis.call('ZSCORE', KEYS[1], member)
  local claim = redis.call('ZSCORE', KEYS[2], member)
  if not score or not claim or tonumber(claim) ~= tonumber(ARGV[i + 1]) then
    void = void + 1
  elseif ended == 'fail' and not lower(member, tonumber(score), max, min, ARGV[3]) then
    removed = removed + 1
  else
    if ended == 'pass' then redis.call('ZADD', KEYS[1], 'XX', max, member) end
    redis.call('ZADD', KEYS[2], 'XX', even(now + ARGV[i + 3]), member)
    if ended ~= 'none' then
      local record, known = ARGV[i + 4], redis.call('HGET', KEYS[4], member) or ''
      if string.find(known, SHARED, 1, true) and not string.find(record, SHARED, 1, true) then
        record = cmsgpack.unpack(record)
        record.shared = true
        record = cmsgpack.pack(record)
      end
      redis.call('HSET', KEYS[4], member, record)
      changed(member)
    end
    kept = kept + 1
  end
end
return {kept, removed, void}
"""

# ARGV: member, claim in turn. They are due at once. Returns how many.
GIVE_BACK: Final = """
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
REMOVE: Final = """
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
ADOPT: Final = """
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
# next check may be put off, in turn. During an outage nobody loses anything, nor does who is
# never checked, as nothing would lift it again; a check that somebody has claimed is not put off,
# as that would make it void.
# Returns {lifted, lowered, removed}.
ENTER: Final = """
local max, min, tomb, pause = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local lifted, lowered, removed = 0, 0, 0
local immune = outage() ~= ''
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

# ARGV: a URL, milliseconds for which there is an outage on its account; '' and 0 end it.
OUTAGE: Final = """
if ARGV[1] == '' then
  redis.call('HDEL', KEYS[6], 'frozen', 'until')
else
  redis.call('HSET', KEYS[6], 'frozen', ARGV[1], 'until', now + ARGV[2])
end
"""

# ARGV: milliseconds of grace, tombs at most, how many to look at.
# Drops tombs that closed longer ago, and the oldest above the number. Returns how many.
CLEAN: Final = """
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

# ARGV: how many to pass over, how many to look at. Of those that are never due, forgets who was
# removed by others: no claim comes to them. Returns {looked at, forgotten}.
FORGET: Final = """
local spared = redis.call('ZRANGEBYSCORE', KEYS[2], '+inf', '+inf', 'LIMIT', ARGV[1], ARGV[2])
local forgotten = 0
for _, member in ipairs(spared) do
  if not redis.call('ZSCORE', KEYS[1], member) then
    bury(member, now)
    forgotten = forgotten + 1
  end
end
return {#spared, forgotten}
"""

# ARGV: the last change known, how many.
# Returns the number of the newest change, its epoch, the URL whose outage there is ('' if none),
# then member, its change, score and record ('' if it is gone, or has none) in turn, oldest change
# first.
CHANGES: Final = """
local version = redis.call('HMGET', KEYS[6], 'n', 'epoch')
local seen = {version[1] or '0', version[2] or '0', outage()}
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
