-- What one partition keeps of a node that was counted out, behind a place, by the time of that.
-- KEYS: sessions, those of the node that are kept. ARGV: the node, behind what, how many at most.
-- Gives: place and value of each.
local from, most, kept = ARGV[2], tonumber(ARGV[3]), {}
while #kept < most * 2 do
  local some = redis.call('ZRANGEBYLEX', KEYS[2], from, '+', 'LIMIT', 0, most - #kept / 2)
  if #some == 0 then
    break
  end
  for _, place in ipairs(some) do
    local value = redis.call('HGET', KEYS[1], string.sub(place, 17))
    if value and string.match(value, '^[BL]([^\n]*)') == ARGV[1] then
      kept[#kept + 1] = place
      kept[#kept + 1] = value
    else
      -- Its node has come back and entered it anew.
      redis.call('ZREM', KEYS[2], place)
    end
  end
  from = '(' .. some[#some]
end
return kept
