-- START consumer entry nonce max_starts trace
-- Counts a start and puts its token in force. Repeating it with the same nonce counts once. A trace
-- context is kept for the next start, which is told it; an empty one leaves the last as it is.
-- Replies two texts: the token, and the trace context of the start before, or ''; or, before a '',
-- one of dead, fenced, gone.
local consumer, entry, nonce, max_starts = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local trace = ARGV[5]

local owner = owner_of(entry)
if not owner then return { 'gone', '' } end
if owner ~= consumer then return { 'fenced', '' } end
local token = redis.call('HGET', tokens, entry)
if token and token:match(':(.*)$') == nonce then return { token, '' } end

-- A result may be larger than its item. Where memory is full, those there are must be taken in first.
if redis.call('XLEN', results) > 0 and memory_taken() >= 1 then
  return redis.error_reply('OOM results wait to be taken in')
end

local start = redis.call('HINCRBY', starts, entry, 1)
if start > max_starts then
  bury(entry)
  return { 'dead', '' }
end
token = start .. ':' .. nonce
redis.call('HSET', tokens, entry, token)
own(entry, consumer, 0)
if trace == '' then return { token, '' } end
local before = redis.call('HGET', traces, entry)
redis.call('HSET', traces, entry, trace)
return { token, before or '' }
