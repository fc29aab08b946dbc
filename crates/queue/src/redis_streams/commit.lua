-- COMMIT consumer entry token item headers payload
-- The result becomes visible and the work disappears, or neither.
-- Replies: holds (committed, also by an earlier call with this token), fenced, gone.
local consumer, entry, token, item = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local answer = standing(entry, consumer, token)
if answer == 'holds' then
  local result = redis.call('XADD', results, '*', 'i', item, 'h', ARGV[5], 'k', 'done',
    'n', token:match('^%d+'), 't', token, 'p', ARGV[6])
  redis.call('HSET', items, item, 'r' .. result)
  forget(entry)
elseif answer == 'gone' then
  -- Settled and not acknowledged yet: by this very start?
  local place = redis.call('HGET', items, item)
  if place and place:sub(1, 1) == 'r' then
    local settled = redis.call('XRANGE', results, place:sub(2), place:sub(2))[1]
    answer = settled and settled[2][10] == token and 'holds' or 'fenced'
  end
end
return answer
