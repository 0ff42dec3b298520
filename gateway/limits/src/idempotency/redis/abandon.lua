-- Leaves a lock where it is, as nobody's, if it is the owner's.
--
-- KEYS[1]  as in begin.lua
-- ARGV     owner, milliseconds that the lock lasts from now on, owner of what was abandoned
-- Returns  1, or 0 when it is the owner's no more.

local found = redis.call('HMGET', KEYS[1], 'owner', 'status_code')
if found[1] ~= ARGV[1] or found[2] then
  return 0
end
redis.call('HSET', KEYS[1], 'owner', ARGV[3])
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
