-- The nodes. KEYS: leases, dead.
-- Gives: the members, each behind it for how many milliseconds its lease lasts; the dead.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local leases, members = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'), {}
for i = 1, #leases, 2 do
  members[#members + 1] = { leases[i], math.max(tonumber(leases[i + 1]) - now, 0) }
end
return { members, redis.call('ZRANGE', KEYS[2], 0, -1) }
