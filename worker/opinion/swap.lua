-- Put what a replay staged of one source partition in the place of its buckets of some days, all at once.
-- The argument is written by worker/opinion/staging.py.
--
-- KEYS[1]  polyvox:{<topic id>:<partition>}: the prefix of every key here, so that all share one hash slot
-- ARGV[1]  JSON: `id` of the replay; `positions` up to which it has counted; `levels`, each with its code, width and first
--          second, the first second after its last bucket, and what is kept in such buckets; `totals`, 1 to replace them too
-- returns  {"swapped"}, {"moved"} (the positions are others by now) or {"replaced"} (another replay has begun)
--
-- A key of these days that is not staged is dropped: nothing implies it. The first write is one that Redis refuses when
-- memory is full; past that, Redis runs a script to its end.

local shard = KEYS[1]
local plan = cjson.decode(ARGV[1])
local call = redis.call
local staged = shard .. ':replay:' .. plan.id

-- 1. A repeat after a lost reply; a replay that was replaced; outcomes counted since that it has not seen.
if call('GET', shard .. ':generation') == plan.id then
  return { 'swapped' }
end
if call('GET', shard .. ':replay') ~= plan.id then
  return { 'replaced' }
end
local positions = call('HGETALL', shard .. ':positions')
local known = 0
for _ in pairs(plan.positions) do
  known = known + 1
end
if #positions ~= 2 * known then
  return { 'moved' }
end
for i = 1, #positions, 2 do
  if plan.positions[positions[i]] ~= tonumber(positions[i + 1]) then
    return { 'moved' }
  end
end

local function put(name)
  call('UNLINK', shard .. name) -- RENAME alone would free a large one at once
  if call('EXISTS', staged .. name) == 1 then
    call('RENAME', staged .. name, shard .. name)
  end
end

-- 2. The swap. Readers see by the generation that it happened between two of their reads.
call('SET', shard .. ':generation', plan.id)
for _, level in ipairs(plan.levels) do
  local code, width_s, first_s, end_s, kinds = unpack(level)
  for start_s = first_s, end_s - 1, width_s do
    local suffix = string.format(':%s:%d', code, start_s)
    for _, kind in ipairs(kinds) do
      put(':' .. kind .. suffix)
    end
  end
end
if plan.totals == 1 and call('EXISTS', staged .. ':totals') == 1 then
  local applied_ms = call('HGET', shard .. ':totals', 'applied_ms') -- no log tells it
  call('HDEL', staged .. ':totals', 'applied_ms')
  if applied_ms then
    call('HSET', staged .. ':totals', 'applied_ms', applied_ms)
  end
  put(':totals')
end
call('DEL', shard .. ':replay')
return { 'swapped' }
