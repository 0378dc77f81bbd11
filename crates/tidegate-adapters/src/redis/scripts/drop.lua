-- Drops sessions of a node that were counted out, because their end was told.
-- KEYS: sessions, sessions of the node, those of it that have ended. ARGV: the node; then the sessions.
for i = 2, #ARGV do
  local value = redis.call('HGET', KEYS[1], ARGV[i])
  if value and string.match(value, '^[BL]([^\n]*)') == ARGV[1] then
    redis.call('HDEL', KEYS[1], ARGV[i])
    redis.call('SREM', KEYS[2], ARGV[i])
    redis.call('SREM', KEYS[3], ARGV[i])
  end
end
return 1
