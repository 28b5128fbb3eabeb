-- What apply.lua adds sums with; it is sent in front of it, as one script. See apply.lua for the whole.

local prefix = KEYS[1]
local shard = string.match(prefix, '^[^}]*}') -- the same but for what a replay stages
local batch = cjson.decode(ARGV[1])
local call = redis.call

local FIELDS_PER_CALL = 1000 -- unpack() fails near 8,000 values

local function whole(number)
  return string.format('%d', number) -- tostring() would turn a large integer into 1.2e+15
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

-- Measures: negative, neutral, positive, abstained, score in millionths, squares of scores in millionths; the last two
-- are left out where both are 0.
local function parse(value)
  local a, b, c, d, e, f = string.match(value, '^(%d+) (%d+) (%d+) (%d+) ?(%-?%d*) ?(%d*)$')
  return { tonumber(a), tonumber(b), tonumber(c), tonumber(d), tonumber(e) or 0, tonumber(f) or 0 }
end

local function render(m)
  if m[5] == 0 and m[6] == 0 then
    return string.format('%d %d %d %d', m[1], m[2], m[3], m[4])
  end
  return string.format('%d %d %d %d %d %d', m[1], m[2], m[3], m[4], m[5], m[6])
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

-- The table in tables[key], which it makes.
local function within(tables, key)
  local found = tables[key]
  if not found then
    found = {}
    tables[key] = found
  end
  return found
end

local function add_counts(key, counts)
  for field, by in pairs(counts) do
    if by ~= 0 then
      call('HINCRBY', key, field, whole(by))
    end
  end
end

local function add_highest(key, field, value)
  local before = call('HGET', key, field)
  if not before or tonumber(before) < value then
    call('HSET', key, field, whole(value))
  end
end

local cell_ids = {}

-- Numbers for the cells of this batch: a name of 60 bytes is written once per partition, not once per bucket, and
-- what a replay stages has the same numbers.
local function number_cells()
  local key = shard .. ':cells'
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

local function add_cells(key, sums)
  local fields, order, flat = {}, {}, {}
  for cell in pairs(sums) do
    fields[#fields + 1] = cell_ids[cell]
    order[#order + 1] = cell
  end
  local values = read_fields(key, fields)
  for i, field in ipairs(fields) do
    if values[i] then
      add(sums, order[i], parse(values[i]))
    end
    flat[#flat + 1] = field
    flat[#flat + 1] = render(sums[order[i]])
  end
  write_fields(key, flat)
end
