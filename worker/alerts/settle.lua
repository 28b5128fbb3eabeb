-- Store what one settled window came to, all of it or nothing: the next window, the detectors, the alerts.
-- fenced.lua stands in front.
--
-- ARGV[2]  the detectors' epoch
-- ARGV[3]  the window that the caller believes is next, first second; "" while it has seen none stored
-- ARGV[4]  the window that is next from now on
-- ARGV[5]  how many alerts are kept
-- ARGV[6]  now, Unix milliseconds: when the alerts are due
-- ARGV[7]  how many detectors follow, each as name and state; an empty state forgets it
-- then     alerts, each as id, window end in Unix milliseconds and JSON
-- returns  {"stored", ids of the alerts that are new...}, or {"moved"}: Redis rolled back, or another reply was lost

local progress = prefix .. ':progress'
local stored = call('HGET', progress, 'next_s') or ''
if (call('HGET', progress, 'epoch') or ARGV[2]) ~= ARGV[2] then
  stored = '' -- of detectors that are no longer in use
end
if stored ~= ARGV[3] then
  return { 'moved' }
end

if stored == '' then
  call('DEL', prefix .. ':detectors')
end
call('HSET', progress, 'next_s', ARGV[4], 'epoch', ARGV[2])

local at = 8
for _ = 1, tonumber(ARGV[7]) do
  if ARGV[at + 1] == '' then
    call('HDEL', prefix .. ':detectors', ARGV[at])
  else
    call('HSET', prefix .. ':detectors', ARGV[at], ARGV[at + 1])
  end
  at = at + 2
end

local reply = { 'stored' }
while ARGV[at] do
  local id = ARGV[at]
  if call('HSETNX', prefix .. ':alerts', id, ARGV[at + 2]) == 1 then
    call('ZADD', prefix .. ':by_time', ARGV[at + 1], id)
    call('ZADD', prefix .. ':due', ARGV[6], 'kafka/' .. id)
    reply[#reply + 1] = id
  end
  at = at + 3
end

-- Forget the oldest that were delivered everywhere; what is due is kept until it is delivered or given up.
local surplus = call('ZCARD', prefix .. ':by_time') - tonumber(ARGV[5])
if surplus > 0 then
  local waiting = {}
  for _, member in ipairs(call('ZRANGE', prefix .. ':due', 0, -1)) do
    waiting[string.match(member, '[^/]+$')] = true
  end
  for _, id in ipairs(call('ZRANGE', prefix .. ':by_time', 0, surplus - 1)) do
    if not waiting[id] then
      call('HDEL', prefix .. ':alerts', id)
      call('ZREM', prefix .. ':by_time', id)
    end
  end
end
return reply
