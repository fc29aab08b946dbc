-- CANCEL item...
-- Removes work that is not settled. Replies how much there was.
local cancelled = 0
for _, item in ipairs(ARGV) do
  local place = redis.call('HGET', items, item)
  if place and place:sub(1, 1) == 'w' then
    forget(place:sub(2))
    redis.call('HDEL', items, item)
    cancelled = cancelled + 1
  end
end
return cancelled
