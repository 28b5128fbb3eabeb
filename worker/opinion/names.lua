-- What is counted by name: entities, authors, and samples of posts. Stands between sums.lua and apply.lua.

local SAMPLE_POSTS = 8
local SEPARATOR = '\31' -- between an author and a form

-- The value of a name (a form, an author) is its mentions or posts, then its cells: "<mentions>;<cell id>:<measures>;<cell id>:<measures>;". The cells
-- of a frequent one are many, so only those that this batch touches are parsed.
local function mentions_in(value)
  return value and tonumber(string.match(value, '^%d+')) or 0
end

local function mentions_of(sums)
  local mentions = 0
  for _, measures in pairs(sums) do
    mentions = mentions + measures[1] + measures[2] + measures[3] + measures[4]
  end
  return mentions
end

-- `mentions` are those in the value and in the sums.
local function merge_named(value, sums, mentions)
  local rest = value and string.match(value, ';.*') or ';'
  for cell, measures in pairs(sums) do
    local sum, label = { [0] = measures }, ';' .. cell_ids[cell] .. ':'
    local found, colon = string.find(rest, label, 1, true)
    if found then
      local close = string.find(rest, ';', colon, true)
      add(sum, 0, parse(string.sub(rest, colon + 1, close - 1)))
      rest = string.sub(rest, 1, colon) .. render(sum[0]) .. string.sub(rest, close)
    else
      rest = rest .. string.sub(label, 2) .. render(measures) .. ';'
    end
  end
  return whole(mentions) .. rest
end

local function forget(key, names)
  in_pieces(#names, function(first, last)
    call('HDEL', key, unpack(names, first, last))
  end)
end

-- Lossy counting: over the limit the rarest names go, down to half of it. The field "" sums up what a
-- name can have lost by that at most. How many posts and mentions there are is counted exactly elsewhere.
-- `counts` says what the names of this batch come to. They are not written yet: most of a large batch's would only go.
-- Returns the names that go; those that are stored have gone then.
local function trim(key, counts, limit)
  local all, ranked, gone, stored = call('HGETALL', key), {}, {}, {}
  for i = 1, #all, 2 do
    local name = all[i]
    if name ~= '' then
      stored[name] = true
      ranked[#ranked + 1] = { counts[name] or mentions_in(all[i + 1]), name }
    end
  end
  for name, mentions in pairs(counts) do
    if not stored[name] then
      ranked[#ranked + 1] = { mentions, name }
    end
  end
  table.sort(ranked, function(one, other)
    return one[1] < other[1] or (one[1] == other[1] and one[2] < other[2])
  end)
  local leave = {}
  for i = 1, #ranked - math.ceil(limit / 2) do
    gone[i] = ranked[i][2]
    if stored[gone[i]] then
      leave[#leave + 1] = gone[i]
    end
  end
  call('HINCRBY', key, '', ranked[#gone][1])
  forget(key, leave)
  return gone
end

-- Adds what names (forms, authors) add up to; returns the names that had to go.
local function add_named(key, by_name, limit)
  local names, counts, gone, flat = {}, {}, {}, {}
  for name in pairs(by_name) do
    names[#names + 1] = name
  end
  local values, size = read_fields(key, names), call('HLEN', key) - call('HEXISTS', key, '')
  for i, name in ipairs(names) do
    counts[name] = mentions_in(values[i]) + mentions_of(by_name[name])
    size = size + (values[i] and 0 or 1)
  end
  if size > limit then
    gone = trim(key, counts, limit)
    for _, name in ipairs(gone) do
      counts[name] = nil
    end
  end
  for i, name in ipairs(names) do
    if counts[name] then
      flat[#flat + 1] = name
      flat[#flat + 1] = merge_named(values[i], by_name[name], counts[name])
    end
  end
  write_fields(key, flat)
  return gone
end

-- A sample is the posts with the lowest priorities, "<priority>:<offset>:<label> ...": any order of adding gives the same.
local function merge_sample(value, by_offset)
  local posts, shown = {}, {}
  for priority, offset, label in string.gmatch(value or '', '(%d+):(%d+):(%d)') do
    posts[#posts + 1] = { tonumber(priority), tonumber(offset), label }
  end
  for offset, post in pairs(by_offset) do
    posts[#posts + 1] = { post[1], offset, post[2] }
  end
  table.sort(posts, function(one, other)
    return one[1] < other[1] or (one[1] == other[1] and one[2] < other[2])
  end)
  for i = 1, math.min(#posts, SAMPLE_POSTS) do
    shown[i] = whole(posts[i][1]) .. ':' .. whole(posts[i][2]) .. ':' .. posts[i][3]
  end
  return table.concat(shown, ' ')
end

-- `field_of` gives the field of a key of `samples`; nil is the key itself.
local function add_samples(key, samples, field_of)
  local fields, order, flat = {}, {}, {}
  for name in pairs(samples) do
    fields[#fields + 1] = field_of and field_of[name] or name
    order[#order + 1] = name
  end
  local values = read_fields(key, fields)
  for i, field in ipairs(fields) do
    flat[#flat + 1] = field
    flat[#flat + 1] = merge_sample(values[i], samples[order[i]])
  end
  write_fields(key, flat)
end
