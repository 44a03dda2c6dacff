--[[ replay: dead letters go back to the stream, past the early dedupe.

KEYS 1 events stream   2 ledger   3 replayed, this bucket   4 replayed, the bucket before
ARGV 1 replayed_ttl_seconds   then five a letter: digest, source, id, meta, payload
     digest names this one replay of this one delivery, not the event
Returns a flag a letter: 1 appended, 0 this very replay was appended before (the answer had been lost)
--]]
local answer = {}
for at = 2, #ARGV, 5 do
  local digest, source = ARGV[at], ARGV[at + 1]
  if redis.call('SISMEMBER', KEYS[3], digest) == 1 or redis.call('SISMEMBER', KEYS[4], digest) == 1 then
    answer[#answer + 1] = 0
  else
    redis.call('XADD', KEYS[1], '*', 'v', '1', 'source', source, 'id', ARGV[at + 2],
      'meta', ARGV[at + 3], 'payload', ARGV[at + 4])
    redis.call('SADD', KEYS[3], digest)
    redis.call('EXPIRE', KEYS[3], ARGV[1])
    redis.call('HINCRBY', KEYS[2], 'replayed:' .. source, 1)
    answer[#answer + 1] = 1
  end
end
return answer
