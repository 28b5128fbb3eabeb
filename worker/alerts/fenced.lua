-- Stands in front of every script that writes for the leader: whoever lost the lease writes nothing.
--
-- KEYS[1]  polyvox:{alerts}: the prefix of every key here, so that all share one hash slot
-- ARGV[1]  the token of the caller

local prefix = KEYS[1]
local call = redis.call

if call('GET', prefix .. ':lease') ~= ARGV[1] then
  return { 'not_leader' }
end
