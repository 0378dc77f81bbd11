-- What was revoked behind a number.
-- KEYS: by number, by end, the last number. ARGV: the number, how many at most.
-- Gives: behind which number the next ones are; then for each what, and its end.
local most = tonumber(ARGV[2])
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, most)
local last = tonumber(redis.call('GET', KEYS[3]) or '0')
if #found >= most * 2 then
  last = tonumber(found[#found])
end
local revoked = { tostring(last) }
for i = 1, #found, 2 do
  revoked[#revoked + 1] = found[i]
  revoked[#revoked + 1] = redis.call('ZSCORE', KEYS[2], found[i]) or '0'
end
return revoked
