-- OPEN
-- Makes the work stream and its group where they are missing.
local made = redis.pcall('XGROUP', 'CREATE', work, GROUP, '0', 'MKSTREAM')
if made.err and not made.err:find('BUSYGROUP') then return made end
return redis.status_reply('OK')
