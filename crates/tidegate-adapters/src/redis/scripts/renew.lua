-- Renews the lease of a node, or has it join, and looks whose lease has lapsed.
-- KEYS: leases, dead, buried, the last renewal of anybody, the lengths of leases. ARGV: the node, milliseconds, 1 to join, milliseconds that the buried are known.
-- Gives: held, unknown or dead; the members; the dead; seconds, microseconds.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local lease = tonumber(ARGV[2])
local last = redis.call('GET', KEYS[4])
local away = last and now - tonumber(last) > lease * 2 / 3
local leases = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #leases, 2 do
  local longest = now + tonumber(redis.call('HGET', KEYS[5], leases[i]) or lease)
  -- Where nobody could renew, that they are silent says nothing of them. Where the clock was set back, none
  -- lasts longer than if it were renewed now.
  if away or tonumber(leases[i + 1]) > longest then
    redis.call('ZADD', KEYS[1], longest, leases[i])
  end
end
redis.call('SET', KEYS[4], now)
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('ZREM', KEYS[1], node)
  redis.call('HDEL', KEYS[5], node)
  redis.call('ZADD', KEYS[2], now, node)
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - tonumber(ARGV[4]))
local membership = 'unknown'
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  membership = 'held'
elseif redis.call('ZSCORE', KEYS[2], ARGV[1]) or redis.call('ZSCORE', KEYS[3], ARGV[1]) then
  membership = 'dead'
end
if membership == 'held' or (membership == 'unknown' and ARGV[3] == '1') then
  redis.call('ZADD', KEYS[1], now + lease, ARGV[1])
  redis.call('HSET', KEYS[5], ARGV[1], ARGV[2])
end
return { membership, redis.call('ZRANGE', KEYS[1], 0, -1), redis.call('ZRANGE', KEYS[2], 0, -1), time }
