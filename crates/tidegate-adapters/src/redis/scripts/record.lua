-- Sessions of a node that came and went, all of one partition.
-- KEYS: sessions, online, open sessions of the node, those of it that are kept, fence of the node; then for
-- each change those of its user.
-- ARGV: the node; then for each change E, L or K (left, and kept until it is dropped), the session, its user
-- or nothing, its facts, and when it was opened.
-- Gives for each change whether it is the user's first or last, whether the session was known, how many
-- sessions the user has, and since when that is so, in microseconds.
if redis.call('EXISTS', KEYS[5]) == 1 then
  return redis.error_reply('FENCED others tell the end of this node')
end
local node = ARGV[1]
local time = redis.call('TIME')
local now = string.format('%016.0f', tonumber(time[1]) * 1000000 + tonumber(time[2]))
local verdicts = {}
for i = 6, #KEYS do
  local at = 2 + (i - 6) * 5
  local session, user = ARGV[at + 1], ARGV[at + 2]
  local before = redis.call('HGET', KEYS[1], session)
  local mark, owner, facts, since
  if before then
    mark, owner, facts, since = string.match(before, '^(.)([^\n]*)\n([^\n]*)\n?(.*)$')
  end
  local turn, known, count, at_time = 0, 0, 0, now
  if ARGV[at] == 'E' then
    if mark == 'O' then
      known = 1
    elseif mark then
      redis.call('ZREM', KEYS[4], since .. session)
    end
    redis.call('HSET', KEYS[1], session, 'O' .. node .. '\n' .. ARGV[at + 3])
    redis.call('SADD', KEYS[3], session)
    if user ~= '' then
      redis.call('ZADD', KEYS[i], 'NX', ARGV[at + 4], session)
      turn = redis.call('ZADD', KEYS[2], 0, user)
    end
  else
    if before then
      known = 1
    end
    if owner == node and mark ~= 'O' then
      -- It was told before, and the answer was not heard.
      turn = mark == 'L' and 1 or 0
      at_time = since
    elseif not before or owner == node then
      redis.call('SREM', KEYS[3], session)
      if user ~= '' then
        redis.call('ZREM', KEYS[i], session)
        if redis.call('ZCARD', KEYS[i]) == 0 then
          redis.call('ZREM', KEYS[2], user)
          turn = 1
        end
      end
      if before and ARGV[at] == 'K' then
        mark = turn == 1 and 'L' or 'B'
        redis.call('HSET', KEYS[1], session, mark .. node .. '\n' .. facts .. '\n' .. now)
        redis.call('ZADD', KEYS[4], 0, now .. session)
      else
        redis.call('HDEL', KEYS[1], session)
      end
    end
  end
  if user ~= '' then
    count = redis.call('ZCARD', KEYS[i])
  end
  verdicts[#verdicts + 1] = turn
  verdicts[#verdicts + 1] = known
  verdicts[#verdicts + 1] = count
  verdicts[#verdicts + 1] = tonumber(at_time)
end
return verdicts
