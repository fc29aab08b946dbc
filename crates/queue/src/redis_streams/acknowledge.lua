-- ACKNOWLEDGE upto count
-- Trims up to `count` results and forgets their items, unless an item moved on since (requeued).
-- Replies how many were trimmed; the caller repeats until that is less than `count`.
local entries = redis.call('XRANGE', results, '-', ARGV[1], 'COUNT', ARGV[2])
for _, entry in ipairs(entries) do
  local item = entry[2][2]
  if redis.call('HGET', items, item) == 'r' .. entry[1] then redis.call('HDEL', items, item) end
  redis.call('XDEL', results, entry[1])
end
return #entries
