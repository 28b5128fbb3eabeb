-- Count one batch of outcomes of one source partition, each with exactly-once effect, and store the position.
-- The first argument is written, and each of its fields named, by worker/opinion/wire.py; sums.lua and names.lua stand in front.
--
-- KEYS[1]  polyvox:{<topic id>:<partition>}, or what a replay stages of it (keys.py): the prefix of every key here but that
--          of the cells, so that all share one hash slot
-- ARGV[1]  the batch as JSON
-- returns  {"applied", first, repeats} or {"lost", stored position or -1}
--
-- A script is not rolled back, so it must not stop half-way: all that can fail is read before the first write,
-- and the first write is one that Redis refuses when memory is full. Past that, Redis runs a script to its end.

local GUARD_CHUNK = 4096 -- offsets per string: two bits each, 1,024 bytes
local SEEN, ANALYSED = 0, 1 -- the bits of an offset: an outcome was applied; it was counted as analysed

local touched_chunks = {}

-- Sets one bit and tells whether it was clear.
local function claim(offset, bit)
  local key = prefix .. ':guard:' .. whole(math.floor(offset / GUARD_CHUNK))
  if not touched_chunks[key] then
    touched_chunks[key] = true
    if call('EXISTS', key) == 0 then
      call('SETBIT', key, GUARD_CHUNK * 2 - 1, 0) -- the whole string at once: growing doubles its memory
    end
  end
  return call('SETBIT', key, (offset % GUARD_CHUNK) * 2 + bit, 1) == 0
end

-- 1. The position. A lower one than expected: Redis lost writes that this worker saw applied. Apply nothing.
local position_key = prefix .. ':positions'
local stored = call('HGET', position_key, batch.position_field)
stored = stored and tonumber(stored) or nil
if batch.expected >= 0 and (stored == nil or stored < batch.expected) then
  return { 'lost', stored or -1 }
end

-- 2. The guard, and the sums of what it lets through: in total, and per bucket by its number in the batch.
local totals, highs = {}, {}
local posts, newest, bucket_counts, mentions, forms, details = {}, {}, {}, {}, {}, {}

-- Who wrote a post, and where it can be found: what is kept of that in a bucket, by the code of its level.
local DETAILS = {
  m = { authors = true },
  f = { mention_authors = true },
  h = { authors = true, mention_authors = true, samples = true, form_samples = true },
}

local kept = {}
for index, bucket in ipairs(batch.buckets) do
  kept[index] = DETAILS[string.sub(bucket[1], 1, 1)]
end

-- Nothing asks for an author's scores.
local function add_labels(sums, cell, measures)
  local sum = sums[cell]
  if not sum then
    sums[cell] = { measures[1], measures[2], measures[3], measures[4], 0, 0 }
    return
  end
  for label = 1, 4 do
    sum[label] = sum[label] + measures[label]
  end
end

local function label_of(measures)
  for label = 1, 4 do
    if measures[label] > 0 then
      return label
    end
  end
end

local function offer(samples, name, row, measures)
  local offset = row.origin >= 0 and row.origin or row.offset
  within(samples, name)[offset] = { row.priority, label_of(measures) }
end

local function count_mention_details(row, form, measures)
  local name = row.author > 0 and batch.authors[row.author] .. SEPARATOR .. form
  for _, bucket in ipairs(row.details) do
    local found = within(details, bucket)
    if name and kept[bucket].mention_authors then
      add_labels(within(within(found, 'mention_authors'), name), row.form_cell, measures)
    end
    if kept[bucket].form_samples then
      offer(within(found, 'form_samples'), form, row, measures)
    end
  end
end

