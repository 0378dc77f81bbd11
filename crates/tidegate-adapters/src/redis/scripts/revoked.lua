-- What was revoked behind a number.
-- KEYS: by number, by end, by issue, the last number, the epoch. ARGV: the number, how many at most.
-- Gives: behind which number the next ones are; the epoch, or 0; then for each what, its end, and until when
-- that was issued which is meant, or 0.
local most = tonumber(ARGV[2])
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, most)
local last = tonumber(redis.call('GET', KEYS[4]) or '0')
if #found >= most * 2 then
  last = tonumber(found[#found])
end
local revoked = { string.format('%.0f', last), redis.call('GET', KEYS[5]) or '0' }
for i = 1, #found, 2 do
  revoked[#revoked + 1] = found[i]
  revoked[#revoked + 1] = redis.call('ZSCORE', KEYS[2], found[i]) or '0'
  revoked[#revoked + 1] = redis.call('ZSCORE', KEYS[3], found[i]) or '0'
end
return revoked
