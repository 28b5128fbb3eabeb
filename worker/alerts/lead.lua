-- Take, keep or give back the lease.
--
-- KEYS[1]  polyvox:{alerts}
-- ARGV[1]  the token of the caller, new for each run of a worker
-- ARGV[2]  how long it holds, milliseconds; 0 gives it back
-- returns  {"leads"} or {"not_leader"}

local key = KEYS[1] .. ':lease'
local holder = redis.call('GET', key)
if holder and holder ~= ARGV[1] then
  return { 'not_leader' }
end
if tonumber(ARGV[2]) == 0 then
  redis.call('DEL', key)
  return { 'not_leader' }
end
redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
return { 'leads' }
