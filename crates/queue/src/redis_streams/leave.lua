-- LEAVE consumer
-- The group forgets a consumer that owns nothing; one that owns entries stays until they are taken.
forget_if_idle(ARGV[1])
