-- Takes the lock of a key, or tells what is there.
--
-- KEYS[1]  fingerprint, owner; once the request has been carried out status_code, headers,
--          created_at and, unless it was too large, body
-- ARGV     owner, fingerprint, milliseconds that the lock lasts, owner of what was abandoned
-- Returns  {taken}, {running}, {abandoned, milliseconds left}, {other}, or
--          {status_code, headers, created_at, body}.

local found = redis.call(
  'HMGET', KEYS[1], 'fingerprint', 'owner', 'status_code', 'headers', 'created_at', 'body'
)
if not found[1] then
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'fingerprint', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return {{ok = 'taken'}}
elseif found[1] ~= ARGV[2] then
  return {{ok = 'other'}}
elseif found[3] then
  return {found[3], found[4], found[5], found[6]}
elseif found[2] == ARGV[1] then
  -- Asked again, because the first answer was lost.
  return {{ok = 'taken'}}
elseif found[2] == ARGV[4] then
  return {{ok = 'abandoned'}, redis.call('PTTL', KEYS[1])}
end
return {{ok = 'running'}}
