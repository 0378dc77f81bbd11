-- Counts out sessions of a node that were claimed. Who asks again gets the same answer.
-- KEYS: sessions, online; then for each session those of its user.
-- ARGV: the node; then for each the session and its user or nothing.
-- Gives for each: 1 its user is offline with it, 0 it is not, -1 it is another node's now; and since when,
-- in microseconds.
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000000 + tonumber(time[2]))
local lasts = {}
for i = 3, #KEYS do
  local at = 2 + (i - 3) * 2
  local session, user = ARGV[at], ARGV[at + 1]
  local value = redis.call('HGET', KEYS[1], session)
  local mark, owner, facts, since
  if value then
    mark, owner, facts, since = string.match(value, '^(.)([^\n]*)\n([^\n]*)\n?(.*)$')
  end
  local last = -1
  if owner == ARGV[1] then
    if mark == 'O' then
      mark = 'B'
      if user ~= '' then
        redis.call('ZREM', KEYS[i], session)
        if redis.call('ZCARD', KEYS[i]) == 0 then
          redis.call('ZREM', KEYS[2], user)
          mark = 'L'
        end
      end
      since = now
      redis.call('HSET', KEYS[1], session, mark .. owner .. '\n' .. facts .. '\n' .. since)
    end
    last = mark == 'L' and 1 or 0
  end
  lasts[#lasts + 1] = last
  lasts[#lasts + 1] = tonumber(since) or tonumber(now)
end
return lasts
