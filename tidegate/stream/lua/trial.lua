--[[ trial: an entry that may take its worker down is about to be tried alone.

KEYS 1 events stream
ARGV 1 group   2 consumer   3 entry id   4 deliveries to show from now on
Returns 1, or 0 when the entry is no longer this consumer's

An entry whose content somebody deleted keeps its count: XCLAIM would drop it from the list (from Redis 7 on), uncounted.
Sent twice, the count is set to the same again.
--]]
local held = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2])
if not held[1] then return 0 end
if redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1] then
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'RETRYCOUNT', ARGV[4], 'JUSTID')
end
return 1
