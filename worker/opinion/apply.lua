-- Count one batch of outcomes of one source partition, each with exactly-once effect, and store the position.
--
-- KEYS[1]  polyvox:{<topic id>:<partition>}: the prefix of every key here, so that all share one hash slot
-- ARGV[1]  the batch as JSON; worker/opinion/wire.py writes it and names each field
-- returns  {"applied", first, repeats, expired} or {"lost", stored position or -1}
--
-- Everything that can fail is read before the first write, and the first write is refused when memory is full:
-- a script is not rolled back, so it must not stop half-way. Redis refuses or runs it whole.

local prefix = KEYS[1]
local batch = cjson.decode(ARGV[1])
local call = redis.call

local GUARD_CHUNK = 4096 -- offsets per string: two bits each, 1,024 bytes
local FIELDS_PER_CALL = 1000 -- unpack() fails near 8,000 values
local SEEN, ANALYSED = 0, 1 -- the two bits of an offset: an outcome was applied; it was counted as analysed

local function whole(number)
  return string.format('%.0f', number) -- tostring() would turn a large integer into 1.2e+15
end

local function guard_key(offset)
  return prefix .. ':guard:' .. whole(math.floor(offset / GUARD_CHUNK))
end

local touched_chunks = {}

-- Sets one bit and tells whether it was clear.
local function claim(offset, bit)
  local key = guard_key(offset)
  if not touched_chunks[key] then
    touched_chunks[key] = true
    if call('EXISTS', key) == 0 then
      call('SETBIT', key, GUARD_CHUNK * 2 - 1, 0) -- the whole string at once: growing doubles its memory
    end
  end
  return call('SETBIT', key, (offset % GUARD_CHUNK) * 2 + bit, 1) == 0
end

-- Calls f(first, last) over 1..n in pieces.
local function in_pieces(n, f)
  for first = 1, n, FIELDS_PER_CALL do
    f(first, math.min(first + FIELDS_PER_CALL - 1, n))
  end
end

local function read_fields(key, fields)
  local values = {}
  in_pieces(#fields, function(first, last)
    local piece = call('HMGET', key, unpack(fields, first, last))
    for i = 1, #piece do
      values[first + i - 1] = piece[i]
    end
  end)
  return values
end

-- `flat` is field, value, field, value, ...
local function write_fields(key, flat)
  in_pieces(#flat, function(first, last)
    call('HSET', key, unpack(flat, first, last))
  end)
end

local function expire_once(key, at_s)
  if call('TTL', key) == -1 then
    call('EXPIREAT', key, at_s)
  end
end

local function parse(value)
  local a, b, c, d, e, f = string.match(value, '^(%d+) (%d+) (%d+) (%d+) (%-?%d+) (%d+)$')
  return { tonumber(a), tonumber(b), tonumber(c), tonumber(d), tonumber(e), tonumber(f) }
end

local function render(m)
  return string.format('%.0f %.0f %.0f %.0f %.0f %.0f', m[1], m[2], m[3], m[4], m[5], m[6])
end

-- Adds measures to sums[key], which it makes.
local function add(sums, key, measures)
  local sum = sums[key]
  if not sum then
    sums[key] = { unpack(measures) }
    return
  end
  for i = 1, 6 do
    sum[i] = sum[i] + measures[i]
  end
end

local function count(counts, field, by)
  counts[field] = (counts[field] or 0) + by
end

local function raise(highs, field, value)
  if not highs[field] or highs[field] < value then
    highs[field] = value
  end
end

-- The value of tables[key], a table that it makes.
local function within(tables, key)
  local found = tables[key]
  if not found then
    found = {}
    tables[key] = found
  end
  return found
end

-- 1. The position. A lower one than expected: Redis lost writes that this worker saw applied. Apply nothing.
local position_key = prefix .. ':positions'
local stored = call('HGET', position_key, batch.position_field)
stored = stored and tonumber(stored) or nil
if batch.expected >= 0 and (stored == nil or stored < batch.expected) then
  return { 'lost', stored or -1 }
end

-- 2. The guard, and the sums of what it lets through, per bucket.
local totals, highs = {}, {}
local cells, newest, bucket_counts, mentions, forms = {}, {}, {}, {}, {}
local first_outcomes, repeats = 0, 0

