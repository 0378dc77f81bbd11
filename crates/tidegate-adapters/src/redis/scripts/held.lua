-- What one partition has of a node.
-- KEYS: sessions, sessions of the node. ARGV: the node.
-- Gives: session and facts of each.
local held = {}
for _, session in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  local value = redis.call('HGET', KEYS[1], session)
  local owner, facts
  if value then
    owner, facts = string.match(value, '^O([^\n]*)\n(.*)$')
  end
  if owner == ARGV[1] then
    held[#held + 1] = session
    held[#held + 1] = facts
  end
end
return held
