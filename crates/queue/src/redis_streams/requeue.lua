-- REQUEUE item...
-- Dead letters become work again, with all their starts. Replies how many there were.
local requeued = 0
for _, item in ipairs(ARGV) do
  local place = redis.call('HGET', items, item)
  if place and place:sub(1, 1) == 'd' then
    local letter = place:sub(2)
    local fields = redis.call('XRANGE', dead, letter, letter)[1][2]
    redis.call('XDEL', dead, letter)
    add(item, fields[4], fields[8])
    requeued = requeued + 1
  end
end
return requeued
