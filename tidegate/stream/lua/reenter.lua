--[[ reenter: deliveries whose retry is due go back to the stream.

KEYS 1 events stream   2 retry stream   3 due   4 prefix of the waiting sets (same slot: the names in the entries begin so)
ARGV 1 at most this many
Returns {moved, next_due_ms or -1, vanished}: vanished counts due ids whose entry somebody had deleted

Sent twice, it moves the next ones: an entry that was moved is no longer due.
--]]
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now_ms, 'LIMIT', 0, tonumber(ARGV[1]))
local moved, vanished = 0, 0
for _, id in ipairs(due) do
  redis.call('ZREM', KEYS[3], id) -- first: it frees memory, so Redis lets the rest of the script write even when full
  local found = redis.call('XRANGE', KEYS[2], id, id)
  if found[1] then
    local held = {}
    local fields = found[1][2]
    for i = 1, #fields, 2 do held[fields[i]] = fields[i + 1] end
    local entry = {}
    for _, name in ipairs({'v', 'source', 'id', 'meta', 'payload'}) do
      if held[name] then
        entry[#entry + 1] = name
        entry[#entry + 1] = held[name]
      end
    end
    -- Somebody else's entry goes on as far as it can be told: a worker makes a letter of it. Refusing would block the rest.
    if #entry == 0 then entry = {fields[1], fields[2]} end
    redis.call('XADD', KEYS[1], '*', unpack(entry))
    redis.call('XDEL', KEYS[2], id)
    local waiting = held['waiting'] or ''
    if waiting:sub(1, #KEYS[4]) == KEYS[4] then
      redis.call('SREM', waiting, id)
    end
    moved = moved + 1
  else
    vanished = vanished + 1
  end
end
local nearest = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
return {moved, nearest[2] and math.floor(tonumber(nearest[2])) or -1, vanished}
