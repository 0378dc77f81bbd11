-- Drops sessions of a node, because their end was told.
-- KEYS: sessions, sessions of the node. ARGV: the node; then the sessions.
for i = 2, #ARGV do
  local value = redis.call('HGET', KEYS[1], ARGV[i])
  if value and string.match(value, '^.([^\n]*)') == ARGV[1] then
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
  redis.call('SREM', KEYS[2], ARGV[i])
end
return 1
