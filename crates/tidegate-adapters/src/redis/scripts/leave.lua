-- Gives the lease of a node up.
-- KEYS: leases, dead, the lengths of leases. ARGV: the node.
local now = redis.call('TIME')
redis.call('HDEL', KEYS[3], ARGV[1])
if redis.call('ZREM', KEYS[1], ARGV[1]) == 1 then
  redis.call('ZADD', KEYS[2], tonumber(now[1]) * 1000, ARGV[1])
end
return 1
