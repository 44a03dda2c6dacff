--[[ append: events become deliveries on the stream, unless they were seen before or the backlog is full.

KEYS 1 events stream   2 retry stream   3 ledger   4 seen, this bucket   5 seen, the bucket before
ARGV 1 backlog_max, entries on both streams together (0: no limit)   2 seen_ttl_seconds
     then five an event: digest, source, id, meta, payload
Returns {1, flag...}: flag 1 appended, 0 seen before;  or {0, backlog}: refused, nothing was done

Sent twice, the second call finds every event seen: one entry, one count.
--]]
local backlog_max = tonumber(ARGV[1])
local events_count = (#ARGV - 2) / 5
if backlog_max > 0 then
  local backlog = redis.call('XLEN', KEYS[1]) + redis.call('XLEN', KEYS[2])
  if backlog + events_count > backlog_max then
    return {0, backlog}
  end
end
local answer = {1}
local accepted = {}
for at = 3, #ARGV, 5 do
  local digest, source = ARGV[at], ARGV[at + 1]
  if redis.call('SISMEMBER', KEYS[5], digest) == 1 or redis.call('SISMEMBER', KEYS[4], digest) == 1 then
    answer[#answer + 1] = 0
  else
    redis.call('XADD', KEYS[1], '*', 'v', '1', 'source', source, 'id', ARGV[at + 2],
      'meta', ARGV[at + 3], 'payload', ARGV[at + 4])
    redis.call('SADD', KEYS[4], digest)
    accepted[source] = (accepted[source] or 0) + 1
    answer[#answer + 1] = 1
  end
end
for source, count in pairs(accepted) do
  redis.call('HINCRBY', KEYS[3], 'accepted:' .. source, count)
end
if next(accepted) then
  redis.call('EXPIRE', KEYS[4], ARGV[2])
end
return answer
