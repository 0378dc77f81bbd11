-- Drops sessions of a node that were counted out, because their end was told.
-- KEYS: sessions, those of the node that are kept. ARGV: the node; then the sessions.
for i = 2, #ARGV do
  local value = redis.call('HGET', KEYS[1], ARGV[i])
  local owner, since
  if value then
    owner, since = string.match(value, '^[BL]([^\n]*)\n[^\n]*\n(.*)$')
  end
  if owner == ARGV[1] then
    redis.call('HDEL', KEYS[1], ARGV[i])
    redis.call('ZREM', KEYS[2], since .. ARGV[i])
  end
end
return 1
