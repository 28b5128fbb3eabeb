-- Note what became of one delivery. A second call for the same delivery finds nothing due and changes nothing.
-- fenced.lua stands in front.
--
-- ARGV[2]  the delivery: <channel>/<alert id>
-- ARGV[3]  sent, failed or given_up
-- ARGV[4]  sent: the pub/sub channel, "" for none; failed: when it is due again, Unix milliseconds; given_up: a JSON
--          object for the undelivered list
-- ARGV[5]  sent: now, Unix milliseconds; given_up: how many the undelivered list keeps
-- then     sent: channels that become due now
-- returns  {"noted"}

local due, delivery = prefix .. ':due', ARGV[2]
if not call('ZSCORE', due, delivery) then
  return { 'noted' }
end
if ARGV[3] == 'failed' then
  call('ZADD', due, ARGV[4], delivery)
  call('HINCRBY', prefix .. ':attempts', delivery, 1)
  return { 'noted' }
end

local id = string.match(delivery, '[^/]+$')
if ARGV[3] == 'sent' and ARGV[4] ~= '' then
  call('PUBLISH', ARGV[4], call('HGET', prefix .. ':alerts', id)) -- first: a user who may not leaves all as it was
end
call('ZREM', due, delivery)
call('HDEL', prefix .. ':attempts', delivery)
if ARGV[3] == 'given_up' then
  call('LPUSH', prefix .. ':undelivered', ARGV[4])
  call('LTRIM', prefix .. ':undelivered', 0, tonumber(ARGV[5]) - 1)
  return { 'noted' }
end
for index = 6, #ARGV do
  call('ZADD', due, ARGV[5], ARGV[index] .. '/' .. id)
end
return { 'noted' }