local function count_details(row)
  for _, bucket in ipairs(row.details) do
    local found = within(details, bucket)
    if row.author > 0 and kept[bucket].authors then
      add_labels(within(within(found, 'authors'), batch.authors[row.author]), row.cell, row.measures)
    end
    if kept[bucket].samples then
      offer(within(found, 'samples'), row.cell, row, row.measures)
    end
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
        add(within(within(forms, bucket), batch.forms[form]), row.form_cell, measures)
      end
    end
    if form > 0 then
      count_mention_details(row, batch.forms[form], measures)
    end
  end
  count(totals, 'mentions', #row.mentions / 2)
end

local function count_post(row)
  count(totals, 'analysed', 1)
  count(totals, 'abstained', row.measures[4])
  raise(highs, 'newest_event_ms', row.at_ms)
  for _, bucket in ipairs(row.buckets) do
    add(within(posts, bucket), row.cell, row.measures)
    raise(newest, bucket, row.at_ms)
    if row.origin >= 0 then
      count(within(bucket_counts, bucket), 'resolved', 1)
    end
  end
  for _, bucket in ipairs(row.late_buckets) do
    count(within(bucket_counts, bucket), 'too_late', 1)
  end
  count_mentions(row)
  count(totals, 'copies', row.copy)
  count_details(row)
end

local function count_dead_letter(row)
  count(totals, 'dead_lettered', 1)
  count(totals, 'dead_lettered:' .. row.reason, 1)
  for _, bucket in ipairs(row.buckets) do
    count(within(bucket_counts, bucket), 'dead_lettered', 1)
  end
end

-- Every outcome ends in exactly one of: tombstones, dead_lettered_again, superseded, dead_lettered, analysed.
local function count_outcome(row)
  local requeued = row.origin >= 0
  count(totals, requeued and 'requeued' or 'received', 1)
  if row.kind == 'tombstone' then
    count(totals, 'tombstones', 1)
    return
  end
  if row.kind == 'dead_lettered' and requeued then
    count(totals, 'dead_lettered_again', 1) -- its first dead letter stands in the buckets
    return
  end
  if row.kind == 'analysed' and not claim(requeued and row.origin or row.offset, ANALYSED) then
    count(totals, 'superseded', 1) -- one original requeued twice, or requeued and analysed itself
    return
  end
  for _, level in ipairs(row.too_late) do
    count(totals, 'too_late:' .. level, 1)
  end
  if row.kind == 'dead_lettered' then
    count_dead_letter(row)
    return
  end
  count(totals, 'resolved', requeued and 1 or 0)
  count_post(row)
end

local first_outcomes = 0
for _, row in ipairs(batch.outcomes) do
  if claim(row.offset, SEEN) then
    first_outcomes = first_outcomes + 1
    count_outcome(row)
  end
end

-- 3. Add authors and samples to what is stored of their buckets.
number_cells()
for index, kinds in pairs(details) do
  local suffix, expires_at_s = batch.buckets[index][1], batch.buckets[index][3]
  local authors_limit = kept[index] == DETAILS.h and batch.authors_limit or batch.fine_authors_limit
  for kind, sums in pairs(kinds) do
    local key = prefix .. ':' .. kind .. ':' .. suffix
    if kind == 'samples' or kind == 'form_samples' then
      add_samples(key, sums, kind == 'samples' and cell_ids or nil)
    else
      add_named(key, sums, authors_limit)
    end
    expire_once(key, expires_at_s)
  end
end

-- 4. Add the sums to what is stored: per bucket one read and one write.
for index, bucket in ipairs(batch.buckets) do
  local suffix, expires_at_s = bucket[1], bucket[2]
  if posts[index] or bucket_counts[index] then
    local key = prefix .. ':posts:' .. suffix
    if posts[index] then
      add_cells(key, posts[index])
      add_highest(key, 'newest_event_ms', newest[index])
    end
    add_counts(key, bucket_counts[index] or {})
    expire_once(key, expires_at_s)
  end
  if mentions[index] then
    local key = prefix .. ':mentions:' .. suffix
    add_cells(key, mentions[index])
    expire_once(key, expires_at_s)
  end
  if forms[index] then
    local key = prefix .. ':forms:' .. suffix
    local gone = add_named(key, forms[index], batch.forms_limit)
    expire_once(key, expires_at_s)
    if #gone > 0 then
      forget(prefix .. ':form_samples:' .. suffix, gone)
    end
  end
end

-- 5. The totals, how long the guard remembers, and the position.
if first_outcomes > 0 then
  raise(highs, 'applied_ms', batch.now_ms)
end
local totals_key = prefix .. ':totals'
for field, value in pairs(highs) do
  add_highest(totals_key, field, value)
end
add_counts(totals_key, totals)
if first_outcomes > 0 then
  for key in pairs(touched_chunks) do
    call('EXPIRE', key, batch.records_s)
  end
end
if not stored or stored < batch.next then
  call('HSET', position_key, batch.position_field, whole(batch.next))
end
return { 'applied', first_outcomes, #batch.outcomes - first_outcomes }
