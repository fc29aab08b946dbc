-- CANCEL item...
-- Removes work that is not settled, and dead letters. Replies how many there were.
local cancelled = 0
for _, item in ipairs(ARGV) do
  local place = redis.call('HGET', items, item)
  local kind, position = place and place:sub(1, 1), place and place:sub(2)
  if kind == 'w' or kind == 'd' then
    if kind == 'w' then forget(position) else redis.call('XDEL', dead, position) end
    redis.call('HDEL', items, item)
    cancelled = cancelled + 1
  end
end
return cancelled
