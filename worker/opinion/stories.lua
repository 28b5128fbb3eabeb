-- Decide the story of each post of a bundle: the one that its id or enough of its bands belong to, or a new one. The
-- first argument is written by worker/opinion/stories.py.
--
-- KEYS[1]  polyvox:{stories}: the prefix of every key here, so that all share one hash slot
-- ARGV[1]  JSON: generation, expires_at_s, entries_limit, posts: {event id, bands needed, subset, field, subset, field, ...}
--          with the places of the post's id and then of each band
-- returns  per post: the event id of the story's first post, 'first', 'copy' or 'unindexed'
--
-- The id of a post is remembered with its story, and looked up first: asking again for a post gives the same answer as
-- long as it is remembered, so a repeated call is harmless.

local prefix = KEYS[1]
local batch = cjson.decode(ARGV[1])
local call = redis.call

local GENERATIONS = 2 -- that are read; the present one is written
local NAMES_PER_KEY = 128

local function whole(number)
  return string.format('%d', number)
end

-- Those that hold something, the present one first. Subsets and fields are below 2^53, so `..` writes them whole.
local present = prefix .. ':' .. whole(batch.generation) .. ':'
local entries = tonumber(call('GET', present .. 'entries') or 0)
local entries_before = entries
local generations = { present }
for back = 1, GENERATIONS - 1 do
  local start = prefix .. ':' .. whole(batch.generation - back) .. ':'
  if call('EXISTS', start .. 'entries') == 1 then
    generations[#generations + 1] = start
  end
end
local touched = {}

-- The value of a field in the newest generation that has it, and whether that is over.
local function find(subset, field)
  for i = 1, #generations do
    local value = call('HGET', generations[i] .. subset, field)
    if value then
      return value, i > 1
    end
  end
end

local function remember(subset, field, value)
  local name = present .. subset
  entries = entries + call('HSETNX', name, field, value)
  touched[name] = true
end

-- Where the event ids of first posts lie, by the numbers of their stories.
local function names(number)
  return 'names' .. math.floor(number / NAMES_PER_KEY)
end

local function first_event(number)
  return (find(names(number), number))
end

-- What is known under each band, and whether by an older generation.
local function look_up(post)
  local found, old = {}, {}
  for i = 5, #post, 2 do
    found[i], old[i] = find(post[i], post[i + 1])
  end
  return found, old
end

-- The story that most bands belong to, the oldest of several; nil when too few do.
local function best_of(found, needed)
  local hits, best = {}, nil
  for _, value in pairs(found) do
    local number = tonumber(value)
    hits[number] = (hits[number] or 0) + 1
  end
  for number, count in pairs(hits) do
    if count >= needed and (not best or count > hits[best] or (count == hits[best] and number < best)) then
      best = number
    end
  end
  return best
end

-- A new story gets the bands that nobody has yet. Those of a known one are only kept alive, so that a story does not
-- drift from copy to copy.
local function remember_bands(post, value, is_new, found, old)
  for i = 5, #post, 2 do
    if (is_new and not found[i]) or (found[i] == value and old[i]) then
      remember(post[i], post[i + 1], value)
    end
  end
end

local answers = {}
for _, post in ipairs(batch.posts) do
  local found, old = {}, {}
  local number = tonumber((find(post[3], post[4])))
  if not number then
    found, old = look_up(post)
    number = best_of(found, post[2])
  end
  local first = number and first_event(number)
  local is_new = not first
  first = first or post[1]
  local decision = first == post[1] and 'first' or 'copy'
  if entries < batch.entries_limit then
    number = is_new and call('INCR', prefix .. ':numbers') or number
    local value = whole(number)
    remember(post[3], post[4], value)
    remember_bands(post, value, is_new, found, old)
    remember(names(number), value, first)
  elseif is_new then
    decision = 'unindexed'
  end
  answers[#answers + 1] = first
  answers[#answers + 1] = decision
end

if entries > entries_before then
  call('SET', present .. 'entries', whole(entries), 'EXAT', batch.expires_at_s)
end
for name in pairs(touched) do
  if call('TTL', name) == -1 then
    call('EXPIREAT', name, batch.expires_at_s)
  end
end
return answers
