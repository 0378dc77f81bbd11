-- Takes tokens back.
-- KEYS: by number, by end, by issue, the last number, the epoch.
-- ARGV: a name for an epoch that begins; then for each what, its end in milliseconds since 1970, and until
-- when that was issued which is meant, in microseconds, or 0.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000
for _, what in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1000)) do
  for i = 1, 3 do
    redis.call('ZREM', KEYS[i], what)
  end
end
redis.call('SET', KEYS[5], ARGV[1], 'NX')
for i = 2, #ARGV, 3 do
  local what, ends, issued = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local known, upto = redis.call('ZSCORE', KEYS[2], what), redis.call('ZSCORE', KEYS[3], what)
  local longer = not known or tonumber(known) < ends
  local later = tonumber(upto or '0') < issued
  -- What is no news is not told again.
  if ends > now and (longer or later) then
    if longer then
      redis.call('ZADD', KEYS[2], ARGV[i + 1], what)
    end
    if later then
      redis.call('ZADD', KEYS[3], ARGV[i + 2], what)
    end
    redis.call('ZADD', KEYS[1], redis.call('INCR', KEYS[4]), what)
  end
end
return 1
