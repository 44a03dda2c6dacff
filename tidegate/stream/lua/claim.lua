--[[ claim: entries nobody renewed become another consumer's, bounded by bytes.

KEYS 1 events stream
ARGV 1 group   2 consumer   3 min_idle_ms   4 no more once this many bytes are reached   5 deliveries_max   6... entry ids
Returns {{id, {name, value...}, deliveries}..., markers written}

A claim counts as a delivery, up to deliveries_max: from there on entries are tried one by one, and only the one that is
being tried (see trial) goes above, or what merely waits its turn would be blamed for the death of the worker.
What was settled, renewed or claimed since the caller looked is left alone. What is still pending and idle, but without its
content, is acknowledged, and a marker becomes a letter in its place: XCLAIM itself would drop it (from Redis 7 on) or
answer nothing for it for ever (6.2).
Not to be sent twice: what the first call took is no longer idle, so the second would not return it.
--]]
local bytes_max, deliveries_max = tonumber(ARGV[4]), tonumber(ARGV[5])
local counted, uncounted, found, seen, bytes, lost = {}, {}, {}, {}, 0, 0
for at = 6, #ARGV do
  if #found > 0 and bytes >= bytes_max then break end
  local id = ARGV[at]
  local rows = redis.pcall('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], id, id, 1)
  if rows.err then return rows end
  if rows[1] and not seen[id] then -- named twice, it would be taken and counted twice
    local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
    if entry then
      seen[id] = true
      for _, part in ipairs(entry[2]) do bytes = bytes + #part end
      local deliveries = rows[1][4]
      if deliveries < deliveries_max then
        deliveries = deliveries + 1
        counted[#counted + 1] = id
      else
        uncounted[#uncounted + 1] = id
      end
      found[#found + 1] = {id, entry[2], deliveries}
    else
      redis.call('XACK', KEYS[1], ARGV[1], id) -- first: it frees memory, so Redis lets us write even when full
      redis.call('XADD', KEYS[1], '*', 'v', '1', 'lost', id, 'queue', 'events')
      lost = lost + 1
    end
  end
end
if #counted > 0 then redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], unpack(counted)) end
if #uncounted > 0 then
  uncounted[#uncounted + 1] = 'JUSTID'
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], unpack(uncounted))
end
return {found, lost}
