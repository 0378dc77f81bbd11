-- Claims what a node whose lease has lapsed has left, or renews that claim.
-- KEYS: dead, claim of the node. ARGV: the node, who claims, for how many milliseconds.
-- Gives 1, or 0 where another has the claim or the node is forgotten.
local holder = redis.call('GET', KEYS[2])
if (holder and holder ~= ARGV[2]) or not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 1
