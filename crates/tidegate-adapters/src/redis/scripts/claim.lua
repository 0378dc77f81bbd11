-- Claims what one partition has of a node whose lease has lapsed, and from now on takes nothing from it.
-- KEYS: sessions, sessions of the node, those of it that have ended, fence of the node, claim of the node.
-- ARGV: the node, who claims, for how many milliseconds, how many sessions at most, for how many
-- milliseconds the fence stands.
-- Gives: session and facts of each; nothing where another has the claim.
local holder = redis.call('GET', KEYS[5])
if holder and holder ~= ARGV[2] then
  return false
end
redis.call('SET', KEYS[4], '1', 'PX', ARGV[5])
local claimed = {}
for i = 2, 3 do
  for _, session in ipairs(redis.call('SRANDMEMBER', KEYS[i], tonumber(ARGV[4]))) do
    local value = redis.call('HGET', KEYS[1], session)
    local owner, facts
    if value then
      owner, facts = string.match(value, '^.([^\n]*)\n([^\n]*)')
    end
    if owner == ARGV[1] then
      claimed[#claimed + 1] = session
      claimed[#claimed + 1] = facts
    else
      -- Its node has come back and entered it anew.
      redis.call('SREM', KEYS[i], session)
    end
  end
end
if redis.call('EXISTS', KEYS[2], KEYS[3]) > 0 then
  redis.call('SET', KEYS[5], ARGV[2], 'PX', ARGV[3])
else
  redis.call('DEL', KEYS[5])
end
return claimed
