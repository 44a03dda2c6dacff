--[[ reenter: deliveries whose retry is due go back to the stream.

KEYS 1 events stream   2 retry stream   3 due   4, 5 prefixes of the waiting and of the held sets (same slot: the
     names in the entries begin so)
ARGV 1 at most this many   2 room, entries on the events stream to stay below   3 floor, this many in spite of that
     4 no more once this many bytes are moved
Returns {moved, next_due_ms or -1, markers written, 1 when more are due now}

A due id whose entry somebody had deleted becomes a marker, and that a letter: nothing else tells that it was lost.
Sent twice, it moves the next ones: an entry that was moved is no longer due.
--]]
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local free = math.max(tonumber(ARGV[3]), tonumber(ARGV[2]) - redis.call('XLEN', KEYS[1]))
local limit, bytes_max = math.min(tonumber(ARGV[1]), free), tonumber(ARGV[4])
local due = limit > 0 and redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now_ms, 'LIMIT', 0, limit) or {}
local moved, lost, bytes = 0, 0, 0
for _, id in ipairs(due) do
  if moved > 0 and bytes >= bytes_max then break end
  redis.call('ZREM', KEYS[3], id) -- first: it frees memory, so Redis lets the rest of the script write even when full
  -- XRANGE takes less for an id than we may: of `5` it would return 5-1, and with `x` fail, and we with it.
  local ms, seq = id:match('^(%d+)%-(%d+)$')
  local ours = ms and #ms < 20 and #seq < 20
  local found = ours and redis.call('XRANGE', KEYS[2], id, id)[1]
  if found then
    local fields = found[2]
    local held = {}
    for i = 1, #fields, 2 do held[fields[i]] = fields[i + 1] end
    local entry = {}
    for _, name in ipairs({'v', 'source', 'id', 'meta', 'payload'}) do
      if held[name] then
        entry[#entry + 1] = name
        entry[#entry + 1] = held[name]
      end
    end
    -- Somebody else's entry goes on as it is, as far as Lua's stack: a worker makes a letter of it. Refusing would
    -- block the rest.
    if #entry < 10 then entry = {unpack(fields, 1, math.min(#fields, 2000))} end
    for _, part in ipairs(entry) do bytes = bytes + #part end
    redis.call('XADD', KEYS[1], '*', unpack(entry))
    redis.call('XDEL', KEYS[2], id)
    local waiting = held['waiting'] or ''
    if waiting:sub(1, #KEYS[4]) == KEYS[4] or waiting:sub(1, #KEYS[5]) == KEYS[5] then
      redis.call('SREM', waiting, id)
    end
    moved = moved + 1
  elseif ours then
    redis.call('XADD', KEYS[1], '*', 'v', '1', 'lost', id, 'queue', 'retry')
    lost = lost + 1
  end -- else no program of ours put it there, and nothing was accepted under that name
end
local nearest = tonumber(redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2])
return {moved, nearest and math.floor(nearest) or -1, lost, nearest and nearest <= now_ms and 1 or 0}
