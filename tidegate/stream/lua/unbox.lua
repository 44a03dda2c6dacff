--[[ unbox: events that waited in the Postgres inbox while Redis was away become deliveries on the stream.

KEYS 1 events stream   2 ledger   3 seen, this bucket   4 seen, the bucket before
     5 unboxed, this bucket   6 unboxed, the bucket before   7 unboxed, the bucket after
ARGV 1 seen_ttl_seconds   2 unboxed_ttl_seconds
     then six an event: row digest, event digest, source, id, meta, payload
     row digest names this one delivery, not the event
Returns a flag an event: 1 appended, 0 this row was appended before, or the gate has seen its event

Sent twice, by whomever, the second call finds every row unboxed. `seen` alone would not do: its span may be seconds, and a
mover that slept between append and delete would make a second entry of one delivery, which counts `applied` twice.
The bucket after is for a mover whose clock is behind that of the one before it.
Without a limit on the backlog: these events were answered 202, and the inbox is bounded.
--]]
local answer = {}
local accepted = {}
for at = 3, #ARGV, 6 do
  local row, event, source = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local flag = 0
  if redis.call('SISMEMBER', KEYS[5], row) == 0 and redis.call('SISMEMBER', KEYS[6], row) == 0
    and redis.call('SISMEMBER', KEYS[7], row) == 0 then
    if redis.call('SISMEMBER', KEYS[4], event) == 0 and redis.call('SISMEMBER', KEYS[3], event) == 0 then
      redis.call('XADD', KEYS[1], '*', 'v', '1', 'source', source, 'id', ARGV[at + 3],
        'meta', ARGV[at + 4], 'payload', ARGV[at + 5])
      redis.call('SADD', KEYS[3], event)
      accepted[source] = (accepted[source] or 0) + 1
      flag = 1
    end
    redis.call('SADD', KEYS[5], row)
  end
  answer[#answer + 1] = flag
end
for source, count in pairs(accepted) do
  redis.call('HINCRBY', KEYS[2], 'accepted:' .. source, count)
end
if next(accepted) then
  redis.call('EXPIRE', KEYS[3], ARGV[1])
end
redis.call('EXPIRE', KEYS[5], ARGV[2])
return answer
