-- WORKERS max
-- Consumers of the group, and up to so many of the entries in their hands, oldest first. Those that
-- wait to be tried again are in nobody's.
-- Replies: { { consumer, idle_ms }... }, { { consumer, item, starts, is started (1 or 0), idle_ms }... }
local consumers, held = {}, {}
for _, fields in ipairs(redis.call('XINFO', 'CONSUMERS', work, GROUP)) do
  local consumer = {}
  for i = 1, #fields, 2 do consumer[fields[i]] = fields[i + 1] end
  if consumer.name ~= NOBODY then
    consumers[#consumers + 1] = { consumer.name, consumer.idle }
  end
end
for _, pending in ipairs(redis.call('XPENDING', work, GROUP, '-', '+', ARGV[1])) do
  local entry, owner, idle_ms = pending[1], pending[2], pending[3]
  local fields = owner ~= NOBODY and redis.call('XRANGE', work, entry, entry)[1]
  if fields then
    local starts = tonumber(redis.call('HGET', starts, entry) or 0)
    held[#held + 1] = { owner, fields[2][2], starts, redis.call('HEXISTS', tokens, entry), idle_ms }
  end
end
return { consumers, held }
