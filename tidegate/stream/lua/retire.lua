--[[ retire: a consumer that is gone is forgotten, but only when nothing is pending for it.

KEYS 1 events stream
ARGV 1 group   2 consumer
Returns 1 when it was removed, 0 when it still holds entries (XGROUP DELCONSUMER would drop them)
--]]
if redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])[1] then
  return 0
end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
