-- Writes down what a node says of something that all count.
-- KEYS: leases, the tally. ARGV: the node, what it says, for how many milliseconds that is kept where nobody says more.
-- Gives: each member that says something, and what.
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
local all, told = redis.call('HGETALL', KEYS[2]), {}
for i = 1, #all, 2 do
  if redis.call('ZSCORE', KEYS[1], all[i]) then
    told[#told + 1] = all[i]
    told[#told + 1] = all[i + 1]
  else
    redis.call('HDEL', KEYS[2], all[i])
  end
end
return told
