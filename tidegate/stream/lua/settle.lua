--[[ settle: the outcome of each entry becomes its place, once.

KEYS 1 events stream   2 retry stream   3 due   4 ledger   5... waiting and held sets, named by index below
ARGV 1 group   2 waiting_ttl_seconds
     then six an entry: entry id, outcome, source, meta, delay_ms, index into KEYS of the set it waits in (0: none)
     outcome: applied | duplicate | ignored | dead | foreign | retry | restore; the last three only count for retry, restore.
     foreign: dead, and never accepted by the gate: another program wrote it, so both sides of the ledger grow.
     restore: retry, with two values more: provider_event_id, payload
Returns {entries moved by this call, {ids to retry that are pending but whose content is gone: send those as restore}}

Only where XACK returned 1 does anything happen: sent twice, or after another worker settled the entry, it is a no-op.
--]]
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local settled, gone = 0, {}
local counts = {}

local function count(name, source)
  name = name .. ':' .. source
  counts[name] = (counts[name] or 0) + 1
end

-- The fields of the entry as it is on the stream; nil when they are not all there.
local function content(id)
  local found = redis.call('XRANGE', KEYS[1], id, id)[1]
  if not found then return nil end
  local held = {}
  for i = 1, #found[2], 2 do held[found[2][i]] = found[2][i + 1] end
  return held['v'] and held['source'] and held['id'] and held['payload'] and held
end

local function park(held, meta, delay_ms, waiting)
  local retry_id = redis.call('XADD', KEYS[2], '*', 'v', held['v'], 'source', held['source'], 'id', held['id'],
    'meta', meta, 'payload', held['payload'], 'waiting', waiting > 0 and KEYS[waiting] or '')
  redis.call('ZADD', KEYS[3], now_ms + delay_ms, retry_id)
  if waiting > 0 then
    redis.call('SADD', KEYS[waiting], retry_id)
    local ttl = math.max(tonumber(ARGV[2]), math.ceil(delay_ms / 1000) + 3600)
    if redis.call('TTL', KEYS[waiting]) < ttl then redis.call('EXPIRE', KEYS[waiting], ttl) end
  end
end

local at = 3
while at <= #ARGV do
  local id, outcome, source = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local held
  if outcome == 'retry' then
    held = content(id)
  elseif outcome == 'restore' then
    held = {v = '1', source = source, id = ARGV[at + 6], payload = ARGV[at + 7]}
  end
  if outcome == 'retry' and not held then
    -- Acknowledged, the delivery would be lost, although the worker that asks still has all of it.
    local rows = redis.pcall('XPENDING', KEYS[1], ARGV[1], id, id, 1)
    if rows[1] then gone[#gone + 1] = id end
  elseif redis.call('XACK', KEYS[1], ARGV[1], id) == 1 then
    settled = settled + 1
    if held then
      park(held, ARGV[at + 3], tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]))
    elseif outcome == 'foreign' then
      count('foreign', source)
      count('dead', source)
    else
      count(outcome, source)
    end
    redis.call('XDEL', KEYS[1], id)
  end
  at = at + (outcome == 'restore' and 8 or 6)
end
for name, number in pairs(counts) do
  redis.call('HINCRBY', KEYS[4], name, number)
end
return {settled, gone}
