-- DEPTH max_outstanding
-- Replies: how many items are at work, the age of the oldest in milliseconds or -1 where there is none,
-- how many dead letters there are, and whether it is full for who has not begun to add (1 or 0).
local oldest_ms = -1
local oldest = redis.call('XRANGE', work, '-', '+', 'COUNT', 1)[1]
if oldest then
  local time = redis.call('TIME')
  local unix_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  -- The clock may have been set back since.
  oldest_ms = math.max(0, unix_ms - tonumber(oldest[1]:match('^%d+')))
end
local full = room(tonumber(ARGV[1]), SHARE_TO_BEGIN) == 0
return { redis.call('XLEN', work), oldest_ms, redis.call('XLEN', dead), full and 1 or 0 }
