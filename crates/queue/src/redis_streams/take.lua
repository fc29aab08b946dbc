-- TAKE consumer lease_ms lost_reason
-- One entry that was released or whose lease is over, with the token in force revoked.
-- Replies: entry, suspect (1 or 0); nothing when there is none.
local consumer, lease_ms = ARGV[1], tonumber(ARGV[2])

local function idle_for(min_ms)
  return redis.call('XPENDING', work, GROUP, 'IDLE', min_ms, '-', '+', 1)[1]
end

-- While Redis was away nobody could renew: after a restart holders get one lease to do so.
local function restarted_within_a_lease()
  local info = redis.call('INFO', 'server')
  return tonumber(info:match('uptime_in_seconds:(%d+)')) * 1000 < lease_ms
end

local candidate = idle_for(lease_ms)
if candidate and candidate[3] < RELEASED_MS and restarted_within_a_lease() then
  candidate = idle_for(RELEASED_MS)
end
if not candidate then return false end

local entry, former = candidate[1], candidate[2]
local claimed = redis.call('XCLAIM', work, GROUP, consumer, 0, entry)[1]
-- A pending entry that is no longer in the stream was dropped from the group by XCLAIM.
if not claimed then return false end
if redis.call('HDEL', tokens, entry) == 1 then
  note_attempt(entry, former, ARGV[3])
  redis.call('SADD', suspects, entry)
end
if former ~= consumer then forget_if_idle(former) end
return { claimed, redis.call('SISMEMBER', suspects, entry) }
