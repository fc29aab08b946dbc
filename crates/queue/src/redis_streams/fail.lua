-- FAIL consumer entry token reason max_starts rest_idle_ms
-- Records an attempt. The last one makes a dead letter; others rest, which is to be owned by nobody
-- with an idle time that reaches the lease when the rest is over.
-- Replies: holds, fenced, gone.
local consumer, entry, token, reason = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local answer = standing(entry, consumer, token)
if answer ~= 'holds' then return answer end
note_attempt(entry, consumer, reason)
if tonumber(redis.call('HGET', starts, entry)) >= tonumber(ARGV[5]) then
  bury(entry)
else
  redis.call('HDEL', tokens, entry)
  own(entry, NOBODY, ARGV[6])
end
return answer
