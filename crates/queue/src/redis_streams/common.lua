#!lua flags=allow-oom
-- Stands in front of every script. Redis refuses none of them for want of memory: settling is what makes
-- room, so it must be possible when there is none. The scripts that add look at its memory themselves.
-- All take the same KEYS, which share one hash slot:
--   work      stream: i(tem), h(eaders), p(ayload); one consumer group
--   results   stream: i, h, k(ind), then by kind: n (start) t(oken) p | a(ttempts) | p
--   dead      stream: i, h, a, p
--   items     hash: item -> w|r|d and the position in work, results or dead
--   tokens    hash: work position -> token in force; absent when not started
--   starts    hash: work position -> starts counted
--   attempts  hash: work position -> a JSON object a line
--   suspects  set of work positions that lost a start with its worker
--   traces    hash: work position -> trace context of its newest start, where that was traced
local work, results, dead, items, tokens, starts, attempts, suspects, traces = unpack(KEYS)

local GROUP = 'workers'
-- Owner of what was given up, so that its former owner is fenced at once.
local NOBODY = 'nobody'
-- Idle time of a released entry, thirty days: more than any lease.
local RELEASED_MS = 2592000000

-- Share of maxmemory up to which items and progress are taken; the rest is room for what settles them.
local SHARE_TO_FILL = 0.8
-- Share at which who only looks is told that it is full, so that nothing new is begun while what has begun
-- still gets in. The distance also hides what the arguments of a call take while it runs.
local SHARE_TO_BEGIN = 0.75

-- How much of maxmemory is taken; 0 where there is no bound, or Redis does not tell.
local function memory_taken()
  local info = redis.call('INFO', 'memory')
  local max = tonumber(info:match('maxmemory:(%d+)') or 0)
  if max == 0 then return 0 end
  return tonumber(info:match('used_memory:(%d+)')) / max
end

-- How many items more are taken while no more than this share of memory is.
local function room(max_outstanding, share)
  if memory_taken() >= share then return 0 end
  return math.max(0, max_outstanding - redis.call('HLEN', items))
end

local function owner_of(entry)
  local pending = redis.call('XPENDING', work, GROUP, entry, entry, 1)[1]
  return pending and pending[2]
end

-- XACK and XCLAIM know no fence, so every step asks this first.
local function standing(entry, consumer, token)
  local owner = owner_of(entry)
  if not owner then return 'gone' end
  if owner ~= consumer or redis.call('HGET', tokens, entry) ~= token then return 'fenced' end
  return 'holds'
end

-- Sets the idle time; JUSTID does not count a delivery.
local function own(entry, consumer, idle_ms)
  redis.call('XCLAIM', work, GROUP, consumer, 0, entry, 'IDLE', idle_ms, 'JUSTID')
end

local function add(item, headers, payload)
  local entry = redis.call('XADD', work, '*', 'i', item, 'h', headers, 'p', payload)
  redis.call('HSET', items, item, 'w' .. entry)
end

-- Removes a work entry with all that is known about it.
local function forget(entry)
  redis.call('XACK', work, GROUP, entry)
  redis.call('XDEL', work, entry)
  redis.call('HDEL', tokens, entry)
  redis.call('HDEL', starts, entry)
  redis.call('HDEL', attempts, entry)
  redis.call('SREM', suspects, entry)
  redis.call('HDEL', traces, entry)
end

local function note_attempt(entry, worker, reason)
  local time = redis.call('TIME')
  local unix_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  local line = cjson.encode({ worker = worker, unix_ms = unix_ms, reason = reason })
  local before = redis.call('HGET', attempts, entry)
  redis.call('HSET', attempts, entry, before and before .. '\n' .. line or line)
end

-- Turns a work entry into a dead letter.
local function bury(entry)
  local fields = redis.call('XRANGE', work, entry, entry)[1][2]
  local item, headers, payload = fields[2], fields[4], fields[6]
  local log = redis.call('HGET', attempts, entry) or ''
  local letter = redis.call('XADD', dead, '*', 'i', item, 'h', headers, 'a', log, 'p', payload)
  redis.call('XADD', results, '*', 'i', item, 'h', headers, 'k', 'dead', 'a', log)
  redis.call('HSET', items, item, 'd' .. letter)
  forget(entry)
end

-- XGROUP DELCONSUMER drops what the consumer owns, so only one that owns nothing is deleted. A live
-- one is created again by its next read.
local function forget_if_idle(consumer)
  if #redis.call('XPENDING', work, GROUP, '-', '+', 1, consumer) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', work, GROUP, consumer)
  end
end

-- Scripts go on below.
