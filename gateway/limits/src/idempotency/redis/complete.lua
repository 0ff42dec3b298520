-- Puts an answer where the owner's lock was, or where nobody holds one any more.
--
-- KEYS[1]  as in begin.lua
-- ARGV     owner, fingerprint, milliseconds that the answer is kept, status_code, headers,
--          created_at, and, unless it is too large, body
-- Returns  1, or 0 when another has taken the key.

local owner = redis.call('HGET', KEYS[1], 'owner')
if owner and owner ~= ARGV[1] then
  return 0
end
redis.call(
  'HSET', KEYS[1], 'owner', ARGV[1], 'fingerprint', ARGV[2],
  'status_code', ARGV[4], 'headers', ARGV[5], 'created_at', ARGV[6]
)
if ARGV[7] then
  redis.call('HSET', KEYS[1], 'body', ARGV[7])
end
return redis.call('PEXPIRE', KEYS[1], ARGV[3])
