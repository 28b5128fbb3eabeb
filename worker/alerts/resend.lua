-- Make the undelivered deliveries of one alert due again. Asked for by people, so without a lease.
--
-- KEYS[1]  polyvox:{alerts}
-- ARGV[1]  the alert's id
-- ARGV[2]  now, Unix milliseconds
-- returns  {how many}

local list, count = KEYS[1] .. ':undelivered', 0
if redis.call('HEXISTS', KEYS[1] .. ':alerts', ARGV[1]) == 0 then
  return { 0 }
end
for _, entry in ipairs(redis.call('LRANGE', list, 0, -1)) do
  local found = cjson.decode(entry)
  if found.alert_id == ARGV[1] then
    redis.call('LREM', list, 1, entry)
    redis.call('ZADD', KEYS[1] .. ':due', ARGV[2], found.channel .. '/' .. ARGV[1])
    count = count + 1
  end
end
return { count }
