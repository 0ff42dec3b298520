-- Counts one request of a caller in all windows, or in none if any refuses it.
--
-- KEYS[1]  when the caller will have rested, by window: microseconds of this server's clock, which is
--          the only one that gateways share
-- ARGV     of each window: microseconds in which one request comes back, and in which all do
-- Returns microseconds to wait (0: admitted), then those until the caller has rested, by window.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local rested_at = {}
for at in string.gmatch(redis.call('GET', KEYS[1]) or '', '%d+') do
  rested_at[#rested_at + 1] = tonumber(at)
end

local answer = {0}
for window = 1, #ARGV / 2 do
  local interval, whole = tonumber(ARGV[2 * window - 1]), tonumber(ARGV[2 * window])
  -- Nobody owes more than a window, unless this clock was set back.
  local owed = math.min(math.max((rested_at[window] or 0) - now, 0), whole)
  answer[window + 1] = owed
  answer[1] = math.max(answer[1], owed + interval - whole)
end
if answer[1] > 0 then
  return answer
end

local longest = 0
for window = 1, #ARGV / 2 do
  local owed = answer[window + 1] + tonumber(ARGV[2 * window - 1])
  answer[window + 1] = owed
  rested_at[window] = string.format('%.0f', now + owed)
  longest = math.max(longest, owed)
end
redis.call('SET', KEYS[1], table.concat(rested_at, ' ', 1, #ARGV / 2), 'PX', math.ceil(longest / 1000) + 1)
return answer
