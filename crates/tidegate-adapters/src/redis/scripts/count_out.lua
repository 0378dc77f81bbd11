-- Counts out open sessions of a node whose lease has lapsed, all of one partition.
-- KEYS: sessions, online, open sessions of the node, those of it that are kept; then for each session those
-- of its user.
-- ARGV: the node; then for each the session and its user or nothing.
local time = redis.call('TIME')
local now = string.format('%016.0f', tonumber(time[1]) * 1000000 + tonumber(time[2]))
for i = 5, #KEYS do
  local at = 2 + (i - 5) * 2
  local session, user = ARGV[at], ARGV[at + 1]
  local value = redis.call('HGET', KEYS[1], session)
  local owner, facts
  if value then
    owner, facts = string.match(value, '^O([^\n]*)\n(.*)$')
  end
  -- Others may have done it, or its node has come back and entered it anew.
  if owner == ARGV[1] then
    local mark = 'B'
    if user ~= '' then
      redis.call('ZREM', KEYS[i], session)
      if redis.call('ZCARD', KEYS[i]) == 0 then
        redis.call('ZREM', KEYS[2], user)
        mark = 'L'
      end
    end
    redis.call('HSET', KEYS[1], session, mark .. owner .. '\n' .. facts .. '\n' .. now)
    redis.call('ZADD', KEYS[4], 0, now .. session)
  end
  redis.call('SREM', KEYS[3], session)
end
return 1
