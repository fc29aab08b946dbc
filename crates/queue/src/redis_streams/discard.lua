-- DISCARD item...
-- Removes dead letters. Replies how many there were.
local discarded = 0
for _, item in ipairs(ARGV) do
  local place = redis.call('HGET', items, item)
  if place and place:sub(1, 1) == 'd' then
    redis.call('XDEL', dead, place:sub(2))
    redis.call('HDEL', items, item)
    discarded = discarded + 1
  end
end
return discarded
