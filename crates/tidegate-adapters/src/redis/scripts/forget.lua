-- Forgets a node of whom nothing is left; for a while it is known that there was one.
-- KEYS: dead, buried, claim of the node. ARGV: the node.
local now = redis.call('TIME')
if redis.call('ZREM', KEYS[1], ARGV[1]) == 1 then
  redis.call('ZADD', KEYS[2], tonumber(now[1]) * 1000, ARGV[1])
end
redis.call('DEL', KEYS[3])
return 1
