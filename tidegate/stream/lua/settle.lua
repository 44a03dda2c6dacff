--[[ settle: the outcome of each entry becomes its place, once.

KEYS 1 events stream   2 retry stream   3 due   4 ledger   5... waiting sets, named by index below
ARGV 1 group   2 waiting_ttl_seconds
     then six an entry: entry id, outcome, source, meta, delay_ms, index into KEYS of its waiting set (0: none)
     outcome: applied | duplicate | ignored | dead | foreign | retry; meta, delay_ms and index only count for retry.
     foreign: dead, and never accepted by the gate: another program wrote it, so both sides of the ledger grow.
Returns {settled, vanished}: entries moved by this call; retries whose entry somebody had deleted from the stream

Only where XACK returned 1 does anything happen: sent twice, or after another worker settled the entry, it is a no-op.
--]]
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local settled, vanished = 0, 0
local counts = {}
for at = 3, #ARGV, 6 do
  local id, outcome, source = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if redis.call('XACK', KEYS[1], ARGV[1], id) == 1 then
    settled = settled + 1
    if outcome == 'retry' then
      local found = redis.call('XRANGE', KEYS[1], id, id)
      if found[1] then
        local held = {}
        local fields = found[1][2]
        for i = 1, #fields, 2 do held[fields[i]] = fields[i + 1] end
        local waiting = tonumber(ARGV[at + 5])
        local retry_id = redis.call('XADD', KEYS[2], '*', 'v', held['v'], 'source', held['source'], 'id', held['id'],
          'meta', ARGV[at + 3], 'payload', held['payload'], 'waiting', waiting > 0 and KEYS[waiting] or '')
        redis.call('ZADD', KEYS[3], now_ms + tonumber(ARGV[at + 4]), retry_id)
        if waiting > 0 then
          redis.call('SADD', KEYS[waiting], retry_id)
          local ttl = math.max(tonumber(ARGV[2]), math.ceil(tonumber(ARGV[at + 4]) / 1000) + 3600)
          if redis.call('TTL', KEYS[waiting]) < ttl then redis.call('EXPIRE', KEYS[waiting], ttl) end
        end
      else
        vanished = vanished + 1
      end
    elseif outcome == 'foreign' then
      counts['foreign:' .. source] = (counts['foreign:' .. source] or 0) + 1
      counts['dead:' .. source] = (counts['dead:' .. source] or 0) + 1
    else
      local name = outcome .. ':' .. source
      counts[name] = (counts[name] or 0) + 1
    end
    redis.call('XDEL', KEYS[1], id)
  end
end
for name, count in pairs(counts) do
  redis.call('HINCRBY', KEYS[4], name, count)
end
return {settled, vanished}
