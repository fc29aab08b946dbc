-- PROGRESS consumer entry token item headers payload max_unread
-- Replies: 1 recorded, 0 dropped.
if standing(ARGV[2], ARGV[1], ARGV[3]) ~= 'holds' then return 0 end
if redis.call('XLEN', results) >= tonumber(ARGV[7]) or memory_taken() >= SHARE_TO_FILL then return 0 end
redis.call('XADD', results, '*', 'i', ARGV[4], 'h', ARGV[5], 'k', 'progress', 'p', ARGV[6])
return 1
