-- HEARTBEAT consumer (entry token)...
-- Resets the idle time of what still holds. An empty token: not started, ownership suffices.
-- Replies for each: holds, fenced, gone.
local consumer = ARGV[1]
local replies = {}
for i = 2, #ARGV, 2 do
  local entry, token = ARGV[i], ARGV[i + 1]
  local answer
  if token ~= '' then
    answer = standing(entry, consumer, token)
  else
    local owner = owner_of(entry)
    answer = not owner and 'gone' or owner == consumer and 'holds' or 'fenced'
  end
  if answer == 'holds' then own(entry, consumer, 0) end
  replies[#replies + 1] = answer
end
return replies