local function count_copy(key)
  local day_s, subset, digest = key[1], key[2], key[3]
  local ids = prefix .. ':ids:' .. whole(day_s) .. ':' .. whole(subset)
  if call('SADD', ids, digest) == 1 then
    expire_once(ids, day_s + 86400 + batch.records_s)
    return
  end
  count(totals, 'copies', 1)
  if key[4] > 0 then
    count(within(bucket_counts, key[4]), 'copies', 1)
  end
end

local function count_mentions(row)
  for i = 1, #row.mentions, 2 do
    local form, measures = row.mentions[i], row.mentions[i + 1]
    if measures == 0 then
      measures = row.measures
    end
    for _, bucket in ipairs(row.mention_buckets) do
      add(within(mentions, bucket), row.cell, measures)
      if form > 0 then
        add(within(within(forms, bucket), form), row.cell, measures)
      end
    end
  end
  count(totals, 'mentions', #row.mentions / 2)
end

local function count_post(row)
  count(totals, 'analysed', 1)
  count(totals, 'abstained', row.measures[4])
  raise(highs, 'newest_event_ms', row.at_ms)
  for _, bucket in ipairs(row.buckets) do
    add(within(cells, bucket), row.cell, row.measures)
    raise(newest, bucket, row.at_ms)
    if row.origin >= 0 then
      count(within(bucket_counts, bucket), 'resolved', 1)
    end
  end
  for _, bucket in ipairs(row.late_buckets) do
    count(within(bucket_counts, bucket), 'too_late', 1)
  end
  count_mentions(row)
  if #row.copy > 0 then
    count_copy(row.copy)
  end
end

local function count_dead_letter(row)
  count(totals, 'dead_lettered', 1)
  count(totals, 'dead_lettered:' .. row.reason, 1)
  for _, bucket in ipairs(row.buckets) do
    count(within(bucket_counts, bucket), 'dead_lettered', 1)
  end
end

local function count_outcome(row)
  local requeued = row.origin >= 0
  count(totals, requeued and 'requeued' or 'received', 1)
  if row.kind == 'tombstone' then
    count(totals, 'tombstones', 1)
    return
  end
  if row.kind == 'dead_lettered' and requeued then
    count(totals, 'dead_lettered_again', 1) -- its first dead letter stands in the buckets already
    return
  end
  if row.kind == 'analysed' and not claim(requeued and row.origin or row.offset, ANALYSED) then
    count(totals, 'superseded', 1) -- the same original was requeued twice, or analysed after all
    return
  end
  for _, level in ipairs(row.too_late) do
    count(totals, 'too_late:' .. level, 1)
  end
  if row.kind == 'dead_lettered' then
    count_dead_letter(row)
    return
  end
  if requeued then
    count(totals, 'resolved', 1)
  end
  count_post(row)
end

for _, row in ipairs(batch.outcomes) do
  if claim(row.offset, SEEN) then
    first_outcomes = first_outcomes + 1
    count_outcome(row)
  else
    repeats = repeats + 1
  end
end

-- 3. Add the sums to what is stored, one read and one write per bucket.
local cell_ids = {}

-- Numbers for the cells of this batch: "social\31en\31..." is written once per partition, not once per bucket.
local function number_cells()
  local key = prefix .. ':cells'
  local known = read_fields(key, batch.cells)
  local fresh, next_id = {}, call('HLEN', key)
  for i, name in ipairs(batch.cells) do
    local id = known[i]
    if not id then
      id = whole(next_id)
      next_id = next_id + 1
      fresh[#fresh + 1] = name
      fresh[#fresh + 1] = id
    end
    cell_ids[i] = id
  end
  write_fields(key, fresh)
end

local function add_cells(key, sums, flat)
  local fields, order = {}, {}
  for cell in pairs(sums) do
    fields[#fields + 1] = cell_ids[cell]
    order[#order + 1] = cell
  end
  local values = read_fields(key, fields)
  for i, field in ipairs(fields) do
    local sum = { [0] = sums[order[i]] }
    if values[i] then
      add(sum, 0, parse(values[i]))
    end
    flat[#flat + 1] = field
    flat[#flat + 1] = render(sum[0])
  end
end

-- A form's value holds its cells: "<cell id>:<measures>;<cell id>:<measures>".
local function merge_form(value, sums)
  local merged = {}
  for cell, measures in pairs(sums) do
    merged[cell_ids[cell]] = measures
  end
  for id, measures in string.gmatch(value or '', '(%d+):([^;]+)') do
    add(merged, id, parse(measures))
  end
  local parts = {}
  for id, measures in pairs(merged) do
    parts[#parts + 1] = id .. ':' .. render(measures)
  end
  return table.concat(parts, ';')
end

local function mentions_of(value)
  local sum = 0
  for a, b, c, d in string.gmatch(value, ':(%d+) (%d+) (%d+) (%d+)') do
    sum = sum + a + b + c + d
  end
  return sum
end

-- Lossy counting: over the limit, the rarest forms go, down to three quarters of it. The field "" sums up what a
-- form can have lost by that at most. Mentions themselves are counted exactly elsewhere.
local function evict_forms(key)
  if call('HLEN', key) - call('HEXISTS', key, '') <= batch.forms_limit then
    return
  end
  local all, ranked = call('HGETALL', key), {}
  for i = 1, #all, 2 do
    if all[i] ~= '' then
      ranked[#ranked + 1] = { mentions_of(all[i + 1]), all[i] }
    end
  end
  table.sort(ranked, function(one, other)
    return one[1] < other[1] or (one[1] == other[1] and one[2] < other[2])
  end)
  local gone = {}
  for i = 1, #ranked - math.ceil(batch.forms_limit * 0.75) do
    gone[i] = ranked[i][2]
  end
  call('HINCRBY', key, '', ranked[#gone][1])
  in_pieces(#gone, function(first, last)
    call('HDEL', key, unpack(gone, first, last))
  end)
end

local function add_forms(key, by_form)
  local fields, order, flat = {}, {}, {}
  for form in pairs(by_form) do
    fields[#fields + 1] = batch.forms[form]
    order[#order + 1] = form
  end
  local values = read_fields(key, fields)
  for i, field in ipairs(fields) do
    flat[#flat + 1] = field
    flat[#flat + 1] = merge_form(values[i], by_form[order[i]])
  end
  write_fields(key, flat)
  evict_forms(key)
end

local function add_highest(key, field, value, flat)
  local before = call('HGET', key, field)
  if not before or tonumber(before) < value then
    flat[#flat + 1] = field
    flat[#flat + 1] = whole(value)
  end
end

local function add_counts(key, counts)
  for field, by in pairs(counts) do
    if by ~= 0 then
      call('HINCRBY', key, field, whole(by))
    end
  end
end

local function flush_bucket(index, suffix, expires_at_s)
  if cells[index] or bucket_counts[index] then
    local key, flat = prefix .. ':posts:' .. suffix, {}
    if cells[index] then
      add_cells(key, cells[index], flat)
      add_highest(key, 'newest_event_ms', newest[index], flat)
    end
    write_fields(key, flat)
    add_counts(key, bucket_counts[index] or {})
    expire_once(key, expires_at_s)
  end
  if mentions[index] then
    local key, flat = prefix .. ':mentions:' .. suffix, {}
    add_cells(key, mentions[index], flat)
    write_fields(key, flat)
    expire_once(key, expires_at_s)
  end
  if forms[index] then
    local key = prefix .. ':forms:' .. suffix
    add_forms(key, forms[index])
    expire_once(key, expires_at_s)
  end
end

number_cells()
for index, bucket in ipairs(batch.buckets) do
  flush_bucket(index, bucket[1], bucket[2])
end

-- 4. The position, the totals, and how long the guard remembers.
local expired = 0
if batch.gap == 1 and stored and stored < batch.next then
  expired = batch.next - stored
  totals.expired = expired
end
if not stored or stored < batch.next then
  call('HSET', position_key, batch.position_field, whole(batch.next))
end
local totals_key, flat = prefix .. ':totals', {}
if #batch.outcomes > 0 then
  raise(highs, 'applied_ms', batch.now_ms)
end
for field, value in pairs(highs) do
  add_highest(totals_key, field, value, flat)
end
write_fields(totals_key, flat)
add_counts(totals_key, totals)
if first_outcomes > 0 then
  for key in pairs(touched_chunks) do
    call('EXPIRE', key, batch.records_s)
  end
end
return { 'applied', first_outcomes, repeats, expired }
