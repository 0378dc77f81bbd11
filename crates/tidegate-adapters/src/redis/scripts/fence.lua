-- From now on takes nothing from a node whose lease has lapsed; some of what one partition has open of it.
-- KEYS: sessions, open sessions of the node, fence of the node.
-- ARGV: the node, how many at most, for how many milliseconds the fence stands.
-- Gives: session and facts of each.
redis.call('SET', KEYS[3], '1', 'PX', ARGV[3])
local open = {}
while #open == 0 do
  local some = redis.call('SRANDMEMBER', KEYS[2], tonumber(ARGV[2]))
  if #some == 0 then
    break
  end
  for _, session in ipairs(some) do
    local value = redis.call('HGET', KEYS[1], session)
    local owner, facts
    if value then
      owner, facts = string.match(value, '^O([^\n]*)\n(.*)$')
    end
    if owner == ARGV[1] then
      open[#open + 1] = session
      open[#open + 1] = facts
    else
      -- Its node has come back and entered it anew.
      redis.call('SREM', KEYS[2], session)
    end
  end
end
return open
