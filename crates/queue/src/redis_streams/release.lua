-- RELEASE consumer dropped_reason (entry token returns_start rests)...
-- Makes entries claimable: at once, or with rests 1 when a lease has passed. An empty token: not started.
-- With returns_start 1 the start does not count; otherwise it is recorded as an attempt.
-- Replies for each: holds, fenced, gone.
local consumer = ARGV[1]
local replies = {}
for i = 3, #ARGV, 4 do
  local entry, token = ARGV[i], ARGV[i + 1]
  local owner, in_force = owner_of(entry), redis.call('HGET', tokens, entry) or ''
  local answer = 'holds'
  if not owner then
    answer = 'gone'
  elseif owner ~= consumer or in_force ~= token then
    answer = 'fenced'
  else
    if token ~= '' then
      redis.call('HDEL', tokens, entry)
      if ARGV[i + 2] == '1' then
        redis.call('HINCRBY', starts, entry, -1)
      else
        note_attempt(entry, consumer, ARGV[2])
      end
    end
    own(entry, NOBODY, ARGV[i + 3] == '1' and 0 or RELEASED_MS)
  end
  replies[#replies + 1] = answer
end
return replies
