-- Counts out sessions of a node that were claimed. Who asks again gets the same answer.
-- KEYS: sessions, online; then for each session those of its user.
-- ARGV: the node; then for each the session and its user or nothing.
-- Gives for each: 1 its user is offline with it, 0 it is not, -1 it is another node's now.
local lasts = {}
for i = 3, #KEYS do
  local at = 2 + (i - 3) * 2
  local session, user = ARGV[at], ARGV[at + 1]
  local value = redis.call('HGET', KEYS[1], session)
  local mark, owner, facts
  if value then
    mark, owner, facts = string.match(value, '^(.)([^\n]*)\n(.*)$')
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
      redis.call('HSET', KEYS[1], session, mark .. owner .. '\n' .. facts)
    end
    last = mark == 'L' and 1 or 0
  end
  lasts[#lasts + 1] = last
end
return lasts
