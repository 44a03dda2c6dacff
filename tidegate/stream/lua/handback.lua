--[[ handback: a worker that leaves gives up what it did not finish, so that the next sweep takes it at once.

KEYS 1 events stream
ARGV 1 group   2 consumer   3 name of the consumer that stands for nobody   4 idle_ms to show   5... entry ids
Returns how many were handed back

RETRYCOUNT takes back the count of this delivery, which the next claim adds again: an entry that was handed back in ten
rolling deploys has crashed nobody.
An entry whose content somebody deleted stays pending: XCLAIM would drop it (from Redis 7 on), `claim` makes a marker of it.
Sent twice, the second call finds it is no longer this consumer's.
--]]
local handed = 0
for at = 5, #ARGV do
  local id = ARGV[at]
  local held = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2])[1]
  if held and redis.call('XRANGE', KEYS[1], id, id)[1] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, id,
      'IDLE', ARGV[4], 'RETRYCOUNT', math.max(held[4] - 1, 0), 'JUSTID')
    handed = handed + 1
  end
end
return handed
