-- Takes tokens back.
-- KEYS: by number, by end, the last number. ARGV: for each what, and its end in milliseconds since 1970.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000
for _, what in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1000)) do
  redis.call('ZREM', KEYS[1], what)
  redis.call('ZREM', KEYS[2], what)
end
for i = 1, #ARGV, 2 do
  local what, ends = ARGV[i], tonumber(ARGV[i + 1])
  local known = redis.call('ZSCORE', KEYS[2], what)
  -- What is no news is not told again.
  if ends > now and (not known or tonumber(known) < ends) then
    redis.call('ZADD', KEYS[2], ARGV[i + 1], what)
    redis.call('ZADD', KEYS[1], redis.call('INCR', KEYS[3]), what)
  end
end
return 1
