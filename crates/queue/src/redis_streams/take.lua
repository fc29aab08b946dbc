-- TAKE consumer lease_ms lost_reason
-- One entry that was released or whose lease is over, with the token in force revoked.
-- Replies: entry, suspect (1 or 0), whether a start was lost (1 or 0); nothing when there is none.
local consumer, lease_ms = ARGV[1], tonumber(ARGV[2])

-- XPENDING looks at all pending entries; XAUTOCLAIM would look at ten for each that it returns.
local function idle(count)
  return redis.call('XPENDING', work, GROUP, 'IDLE', lease_ms, '-', '+', count)
end

local function is_started(entry)
  return redis.call('HEXISTS', tokens, entry) == 1
end

local function restarted_within_a_lease()
  local info = redis.call('INFO', 'server')
  return tonumber(info:match('uptime_in_seconds:(%d+)')) * 1000 < lease_ms
end

local candidate = idle(1)[1]
-- While Redis was away nobody could renew: after a restart holders get one lease to do so.
if candidate and is_started(candidate[1]) and restarted_within_a_lease() then
  candidate = nil
  for _, other in ipairs(idle(100)) do
    if not is_started(other[1]) then
      candidate = other
      break
    end
  end
end
if not candidate then return false end

local entry, former = candidate[1], candidate[2]
local claimed = redis.call('XCLAIM', work, GROUP, consumer, 0, entry)[1]
-- A pending entry that is no longer in the stream was dropped from the group by XCLAIM.
if not claimed then return false end
local lost = redis.call('HDEL', tokens, entry)
if lost == 1 then
  note_attempt(entry, former, ARGV[3])
  redis.call('SADD', suspects, entry)
end
if former ~= consumer then forget_if_idle(former) end
return { claimed, redis.call('SISMEMBER', suspects, entry), lost }
