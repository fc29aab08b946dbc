-- ENQUEUE max_outstanding (item headers payload)...
-- Replies, in order and up to the first item that found the queue full: 1 added, 0 duplicate.
local max_outstanding = tonumber(ARGV[1])
local held = redis.call('HLEN', items)
local replies = {}
for i = 2, #ARGV, 3 do
  if redis.call('HEXISTS', items, ARGV[i]) == 1 then
    replies[#replies + 1] = 0
  elseif held >= max_outstanding then
    break
  else
    add(ARGV[i], ARGV[i + 1], ARGV[i + 2])
    held = held + 1
    replies[#replies + 1] = 1
  end
end
return replies
