-- ENQUEUE max_outstanding (item headers payload)...
-- Replies, in order and up to the first item that found the queue full: 1 added, 0 duplicate. Memory is
-- looked at once: what one call brings is little beside the room that is kept.
local left = room(tonumber(ARGV[1]), SHARE_TO_FILL)
local replies = {}
for i = 2, #ARGV, 3 do
  if redis.call('HEXISTS', items, ARGV[i]) == 1 then
    replies[#replies + 1] = 0
  elseif left == 0 then
    break
  else
    add(ARGV[i], ARGV[i + 1], ARGV[i + 2])
    left = left - 1
    replies[#replies + 1] = 1
  end
end
return replies
