-- Gives a lock back, if it is the owner's.
--
-- KEYS[1]  as in begin.lua
-- ARGV     owner
-- Returns  the number of locks given back.

local found = redis.call('HMGET', KEYS[1], 'owner', 'status_code')
if found[1] ~= ARGV[1] or found[2] then
  return 0
end
return redis.call('DEL', KEYS[1])
