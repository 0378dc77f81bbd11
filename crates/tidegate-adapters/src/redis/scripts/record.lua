-- Sessions of a node that came and went, all of one partition.
-- KEYS: sessions, online, sessions of the node, fence of the node; then for each change those of its user.
-- ARGV: the node; then for each change E or L, the session, its user or nothing, its facts, and when it was
-- opened.
-- Gives: seconds, microseconds; then for each change whether it is the user's first or last, whether the
-- session was known, and how many sessions the user has.
if redis.call('EXISTS', KEYS[4]) == 1 then
  return redis.error_reply('FENCED others tell the end of this node')
end
local node = ARGV[1]
local now = redis.call('TIME')
local verdicts = { tonumber(now[1]), tonumber(now[2]) }
for i = 5, #KEYS do
  local at = 2 + (i - 5) * 5
  local session, user = ARGV[at + 1], ARGV[at + 2]
  local before = redis.call('HGET', KEYS[1], session)
  local turn, known, count = 0, 0, 0
  if ARGV[at] == 'E' then
    if before and string.sub(before, 1, 1) == 'O' then
      known = 1
    end
    redis.call('HSET', KEYS[1], session, 'O' .. node .. '\n' .. ARGV[at + 3])
    redis.call('SADD', KEYS[3], session)
    if user ~= '' then
      redis.call('ZADD', KEYS[i], 'NX', ARGV[at + 4], session)
      turn = redis.call('ZADD', KEYS[2], 0, user)
    end
  else
    local owner = before and string.match(before, '^.([^\n]*)')
    if before then
      known = 1
    end
    if not before or owner == node then
      redis.call('HDEL', KEYS[1], session)
      redis.call('SREM', KEYS[3], session)
      if user ~= '' then
        redis.call('ZREM', KEYS[i], session)
        if redis.call('ZCARD', KEYS[i]) == 0 then
          redis.call('ZREM', KEYS[2], user)
          turn = 1
        end
      end
    end
  end
  if user ~= '' then
    count = redis.call('ZCARD', KEYS[i])
  end
  verdicts[#verdicts + 1] = turn
  verdicts[#verdicts + 1] = known
  verdicts[#verdicts + 1] = count
end
return verdicts
